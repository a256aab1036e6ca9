"""The store: its rooms, and the transactions that span them. No transaction spans a PSP call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeVar
from uuid import UUID

import asyncpg

from qirsh.clock import Clock
from qirsh.store.connection import Connection, Pool
from qirsh.store.daily import DailyWork
from qirsh.store.drafts import Drafts
from qirsh.store.fulfilments import Fulfilments
from qirsh.store.inbox import Inbox
from qirsh.store.listings import Listings
from qirsh.store.orders import Orders
from qirsh.store.products import Products
from qirsh.store.refunds import Refunds
from qirsh.store.retention import Retention
from qirsh.store.sql import SQL

T = TypeVar("T")

_SERIALIZATION_RETRIES: Final = 3


class StoreBusyError(Exception):
    """The database kept refusing a transaction for conflicts; asking again may help."""


@dataclass(frozen=True, slots=True)
class Due:
    """A row whose time has come."""

    id: UUID
    version: int
    gateway: str


class Store:
    """The database behind verbs."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self.pool = pool
        self.drafts = Drafts(pool, clock)
        self.inbox = Inbox(pool, clock)
        self.listings = Listings(pool, clock)
        self.orders = Orders(pool, clock)
        self.fulfilments = Fulfilments(pool, clock)
        self.products = Products(pool)
        self.refunds = Refunds(pool, clock)
        self.retention = Retention(pool, clock)
        self.daily = DailyWork(pool, clock)
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    async def retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run a transaction again when the database refuses it for a conflict.

        Raises:
            StoreBusyError: it was refused each time.
        """
        for tried in range(_SERIALIZATION_RETRIES):
            try:
                return await attempt()
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(0.01 * 2**tried)
        raise StoreBusyError

    async def lease_due(
        self,
        connection: Connection,
        kind: Literal["drafts", "unmatched", "refunds", "fulfilments", "daily"],
        lease: timedelta,
        limit: int,
        names: Collection[str],
    ) -> list[Due]:
        """Rows whose time has come, put off by `lease` so that no other sweep takes them.

        `names` are the gateways whose rows are taken, or the kinds of daily work; announcements are taken without.
        """
        records = await connection.fetch(SQL[f"lease_due_{kind}"], self._clock.offset, lease, limit, list(names))
        return [Due(record["id"], record["version"], record["gateway"]) for record in records]
