"""What the payment server does, as the specification tells it: initiate, receive, come back, status."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import msgspec
import structlog

from qirsh.capture import Collector
from qirsh.catalog import Product, priced
from qirsh.clock import Clock
from qirsh.codes import Codes
from qirsh.draft import UNPAID, DraftRequest, PaymentDraft, State
from qirsh.errors import (
    DraftNotFound,
    FulfilmentNotFound,
    GatewayError,
    GatewayRejected,
    IdempotencyConflict,
    RequestInProgress,
    WebhookNotAuthentic,
)
from qirsh.fault_points import Step, reached
from qirsh.fold import Changes, Fold
from qirsh.gateways.base import Delivery, Gateway, ReadsReturn, deadline
from qirsh.methods import METHODS
from qirsh.metrics import WEBHOOKS
from qirsh.reconciliation import FAILED_FOR, Reconciler
from qirsh.refunds import Refunder
from qirsh.registration import PSP_SECONDS, Registrar
from qirsh.reviews import Reviews
from qirsh.routing import PaymentMethodRouter
from qirsh.store.connection import new_id
from qirsh.store.fulfilments import Fulfilment
from qirsh.store.inbox import Heard
from qirsh.store.rows import Row
from qirsh.store.store import Store

RETURN_SECONDS: Final = 5.0
"""How long a payer who comes back waits for the look-up before being sent on; the sweep asks again."""

_log = structlog.get_logger("qirsh.payments")


@dataclass(frozen=True, slots=True)
class Initiated:
    """An answer to initiate, to be read off the row. `pending`: the PSP's answer is not known yet."""

    row: Row
    replayed: bool


