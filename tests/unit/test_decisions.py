"""What a person's decision about a reviewed event does to a draft: the table of the operator's two answers."""

from typing import Final, get_args

import msgspec
import pytest
from unit_drafts import ORDER, PART, PAYMENT, WHOLE, draft_in, event_of

from qirsh.draft import (
    REFERENCE_TAKEN,
    Decision,
    DeclineCode,
    GatewayEvent,
    Kind,
    Outcome,
    PaymentDraft,
    Resolution,
    State,
    Verdict,
    apply,
)
from qirsh.journal import discrepancies
from qirsh.money import Money
from qirsh.outcomes import outcomes_of
from qirsh.store.rows import Entry

LESS: Final = Money(25_000, "EGP")
MORE: Final = Money(35_000, "EGP")
DOLLARS: Final = Money(30_000, "USD")
UNPAID: Final = (State.PENDING, State.AWAITING_USER_ACTION, State.FAILED)
PAID: Final = (State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED)

every_state = pytest.mark.parametrize("state", State)


def decided(draft: PaymentDraft, event: GatewayEvent, resolution: Resolution) -> Outcome:
    """Put an event under review, and decide it."""
    reviewed = apply(draft, event)
    assert reviewed.verdict is Verdict.REVIEW
    assert reviewed.review_reason is not None
    return apply(reviewed.draft, with_decision(event, resolution, reviewed.review_reason))


def with_decision(event: GatewayEvent, resolution: Resolution, reason: str) -> GatewayEvent:
    """The event as it is folded once a person has decided."""
    return msgspec.structs.replace(event, decision=Decision(resolution, reason))


@pytest.mark.parametrize("amount", [LESS, MORE])
@pytest.mark.parametrize("state", UNPAID)
def test_an_accepted_payment_of_another_amount_completes(state: State, amount: Money) -> None:
    """The shop may well deliver for what came: that is for a person to say, and for nobody else."""
    draft = draft_in(state, capture_due=True)

    outcome = decided(draft, event_of(Kind.PAID, amount=amount), "accept")

    assert outcome == Outcome(
        msgspec.structs.replace(
            draft, state=State.COMPLETED, reason=None, payment_reference=PAYMENT, capture_due=False, needs_review=False
        ),
        Verdict.APPLIED,
    )


@pytest.mark.parametrize("state", PAID)
def test_an_accepted_payment_of_a_draft_that_is_paid_only_clears_the_flag(state: State) -> None:
    """It is paid already; nothing more can come of it."""
    draft = draft_in(state)
    assert decided(draft, event_of(Kind.PAID, amount=LESS), "accept").draft == draft


@pytest.mark.parametrize("amount", [DOLLARS, Money(0, "EGP")])
@pytest.mark.parametrize("state", UNPAID)
def test_an_accepted_payment_that_is_no_sum_in_the_drafts_currency_only_clears_the_flag(
    state: State, amount: Money
) -> None:
    """The row holds one currency, and a PSP's sum that could not be read is told as nothing."""
    draft = draft_in(state)
    assert decided(draft, event_of(Kind.PAID, amount=amount), "accept").draft == draft


@pytest.mark.parametrize("state", PAID)
def test_an_accepted_failure_fails_what_was_paid(state: State) -> None:
    """Only a person may say that money which was there is not. What was given back of it before stays counted."""
    before = draft_in(state)
    outcome = decided(before, event_of(Kind.FAILED), "accept")

    assert outcome.verdict is Verdict.APPLIED
    assert (outcome.draft.state, outcome.draft.reason) == (State.FAILED, DeclineCode.CANCELLED_BY_PAYER)
    assert (outcome.draft.refunded_minor, outcome.draft.needs_review) == (before.refunded_minor, False)


@pytest.mark.parametrize("event", [event_of(kind) for kind in Kind])
@pytest.mark.parametrize("state", PAID)
def test_a_payment_that_a_person_accepted_as_gone_does_not_come_back(state: State, event: GatewayEvent) -> None:
    """A PSP goes on telling that a disputed payment was paid, each time it is asked; and so do old webhooks."""
    gone = decided(draft_in(state), event_of(Kind.FAILED), "accept").draft
    assert apply(gone, event) == Outcome(gone, Verdict.STALE)


def test_another_payment_of_a_draft_whose_payment_is_gone_is_for_a_person() -> None:
    """Late money is money, but of this draft somebody has spoken already."""
    gone = decided(draft_in(State.COMPLETED), event_of(Kind.FAILED), "accept").draft
    outcome = apply(gone, event_of(Kind.PAID, payment_reference="other"))
    assert (outcome.verdict, outcome.review_reason) == (Verdict.REVIEW, "paid_twice")


def test_what_a_decision_raises_anew_the_next_one_of_the_same_pass_does_not_clear() -> None:
    """Two deliveries of one odd payment are accepted, and only then is it known that the order is paid already."""
    draft = msgspec.structs.replace(draft_in(State.PENDING), needs_review=True)
    events = [with_decision(event_of(Kind.PAID, amount=LESS), "accept", "amount_mismatch")] * 2

    told = outcomes_of(draft, events, source="operator", clash="order")

    assert [outcome.review_reason for _, outcome in told] == ["order_paid_twice", None]
    assert told[-1][1].draft.needs_review is True
    raised = event_of(Kind.PAID, amount=LESS)
    flagged = Entry(raised, Verdict.REVIEW, "amount_mismatch", State.PENDING)
    journal = [Entry(event, outcome.verdict, outcome.review_reason, outcome.draft.state) for event, outcome in told]
    assert discrepancies(told[-1][1].draft, [flagged, *journal]) == []


