"""A server's verbs and a worker's handlers over a real database, with a PSP and a clock that do what a test says."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from qirsh.actions import RedirectUrl
from qirsh.catalog import Product
from qirsh.clock import Clock
from qirsh.draft import DraftRequest, GatewayEvent, Kind, PaymentDraft
from qirsh.errors import GatewayOutcomeUnknown, GatewayUnavailable
from qirsh.gateways.base import (
    Delivery,
    Hint,
    Lookup,
    Profile,
    RefundOrder,
    Registration,
    SignaturePlace,
    Standing,
)
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.payments import Payments
from qirsh.routing import PaymentMethodRouter
from qirsh.store.connection import Pool, connect_pool
from qirsh.store.rows import Row
from qirsh.store.store import Store
from qirsh.work.lookup import look_up
from qirsh.work.worker import LEASE

PSP: Final = "scripted"
AMOUNT: Final = Money(30_000, "EGP")

Books = Standing | type[Exception]


@dataclass
class Scripted:
    """A PSP that says what it is told to say, for ever the last of it."""

    looks: Sequence[Books] = (Standing.OPEN,)
    captures: type[Exception] | None = GatewayOutcomeUnknown
    registers: type[Exception] | None = None
    refunds: type[Exception] | None = GatewayOutcomeUnknown
    keyed: bool = True
    approved: bool = False
    paid: bool = False
    tells: Callable[[PaymentDraft], Lookup] | None = None
    """What its books say, in place of all that."""
    meanwhile: Callable[[PaymentDraft], Awaitable[object]] | None = None
    """What happens elsewhere once its books were read, and before its answer is heard."""
    asked: int = 0
    cancels: type[Exception] | None = None
    cancelled: int = 0

    @property
    def profile(self) -> Profile:
        """Cards for an hour and kiosks for two days, in pounds."""
        return Profile(
            name=PSP,
            methods=frozenset({Method.CARD, Method.KIOSK}),
            currencies=frozenset({"EGP"}),
            signature_place=SignaturePlace("header", "scripted-signature"),
            found_by="merchant_reference",
            idempotent_for=MappingProxyType({"refund": timedelta(hours=3)} if self.keyed else {}),
            partial_refunds=True,
            shows_refunds=False,
        )

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  the protocol's
        """Register, or fail."""
        if self.registers is not None:
            raise self.registers
        return Registration(f"order-{draft.id}", RedirectUrl("https://psp.example/pay", "redirect"))

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """The next of what it says."""
        says = self.looks[min(self.asked, len(self.looks) - 1)]
        self.asked += 1
        if self.meanwhile is not None:
            await self.meanwhile(draft)
        if self.tells is not None:
            return self.tells(draft)
        if isinstance(says, type):
            raise says
        if self.paid:
            return Lookup(Standing.CLOSED, [self.event(draft, Kind.PAID)])
        return Lookup(says, [self.event(draft, Kind.APPROVED)] if self.approved else [])

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:  # noqa: ARG002  as above
        """Not known, or not yet."""
        if self.captures is not None:
            raise self.captures
        self.approved = False
        return []

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:  # noqa: ARG002  as above
        """Not sent, not known, or taken and not done."""
        if self.refunds is not None:
            raise self.refunds
        return []

    async def cancel(self, draft: PaymentDraft) -> None:  # noqa: ARG002  as above
        """It has heard, and still calls it payable; or it has not."""
        if self.cancels is not None:
            raise self.cancels
        self.cancelled += 1

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Nothing is delivered here."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""

    @staticmethod
    def event(draft: PaymentDraft, kind: Kind) -> GatewayEvent:
        """A fact about a draft."""
        return GatewayEvent(
            kind=kind,
            gateway=PSP,
            event_id=f"{kind}-{draft.id}",
            draft_id=draft.id,
            amount=AMOUNT if kind is Kind.PAID else None,
            payment_reference=f"payment-{draft.id}" if kind is Kind.PAID else None,
        )


class Nobody:
    """Whom a change is told: the sweep here runs when the test says so."""

    def draft(self, draft_id: uuid.UUID) -> None:
        """Nobody waits."""

    def due(self) -> None:
        """Nobody sleeps."""


@dataclass
class Bench:
    """The verbs and the worker's handlers, over one database and one PSP."""

    store: Store
    payments: Payments
    clock: Clock
    psp: Scripted

    async def draft(self, method: Method = Method.CARD, order: str | None = None) -> uuid.UUID:
        """A new draft; whatever its registration came to."""
        request = DraftRequest(product_id="tshirt", amount="300", method=method, currency="EGP", order_reference=order)
        key = str(uuid.uuid4())
        try:
            await self.payments.initiate(request, key=key, fingerprint=b"f" * 32, admit=admit)
        except GatewayUnavailable:
            assert self.psp.registers is GatewayUnavailable
        found: uuid.UUID = await self.value("SELECT id FROM payment_drafts WHERE idempotency_key = $1", key)
        return found

    async def paid(self, order: str | None = None) -> uuid.UUID:
        """A draft that was paid, and of which nobody hears by itself."""
        draft_id = await self.draft(order=order)
        self.psp.paid = True
        await self.payments.reconciler.reconcile(draft_id)
        return draft_id

    async def row(self, draft_id: uuid.UUID) -> Row:
        """A draft as it stands."""
        row = await self.store.drafts.get(draft_id)
        assert row is not None
        return row

    async def wait(self, draft_id: uuid.UUID) -> timedelta | None:
        """How long until somebody asks about a draft; None: nobody will."""
        query = "SELECT next_check_at - now() - $2::interval FROM payment_drafts WHERE id = $1"
        found: timedelta | None = await self.value(query, draft_id, self.clock.offset)
        return found

    async def works_on(self, draft_id: uuid.UUID) -> None:
        """A worker leases a draft, due or not, and handles it."""
        query = "UPDATE payment_drafts SET next_check_at = now() + $2 + $3::interval WHERE id = $1 RETURNING version"
        version = await self.value(query, draft_id, self.clock.offset, LEASE)
        await look_up(self.payments, self.store, draft_id, version)

    async def value(self, query: str, *values: object) -> Any:
        """Ask the database."""
        return await self.store.pool.fetchval(query, *values)

    async def now(self) -> datetime:
        """The time that the rows are compared with."""
        moment: datetime = await self.value("SELECT now() + $1::interval", self.clock.offset)
        return moment


async def admit() -> None:
    """There is room for everybody."""


@asynccontextmanager
async def bench_over(database_url: str) -> AsyncIterator[Bench]:
    """A bench over this database, with one product."""
    psp, clock, pool = Scripted(), Clock(), Pool(await connect_pool(database_url))
    store = Store(pool, clock)
    await store.products.put(Product("tshirt", {"en": "T-shirt"}, {"EGP": 30_000}, purchasable=True))
    router = PaymentMethodRouter([psp.profile], {method: {"EGP": (PSP,)} for method in (Method.CARD, Method.KIOSK)})
    try:
        yield Bench(store, Payments(store, {PSP: psp}, router, clock, Nobody()), clock, psp)
    finally:
        await pool.aclose()
