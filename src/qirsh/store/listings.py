"""Pages of what the tables hold, for people and for commands that go through all of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from qirsh.clock import Clock
from qirsh.draft import State, Verdict
from qirsh.store.connection import Pool
from qirsh.store.retention import READING_SECONDS
from qirsh.store.rows import Entry, Row, entries_of, event_of, row_of
from qirsh.store.sql import SQL

DeliveryVerdict = Literal["applied", "repeated", "stale", "capture", "review", "lookup", "unmatched", "ignored"]
"""What became of a delivery; the table has the same as a CHECK."""


class DraftFilter(msgspec.Struct, frozen=True):
    """Which drafts to list; what is None takes all of them."""

    state: State | None = None
    gateway: str | None = None
    needs_review: bool | None = None
    order_reference: str | None = None
    created_since: datetime | None = None
    created_until: datetime | None = None


class DeliveryFilter(msgspec.Struct, frozen=True):
    """Which deliveries to list; what is None takes all of them."""

    draft_id: UUID | None = None
    gateway: str | None = None
    verdict: str | None = None


class Listings:
    """Reads many rows of payment_drafts and webhook_deliveries."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def drafts(self, wanted: DraftFilter, after: UUID | None, limit: int) -> list[Row]:
        """Drafts, newest first, from the one that follows `after`."""
        filters = msgspec.structs.astuple(wanted)
        return [row_of(record) for record in await self._pool.fetch(SQL["drafts_listed"], after, *filters, limit)]

    async def unsettled(self, paid_since: datetime | None, failed_for: timedelta) -> list[UUID]:
        """The drafts that a PSP may know better, oldest first; of the paid ones those that moved since."""
        values = (paid_since, self._clock.offset, failed_for)
        async with self._pool.acquire() as connection:
            records = await connection.fetch(SQL["unsettled_drafts"], *values, timeout=READING_SECONDS)
        return [record["id"] for record in records]

    async def entries(self, draft_id: UUID) -> list[Entry]:
        """The journal of a draft as objects of the core, in the order in which it was folded."""
        return [
            Entry(
                event_of(record["event"]), Verdict(record["verdict"]), record["review_reason"], State(record["state"])
            )
            for record in await self._pool.fetch(SQL["journal"], draft_id)
        ]

    async def with_journal(self, after: UUID | None, limit: int) -> list[tuple[Row, list[Entry] | None]]:
        """Drafts by id, each with its journal as both stood at one moment; None: it cannot be read."""
        records = await self._pool.fetch(SQL["drafts_with_journal"], after, limit)
        return [(row_of(record), entries_of(record["journal"])) for record in records]

    async def count_drafts(self) -> int:
        """How many drafts there are."""
        return int(await self._pool.fetchval(SQL["count_drafts"]))

    async def deliveries(self, wanted: DeliveryFilter, after: UUID | None, limit: int) -> list[Mapping[str, Any]]:
        """Deliveries without their bodies, newest first, from the one that follows `after`."""
        filters = msgspec.structs.astuple(wanted)
        return [dict(record) for record in await self._pool.fetch(SQL["deliveries_listed"], after, *filters, limit)]

    async def delivery(self, delivery_id: UUID) -> Mapping[str, Any] | None:
        """A delivery with its body."""
        record = await self._pool.fetchrow(SQL["delivery_by_id"], delivery_id)
        return None if record is None else dict(record)
