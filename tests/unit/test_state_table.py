"""The state table of ARCHITECTURE.md and the behaviour of `apply`, compared cell by cell.

The page is what people read and `apply` is what moves money, so neither may drift from the other.
"""

from collections.abc import Iterator, Mapping

import msgspec
import pytest
from unit_drafts import NEXT_PAGE, ORDER, PAGE, PART, PAYMENT, WHOLE, draft_in, event_of
from unit_support import ROOT

import qirsh.draft
from qirsh.draft import (
    MAX_CAPTURE_ATTEMPTS,
    TABLE,
    DeclineCode,
    GatewayEvent,
    Kind,
    Outcome,
    PaymentDraft,
    State,
    Verdict,
    apply,
)
from qirsh.money import Money

Cell = tuple[State, Kind]
Printed = Mapping[Cell, str]

TITLE = "## The state table"
NOTHING = Money(0, "EGP")
LESS = Money(PART.amount_minor - 1, "EGP")
MORE = Money(PART.amount_minor + 1, "EGP")
TOO_MUCH = Money(WHOLE.amount_minor + 1, "EGP")
DOLLARS = Money(WHOLE.amount_minor, "USD")

PAID_STATES = (State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED)

every_state = pytest.mark.parametrize("state", State)


@pytest.fixture(scope="module", name="printed")
def the_table_of_the_architecture_page() -> Printed:
    """The block as it is printed, word by word."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert page.count(f"\n{TITLE}\n") == 1
    block = page.partition(f"\n{TITLE}\n")[2].split("```")[1].partition("\n")[2]
    header, *rows = (line.split() for line in block.strip().splitlines())
    assert header == list(Kind)
    assert [row[0] for row in rows] == list(State)
    return {(State(name), kind): word for name, *words in rows for kind, word in zip(Kind, words, strict=True)}


def test_every_cell_does_what_the_page_says(printed: Printed) -> None:
    """The page is the specification: a reader must be able to rely on it without reading the code."""
    assert len(printed) == len(State) * len(Kind)
    assert not disagreements(printed)


def test_no_mutated_cell_survives(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that a changed cell slips through would prove nothing, so every change of one cell is tried."""
    words = {str(cell): cell for row in TABLE.values() for cell in row.values()}
    assert words.keys() == set(printed.values())
    survivors = []
    tried = 0
    for (state, kind), word in printed.items():
        for other in words.keys() - {word}:
            tried += 1
            mutated = {**TABLE, state: {**TABLE[state], kind: words[other]}}
            monkeypatch.setattr(qirsh.draft, "TABLE", mutated)
            if disagreements(printed) != [(state, kind)]:
                survivors.append(f"{state} × {kind}: {word} → {other}")
    assert not survivors
    assert tried == len(printed) * (len(words) - 1) == 336


def disagreements(printed: Printed) -> list[Cell]:
    """The cells whose behaviour is not what the page says."""
    return [(state, kind) for (state, kind), word in printed.items() if not _holds(word, state, kind)]


def _holds(word: str, state: State, kind: Kind) -> bool:
    try:
        return all(_shown(apply(draft, event)) == promised(word, draft, event) for draft, event in probes(state, kind))
    except AssertionError:  # a word that needs an amount, in a column that has none
        return False


def _shown(outcome: Outcome) -> tuple[Verdict, PaymentDraft]:
    assert bool(outcome.review_reason) is (outcome.verdict is Verdict.REVIEW)
    return outcome.verdict, outcome.draft


