"""Connections that are handed on from statement to statement, also after errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from qirsh.api.problems import HANDLERS, store_problem
from qirsh.store.connection import AWAY, CLOSE_SECONDS, Pool, connect_pool


@pytest.fixture
async def pool(empty_database_url: str) -> AsyncIterator[Pool]:
    """A pool of one connection, so that whatever is left of a statement meets the next."""
    pool = Pool(await connect_pool(empty_database_url, max_size=1))
    yield pool
    await pool.aclose()


async def backend(pool: Pool) -> int:
    """The server's process behind the connection."""
    pid: int = await pool.fetchval("SELECT pg_backend_pid()")
    return pid


async def test_statements_share_one_connection(pool: Pool) -> None:
    """Prepared statements live as long as their connection: a new one each time would prepare them again."""
    assert len({await backend(pool) for _ in range(5)}) == 1
    row = await pool.fetchrow("SELECT 1, 2")
    assert row is not None
    assert tuple(row) == (1, 2)
    assert [tuple(row) for row in await pool.fetch("SELECT 1")] == [(1,)]
    assert await pool.execute("SELECT 1") == "SELECT 1"


async def test_a_connection_that_an_error_came_over_is_not_handed_on_broken(pool: Pool) -> None:
    """A failed statement, also inside a transaction, must not fail the next caller's."""
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pool.fetchval("SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetchval("SELECT 1 / 0")

    assert await pool.fetchval("SELECT pg_current_xact_id_if_assigned() IS NULL AND 1 = 1")


async def test_a_statement_that_was_given_up_does_not_answer_the_next(pool: Pool) -> None:
    """Whoever waited too long leaves; the answer that comes late is nobody's."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.fetchval("SELECT 'late' FROM pg_sleep(5)")

    assert await pool.fetchval("SELECT 'mine'") == "mine"


async def test_whatever_a_cut_connection_raises_is_a_database_that_is_away(pool: Pool, empty_database_url: str) -> None:
    """A caller hears 503 and not that we have a bug, also in the moment between the news of the end and the end."""
    other = await asyncpg.connect(empty_database_url)
    raised = set[type[Exception]]()
    try:
        for cut in range(200):  # one in a dozen is told of before the connection ends
            await other.execute("SELECT pg_terminate_backend($1)", await backend(pool))
            for again in range(50):
                try:
                    await pool.fetchval(f"SELECT {cut} + {again}")
                    break
                except Exception as error:  # noqa: BLE001  whatever it is
                    raised.add(type(error))
                await asyncio.sleep(0)
    finally:
        await other.close()

    assert raised, "no cut was ever noticed"
    assert {one for one in raised if not issubclass(one, AWAY)} == set()
    assert all(HANDLERS[one] is store_problem for one in AWAY)


async def test_a_connection_that_the_database_closed_is_replaced(pool: Pool, empty_database_url: str) -> None:
    """A restart of the database, a proxy that closes what is idle: one statement may fail, not every later one."""
    gone = await backend(pool)
    other = await asyncpg.connect(empty_database_url)
    try:
        assert await other.fetchval("SELECT pg_terminate_backend($1, 5000)", gone)
    finally:
        await other.close()
    await asyncio.sleep(0)  # the end of the connection is read

    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # where its end was not read yet
        await pool.fetchval("SELECT 1")

    assert await backend(pool) != gone


async def test_a_pool_that_was_busy_is_closed_at_once(empty_database_url: str) -> None:
    """Several connections lie free then; one that is forgotten keeps a server from stopping for five seconds."""
    pool = Pool(await connect_pool(empty_database_url, max_size=5))
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(5)))
    for _ in range(3):
        await pool.fetchval("SELECT 1")

    async with asyncio.timeout(CLOSE_SECONDS - 1):
        await pool.aclose()


async def test_whoever_finds_no_free_connection_waits_for_one(pool: Pool) -> None:
    """A burst queues; it neither opens more connections than it may nor fails."""
    order: list[int] = []

    async def one(number: int) -> None:
        await pool.fetchval("SELECT pg_sleep(0.01)")
        order.append(number)

    async with asyncio.timeout(10):
        await asyncio.gather(*(one(number) for number in range(20)))

    assert sorted(order) == list(range(20))


async def test_whoever_gives_up_waiting_takes_no_connection_along(pool: Pool) -> None:
    """A connection lost to a cancelled caller would be lost for good: ten of those and the server stands still."""
    async with pool.acquire():
        waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async with asyncio.timeout(10):
        assert await pool.fetchval("SELECT 1") == 1


async def test_closing_waits_for_the_statement_under_way_and_no_longer(empty_database_url: str) -> None:
    """A supervisor kills what takes its time: a connection given back while closing must go back to the driver."""
    pool = Pool(await connect_pool(empty_database_url, max_size=2))
    under_way = [asyncio.create_task(pool.fetchval("SELECT 1 FROM pg_sleep(0.2)")) for _ in range(2)]
    waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
    await asyncio.sleep(0.05)

    async with asyncio.timeout(CLOSE_SECONDS - 1):
        await pool.aclose()

    assert await asyncio.gather(*under_way) == [1, 1]
    with pytest.raises(asyncpg.InterfaceError):
        await waiting
    with pytest.raises(asyncpg.InterfaceError):
        await pool.fetchval("SELECT 1")
