"""The composition root: from settings to a running server or worker. Imports everything; nobody imports it."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from qirsh.clock import Clock
from qirsh.errors import GatewayError
from qirsh.gateways.base import Gateway, Surroundings
from qirsh.gateways.http import Effect, PspClient
from qirsh.gateways.registry import installed
from qirsh.metrics import CLOCK_OFFSET
from qirsh.payments import Payments
from qirsh.retention import daily
from qirsh.routing import PaymentMethodRouter
from qirsh.settings import Settings
from qirsh.store.changes import Publisher, Watch
from qirsh.store.connection import Pool, connect_pool
from qirsh.store.store import Store
from qirsh.work import handlers
from qirsh.work.fulfilment import Announcer
from qirsh.work.reconciliation import reconcile
from qirsh.work.worker import Worker

FOLLOW_SECONDS: Final = 0.25
"""How far behind the sandbox's clock `qirsh dev` and the tests may be."""

_JSON: Final = msgspec.json.Encoder(enc_hook=repr)

_log = structlog.get_logger("qirsh.app")


@dataclass(frozen=True, slots=True)
class Services:
    """What a process needs to serve or to work."""

    settings: Settings
    database_url: str
    clock: Clock
    store: Store
    gateways: dict[str, Gateway]
    router: PaymentMethodRouter
    payments: Payments
    watch: Watch
    worker: Worker


@asynccontextmanager
async def running(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    """Connect everything, keep its background tasks going, and close it all in reverse."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        pool = Pool(await connect_pool(database_url, max_size=settings.database_pool))
        stack.push_async_callback(pool.aclose)
        store = Store(pool, clock)
        surroundings = Surroundings(settings.public_url, settings.dev, clock.now)
        gateways = {}
        for name, credentials in settings.gateways.items():
            gateways[name] = installed()[name].make(credentials, surroundings)
            stack.push_async_callback(gateways[name].aclose)
        router = PaymentMethodRouter((gateway.profile for gateway in gateways.values()), settings.routes)
        publisher = Publisher(pool)
        payments = Payments(store, gateways, router, clock, publisher)
        announcer = None
        if settings.fulfilment_url or handlers.installed():
            secrets = [secret.get_secret_value() for secret in settings.fulfilment_secrets]
            allow_private = settings.dev or settings.fulfilment_allow_private
            announcer = Announcer(
                settings.fulfilment_url, secrets, allow_private=allow_private, handlers=handlers.installed()
            )
            stack.push_async_callback(announcer.aclose)
        jobs = {**daily(store, settings.retention)}
        if settings.reconcile_daily:
            jobs["reconciliation"] = partial(reconcile, payments.reconciler, clock)
        worker = Worker(database_url, store, payments, frozenset(gateways), announcer, jobs)
        watch = Watch(database_url, store.drafts, worker.nudge)
        if settings.sandbox_url:
            await _follow_once(clock, sandbox := PspClient(settings.sandbox_url, psp="sandbox", plain_http=True))
            stack.push_async_callback(sandbox.aclose)
            _background(stack, _follow(clock, sandbox, worker.nudge))
        _background(stack, publisher.run())
        _background(stack, watch.run())
        yield Services(settings, database_url, clock, store, gateways, router, payments, watch, worker)


def configure_logging(*, pretty: bool = False) -> None:
    """One JSON object a line on stderr; lines for people where a person watches."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    # asyncpg prints traces of lost connections; we say it ourselves, in one line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if pretty else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if pretty else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if pretty
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _json_line(_logger: object, _level: str, event: MutableMapping[str, Any]) -> bytes:
    """One line. What msgspec does not take, such as half a surrogate pair in a path, must not fail who logs it."""
    try:
        return _JSON.encode(event)
    except UnicodeError:
        return json.dumps(event, default=repr).encode()


def _background(stack: AsyncExitStack, work: object) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)


async def _follow(clock: Clock, sandbox: PspClient, moved: Callable[[], None]) -> None:
    """Follow the sandbox's clock: moving it forward moves everything, and what is due then is due at once."""
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        before = clock.offset
        await _follow_once(clock, sandbox)
        if clock.offset > before:
            moved()


async def _follow_once(clock: Clock, sandbox: PspClient) -> None:
    with suppress(GatewayError):
        answer = await sandbox.call("GET", "/__sandbox/clock", effect=Effect.READS)
        clock.offset = timedelta(seconds=answer["offset_seconds"])
        CLOCK_OFFSET.set(answer["offset_seconds"])
