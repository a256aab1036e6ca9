"""What is not kept for ever: old months, who paid, and the queue's own log. Nothing else takes written rows away."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import asyncpg

from qirsh.clock import Clock
from qirsh.store import months
from qirsh.store.connection import Pool
from qirsh.store.months import Month, Table
from qirsh.store.sql import SQL

BATCH: Final = 1_000
"""Rows a statement: some milliseconds, so that nobody waits for one of them."""
READING_SECONDS: Final = 600.0
"""What reads all drafts may take; nobody waits for it."""


class TablesBusyError(RuntimeError):
    """What was to be done needs a lock that somebody else has: payments do not wait for it, and it is tried again."""


class Retention:
    """Months of payment_events and webhook_deliveries, payment_drafts.request, and PgQueuer's log."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool. The age of an id is by the database's clock alone, since ids follow no sandbox."""
        self._pool = pool
        self._clock = clock

    async def make_months_ahead(self) -> list[str]:
        """Make the months that are missing.

        Raises:
            TablesBusyError: somebody keeps the tables locked.
        """
        try:
            async with self._pool.acquire() as connection:
                return await months.make_ahead(connection)
        except asyncpg.LockNotAvailableError:
            raise TablesBusyError("somebody keeps the tables locked, perhaps a backup") from None

    async def months_before(self, table: Table, age: timedelta) -> list[Month]:
        """The months of a table that ended longer than `age` ago, oldest first."""
        oldest_kept = await self._now() - age
        return [one for one in await months.months(self._pool, table) if months.moment_of(one.ends) <= oldest_kept]

    async def unsettled_in(self, month: Month) -> Sequence[UUID]:
        """The drafts with entries in a month of the journal that may still be argued about."""
        async with self._pool.acquire() as connection:
            records = await connection.fetch(
                SQL["unsettled_in_month"], month.begins, month.ends, timeout=READING_SECONDS
            )
        return [record["id"] for record in records]

    async def drop(self, month: Month) -> bool:
        """Drop a month; whether that could be done, or somebody kept the table locked."""
        try:
            async with self._pool.acquire() as connection:
                await months.drop(connection, month)
        except asyncpg.LockNotAvailableError:
            return False
        return True

    async def count_strays(self, table: Literal["payment_events", "webhook_deliveries"], age: timedelta) -> int:
        """How many old rows are in the default partition, which no month took, and may be deleted."""
        before = months.first_id_at(await self._now() - age)
        async with self._pool.acquire() as connection:
            return int(await connection.fetchval(SQL[f"count_strays_{table}"], before, timeout=READING_SECONDS))

    async def delete_strays(self, table: Literal["payment_events", "webhook_deliveries"], age: timedelta) -> None:
        """Delete them, and remember until when."""
        before = months.first_id_at(await self._now() - age)
        async with self._pool.acquire() as connection, connection.transaction():
            last = await connection.fetchval(SQL[f"delete_strays_{table}"], before, timeout=READING_SECONDS)
            if last is not None:
                await connection.execute(SQL["remember_pruned"], f"{table}_default", table, last)

    async def journal_pruned_until(self) -> datetime | None:
        """Until when entries of the journal were taken; None: none ever was."""
        ends: UUID | None = await self._pool.fetchval(SQL["journal_pruned_until"])
        return None if ends is None else months.moment_of(ends)

    async def forget_payers(self, age: timedelta) -> int:
        """Take who paid out of drafts that ended so long ago; return how many."""
        return await self._in_batches(SQL["forget_payers"], self._clock.offset, age)

    async def prune_queue_log(self, age: timedelta) -> int:
        """Delete what PgQueuer noted longer ago; return how many lines."""
        lines = await self._in_batches(SQL["prune_queue_log"], age)
        return lines + await self._in_batches(SQL["prune_queue_statistics"], age)

    async def _in_batches(self, statement: str, *values: object) -> int:
        done = 0
        while count := int((await self._pool.execute(statement, *values, BATCH)).rpartition(" ")[2]):
            done += count
        return done

    async def _now(self) -> datetime:
        now: datetime = await self._pool.fetchval(SQL["database_time"])
        return now
