"""The service itself, over a real database and PSPs in memory: its verbs, its worker, its clock, and its death."""

import asyncio
import hashlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import structlog
import uvloop
from property_gateways import KEY_LIFE, Cancelling, Capturing, Scripted
from property_psp import Books, Letters, Post, Script

from qirsh.catalog import Product
from qirsh.clock import Clock
from qirsh.draft import DraftRequest
from qirsh.methods import Method
from qirsh.payments import Initiated, Payments
from qirsh.routing import PaymentMethodRouter, Routes
from qirsh.store.connection import DriverPool, Pool, connect_pool
from qirsh.store.rows import Row, row_of
from qirsh.store.store import Due, Store
from qirsh.work.lookup import look_up
from qirsh.work.refund import advance
from qirsh.work.unmatched import join
from qirsh.work.worker import BATCH, LEASE

T = TypeVar("T")

REQUESTS: Final = (
    DraftRequest(product_id="tshirt", amount="300", method=Method.CARD, currency="EGP"),
    DraftRequest(product_id="tshirt", amount="300", method=Method.PAYPAL, currency="EGP"),
    DraftRequest(product_id="tshirt", amount="600", quantity=2, method=Method.KIOSK, currency="EGP"),
)
"""At alpha with gamma behind it, at beta, and at gamma for two days."""
ROUTES: Final[Routes] = MappingProxyType(
    {
        Method.CARD: {"EGP": ("alpha", "gamma")},
        Method.PAYPAL: {"EGP": ("beta",)},
        Method.KIOSK: {"EGP": ("gamma",)},
    }
)
LIVES: Final = MappingProxyType({"alpha": timedelta(days=3), "beta": timedelta(hours=6), "gamma": timedelta(days=5)})
"""How long orders can be paid: longer than their drafts live, and shorter than a draft that failed is looked up."""

# So few rows in so many partitions: a TRUNCATE, which takes files away, would cost forty times as much.
_EMPTY: Final = """DELETE FROM fulfilments; DELETE FROM refunds; DELETE FROM payment_events;
DELETE FROM webhook_deliveries; DELETE FROM unmatched_events; DELETE FROM webhook_events; DELETE FROM payment_drafts"""
_NEXT: Final = """SELECT min(next_check_at) FROM (SELECT next_check_at FROM payment_drafts
UNION ALL SELECT next_check_at FROM refunds UNION ALL SELECT next_check_at FROM unmatched_events) AS due"""


class Killed(BaseException):
    """Our process is gone, as after `kill -9`: no `except` of ours and no clean-up sees anything of it."""


