"""Running processes: the HTTP server and the worker until a signal, and `qirsh dev`, which is all of it at once."""

import asyncio
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from litestar import Litestar
from litestar.stores.redis import RedisStore
from prometheus_client import start_http_server
from redis.asyncio import Redis

from qirsh import fault_points
from qirsh.api.app import create_app
from qirsh.api.cache import AnswerCache, ProcessCache, SharedCache
from qirsh.api.clients import Clients
from qirsh.api.limits import Limits, ProcessCounter, SharedCounter
from qirsh.app import Services, running
from qirsh.garbage import settle
from qirsh.settings import ConfigurationError, Settings
from qirsh.store.checkup import check_up
from qirsh.store.embedded import EmbeddedPostgres
from qirsh.store.migrate import MigrationError, migrate

DRAIN_SECONDS: Final = 5
"""How long answers under way may take when the server stops; a claim that is cut off lapses by itself."""
BACKLOG: Final = 2048


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: several run in one process here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def database(settings: Settings, data_dir: Path) -> AsyncIterator[str]:
    """The database's URL: the configured one, or the embedded PostgreSQL in the data dir, started when needed."""
    if url := settings.database_url.get_secret_value():
        yield url
        return
    embedded = EmbeddedPostgres(data_dir)
    starting = asyncio.create_task(asyncio.to_thread(embedded.start))
    try:
        yield await asyncio.shield(starting)
    finally:
        await asyncio.wait({starting})  # a signal while it starts: what is half started must be stopped as well
        await asyncio.to_thread(embedded.stop)


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
    url = settings.redis_url.get_secret_value()
    if not url:
        yield ProcessCache()
        return
    redis = Redis.from_url(url, socket_connect_timeout=1)
    try:
        yield SharedCache(RedisStore(redis, namespace="QIRSH"))
    finally:
        await redis.aclose()


@asynccontextmanager
async def limiting(settings: Settings) -> AsyncIterator[Limits]:
    """The limits in force, counted in Redis or Valkey when configured, in this process otherwise."""
    url = settings.redis_url.get_secret_value()
    redis = Redis.from_url(url, socket_connect_timeout=1) if url else None
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
    _refuse_fault_points(settings)
    async with database(settings, data_dir) as url, cached(settings) as cache, limiting(settings) as limits:
        await migrate(url)
        app = create_app(settings, lambda: running(settings, url), cache, limits)
        async with listening(app, host, port, settings.trusted_proxies) as bound:
            ready(bound)
            await for_ever()


async def work(
    settings: Settings, data_dir: Path, metrics_port: int | None, ready: Callable[[int | None], None]
) -> None:
    """Do due work until a signal, and show its metrics to this machine where a port is named for them.

    Raises:
        OSError: that port is taken.
    """
    _refuse_fault_points(settings)
    async with database(settings, data_dir) as url:
        await migrate(url)
        with measured(metrics_port) as bound:
            async with running(settings, url) as services, working(services):
                ready(bound)
                await for_ever()


@contextmanager
def measured(port: int | None) -> Iterator[int | None]:
    """Metrics in Prometheus' text format, on loopback alone: a worker has no operator key to ask for.

    Yields the port, which the system chooses when asked for port 0.

    Raises:
        OSError: the port is taken.
    """
    if port is None:
        yield None
        return
    server, thread = start_http_server(port, "127.0.0.1")
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def connected(settings: Settings, data_dir: Path) -> AsyncIterator[Services]:
    """What a command needs that asks and ends, without a worker.

    Raises:
        MigrationError: the database is not of this release.
    """
    async with database(settings, data_dir) as url:
        if missing := (await check_up(url)).missing:
            raise MigrationError(f"The database is not migrated ({', '.join(missing)}): run `qirsh migrate`.")
        async with running(settings, url) as services:
            yield services


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """The worker, running from here on."""
    task = asyncio.create_task(services.worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def for_ever() -> None:
    """Go on until a signal ends this process's main; everything around it is then closed in reverse."""
    await asyncio.Event().wait()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main under uvloop until it ends or a signal comes, at whatever moment: also while it starts."""
    _allow_many_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signal(main))


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)  # a second one changes nothing: it is stopping already
    task, stopped = asyncio.create_task(main), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _allow_many_connections() -> None:
    """Use as many open files as the system lets this process have: each waiting client is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls more than it gives "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _refuse_fault_points(settings: Settings) -> None:
    """Nothing may be registered to fail where real money moves."""
    if not settings.dev and (steps := fault_points.registered()):
        raise ConfigurationError(f"Fault points are registered ({', '.join(sorted(steps))}): they are for tests alone.")


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"Port {port} on {host} cannot be used ({error.strerror}): choose another with --port.") from None
