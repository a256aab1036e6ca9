"""The contenders of a run: each a server in one process with a database of its own, all at one PSP."""

import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import tomli_w

from bench.machine import Server, command, python, started, tool
from bench.psp import INTEGRATION
from bench.rows import HMAC_SECRET, put_product
from qirsh.store.connection import Connection
from qirsh.store.embedded import EmbeddedPostgres
from qirsh.store.migrate import migrate

POSTGRES: Final = {
    "shared_buffers": "2GB",
    "max_connections": "200",
    "max_wal_size": "8GB",  # so that a check-point in the middle of one round is not one contender's bad luck
    "checkpoint_timeout": "30min",
}
"""How a shop with some millions of payments would set it. Commits wait for the disk, as money must."""

OPERATOR_KEY: Final = "operator-key-of-the-bench"


@dataclass(frozen=True, slots=True)
class Contender:
    """One server, or several over one database, to be measured."""

    name: str
    servers: Sequence[Server]
    database_url: str
    replay_path: str = "/api/payments/initiate"

    @property
    def server(self) -> Server:
        """The first, which is asked while a work is prepared."""
        return self.servers[0]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection to its database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Ground:
    """Where contenders meet: a PostgreSQL, a PSP, and a folder for files and logs."""

    folder: Path
    database_url: str
    psp: Server

    async def database(self, name: str) -> str:
        """A new database with Qirsh's schema and the one product."""
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        finally:
            await connection.close()
        url = self.database_url.replace("/qirsh?", f"/{name}?")
        await migrate(url)
        await put_product(url)
        return url

    def delay(self, milliseconds: int) -> None:
        """Let the PSP think before it answers a registration."""
        httpx.get(f"{self.psp.url}/__delay", params={"milliseconds": milliseconds}).raise_for_status()

    @contextmanager
    def qirsh(self, database_url: str, *, redis_url: str = "") -> Iterator[Server]:
        """`qirsh serve` as in production: everything on, JSON logs to a file; only the PSP talks plain http."""
        config = self.folder / f"qirsh-{len(list(self.folder.iterdir()))}.toml"
        config.write_text(
            tomli_w.dumps(
                {
                    "dev": True,
                    "limits": {"drafts_per_minute": 60, "prompts_per_10_minutes": 5},
                    "database_url": database_url,
                    "redis_url": redis_url,
                    "public_url": "http://127.0.0.1:8000",
                    "shop_origins": ["https://shop.example"],
                    "operator_key": OPERATOR_KEY,
                    "paymob": {
                        "flow": "intention",
                        "api_key": "api-key-of-the-bench",
                        "secret_key": "secret-key-of-the-bench",
                        "public_key": "public-key-of-the-bench",
                        "hmac_secret": HMAC_SECRET,
                        "card_integration_id": INTEGRATION,
                        "base_url": self.psp.url,
                    },
                }
            )
        )
        serve = [command("qirsh"), "serve", "--port", "0"]
        with started(serve, self.folder / "qirsh.log", {"QIRSH_CONFIG": str(config), "COLUMNS": "200"}) as server:
            yield server

    @contextmanager
    def other(self, module: str, database_url: str, *options: str) -> Iterator[Server]:
        """A contender of this package."""
        told = ["--database-url", database_url, "--psp-url", self.psp.url, *options]
        serve = [python(), "-m", f"bench.{module}", *told]
        with started(serve, self.folder / f"{module}.log") as server:
            yield server


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """A PostgreSQL and a PSP."""
    with (
        EmbeddedPostgres(folder / "postgres", POSTGRES) as database_url,
        started([python(), "-m", "bench.psp"], folder / "psp.log") as psp,
    ):
        yield Ground(folder, database_url, psp)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis of the run's own, as a URL.

    Raises:
        MissingToolError: it is not installed.
    """
    socket = folder / "redis.sock"
    process = subprocess.Popen(  # noqa: S603  our own arguments
        [tool("redis-server", "redis-server"), "--port", "0", "--unixsocket", str(socket), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not socket.exists():
            if process.poll() is not None:
                raise RuntimeError("redis-server ended while it started.")
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()