class MortalPool(Pool):
    """Connections of a process that may die: once it has, no statement of its leaves any more."""

    def __init__(self, driver_pool: DriverPool) -> None:
        """Live on, until told."""
        super().__init__(driver_pool)
        self.statements_left: int | None = None
        """After so many the process dies; None: it lives."""

    async def borrow(self) -> Any:
        """A connection, for as long as the process lives."""
        if self.statements_left is not None:
            if not self.statements_left:
                raise Killed
            self.statements_left -= 1
        return await super().borrow()

    async def bury(self) -> None:
        """Give the driver back what the dead process had taken."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                await self._driver_pool.release(connection)


class Nobody:
    """Whom a change is told: the worker here runs when the test says so."""

    def draft(self, draft_id: UUID) -> None:
        """Nobody waits."""

    def due(self) -> None:
        """Nobody sleeps."""


@dataclass
class Process:
    """What one process of ours holds in memory, and loses when it dies."""

    pool: MortalPool
    store: Store
    payments: Payments


class Service:
    """The service, from one test's view."""

    def __init__(self, loop: asyncio.AbstractEventLoop, driver_pool: DriverPool) -> None:
        """Begin with an empty database."""
        self._loop = loop
        self._driver_pool = driver_pool
        self.clock = Clock()
        self.posts: list[Post] = []
        self.letters = Letters()
        self.script = Script(self.killed, self._race)
        self.gateways = {
            kind_name: kind(
                Books(kind_name, self.clock, LIVES[kind_name], KEY_LIFE, self.posts), self.script, self.letters
            )
            for kind_name, kind in (("alpha", Scripted), ("beta", Capturing), ("gamma", Cancelling))
        }
        self.router = PaymentMethodRouter((one.profile for one in self.gateways.values()), ROUTES)
        self.race: Any = None
        self.process = self._started()
        self.run(self._emptied())

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something to its end, or until the process dies; then another one stands there."""
        try:
            return self._loop.run_until_complete(work)
        except Killed:
            self.end()
            self.process = self._started()
            return None

    def end(self) -> None:
        """The process is gone, and the database has noticed."""
        self._loop.run_until_complete(self.process.pool.bury())

    def killed(self) -> Killed:
        """The process dies now."""
        self.process.pool.statements_left = 0
        return Killed()

    async def initiate(self, key: str, request: DraftRequest) -> Initiated:
        """Ask for a payment, as the API does."""
        return await self.process.payments.initiate(
            request, key=key, fingerprint=fingerprint(request), admit=_everybody
        )

    async def work(self) -> None:
        """A worker's sweep, and every job of it."""
        store, payments = self.process.store, self.process.payments
        for one in await self._leased("drafts"):
            await look_up(payments, store, one.id, one.version)
        for one in await self._leased("unmatched"):
            await join(payments.fold, store, one.id, one.version)
        for one in await self._leased("refunds"):
            await advance(payments.refunder, store, one.id, one.version)

    async def rows(self) -> dict[str, Row]:
        """Every draft, by its idempotency key."""
        records = await self._driver_pool.fetch("SELECT * FROM payment_drafts ORDER BY id")
        return {record["idempotency_key"]: row_of(record) for record in records}

    async def fetch(self, query: str) -> list[Any]:
        """Look into the database."""
        return list(await self._driver_pool.fetch(query))

    async def next_due(self) -> datetime | None:
        """When anything is to be done next."""
        due: datetime | None = await self._driver_pool.fetchval(_NEXT)
        return due

    async def _leased(self, kind: Literal["drafts", "unmatched", "refunds"]) -> list[Due]:
        store = self.process.store
        async with store.transaction() as connection:
            return await store.lease_due(connection, kind, LEASE, BATCH, self.gateways)

    async def _race(self, *what: Any) -> None:
        await self.race(*what)

    async def _emptied(self) -> None:
        await self._driver_pool.execute(_EMPTY)
        product = Product("tshirt", {"en": "T-shirt"}, {"EGP": 30_000}, purchasable=True)
        await self.process.store.products.put(product)

    def _started(self) -> Process:
        pool = MortalPool(self._driver_pool)
        store = Store(pool, self.clock)
        return Process(pool, store, Payments(store, self.gateways, self.router, self.clock, Nobody()))


class Home:
    """What all services of a test share: the loop, the connections to one database, and silence."""

    def __init__(self, database_url: str) -> None:
        """Connect."""
        # The servers' own. A Runner would set and reset handlers of signals for each of fifteen thousand acts.
        self._loop = uvloop.new_event_loop()
        self._driver_pool = self._loop.run_until_complete(connect_pool(database_url, max_size=10))
        self._logging = structlog.get_config()
        # Hundreds of lives are lived here, and each line of their logs would be kept.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def service(self) -> Service:
        """A service with an empty database."""
        return Service(self._loop, self._driver_pool)

    def close(self) -> None:
        """Give everything back."""
        structlog.configure(**self._logging)
        self._loop.run_until_complete(self._driver_pool.close())
        self._loop.close()


def fingerprint(request: DraftRequest) -> bytes:
    """What tells one request from another."""
    return hashlib.sha256(repr(request).encode()).digest()


async def _everybody() -> None:
    """No limit."""
