"""`qirsh journal verify`: each draft rebuilt from what was folded into it, and compared with its row.

The journal determines the columns of `DETERMINED`. The rest is not of its making: the request, its amount and its times
are the shop's; gateway, claims, doubt and the number of a registration belong to asking a PSP before it answers; and
`capture_due` is also cleared by a capture that nothing came of, which is no fact, so that `capture_attempt`, which only
a decline of a due capture raises, cannot be told either.

A draft from before the journal that retention has left cannot be rebuilt, and that is no discrepancy.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from qirsh.draft import PaymentDraft, State
from qirsh.outcomes import apply_clashing, clash_of
from qirsh.store.months import first_id_at
from qirsh.store.rows import Entry
from qirsh.store.store import Store

DETERMINED: Final = (
    "state",
    "reason",
    "needs_review",
    "refunded_minor",
    "transaction_reference_id",
    "payment_reference",
    "action",
)
PAGE: Final = 200
SKEW: Final = timedelta(hours=1)
"""By how much the clocks of two servers may differ: one made the draft's id, the other that of its first entry."""


class Discrepancy(NamedTuple):
    """A column that is not what the journal makes of it."""

    draft_id: UUID
    column: str
    row: str
    journal: str


class Gap(NamedTuple):
    """A draft that the journal does not explain, because retention has taken entries from when it was there already."""

    draft_id: UUID


async def verify(store: Store) -> AsyncIterator[list[Discrepancy | Gap]]:
    """Go through all drafts, a page at a time; for each, in the order of their ids, what differs."""
    pruned_until = await store.retention.journal_pruned_until()
    whole_from = None if pruned_until is None else first_id_at(pruned_until + SKEW)
    after = None
    while page := await store.listings.with_journal(after, PAGE):
        for row, entries in page:
            draft_id = row.draft.id
            if entries is None:
                yield [Discrepancy(draft_id, "journal", row.draft.state, "cannot be read")]
                continue
            found = discrepancies(row.draft, entries)
            pruned = whole_from is not None and draft_id < whole_from
            yield [Gap(draft_id)] if found and pruned else [*found]
        after = page[-1][0].draft.id


def discrepancies(draft: PaymentDraft, entries: Sequence[Entry]) -> list[Discrepancy]:
    """Where a draft is not what its journal makes of it, and where an entry of the journal contradicts those before."""
    found = []
    rebuilt = _begun(draft)
    for number, entry in enumerate(entries, start=1):
        rebuilt = apply_clashing(rebuilt, entry.event, clash_of(entry.review_reason)).draft
        if rebuilt.state is not entry.state:
            found.append(Discrepancy(draft.id, f"journal {number}: state", entry.state, rebuilt.state))
    for column in DETERMINED:
        kept, made = getattr(draft, column), getattr(rebuilt, column)
        if kept != made:
            found.append(Discrepancy(draft.id, column, _shown(kept), _shown(made)))
    return found


def _begun(draft: PaymentDraft) -> PaymentDraft:
    """The draft as it was before the first event."""
    return msgspec.structs.replace(
        draft,
        state=State.PENDING,
        reason=None,
        needs_review=False,
        refunded_minor=0,
        transaction_reference_id=None,
        payment_reference=None,
        action=None,
        capture_attempt=1,
        capture_due=False,
    )


def _shown(value: object) -> str:
    """A column in a table for people. An action may hold a payer's code, so only that it is another is said."""
    if isinstance(value, msgspec.Struct):
        return type(value).__name__
    return "–" if value is None else str(value)