class Payments:
    """The payment server's verbs."""

    def __init__(
        self,
        store: Store,
        gateways: Mapping[str, Gateway],
        router: PaymentMethodRouter,
        clock: Clock,
        changes: Changes,
    ) -> None:
        """Serve the configured gateways by the router's order."""
        self._store = store
        self._gateways = gateways
        self._router = router
        self._clock = clock
        self._changes = changes
        self._returns: dict[UUID, asyncio.Task[Row]] = {}
        self.fold = Fold(store, changes)
        self.registrar = Registrar(store, self.fold, gateways, router, clock)
        self.collector = Collector(store, self.fold, self.registrar)
        self.refunder = Refunder(store, self.registrar, clock, changes)
        self.reconciler = Reconciler(store, self.registrar, self.collector, self.refunder, clock)
        self.reviews = Reviews(store, self.fold)
        self.codes = Codes(store, self.fold, self.registrar, changes)

    async def initiate(
        self, request: DraftRequest, *, key: str, fingerprint: bytes, admit: Callable[[], Awaitable[None]]
    ) -> Initiated:
        """Make one payment draft for this key, registered once, and answer from its row.

        `admit` is asked before the first row of a key is written, and raises where there are too many.

        Raises:
            CallerError: the request cannot be served, or belongs to another key's request, or still runs.
            GatewayRejected: the PSP refused; the same key hears the same.
            GatewayUnavailable, GatewayMisconfigured: nothing was sent; the same key tries again.
        """
        claim, pool = uuid4(), self._store.pool
        row, product = await self._store.drafts.find_for_initiate(pool, key, request.product_id)
        if row is None:
            draft = self._drafted(request, product)
            await admit()  # it may ask a counter elsewhere, and no connection waits for that
        elif settled := _settled(row, fingerprint):
            return settled
        else:
            draft = row.draft
        lifetime = METHODS[request.method].lifetime
        # Begun before the claim, so that a server that was frozen since then asks nobody under a claim that lapsed.
        with deadline(PSP_SECONDS):
            row = await self._store.drafts.claim(
                pool, draft, key=key, fingerprint=fingerprint, claim=claim, lifetime=lifetime
            )
            if settled := _settled(row, fingerprint):
                return settled
            if row.claimed_by is None:
                return Initiated(row, replayed=False)  # its life is over: the sweep asks the PSP once more and ends it
            if row.claimed_by != claim:
                raise RequestInProgress(retry_after_seconds=1)
            reached(Step.INITIATE_CLAIMED)
            row = await self.registrar.register(row, claim)
        reached(Step.INITIATE_FOLDED)
        return _settled(row, fingerprint, replayed=False) or Initiated(row, replayed=False)

    async def receive(self, delivery: Delivery, gateway_name: str | None) -> list[str]:
        """Take a webhook: verified first, then each of its facts in a transaction of its own. Returns their verdicts.

        Raises:
            WebhookNotAuthentic: unsigned, wrongly signed, or from no PSP we know.
            WebhookMalformed: it cannot be parsed.
        """
        gateway = self._gateways.get(gateway_name) if gateway_name else self._recognised(delivery)
        if gateway is None:
            raise WebhookNotAuthentic("No configured gateway signs like this.")
        place = gateway.profile.signature_place
        delivery = replace(delivery, signature_header=place.name if place.kind == "header" else None)
        facts = await gateway.read_webhook(delivery)
        reached(Step.WEBHOOK_VERIFIED)
        verdicts = []
        for fact in facts:
            verdict = await self.fold.deliver(fact, delivery)
            reached(Step.WEBHOOK_FOLDED)
            verdicts.append(verdict)
            WEBHOOKS.labels(fact.gateway, verdict).inc()
            _log.info("delivery", gateway=fact.gateway, event_id=fact.event_id, verdict=verdict)
        if not facts:
            # Its body may hold what nobody here has a use for: a saved card's token, say.
            ignored = Heard(gateway.profile.name, None, delivery, keep_body=False)
            await self._store.inbox.record_delivery(self._store.pool, ignored, draft_id=None, verdict="ignored")
        return verdicts or ["ignored"]

    async def status(self, draft_id: UUID) -> Row:
        """A draft as it stands.

        Raises:
            DraftNotFound: there is none.
        """
        row = await self._store.drafts.get(draft_id)
        if row is None:
            raise DraftNotFound
        return row

    async def announce_again(self, fulfilment_id: UUID) -> Fulfilment:
        """Tell the shop once more, under the same id, whether it had taken the announcement or never did.

        Raises:
            FulfilmentNotFound: there is no such announcement.
        """
        fulfilment = await self._store.fulfilments.replay(fulfilment_id)
        if fulfilment is None:
            raise FulfilmentNotFound
        self._changes.due()
        return fulfilment

    def now(self) -> datetime:
        """The time by the clock that everything here follows."""
        return self._clock.now()

    async def come_back(self, gateway_name: str, query: Mapping[str, str]) -> Row | None:
        """The payer's browser is back at a PSP's one fixed address: find which draft it was, and catch up with it."""
        gateway = self._gateways.get(gateway_name)
        hint = gateway.read_return(query) if isinstance(gateway, ReadsReturn) else None
        row = None if hint is None else await self._store.drafts.find(hint)
        if hint is None or row is None:
            return None
        named = msgspec.structs.replace(row.draft, hinted_payment_reference=hint.payment_reference)
        return await self._caught_up(msgspec.structs.replace(row, draft=named))

    async def come_back_to(self, gateway_name: str, draft_id: UUID, *, cancelled: bool) -> Row | None:
        """The payer's browser is back at the draft's own address. It may say anything: only the PSP is believed."""
        row = await self._store.drafts.get(draft_id)
        if row is None or row.draft.gateway != gateway_name:
            return None
        return row if cancelled else await self._caught_up(row)

    async def _caught_up(self, row: Row) -> Row:
        """Ask the PSP, and capture what is approved, while the payer waits a little; the sweep goes on otherwise."""
        draft = row.draft
        if draft.state not in UNPAID:
            return row
        # He may have paid just in time; but the address is open to everybody, for ever.
        if draft.state is State.FAILED and self._clock.now() >= draft.expires_at + FAILED_FOR:
            return row
        try:
            async with asyncio.timeout(RETURN_SECONDS):
                return await self._catch_up_together(row)
        except (GatewayError, TimeoutError):
            return row

    async def _catch_up_together(self, row: Row) -> Row:
        """Ask once for all who come back at the same time: a return address is open to everyone."""
        draft_id = row.draft.id
        task = self._returns.get(draft_id)
        if task is None:
            task = asyncio.create_task(self._catch_up(row))
            self._returns[draft_id] = task
            task.add_done_callback(
                lambda done: (self._returns.pop(draft_id, None), done.cancelled() or done.exception())
            )
        return await asyncio.shield(task)

    async def _catch_up(self, row: Row) -> Row:
        """Ask the PSP about a draft, and about the payment that the return named.

        Raises:
            GatewayError: it did not answer; a worker asks again.
        """
        try:
            row = await self.registrar.look_up(row)
            return await self.collector.capture(row) if row.draft.capture_due else row
        except GatewayError:
            named = row.draft.hinted_payment_reference
            await self._store.drafts.stage_lookup_soon(row.draft.id, named)
            self._changes.due()
            raise

    def _drafted(self, request: DraftRequest, product: Product | None) -> PaymentDraft:
        """A new draft, priced by the catalogue and routed."""
        amount = priced(product, request, self._router.currencies(request.method))
        gateways = self._router.takers(request.method, amount)
        assert product is not None
        now = self._clock.now()
        return PaymentDraft(
            id=new_id(),
            gateway=gateways[0],
            amount=amount,
            request=msgspec.structs.replace(request, product_name=product.name_in(request.locale)),
            created_at=now,
            expires_at=now + METHODS[request.method].lifetime,
        )

    def _recognised(self, delivery: Delivery) -> Gateway | None:
        """The gateway whose signature stands in its place in this delivery."""
        for gateway in self._gateways.values():
            if gateway.profile.signature_place.is_in(delivery):
                return gateway
        return None


def _settled(row: Row, fingerprint: bytes, *, replayed: bool = True) -> Initiated | None:
    """The answer that a row gives by itself; None while it is still to be registered.

    Raises:
        IdempotencyConflict: the key belongs to another request.
        GatewayRejected: the draft failed before its action was stored.
    """
    if row.fingerprint != fingerprint:
        raise IdempotencyConflict
    draft = row.draft
    if draft.action is None and draft.state is State.FAILED:
        raise GatewayRejected(reason=draft.reason or "unknown", draft_id=draft.id, replayed=replayed)
    if draft.action is None and draft.state is State.PENDING:
        return None
    return Initiated(row, replayed=replayed)
