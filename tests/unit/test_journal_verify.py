"""Rebuilding a draft from its journal: whatever was folded comes out again, and any change of either is found."""

from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_drafts import ORDER, PAGE, PAYMENT, WHOLE, draft_in, event_of
from unit_support import thorough

from qirsh.draft import Decision, DeclineCode, GatewayEvent, Kind, PaymentDraft, State
from qirsh.journal import DETERMINED, discrepancies
from qirsh.money import Money
from qirsh.outcomes import Clash, outcomes_of
from qirsh.store.rows import Entry

OTHER: Final[dict[str, Any]] = {
    "state": State.FAILED,
    "reason": DeclineCode.EXPIRED,
    "needs_review": True,
    "refunded_minor": 1,
    "transaction_reference_id": "another",
    "payment_reference": "another",
    "action": PAGE,
}
"""For each column the journal determines, what it was not folded to."""

EVENTS: Final = st.builds(
    GatewayEvent,
    kind=st.sampled_from(Kind),
    gateway=st.sampled_from(["paymob", "paymob", "paymob", "fawry"]),
    event_id=st.just("event"),
    transaction_reference_id=st.sampled_from([ORDER, ORDER, "other"]),
    payment_reference=st.sampled_from([None, PAYMENT, PAYMENT, "other"]),
    amount=st.builds(Money, st.integers(0, WHOLE.amount_minor + 1), st.just("EGP")) | st.just(WHOLE),
    action=st.just(PAGE),
    decision=st.sampled_from([None, None, Decision("accept", "amount_mismatch"), Decision("dismiss", "paid_twice")]),
)


def told(*events: GatewayEvent, clash: Clash | None = None) -> tuple[PaymentDraft, list[Entry]]:
    """A draft after these events, and its journal."""
    outcomes = outcomes_of(draft_in(State.PENDING), events, source="webhook", clash=clash)
    entries = [Entry(event, outcome.verdict, outcome.review_reason, outcome.draft.state) for event, outcome in outcomes]
    return outcomes[-1][1].draft, entries


@thorough
@given(st.lists(EVENTS, min_size=1, max_size=12), st.sampled_from([None, None, *get_args(Clash)]))
def test_whatever_was_folded_comes_out_again(events: list[GatewayEvent], clash: Clash | None) -> None:
    """A false alarm would teach everybody to ignore the true one."""
    draft, entries = told(*events, clash=clash)
    assert discrepancies(draft, entries) == []


@pytest.mark.parametrize("column", DETERMINED)
def test_a_column_that_the_journal_does_not_explain_is_found(column: str) -> None:
    """Somebody wrote into the table, or a statement of ours has a bug."""
    draft, entries = told(event_of(Kind.REGISTERED), event_of(Kind.PAID))
    changed = msgspec.structs.replace(draft, **{column: OTHER[column]})

    (found,) = discrepancies(changed, entries)

    assert (found.draft_id, found.column) == (draft.id, column)


def test_every_column_of_the_table_of_changes_is_tried() -> None:
    """A column added to one list and not to the other would not be tried."""
    assert OTHER.keys() == set(DETERMINED)


def test_an_entry_that_was_changed_is_found_where_it_stands() -> None:
    """The journal is only inserted into; one that was edited contradicts what follows."""
    draft, entries = told(event_of(Kind.REGISTERED), event_of(Kind.PAID))
    edited = msgspec.structs.replace(entries[1], event=event_of(Kind.PAID, amount=Money(1, "EGP")))

    found = discrepancies(draft, [entries[0], edited])

    assert [one.column for one in found] == ["journal 2: state", "state", "needs_review", "payment_reference"]
    assert found[0][2:] == ("completed", "awaiting_user_action")


def test_an_entry_that_is_gone_is_found() -> None:
    """Without the payment's row nothing says why the draft is completed."""
    draft, entries = told(event_of(Kind.REGISTERED), event_of(Kind.PAID))
    assert {one.column for one in discrepancies(draft, entries[:1])} == {"state", "payment_reference"}


def test_a_draft_without_journal_is_as_it_began() -> None:
    """Most drafts that nothing was heard of yet."""
    assert discrepancies(draft_in(State.PENDING, in_doubt=True), []) == []


def test_what_an_action_holds_is_not_shown() -> None:
    """A reference code is worth money to whoever reads the terminal."""
    draft, entries = told(event_of(Kind.REGISTERED))
    (found,) = discrepancies(msgspec.structs.replace(draft, action=PAGE), entries)
    assert found[2:] == ("RedirectUrl", "RedirectUrl")
