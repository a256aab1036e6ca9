"""`qirsh serve`: the HTTP API until a signal."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from litestar import Litestar

from qirsh.api.app import create_app
from qirsh.api.cache import AnswerCache, ProcessCache, SharedCache
from qirsh.api.clients import Clients
from qirsh.api.limits import Limits, ProcessCounter, SharedCounter
from qirsh.app import refuse_fault_points, running
from qirsh.database import database
from qirsh.garbage import settle
from qirsh.process import for_ever
from qirsh.settings import Settings
from qirsh.store.migrate import migrate

if TYPE_CHECKING:
    from redis.asyncio import Redis

DRAIN_SECONDS: Final = 5
"""How long answers under way may take when the server stops; a claim that is cut off lapses by itself."""
BACKLOG: Final = 2048


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: several run in one process here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: Litestar, host: str, port: int, trusted_proxies: Sequence[str]) -> AsyncIterator[int]:
    """The application, answering from here on; yields its port, which the system chooses when asked for port 0.

    A connection from a trusted proxy counts as one from the last address in X-Forwarded-For that is no such proxy:
    what a client itself wrote there stands before it and is not read.

    Raises:
        OSError: the port is taken.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),  # said here, or uvicorn would read it off the environment
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config)
    listener = _bound(host, port)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise OSError(f"The server on port {port} ended while it started.")
            await asyncio.sleep(0.005)
        settle()
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def cached(settings: Settings) -> AsyncIterator[AnswerCache]:
    """The cache of finished answers: in Redis or Valkey when configured, in this process otherwise."""
    redis = _redis(settings)
    if redis is None:
        yield ProcessCache()
        return
    from litestar.stores.redis import RedisStore  # noqa: PLC0415  as in `_redis`

    try:
        yield SharedCache(RedisStore(redis, namespace="QIRSH"))
    finally:
        await redis.aclose()


@asynccontextmanager
async def limiting(settings: Settings) -> AsyncIterator[Limits]:
    """The limits in force, counted in Redis or Valkey when configured, in this process otherwise."""
    redis = _redis(settings)
    try:
        yield Limits(
            ProcessCounter() if redis is None else SharedCounter(redis),
            Clients(settings.trusted_proxies),
            drafts_per_minute=settings.drafts_per_minute,
            prompts_per_10_minutes=settings.prompts_per_10_minutes,
            secret=settings.operator_key.get_secret_value(),
        )
    finally:
        if redis is not None:
            await redis.aclose()


async def serve(settings: Settings, data_dir: Path, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve HTTP until a signal."""
    refuse_fault_points(settings)
    async with database(settings, data_dir) as url, cached(settings) as cache, limiting(settings) as limits:
        await migrate(url)
        app = create_app(settings, lambda: running(settings, url), cache, limits)
        async with listening(app, host, port, settings.trusted_proxies) as bound:
            ready(bound)
            await for_ever()


def _redis(settings: Settings) -> "Redis | None":
    """A client of the configured Redis or Valkey, if one is."""
    url = settings.redis_url.get_secret_value()
    if not url:
        return None
    from redis.asyncio import Redis  # noqa: PLC0415  a tenth of a second, which most servers have no use for

    return Redis.from_url(url, socket_connect_timeout=1)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"Port {port} on {host} cannot be used ({error.strerror}): choose another with --port.") from None
