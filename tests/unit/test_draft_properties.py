"""What no sequence of events may do to a draft, whoever sends them and in whatever order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from unit_drafts import NEXT_PAGE, PAGE, WHOLE, draft_in
from unit_support import thorough

from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft, State, Verdict, apply
from qirsh.money import Money

UNPAID = frozenset({State.PENDING, State.AWAITING_USER_ACTION, State.FAILED})
NEXT = {
    State.PENDING: frozenset(State) - {State.PARTIALLY_REFUNDED, State.REFUNDED},
    State.AWAITING_USER_ACTION: frozenset({State.AWAITING_USER_ACTION, State.COMPLETED, State.FAILED}),
    State.FAILED: frozenset({State.FAILED, State.COMPLETED}),
    State.COMPLETED: frozenset({State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED}),
    State.PARTIALLY_REFUNDED: frozenset({State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED}),
    State.REFUNDED: frozenset({State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED}),
}

AMOUNTS = st.one_of(
    st.just(WHOLE),
    st.builds(Money, st.integers(0, WHOLE.amount_minor + 2), st.sampled_from(["EGP", "EGP", "EGP", "USD", "KWD"])),
)
EVENTS = st.builds(
    GatewayEvent,
    kind=st.sampled_from(Kind),
    gateway=st.sampled_from(["paymob", "paymob", "paymob", "fawry"]),
    event_id=st.sampled_from(["a", "b", "c"]),
    transaction_reference_id=st.sampled_from(["order-1", "order-1", "order-2"]),
    payment_reference=st.sampled_from([None, "payment-1", "payment-1", "payment-2"]),
    amount=AMOUNTS,
    action=st.sampled_from([None, PAGE, NEXT_PAGE]),
    reason=st.sampled_from([None, DeclineCode.CARD_DECLINED, DeclineCode.EXPIRED]),
)
STORIES = st.lists(EVENTS, max_size=12)


def told(events: list[GatewayEvent]) -> list[PaymentDraft]:
    """A new draft before the story, and after each of its events."""
    drafts = [draft_in(State.PENDING)]
    for event in events:
        drafts.append(apply(drafts[-1], event).draft)
    return drafts


@thorough
@given(STORIES)
def test_a_draft_only_goes_where_money_can_go(events: list[GatewayEvent]) -> None:
    """Above all: what is completed is never failed, pending or awaiting again."""
    drafts = told(events)
    for before, after in pairwise(drafts):
        assert after.state in NEXT[before.state]


@thorough
@given(STORIES)
def test_refunds_only_grow_unless_one_failed_and_never_exceed_the_amount(events: list[GatewayEvent]) -> None:
    """The column has the same bound, and a CHECK that fired in production would be a lost refund."""
    drafts = told(events)
    for before, event, after in zip(drafts, events, drafts[1:], strict=False):
        assert after.refunded_minor <= after.amount.amount_minor
        assert before.refunded_minor <= after.refunded_minor or event.kind is Kind.REFUND_FAILED
    last = drafts[-1]
    assert (last.refunded_minor > 0) is (last.state in {State.PARTIALLY_REFUNDED, State.REFUNDED})
    assert (last.refunded_minor == last.amount.amount_minor) is (last.state is State.REFUNDED)


@thorough
@given(STORIES)
def test_hearing_everything_twice_changes_nothing(events: list[GatewayEvent]) -> None:
    """Every PSP delivers twice some day, and dedupe only saves work: `apply` alone keeps money right."""
    doubled = [event for event in events for _ in range(2)]
    assert told(doubled)[-1] == told(events)[-1]


@thorough
@given(STORIES)
def test_only_the_right_payment_completes(events: list[GatewayEvent]) -> None:
    """A draft completes by an explicit payment of its own amount, from its own gateway, and by nothing else."""
    drafts = told(events)
    for before, event, after in zip(drafts, events, drafts[1:], strict=False):
        if after.state is State.COMPLETED and before.state in UNPAID:
            assert (event.kind, event.amount, event.gateway) == (Kind.PAID, before.amount, before.gateway)


@thorough
@given(STORIES)
def test_the_right_payment_is_never_lost(events: list[GatewayEvent]) -> None:
    """Whatever came before, a payment that agrees with the draft leaves it paid: no customer pays for nothing."""
    for draft in told(events):
        payment = GatewayEvent(
            kind=Kind.PAID,
            gateway=draft.gateway,
            event_id="late",
            payment_reference=draft.payment_reference,
            amount=draft.amount,
        )
        assert apply(draft, payment).draft.state not in UNPAID


@thorough
@given(STORIES)
def test_a_verdict_that_moves_nothing_moves_nothing(events: list[GatewayEvent]) -> None:
    """The journal says what an event did; only what was applied may change where the draft stands."""
    draft = draft_in(State.PENDING)
    for event in events:
        outcome = apply(draft, event)
        if outcome.verdict is not Verdict.APPLIED:
            assert (outcome.draft.state, outcome.draft.refunded_minor) == (draft.state, draft.refunded_minor)
            assert outcome.draft.payment_reference == draft.payment_reference
        lowered = outcome.draft.refunded_minor < draft.refunded_minor
        assert outcome.draft.needs_review is (draft.needs_review or outcome.verdict is Verdict.REVIEW or lowered)
        draft = outcome.draft


@thorough
@given(STORIES)
def test_what_was_asked_for_never_changes(events: list[GatewayEvent]) -> None:
    """Id, amount, gateway, request and times belong to the shop's request; an event can only add what happened."""
    first, *others = told(events)
    for other in others:
        assert (other.id, other.amount, other.gateway, other.request, other.created_at, other.expires_at) == (
            *(first.id, first.amount, first.gateway, first.request, first.created_at, first.expires_at),
        )


@thorough
@given(STORIES)
def test_a_reference_once_known_stays(events: list[GatewayEvent]) -> None:
    """Late money is matched by it, and a refund needs it."""
    drafts = told(events)
    for before, after in pairwise(drafts):
        assert before.transaction_reference_id in {None, after.transaction_reference_id}
        assert before.payment_reference in {None, after.payment_reference}


@thorough
@given(STORIES)
def test_a_draft_that_waits_for_the_payer_has_a_reference(events: list[GatewayEvent]) -> None:
    """The table has this as a CHECK: a violation would turn a webhook into a 500."""
    for draft in told(events):
        assert draft.state is not State.AWAITING_USER_ACTION or draft.transaction_reference_id


@thorough
@given(st.sampled_from(State), STORIES)
def test_apply_is_pure_and_never_raises(state: State, events: list[GatewayEvent]) -> None:
    """It runs under a row lock in a transaction that may be tried again: same input, same output, nothing touched."""
    draft = draft_in(state)
    for event in events:
        kept = repr((draft, event))
        outcome = apply(draft, event)
        assert repr((draft, event)) == kept
        assert apply(draft, event) == outcome
        draft = outcome.draft
