"""The whole system as real processes: PostgreSQL, Redis, the sandbox, servers, workers, and a shop that listens."""

import asyncio
import socket
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
import tomli_w

from chaos.balancer import Balancer
from chaos.cache import Cache
from chaos.disk import Disk, small_disk
from chaos.listener import SECRET, Listener
from chaos.plan import PRICES, PRODUCT
from chaos.postgres import Postgres
from chaos.process import ROLES
from chaos.psps import PSPS, Psps
from chaos.service import Service
from qirsh_sandbox import credentials

SERVERS: Final = 2
WORKERS: Final = 2
OPERATOR_KEY: Final = "operator-key-of-the-chaos"
OPERATOR: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
TIMEOUT: Final = aiohttp.ClientTimeout(total=20)
"""A page gives up a call after this; whoever is frozen answers nothing at all."""


@dataclass
class System:
    """Everything that runs, and where it is."""

    folder: Path
    config: Path
    public_url: str
    postgres: Postgres
    cache: Cache | None
    disk: Disk | None
    sandbox: Service
    psps: Psps
    listener: Listener
    servers: list[Service]
    workers: list[Service]
    server_urls: list[str]
    session: aiohttp.ClientSession
    lacking: list[str] = field(default_factory=list)
    """What could not be had on this machine, in sentences."""

    @property
    def orders(self) -> Path:
        """Where orders to die are left, a folder a role."""
        return self.folder / "orders"

    @property
    def services(self) -> Sequence[Service]:
        """The processes of Qirsh itself."""
        return (*self.servers, *self.workers)

    async def compare_daily(self) -> None:
        """From now on the workers compare the books once a day. Before, nothing hides what news alone did not tell."""
        keys = tomllib.loads(self.config.read_text())
        self.config.write_text(tomli_w.dumps({**keys, "reconcile_daily": True}))
        for worker in self.workers:
            await worker.restart()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection to the database, as somebody who only looks."""
        connection = await asyncpg.connect(self.postgres.url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def ready(self, seconds: float = 60.0) -> None:
        """Wait until every server answers and reaches the database.

        Raises:
            TimeoutError: one does not.
        """
        async with asyncio.timeout(seconds):
            for url in self.server_urls:
                while not await self._is_ready(url):  # noqa: ASYNC110  another process, which signals nothing
                    await asyncio.sleep(0.1)

    async def _is_ready(self, url: str) -> bool:
        try:
            async with self.session.get(f"{url}/health/ready") as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def system(folder: Path, *, on_small_disk: bool) -> AsyncIterator[System]:
    """Start everything; with `on_small_disk`, the database on a disk that can be filled, where this machine lets us.

    Raises:
        NotReadyError, EmbeddedPostgresError: something does not come up.
    """
    ports = [_free_port() for _ in range(SERVERS)]
    public_url, sandbox_url = f"http://127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}"
    lacking: list[str] = []
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "data", lacking)) if on_small_disk else None
        (folder / "data").mkdir(exist_ok=True)
        for role in ROLES.values():
            (folder / "orders" / role).mkdir(parents=True)
        postgres = Postgres(folder / "data" / "postgres")
        stack.push_async_callback(postgres.stop)
        await postgres.start()
        cache = await stack.enter_async_context(Cache.running(folder, _free_port(), lacking))
        listener = Listener()
        await stack.enter_async_context(listener.listening())
        await stack.enter_async_context(Balancer(ports).listening(int(public_url.rpartition(":")[2])))
        psps = Psps(sandbox_url)
        stack.push_async_callback(psps.aclose)
        session = aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=500, force_close=True))
        stack.push_async_callback(session.close)
        config = _write_config(folder, postgres.url, public_url, sandbox_url, listener.url, cache.url if cache else "")

        async def start(name: str, *command: str) -> Service:
            service = Service(name, command, folder / f"{name}.log", {"QIRSH_CONFIG": str(config)})
            if command[0] in ROLES:
                service.always = ("--orders", str(folder / "orders"))
            stack.push_async_callback(service.stop)
            await service.start()
            return service

        sandbox = await start(
            *("sandbox", "sandbox", "--port", sandbox_url.rpartition(":")[2], "--data-dir", str(folder / "psps")),
            *(
                "--webhooks",
                f"{public_url}/api/payments/webhook-handler",
                "--returns",
                f"{public_url}/api/payments/return",
            ),
        )
        started = await asyncio.gather(
            *(start(f"api-{n}", "serve", "--port", str(port)) for n, port in enumerate(ports, 1)),
            *(start(f"worker-{n}", "worker") for n in range(1, WORKERS + 1)),
        )
        servers, workers = started[:SERVERS], started[SERVERS:]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        whole = System(
            folder,
            config,
            public_url,
            postgres,
            cache,
            disk,
            sandbox,
            psps,
            listener,
            servers,
            workers,
            urls,
            session,
            lacking,
        )
        await _put_product(whole)
        yield whole


def _write_config(
    folder: Path, database_url: str, public_url: str, sandbox_url: str, shop_url: str, redis_url: str
) -> Path:
    file = folder / "qirsh.toml"
    accounts = credentials(sandbox_url, folder / "psps")
    keys = {
        "dev": True,
        "reconcile_daily": False,
        "database_url": database_url,
        "redis_url": redis_url,
        "public_url": public_url,
        "sandbox_url": sandbox_url,
        "shop_origins": [public_url],
        "operator_key": OPERATOR_KEY,
        "fulfilment_url": shop_url,
        "fulfilment_secrets": [SECRET],
        **{name: accounts[name] for name in PSPS},
    }
    file.write_text(tomli_w.dumps(keys))
    return file


async def _put_product(whole: System) -> None:
    body = {"name": {"en": PRODUCT}, "prices": PRICES, "purchasable": True}
    url = f"{whole.server_urls[0]}/api/products/{PRODUCT}"
    async with whole.session.put(url, json=body, headers=OPERATOR) as response:
        response.raise_for_status()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
