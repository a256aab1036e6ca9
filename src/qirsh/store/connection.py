"""What the store's rooms share: a pool, its types, and new ids."""

import asyncio
from contextlib import suppress
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import uuid_utils.compat

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

CLOSE_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 10.0
"""Far longer than any statement of ours takes; a database that hangs must not hang its callers for ever."""


async def connect_pool(
    database_url: str, *, min_size: int = 1, max_size: int = 10, search_path: str = "public"
) -> Pool:
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


async def close_pool(pool: Pool) -> None:
    """Close politely, then at once: a connection that hangs or is still held must not keep the process."""
    with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
            return
    pool.terminate()


async def _keep(_connection: object) -> None:
    """Do not send the clean-up query that asyncpg would send after every statement."""


def new_id() -> UUID:
    """A UUIDv7: sorted by time, so that indexes grow at one end."""
    return uuid_utils.compat.uuid7()
