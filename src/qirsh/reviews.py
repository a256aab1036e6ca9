"""A person has looked at what was put under review, and decides: it counts, or only the flag goes."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from qirsh.draft import ORDER_PAID_TWICE, Decision, GatewayEvent, Kind, Resolution, Verdict
from qirsh.errors import DraftNotFound, NothingToReview
from qirsh.fold import Fold
from qirsh.store.rows import Entry, Row
from qirsh.store.store import Store


class Reviews:
    """Decides drafts under review."""

    def __init__(self, store: Store, fold: Fold) -> None:
        """Fold decisions like every other fact: what was reviewed, with what was decided about it."""
        self._store = store
        self._fold = fold

    async def decide(self, draft_id: UUID, resolution: Resolution, note: str) -> Row:
        """Decide all that is under review of a draft, in the order in which it came, and return its row after.

        Raises:
            DraftNotFound: there is none.
            NothingToReview: it is not under review, or moved while it was decided.
        """
        row = await self._store.drafts.get(draft_id)
        if row is None:
            raise DraftNotFound
        if not row.draft.needs_review:
            raise NothingToReview
        events = _decided(await self._store.listings.entries(draft_id), resolution, note)
        after = await self._fold.decide(row, events)
        if after is None:
            raise NothingToReview("The payment moved while it was decided: read it again.")
        return after


def _decided(entries: Sequence[Entry], resolution: Resolution, note: str) -> list[GatewayEvent]:
    """What is under review since the last decision, each as it is now decided."""
    cleared = [number for number, entry in enumerate(entries) if _clears(entry)]
    waiting = [entry for entry in entries[cleared[-1] + 1 if cleared else 0 :] if _raised(entry)]
    return [
        msgspec.structs.replace(
            entry.event,
            event_id=f"decided:{entry.event.event_id.removeprefix('decided:')}",
            decision=Decision(resolution, entry.review_reason or entry.event.kind, note),
        )
        for entry in waiting
    ]


def _clears(entry: Entry) -> bool:
    """Whether nothing was under review any more after this."""
    return entry.event.decision is not None and not entry.event.decision.keeps_flag and not _raised(entry)


def _raised(entry: Entry) -> bool:
    """Whether this raised the flag: a review, an order paid twice, or a refund that was told as done and was not."""
    lowered = entry.event.kind is Kind.REFUND_FAILED and entry.event.decision is None
    return (
        entry.verdict is Verdict.REVIEW
        or entry.review_reason == ORDER_PAID_TWICE
        or (lowered and entry.verdict is Verdict.APPLIED)
    )
