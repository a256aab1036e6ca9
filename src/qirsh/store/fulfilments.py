"""Fulfilments: what the shop must be told, one row per announcement, until the shop has taken it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

from qirsh.clock import Clock
from qirsh.store.connection import Pool
from qirsh.store.rows import Row, row_of
from qirsh.store.sql import SQL

Kind = Literal["payment.completed", "payment.refunded"]


@dataclass(frozen=True, slots=True)
class DueFulfilment:
    """An announcement to make, with its draft as it stands."""

    id: UUID
    row: Row
    kind: Kind
    created_at: datetime
    duplicate_of: UUID | None
    """The draft that had paid the same order before."""
    waits: bool
    """An earlier announcement of the draft goes first."""
    state: str
    attempts: int
    version: int


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """An announcement as its row stands."""

    id: UUID
    kind: Kind
    duplicate_of: UUID | None
    state: Literal["due", "delivered", "dead"]
    attempts: int
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None
    next_check_at: datetime | None


class Fulfilments:
    """The table fulfilments."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def get(self, fulfilment_id: UUID) -> DueFulfilment | None:
        """An announcement with its draft."""
        record = await self._pool.fetchrow(SQL["fulfilment_by_id"], fulfilment_id)
        if record is None:
            return None
        return DueFulfilment(
            record["fulfilment_id"],
            row_of(record),
            record["fulfilment_kind"],
            record["fulfilment_created_at"],
            record["fulfilment_duplicate_of"],
            record["fulfilment_waits"],
            record["fulfilment_state"],
            record["fulfilment_attempts"],
            record["fulfilment_version"],
        )

    async def of(self, draft_id: UUID) -> list[Fulfilment]:
        """The announcements of a draft, in the order in which the shop hears them."""
        return [_fulfilment(record) for record in await self._pool.fetch(SQL["fulfilments_of_draft"], draft_id)]

    async def delivered(self, fulfilment_id: UUID, version: int) -> None:
        """The shop has taken it; what waited for it is due."""
        await self._pool.execute(SQL["fulfilment_delivered"], fulfilment_id, version, self._clock.offset)

    async def put_off(self, fulfilment_id: UUID, version: int, retry_in: timedelta) -> None:
        """It was not tried, because an earlier one goes first, whose delivery makes it due sooner."""
        await self._pool.execute(SQL["fulfilment_waits"], fulfilment_id, version, self._clock.offset, retry_in)

    async def failed(self, fulfilment_id: UUID, version: int, error: str, retry_in: timedelta | None) -> None:
        """The shop did not take it; None: it is not tried again by itself."""
        await self._pool.execute(
            SQL["fulfilment_failed"], fulfilment_id, version, self._clock.offset, retry_in, error[:200]
        )

    async def replay(self, fulfilment_id: UUID) -> Fulfilment | None:
        """Make it due at once, as on its first day; None when there is no such announcement."""
        record = await self._pool.fetchrow(SQL["fulfilment_replayed"], fulfilment_id, self._clock.offset)
        return None if record is None else _fulfilment(record)


def _fulfilment(record: asyncpg.Record) -> Fulfilment:
    return Fulfilment(
        record["id"],
        record["kind"],
        record["duplicate_of"],
        record["state"],
        record["attempts"],
        record["last_error"],
        record["created_at"],
        record["delivered_at"],
        record["next_check_at"],
    )
