"""Fulfilments: one row per completed draft, until the shop has taken it."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from qirsh.clock import Clock
from qirsh.store.connection import Pool
from qirsh.store.rows import Row, row_of
from qirsh.store.sql import SQL


@dataclass(frozen=True, slots=True)
class DueFulfilment:
    """A completed payment to announce."""

    id: UUID
    row: Row
    state: str
    attempts: int
    version: int


class Fulfilments:
    """The table fulfilments."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def get(self, fulfilment_id: UUID) -> DueFulfilment | None:
        """A fulfilment with its draft."""
        record = await self._pool.fetchrow(SQL["fulfilment_by_id"], fulfilment_id)
        if record is None:
            return None
        return DueFulfilment(
            record["fulfilment_id"],
            row_of(record),
            record["fulfilment_state"],
            record["fulfilment_attempts"],
            record["fulfilment_version"],
        )

    async def delivered(self, fulfilment_id: UUID, version: int) -> None:
        """The shop has taken it."""
        await self._pool.execute(SQL["fulfilment_delivered"], fulfilment_id, version, self._clock.offset)

    async def failed(self, fulfilment_id: UUID, version: int, error: str, retry_in: timedelta | None) -> None:
        """The shop did not take it; None: it is not tried again by itself."""
        await self._pool.execute(
            SQL["fulfilment_failed"], fulfilment_id, version, self._clock.offset, retry_in, error[:200]
        )
