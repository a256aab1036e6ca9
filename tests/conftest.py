"""Fixtures: one PostgreSQL and one running world per test process, one clean start per test."""

import asyncio
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final, Protocol

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from judged import Judged, judged
from qirsh.store.embedded import EmbeddedPostgres
from qirsh.store.migrate import migrate
from world import TLS, Cache, Process, Shop, World, free_port, shop_listening, system

LAST_OF_A_DAY: Final = timedelta(seconds=45)
"""Longer than what asks for such a day takes, and short beside the time that pytest gives it."""

LONGEST: Final = (
    *("test_chaos_slice", "test_webhook_outage", "test_service", "test_killed_worker", "test_frozen_worker"),
)
"""Files whose tests take half a minute and more, the longest first."""


class NewDatabase(Protocol):
    """Makes a database and returns its URL."""

    async def __call__(self, *, migrated: bool = True) -> str:
        """Migrated, or empty."""
        ...


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker of a parallel run begin with long tests: one that begins last is waited for by all the others.

    pytest-xdist gives each an equal part of the list to begin with, in its order.
    """
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = in_parts(items, workers)


def in_parts(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The same tests, the long ones dealt out to the beginnings of as many equal parts as there are workers."""
    long = sorted((one for one in items if one.path.stem in LONGEST), key=lambda one: LONGEST.index(one.path.stem))
    others = [one for one in items if one.path.stem not in LONGEST]
    ordered: list[pytest.Item] = []
    for number in range(workers):
        end = len(ordered) + (len(items) - len(ordered)) // (workers - number)
        ordered += long[number::workers]
        room = max(0, end - len(ordered))
        ordered += others[:room]
        del others[:room]
    return [*ordered, *others]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A short folder that every user can enter: sockets and PostgreSQL's own user need that."""
    with tempfile.TemporaryDirectory(prefix="qirsh-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def cluster(scratch: Path) -> Iterator[str]:
    """A PostgreSQL for this test process, as a URL with a gap for the database's name."""
    # Nothing here outlives the test, so no disk is waited for.
    with EmbeddedPostgres(scratch / "postgres", {"fsync": "off", "max_connections": "300"}) as url:
        yield url.replace("/qirsh?", "/{name}?")


@pytest.fixture(scope="session")
def new_database(cluster: str) -> NewDatabase:
    """Make a database: a copy of a migrated one, or empty."""
    asyncio.run(migrate(cluster.format(name="qirsh")))

    async def make(*, migrated: bool = True) -> str:
        name = f"t_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(cluster.format(name="postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {'qirsh' if migrated else 'template0'}")
        finally:
            await connection.close()
        return cluster.format(name=name)

    return make


@pytest.fixture
async def database_url(new_database: NewDatabase) -> str:
    """A migrated database of the test's own."""
    return await new_database()


@pytest.fixture
async def database_of_today(new_database: NewDatabase) -> str:
    """A migrated database with the months of today, on a day that does not end before the test does."""
    while (left := left_of_today()) < LAST_OF_A_DAY:  # noqa: ASYNC110  no event tells the time
        await asyncio.sleep(left.total_seconds())
    url = await new_database()
    await migrate(url)  # what it is a copy of may have been made last month
    return url


@pytest.fixture
async def empty_database_url(new_database: NewDatabase) -> str:
    """A database without a schema."""
    return await new_database(migrated=False)


@pytest.fixture(scope="session")
def sandbox(scratch: Path) -> Iterator[Judged]:
    """A running sandbox without a server of ours. Every test uses references of its own, so they do not meet."""
    with judged(scratch / "judged") as running:
        yield running


@pytest.fixture
def reference() -> str:
    """A merchant reference that no other test uses, as a payment server makes one."""
    return str(uuid.uuid4())


@pytest.fixture(scope="session")
def running_world(scratch: Path, new_database: NewDatabase) -> Iterator[World]:
    """The sandbox, the API and a worker, each a process, with a shop that listens. Its client is not to be used."""
    with system(scratch, asyncio.run(new_database())) as world:
        yield world


@pytest.fixture
async def world(running_world: World) -> AsyncIterator[World]:
    """The running world with no faults left over, its product as it was, and a client of the test's own."""
    async with httpx.AsyncClient(verify=TLS, timeout=30, limits=httpx.Limits(max_connections=400)) as client:
        world = replace(running_world, client=client)
        await world.heal()
        await world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
        world.shop.status, world.shop.headers = 200, {}
        yield world
        await world.heal()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop of the test's own."""
    with shop_listening() as listening:
        yield listening


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    """Redis on a free port, keeping nothing on disk."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("redis-server is not on PATH, so what Redis does to answers is NOT TESTED here: install it")
    port = free_port()
    process = Process(
        *(command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
        *("--dir", str(tmp_path)),
        ready="Ready to accept connections",
    )
    url = f"redis://127.0.0.1:{port}/0"
    client: Redis = Redis.from_url(url)
    try:
        process.wait_ready()
        yield Cache(url, process, client)
    finally:
        await client.aclose()
        process.process.send_signal(signal.SIGCONT)
        process.stop()


def left_of_today() -> timedelta:
    """How long it is until midnight."""
    now = datetime.now(UTC)
    return datetime.combine(now.date() + timedelta(days=1), time(), UTC) - now
