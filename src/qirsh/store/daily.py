"""Work that is done once a day, whichever worker does it: a row for each kind, due like every other row."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from qirsh.clock import Clock
from qirsh.store.connection import Pool, new_id
from qirsh.store.sql import SQL


class DailyWork:
    """The table daily_work."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def plan(self, names: Collection[str]) -> None:
        """Let these be done once a day from now on; what is planned already stays as it is."""
        ids = [new_id() for _ in names]
        await self._pool.execute(SQL["plan_daily_work"], ids, list(names), self._clock.offset)

    async def take(self, work_id: UUID, version: int, hold: timedelta) -> tuple[str, int] | None:
        """Keep others from it for so long; its name and new version, or None where somebody was faster."""
        record = await self._pool.fetchrow(SQL["take_daily_work"], work_id, version, self._clock.offset, hold)
        return None if record is None else (record["name"], record["version"])

    async def ended(self, work_id: UUID, version: int, again_in: timedelta, *, done: bool) -> None:
        """Say when it is due again, unless somebody else has taken it meanwhile."""
        await self._pool.execute(SQL["daily_work_ended"], work_id, version, self._clock.offset, again_in, done)
