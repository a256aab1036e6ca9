"""What the store's rooms share: connections, their types, and new ids."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import uuid_utils.compat

DriverPool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Sender: TypeAlias = "Connection | Pool"
"""Whatever a statement can be sent over: a connection, maybe in a transaction, or the pool, as one of its own."""

AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What a database that is away, full or on its way down looks like. OSError: its socket is gone. InternalClientError:
the driver was told that the connection ends, and has not seen its end yet."""

CLOSE_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 10.0
"""Far longer than any statement of ours takes; a database that hangs must not hang its callers for ever."""


class Pool:
    """Connections of the driver's pool that stay taken between statements.

    At each release the driver makes a task, a time-out and two resets, which together cost as much as a statement. No
    code of ours alters a session, so whoever is done with a connection passes it on as it is; one that an error came
    over goes back to the driver, which mends or replaces it (ADR 0017).
    """

    def __init__(self, driver_pool: DriverPool) -> None:
        """Take connections from the driver's pool as they are needed, at most as many as it may hold."""
        self._driver_pool = driver_pool
        self._free: asyncio.LifoQueue[_Taken | None] = asyncio.LifoQueue()
        self._closing = False
        for _ in range(driver_pool.get_max_size()):
            self._free.put_nowait(None)

    def acquire(self) -> "_Borrowed":
        """A connection for an `async with`.

        Raises:
            asyncpg.InterfaceError: the pool is closing.
        """
        return _Borrowed(self)

    async def borrow(self) -> "_Taken":
        """A free connection, to be given back with `hand_on`."""
        connection = await self._free.get()
        if connection is not None and not self._closing and not _is_gone(connection):
            return connection
        try:
            if connection is not None:
                await self._driver_pool.release(connection)
            return await self._driver_pool.acquire()  # raises where it is closing
        except BaseException:
            self._free.put_nowait(None)
            raise

    async def hand_on(self, connection: "_Taken", *, whole: bool) -> None:
        """Pass a connection on; one that is not whole, or that nobody needs any more, goes back to the driver."""
        if whole and not self._closing:
            self._free.put_nowait(connection)
            return
        try:
            await self._driver_pool.release(connection)
        finally:
            self._free.put_nowait(None)

    async def execute(self, statement: str, *values: object) -> str:
        """Send a statement and return its tag."""
        async with self.acquire() as connection:
            return await connection.execute(statement, *values)

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Send a statement and return its rows."""
        async with self.acquire() as connection:
            return await connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: object) -> asyncpg.Record | None:
        """Send a statement and return its first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: object) -> Any:  # noqa: ANN401  whatever the column holds
        """Send a statement and return the first column of its first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(statement, *values)

    async def aclose(self) -> None:
        """Close every connection: those in use once they are given back, or after a while."""
        self._closing = True
        # All of them before any is put back: the last in is the first out.
        free = [self._free.get_nowait() for _ in range(self._free.qsize())]
        for connection in free:
            self._free.put_nowait(None)
            if connection is not None:
                await self._driver_pool.release(connection)
        await close_pool(self._driver_pool)


_Taken: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class _Borrowed:
    """One connection, from entering to leaving."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> _Taken:
        self._connection = await self._pool.borrow()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._pool.hand_on(self._connection, whole=kind is None)


def _is_gone(connection: _Taken) -> bool:
    """Whether the database closed it. Then the driver has taken it back already, and the proxy answers nothing more."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def connect_pool(
    database_url: str, *, min_size: int = 1, max_size: int = 10, search_path: str = "public"
) -> DriverPool:
    """A pool whose connections are given back as they are: no code of ours alters a session."""
    return await asyncpg.create_pool(
        database_url,
        min_size=min_size,
        max_size=max_size,
        reset=_keep,
        command_timeout=COMMAND_SECONDS,
        server_settings={
            "search_path": search_path,
            "application_name": "qirsh",
            "idle_in_transaction_session_timeout": "30s",  # a frozen process must not hold a draft's lock
        },
    )


async def close_pool(pool: DriverPool) -> None:
    """Close politely, then at once: a connection that hangs or is still held must not keep the process."""
    with suppress(*AWAY, asyncpg.PostgresError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
            return
    pool.terminate()


async def _keep(_connection: object) -> None:
    """Do not send the clean-up query that asyncpg would send after every statement."""


def new_id() -> UUID:
    """A UUIDv7: sorted by time, so that indexes grow at one end."""
    return uuid_utils.compat.uuid7()