def promised(  # noqa: C901  one case for each word of the table
    word: str, draft: PaymentDraft, event: GatewayEvent
) -> tuple[Verdict, PaymentDraft]:
    """What a word of the table means: the verdict, and every field of the draft after it."""
    replace = msgspec.structs.replace
    match word:
        case "awaiting":
            return Verdict.APPLIED, replace(
                draft,
                state=State.AWAITING_USER_ACTION,
                transaction_reference_id=event.transaction_reference_id,
                action=event.action,
                in_doubt=False,
            )
        case "capture":
            return Verdict.CAPTURE, replace(draft, capture_due=True)
        case "stale":
            return Verdict.STALE, uncaptured(draft, event)
        case "completed":
            return Verdict.APPLIED, replace(
                draft,
                state=State.COMPLETED,
                reason=None,
                payment_reference=event.payment_reference,
                capture_due=False,
            )
        case "failed":
            return Verdict.APPLIED, replace(draft, state=State.FAILED, reason=event.reason, capture_due=False)
        case "review":
            due = draft.capture_due and event.kind is not Kind.PAID
            return Verdict.REVIEW, replace(draft, needs_review=True, capture_due=due)
        case "repeated":
            if event.kind is Kind.DECLINED:
                draft = replace(draft, action=event.action, reason=event.reason)
            return Verdict.REPEATED, uncaptured(draft, event)
        case "refunded*":
            return _promised_refund(draft, event)
        case "lowered*":
            return _promised_lowering(draft, event)
    raise AssertionError(f"{word!r} is no word of the state table")