@pytest.mark.parametrize(("amount", "after"), [(PART, State.PARTIALLY_REFUNDED), (WHOLE, State.REFUNDED)])
@pytest.mark.parametrize("state", UNPAID)
def test_an_accepted_refund_of_a_draft_that_was_never_paid_moves_it(state: State, amount: Money, after: State) -> None:
    """The news of the payment got lost: the refund proves it, once a person has seen it."""
    outcome = decided(draft_in(state), event_of(Kind.REFUNDED, amount=amount), "accept")

    assert (outcome.draft.state, outcome.draft.refunded_minor) == (after, amount.amount_minor)
    assert (outcome.draft.payment_reference, outcome.draft.needs_review) == (PAYMENT, False)
    assert outcome.draft.reason is None


def test_an_accepted_refund_above_the_amount_is_all_of_it() -> None:
    """As after an accepted payment of too much: the column holds no more than the draft's amount."""
    outcome = decided(draft_in(State.COMPLETED), event_of(Kind.REFUNDED, amount=MORE), "accept")
    assert (outcome.draft.state, outcome.draft.refunded_minor) == (State.REFUNDED, WHOLE.amount_minor)


@pytest.mark.parametrize("amount", [DOLLARS, None, Money(0, "EGP")])
def test_an_accepted_refund_that_nobody_can_count_only_clears_the_flag(amount: Money | None) -> None:
    """No number of ours could be right; the refund is then recorded through its own request or look-up."""
    for state in UNPAID:
        draft = draft_in(state)
        assert decided(draft, event_of(Kind.REFUNDED, amount=amount), "accept").draft == draft


@pytest.mark.parametrize(
    ("state", "event", "reason"),
    [
        *((state, event_of(kind, gateway="fawry"), "second_gateway") for state in State for kind in Kind),
        *((state, event_of(Kind.PAID, payment_reference="other"), "paid_twice") for state in PAID),
        *((state, event_of(Kind.REFUNDED, payment_reference="other"), "other_payment") for state in PAID),
        *((state, event_of(Kind.FAILED, payment_reference="other"), "other_payment") for state in PAID),
        *(
            (State.AWAITING_USER_ACTION, event_of(kind, transaction_reference_id="other"), "second_reference")
            for kind in (Kind.REGISTERED, Kind.APPROVED, Kind.DECLINED, Kind.FAILED)
        ),
    ],
)
def test_accepting_what_is_anothers_only_clears_the_flag(state: State, event: GatewayEvent, reason: str) -> None:
    """The extra payment is given back in the PSP's dashboard; this draft has nothing to do with it."""
    draft = draft_in(state)
    assert apply(draft, event).review_reason == reason

    assert decided(draft, event, "accept") == Outcome(draft, Verdict.APPLIED)


def test_accepting_a_payment_whose_reference_is_another_drafts_only_clears_the_flag() -> None:
    """`apply` cannot see the other draft: the review said so, and a second completion would break the constraint."""
    draft = draft_in(State.AWAITING_USER_ACTION, needs_review=True)
    event = with_decision(event_of(Kind.PAID), "accept", REFERENCE_TAKEN)
    assert apply(draft, event).draft == msgspec.structs.replace(draft, needs_review=False)


def test_what_became_anothers_since_the_review_is_not_accepted() -> None:
    """Between review and decision the right payment may come: the wrong one is then a second payment."""
    wrong = event_of(Kind.PAID, amount=LESS, payment_reference="wrong")
    reviewed = apply(draft_in(State.AWAITING_USER_ACTION), wrong)
    paid = apply(reviewed.draft, event_of(Kind.PAID)).draft

    after = apply(paid, with_decision(wrong, "accept", "amount_mismatch")).draft

    assert after == msgspec.structs.replace(paid, needs_review=False)
    assert (after.payment_reference, after.transaction_reference_id) == (PAYMENT, ORDER)


@every_state
@pytest.mark.parametrize("kind", Kind)
def test_a_dismissed_review_leaves_all_but_the_flag(state: State, kind: Kind) -> None:
    """Whatever it was, the person has seen to it elsewhere."""
    draft = draft_in(state)
    flagged = msgspec.structs.replace(draft, needs_review=True)
    for reason in ("amount_mismatch", "paid_twice", REFERENCE_TAKEN):
        assert apply(flagged, with_decision(event_of(kind), "dismiss", reason)) == Outcome(draft, Verdict.APPLIED)


@every_state
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("resolution", get_args(Resolution))
def test_a_decision_folded_twice_is_folded_once(state: State, kind: Kind, resolution: Resolution) -> None:
    """An operator's impatient second click must not move the draft again."""
    once = apply(draft_in(state, needs_review=True), with_decision(event_of(kind), resolution, "amount_mismatch")).draft
    assert apply(once, with_decision(event_of(kind), resolution, "amount_mismatch")).draft == once
