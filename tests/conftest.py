"""Fixtures: one PostgreSQL and one running world per test process, one clean start per test."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import asyncpg
import httpx
import pytest

from qirsh.store.embedded import EmbeddedPostgres
from qirsh.store.migrate import migrate
from world import QIRSH, Process, Shop, World, free_port, shop_listening, write_config


class NewDatabase(Protocol):
    """Makes a database and returns its URL."""

    async def __call__(self, *, migrated: bool = True) -> str:
        """Migrated, or empty."""
        ...


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
async def empty_database_url(new_database: NewDatabase) -> str:
    """A database without a schema."""
    return await new_database(migrated=False)


@pytest.fixture(scope="session")
def running_world(scratch: Path, new_database: NewDatabase) -> Iterator[World]:
    """The sandbox, the API and a worker, each a process, with a shop that listens. Its client is not to be used."""
    database_url = asyncio.run(new_database())
    api, sandbox = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        shop = stack.enter_context(shop_listening())
        config = write_config(
            scratch / "qirsh.toml",
            database_url=database_url,
            api=api,
            sandbox=sandbox,
            shop_url=shop.url,
            trust_file=scratch / "psp" / "paypal-ca.pem",
        )
        environment = {"QIRSH_CONFIG": str(config)}
        psp = Process(
            *(QIRSH, "sandbox", "--port", sandbox.rpartition(":")[2], "--data-dir", str(scratch / "psp")),
            *("--webhooks", f"{api}/api/payments/webhook-handler", "--returns", f"{api}/api/payments/return"),
        )
        stack.callback(psp.stop)
        psp.wait_ready()
        server = Process(QIRSH, "serve", "--port", api.rpartition(":")[2], environment=environment)
        stack.callback(server.stop)
        worker = Process(QIRSH, "worker", environment=environment)
        stack.callback(worker.stop)
        server.wait_ready()
        worker.wait_ready()
        yield World(api, sandbox, database_url, shop, config, httpx.AsyncClient())


@pytest.fixture
async def world(running_world: World) -> AsyncIterator[World]:
    """The running world with no faults left over, its product as it was, and a client of the test's own."""
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=400)) as client:
        world = replace(running_world, client=client)
        await world.heal()
        await world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
        world.shop.status = 200
        yield world
        await world.heal()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop of the test's own."""
    with shop_listening() as listening:
        yield listening