def uncaptured(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    """A declined capture is due no more, and the next one has a key of its own."""
    if event.kind is not Kind.DECLINED or not draft.capture_due:
        return draft
    return msgspec.structs.replace(draft, capture_due=False, capture_attempt=draft.capture_attempt + 1)


def _promised_refund(draft: PaymentDraft, event: GatewayEvent) -> tuple[Verdict, PaymentDraft]:
    assert event.amount is not None
    total = event.amount.amount_minor
    assert event.kind is Kind.REFUNDED
    if total <= draft.refunded_minor:
        return Verdict.REPEATED, draft
    state = State.REFUNDED if total == draft.amount.amount_minor else State.PARTIALLY_REFUNDED
    return Verdict.APPLIED, msgspec.structs.replace(draft, state=state, refunded_minor=total)


def _promised_lowering(draft: PaymentDraft, event: GatewayEvent) -> tuple[Verdict, PaymentDraft]:
    assert event.kind is Kind.REFUND_FAILED
    assert event.amount is not None
    total = event.amount.amount_minor
    if total >= draft.refunded_minor:
        return Verdict.STALE, draft
    state = State.PARTIALLY_REFUNDED if total else State.COMPLETED
    return Verdict.APPLIED, msgspec.structs.replace(draft, state=state, refunded_minor=total, needs_review=True)


def probes(state: State, kind: Kind) -> Iterator[tuple[PaymentDraft, GatewayEvent]]:
    """Drafts in this state, with events of this kind that agree with them: enough to tell every word apart."""
    draft = draft_in(state)
    yield draft, event_of(kind)
    if state in {State.PENDING, State.AWAITING_USER_ACTION}:
        yield draft_in(state, capture_due=True, reason=DeclineCode.INSUFFICIENT_FUNDS, in_doubt=True), event_of(kind)
    if kind is Kind.REFUND_FAILED:
        # A row moved there by hand, which counts money as given back: only a draft that says so is lowered.
        yield draft_in(state, refunded_minor=PART.amount_minor), event_of(kind, amount=NOTHING)
    if kind in {Kind.REFUNDED, Kind.REFUND_FAILED}:
        for total in (NOTHING, LESS, PART, MORE, WHOLE):
            yield draft, event_of(kind, amount=total)
        if state is State.REFUNDED:
            # A row moved there by hand, whose sum says less: the table says that nothing moves it any more.
            yield draft_in(state, refunded_minor=PART.amount_minor), event_of(kind, amount=WHOLE)


# The paragraph under the table: what holds in every row.


@every_state
@pytest.mark.parametrize("kind", Kind)
def test_an_event_of_another_gateway_is_for_review_and_moves_nothing(state: State, kind: Kind) -> None:
    """After a failover two PSPs may report on one draft: both may hold money, and only a person can tell."""
    draft = draft_in(state)
    assert apply(draft, event_of(kind, gateway="fawry")) == _reviewed(draft, "second_gateway")


@every_state
def test_registered_with_another_reference_is_for_review(state: State) -> None:
    """Two references at one PSP are two things that can be paid."""
    draft = draft_in(state, transaction_reference_id=ORDER)
    event = event_of(Kind.REGISTERED, transaction_reference_id="order-2")
    assert apply(draft, event) == _reviewed(draft, "second_reference")


@every_state
def test_a_second_payment_is_for_review(state: State) -> None:
    """The payer paid twice: the draft keeps the payment that completed it, and somebody returns the other."""
    draft = draft_in(state, payment_reference=PAYMENT)
    event = event_of(Kind.PAID, payment_reference="payment-2")
    assert apply(draft, event) == _reviewed(draft, "paid_twice")


@every_state
@pytest.mark.parametrize("kind", [Kind.REFUNDED, Kind.REFUND_FAILED, Kind.FAILED])
def test_the_end_of_another_payment_is_for_review(state: State, kind: Kind) -> None:
    """Returning the second of two payments must not make the first look returned."""
    draft = draft_in(state, payment_reference=PAYMENT)
    event = event_of(kind, payment_reference="payment-2")
    assert apply(draft, event) == _reviewed(draft, "other_payment")


@every_state
@pytest.mark.parametrize(
    "amount",
    [Money(1, "EGP"), Money(0, "EGP"), Money(WHOLE.amount_minor - 1, "EGP"), TOO_MUCH, DOLLARS, Money(30_000, "KWD")],
    ids=str,
)
def test_paid_with_another_amount_or_currency_is_for_review_and_never_completes(state: State, amount: Money) -> None:
    """The goods cost what they cost, in the currency that was shown."""
    draft = draft_in(state)
    assert apply(draft, event_of(Kind.PAID, amount=amount)) == _reviewed(draft, "amount_mismatch")


@every_state
def test_more_given_back_than_was_paid_is_for_review(state: State) -> None:
    """It cannot be, so the books of one side are wrong."""
    draft = draft_in(state)
    assert apply(draft, event_of(Kind.REFUNDED, amount=TOO_MUCH)) == _reviewed(draft, "refunded_too_much")


@every_state
def test_a_refund_in_another_currency_is_for_review(state: State) -> None:
    """Three hundred dollars are no three hundred pounds."""
    draft = draft_in(state)
    assert apply(draft, event_of(Kind.REFUNDED, amount=DOLLARS)) == _reviewed(draft, "amount_mismatch")


@every_state
@pytest.mark.parametrize("kind", [Kind.PAID, Kind.REFUNDED, Kind.FAILED])
def test_an_event_that_names_no_payment_contradicts_none(state: State, kind: Kind) -> None:
    """Some PSPs do not name the payment everywhere; silence is no other payment."""
    draft = draft_in(state)
    silent = apply(draft, event_of(kind, payment_reference=None))
    named = apply(draft, event_of(kind, payment_reference=draft.payment_reference))
    assert silent == named


@pytest.mark.parametrize("state", [State.COMPLETED, State.PARTIALLY_REFUNDED])
def test_refunds_are_cumulative(state: State) -> None:
    """PSPs tell the sum so far: adding it up again would give the money back twice in our books."""
    draft = draft_in(state)
    draft = apply(draft, event_of(Kind.REFUNDED, amount=Money(12_000, "EGP"))).draft
    assert (draft.state, draft.refunded_minor) == (State.PARTIALLY_REFUNDED, 12_000)
    draft = apply(draft, event_of(Kind.REFUNDED, amount=Money(20_000, "EGP"))).draft
    assert (draft.state, draft.refunded_minor) == (State.PARTIALLY_REFUNDED, 20_000)
    draft = apply(draft, event_of(Kind.REFUNDED, amount=WHOLE)).draft
    assert (draft.state, draft.refunded_minor) == (State.REFUNDED, WHOLE.amount_minor)


@pytest.mark.parametrize("total", [Money(0, "EGP"), Money(1, "EGP"), LESS, PART], ids=str)
def test_an_equal_or_lower_refund_total_was_heard_before(total: Money) -> None:
    """Deliveries come twice and out of order; neither takes a refund back."""
    draft = draft_in(State.PARTIALLY_REFUNDED)
    assert apply(draft, event_of(Kind.REFUNDED, amount=total)) == Outcome(draft, Verdict.REPEATED)


def test_a_refund_of_nothing_refunds_nothing() -> None:
    """A completed draft with a total of zero is still completed."""
    draft = draft_in(State.COMPLETED)
    assert apply(draft, event_of(Kind.REFUNDED, amount=Money(0, "EGP"))) == Outcome(draft, Verdict.REPEATED)


@every_state
def test_a_refund_that_does_not_say_how_much_is_for_review(state: State) -> None:
    """Fawry tells that money went back and not how much; where we gave none back, only a person can find out."""
    draft = draft_in(state, refunded_minor=0)
    assert apply(draft, event_of(Kind.REFUNDED, amount=None)) == _reviewed(draft, "refunded_unknown_amount")


def test_a_refund_that_does_not_say_how_much_is_the_one_we_know() -> None:
    """Our own refund is told again by a delivery without an amount: nothing new."""
    draft = draft_in(State.PARTIALLY_REFUNDED)
    assert apply(draft, event_of(Kind.REFUNDED, amount=None)) == Outcome(draft, Verdict.REPEATED)


def test_a_refund_that_fails_later_is_taken_back_and_somebody_must_see_to_it() -> None:
    """The payer has not got the money, whatever we were told before."""
    draft = draft_in(State.REFUNDED)
    outcome = apply(draft, event_of(Kind.REFUND_FAILED, amount=PART))
    assert (outcome.verdict, outcome.draft.state) == (Verdict.APPLIED, State.PARTIALLY_REFUNDED)
    assert (outcome.draft.refunded_minor, outcome.draft.needs_review) == (PART.amount_minor, True)
    outcome = apply(draft, event_of(Kind.REFUND_FAILED, amount=NOTHING))
    assert (outcome.draft.state, outcome.draft.refunded_minor) == (State.COMPLETED, 0)


def test_late_money_is_money() -> None:
    """A payer who paid at the kiosk a minute after the bill died gets the goods, and the reason is forgotten."""
    outcome = apply(draft_in(State.FAILED), event_of(Kind.PAID))
    assert outcome.verdict is Verdict.APPLIED
    assert (outcome.draft.state, outcome.draft.reason) == (State.COMPLETED, None)
    assert outcome.draft.payment_reference == PAYMENT


def test_a_completed_draft_never_fails_silently() -> None:
    """The goods may be gone: only a person may say that the money is not there."""
    for state in PAID_STATES:
        outcome = apply(draft_in(state), event_of(Kind.FAILED))
        assert (outcome.draft.state, outcome.verdict) == (state, Verdict.REVIEW)


def test_a_payment_before_its_registration_completes() -> None:
    """A webhook may overtake our own second transaction; the late `registered` is stale and remembers where it is."""
    paid = apply(draft_in(State.PENDING), event_of(Kind.PAID))
    assert (paid.draft.state, paid.draft.transaction_reference_id) == (State.COMPLETED, None)
    late = apply(paid.draft, event_of(Kind.REGISTERED))
    assert late.verdict is Verdict.STALE
    assert late.draft == msgspec.structs.replace(paid.draft, transaction_reference_id=ORDER)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.PARTIALLY_REFUNDED, State.REFUNDED])
