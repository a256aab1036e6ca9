"""The worker: a sweep that finds due rows and enqueues them, and PgQueuer, which runs them with limits."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import msgspec
import structlog

from qirsh.fault_points import Step, reached
from qirsh.payments import Payments
from qirsh.store.connection import DriverPool, close_pool, connect_pool
from qirsh.store.drafts import SOON
from qirsh.store.store import Store
from qirsh.work.daily import Job as DailyJob
from qirsh.work.daily import run_daily
from qirsh.work.fulfilment import Announcer
from qirsh.work.lookup import look_up
from qirsh.work.refund import advance
from qirsh.work.unmatched import join

if TYPE_CHECKING:
    from pgqueuer.models import Job

SWEEP_SECONDS: Final = 5.0
"""How late a due row may be found when no hint arrives."""
LEASE: Final = SOON
"""Longer than any handler takes; a row that is not finished by then comes due again."""
BATCH: Final = 200
PER_PSP: Final = 10
"""Look-ups at one PSP at a time, over all workers."""
SHOP: Final = 20
"""Announcements at a time, over all workers."""
DAILY: Final = 4
"""Kinds of daily work at a time, over all workers."""
STOP_SECONDS: Final = 5.0
RESTART_SECONDS: Final = 1.0
"""The pause before the queue is connected again after the database went away."""

Kind = Literal["drafts", "unmatched", "refunds", "fulfilments", "daily"]
Handler = Callable[[UUID, int], Awaitable[None]]

_PER_GATEWAY: Final = frozenset({"drafts", "refunds"})

_log = structlog.get_logger("qirsh.work")


class Ticket(msgspec.Struct):
    """A job's whole payload: which row, and at which version it was found due."""

    id: UUID
    version: int


class Worker:
    """Runs due work until stopped. Any number of workers may run, on any number of machines."""

    def __init__(
        self,
        database_url: str,
        store: Store,
        payments: Payments,
        gateways: frozenset[str],
        announcer: Announcer | None,
        daily: Mapping[str, DailyJob],
    ) -> None:
        """Work on the store; without an announcer, fulfilments wait for a worker that has one.

        `daily` is what one of the workers does once a day, by name.
        """
        self._database_url = database_url
        self._store = store
        self._gateways = gateways
        self._daily = daily
        self._handlers: dict[str, tuple[Handler, int]] = {
            "unmatched": (lambda row_id, version: join(payments.fold, store, row_id, version), PER_PSP),
            "daily": (lambda row_id, version: run_daily(daily, store, row_id, version), DAILY),
        }
        for gateway in gateways:
            self._handlers[f"drafts.{gateway}"] = (
                lambda row_id, version: look_up(payments, store, row_id, version),
                PER_PSP,
            )
            self._handlers[f"refunds.{gateway}"] = (
                lambda row_id, version: advance(payments.refunder, store, row_id, version),
                PER_PSP,
            )
        self._kinds: tuple[Kind, ...] = ("drafts", "unmatched", "refunds", "daily")
        if announcer is not None:
            self._handlers["fulfilments"] = (
                lambda row_id, version: announcer.announce(store, row_id, version),
                SHOP,
            )
            self._kinds = (*self._kinds, "fulfilments")
        self._due = asyncio.Event()

    def nudge(self) -> None:
        """Something is due at once: sweep now."""
        self._due.set()

    async def run(self) -> None:
        """Sweep and run jobs until cancelled; the database may go away and come back."""
        while True:
            try:
                await self._connected()
            except Exception as error:  # noqa: BLE001  whatever it was, work that stops for good is worse
                _log.error("queue_lost", error=type(error).__name__)
                await asyncio.sleep(RESTART_SECONDS)

    async def _connected(self) -> None:
        from pgqueuer import PgQueuer  # noqa: PLC0415  a server has a worker that it never runs, and this takes long

        await self._store.daily.plan(self._daily)
        pool = await connect_pool(self._database_url, min_size=2, max_size=4, search_path="pgqueuer, public")
        queue = PgQueuer.from_asyncpg_pool(pool)
        for name, (handler, limit) in self._handlers.items():
            queue.entrypoint(name, concurrency_limit=limit, on_failure="hold")(_job(name, handler))
        sweeping = asyncio.create_task(self._sweep_for_ever(pool))
        running = asyncio.create_task(queue.qm.run(dequeue_timeout=timedelta(seconds=SWEEP_SECONDS)))
        try:
            done, _ = await asyncio.wait({sweeping, running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            queue.shutdown.set()
            sweeping.cancel()
            # Jobs under way may finish; what is cut off comes due again when its lease ends.
            await asyncio.wait({sweeping, running}, timeout=STOP_SECONDS)
            running.cancel()
            await asyncio.gather(sweeping, running, return_exceptions=True)
            await close_pool(pool)

    async def _sweep_for_ever(self, pool: DriverPool) -> None:
        while True:
            self._due.clear()
            while await self._sweep(pool):
                pass  # a full batch: there may be more
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._due.wait()

    async def _sweep(self, pool: DriverPool) -> bool:
        """Lease what is due and enqueue it, in one transaction a kind; whether there may be more."""
        from pgqueuer.db import AsyncpgDriver  # noqa: PLC0415  as above
        from pgqueuer.queries import Queries  # noqa: PLC0415

        more = False
        for kind in self._kinds:
            async with pool.acquire() as connection, connection.transaction():
                names = self._daily if kind == "daily" else self._gateways
                due = await self._store.lease_due(connection, kind, LEASE, BATCH, names)
                if due:
                    reached(Step.SWEEP_LEASED)
                    await Queries(AsyncpgDriver(connection)).enqueue(  # type: ignore[arg-type]
                        [self._name(kind, one.gateway) for one in due],
                        [msgspec.json.encode(Ticket(one.id, one.version)) for one in due],
                        [0] * len(due),
                        dedupe_key=[f"{kind}:{one.id}:{one.version}" for one in due],
                        on_conflict="skip",
                    )
                more = more or len(due) == BATCH
        return more

    @staticmethod
    def _name(kind: Kind, gateway: str) -> str:
        return f"{kind}.{gateway}" if kind in _PER_GATEWAY else kind


def _job(name: str, handler: Handler) -> "Callable[[Job], Awaitable[None]]":
    async def run(job: "Job") -> None:
        """Run one job. It never raises: PgQueuer would keep the exception's text, and our row knows when to retry."""
        ticket = msgspec.json.decode(job.payload or b"", type=Ticket)
        reached(Step.WORKER_TAKEN)
        try:
            await handler(ticket.id, ticket.version)
        except Exception as error:  # noqa: BLE001  the row comes due again when its lease ends
            _log.error("job_failed", work=name, id=str(ticket.id), error=type(error).__name__)

    return run
