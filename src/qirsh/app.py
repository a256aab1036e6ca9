"""The composition root: from settings to a running server or worker. Imports everything; nobody imports it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from qirsh import fault_points
from qirsh.clock import Clock
from qirsh.database import database
from qirsh.errors import GatewayError
from qirsh.gateways.base import Gateway, Surroundings
from qirsh.gateways.http import Effect, PspClient
from qirsh.gateways.registry import installed
from qirsh.metrics import CLOCK_OFFSET
from qirsh.payments import Payments
from qirsh.retention import daily
from qirsh.routing import PaymentMethodRouter
from qirsh.settings import ConfigurationError, Settings
from qirsh.store.changes import Publisher, Watch
from qirsh.store.checkup import check_up
from qirsh.store.connection import Pool, connect_pool
from qirsh.store.migrate import MigrationError
from qirsh.store.store import Store
from qirsh.work import handlers
from qirsh.work.fulfilment import Announcer
from qirsh.work.reconciliation import reconcile
from qirsh.work.worker import Worker

FOLLOW_SECONDS: Final = 0.25
"""How far behind the sandbox's clock `qirsh dev` and the tests may be."""

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


def refuse_fault_points(settings: Settings) -> None:
    """Nothing may be registered to fail where real money moves.

    Raises:
        ConfigurationError: something is.
    """
    if not settings.dev and (steps := fault_points.registered()):
        raise ConfigurationError(f"Fault points are registered ({', '.join(sorted(steps))}): they are for tests alone.")


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