def test_a_stale_registration_remembers_its_reference(state: State) -> None:
    """Late money can only be matched by it: a draft that ended in doubt must still be found."""
    draft = draft_in(state, transaction_reference_id=None, action=None)
    outcome = apply(draft, event_of(Kind.REGISTERED))
    assert outcome == Outcome(msgspec.structs.replace(draft, transaction_reference_id=ORDER), Verdict.STALE)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_an_end_remembers_its_reference(state: State) -> None:
    """A look-up found a lost registration, dead; deliveries that know only the PSP's id waited for it for ever."""
    draft = draft_in(state, transaction_reference_id=None, action=None)
    outcome = apply(draft, event_of(Kind.FAILED, transaction_reference_id=ORDER))
    assert (outcome.draft.state, outcome.draft.transaction_reference_id) == (State.FAILED, ORDER)


def test_a_payment_remembers_its_reference() -> None:
    """A refund is looked up by the order; a payment found by our own id must bring it along."""
    outcome = apply(draft_in(State.PENDING), event_of(Kind.PAID, transaction_reference_id=ORDER))
    assert outcome.draft.transaction_reference_id == ORDER


def test_a_declined_try_may_bring_the_next_address() -> None:
    """Some PSPs give a new page for the next try; the payer must be sent there and told why."""
    outcome = apply(draft_in(State.AWAITING_USER_ACTION), event_of(Kind.DECLINED))
    assert (outcome.draft.state, outcome.draft.action) == (State.AWAITING_USER_ACTION, NEXT_PAGE)
    assert outcome.draft.reason == DeclineCode.CARD_DECLINED


def test_a_declined_try_without_address_keeps_the_old_one() -> None:
    """The payer can still pay where he was."""
    outcome = apply(draft_in(State.AWAITING_USER_ACTION), event_of(Kind.DECLINED, action=None, reason=None))
    assert (outcome.draft.action, outcome.draft.reason) == (PAGE, DeclineCode.UNKNOWN)


def test_a_decline_after_the_end_changes_no_address() -> None:
    """A late decline must not offer a payer who has paid another page to pay at."""
    for state in (*PAID_STATES, State.FAILED):
        draft = draft_in(state)
        assert apply(draft, event_of(Kind.DECLINED)) == Outcome(draft, Verdict.STALE)


def test_a_failure_without_reason_is_unknown() -> None:
    """The wire always names a reason when a draft failed."""
    outcome = apply(draft_in(State.AWAITING_USER_ACTION), event_of(Kind.FAILED, reason=None))
    assert outcome.draft.reason == DeclineCode.UNKNOWN


def test_an_event_of_money_without_amount_is_a_bug() -> None:
    """A gateway that could forget the amount would complete a draft of any price."""
    for kind in (Kind.PAID, Kind.REFUND_FAILED):
        with pytest.raises(AssertionError, match="amount"):
            event_of(kind, amount=None)


def test_a_registration_without_reference_is_a_bug() -> None:
    """A draft that waits for the payer must be findable at the PSP."""
    for missing in (None, ""):
        with pytest.raises(AssertionError, match="reference"):
            event_of(Kind.REGISTERED, transaction_reference_id=missing)


def _reviewed(draft: PaymentDraft, reason: str) -> Outcome:
    """Nothing moved but the flag."""
    return Outcome(msgspec.structs.replace(draft, needs_review=True), Verdict.REVIEW, reason)


@pytest.mark.parametrize("kind", [Kind.APPROVED, Kind.DECLINED, Kind.FAILED])
@every_state
def test_what_another_order_says_is_for_review(state: State, kind: Kind) -> None:
    """An order made elsewhere can carry our draft's id; nothing it says may move our own."""
    draft = draft_in(state)
    if draft.transaction_reference_id is None:
        draft = msgspec.structs.replace(draft, transaction_reference_id="ours")
    event = msgspec.structs.replace(event_of(kind), transaction_reference_id="another")
    outcome = apply(draft, event)
    assert (outcome.verdict, outcome.review_reason) == (Verdict.REVIEW, "second_reference")
    assert outcome.draft == msgspec.structs.replace(draft, needs_review=True)


def test_an_order_that_stays_approved_after_declines_is_not_captured_for_ever() -> None:
    """Whether a PSP takes an approval back after a decline is for the PSP to say; our tries have an end."""
    draft = draft_in(State.AWAITING_USER_ACTION)
    captures = 0
    for _ in range(20):
        outcome = apply(draft, event_of(Kind.APPROVED))
        captures += outcome.verdict is Verdict.CAPTURE
        draft = apply(outcome.draft, event_of(Kind.DECLINED)).draft
    assert captures == MAX_CAPTURE_ATTEMPTS
