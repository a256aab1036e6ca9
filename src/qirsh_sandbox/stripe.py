"""The fake Stripe: Checkout Sessions, PaymentIntents, Charges, Refunds, Disputes and Events of one account.

https://docs.stripe.com/api and its OpenAPI file; where neither says anything, the choice is the sandbox's own and
docs/sandbox.md names it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from . import stripe_payer
from .deliveries import Sealed
from .page_parts import Due, Place
from .psp import Handler, Kind, LedgerRow, PayerCommand, Route, World
from .stripe_book import Book
from .stripe_calls import Call, Calls
from .stripe_config import StripeConfig
from .stripe_errors import Rejected
from .stripe_events import Cause, with_wrong_amount
from .stripe_forms import read_refund, read_session
from .stripe_pages import TITLE, Pages
from .stripe_params import known
from .stripe_reads import Reads
from .stripe_shapes import refund_shape, session_shape
from .stripe_signing import signature_header

_SESSIONS: Final = "/v1/checkout/sessions"
_COLLECTIONS: Final = ("checkout/sessions", "payment_intents", "charges", "refunds", "disputes", "events")

Work = Callable[[Call], Callable[[], dict[str, Any]]]


class Stripe:
    """One account's Stripe."""

    name = "stripe"
    title = TITLE
    places: Sequence[Place] = ()

    def __init__(self, config: StripeConfig, world: World) -> None:
        self._secrets = tuple(config.webhook_secrets)
        self._livemode = config.livemode
        self._clock = world.clock
        self._webhook = world.webhook(self.name)
        self._calls = Calls(config, world)
        self._book = Book(world, self, livemode=config.livemode)
        self._reads = Reads(self._book)
        self._pages = Pages(self._book)

    def routes(self) -> Sequence[Route]:
        """Return the data plane and the hosted page."""
        claim, lost = self._calls.claim, self._lost
        lists = [Route("GET", f"/v1/{name}", self._list(name), "lookup") for name in _COLLECTIONS]
        ones = [Route("GET", f"/v1/{name}/{{id}}", self._one(name), "lookup") for name in _COLLECTIONS]
        return [
            Route("POST", _SESSIONS, self._post(self._create), "register", claim, lost),
            Route("POST", f"{_SESSIONS}/{{id}}/expire", self._expire, None, claim),
            Route("POST", "/v1/refunds", self._post(self._refund), "refund", claim, lost),
            Route("GET", f"{_SESSIONS}/{{id}}/line_items", self._items, "lookup"),
            *lists,
            *ones,
            *self._pages.routes(),
        ]

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened."""
        return stripe_payer.ledger(self._book)

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer."""
        return self._pages.dues(limit)

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does, or what the banks decide."""
        stripe_payer.act(self._book, command)

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign an event; every attempt is signed anew, at its own time."""
        header = signature_header(body, self._secrets, at=int(self._clock.now()), corrupt=corrupt)
        headers = {
            "Stripe-Signature": header,
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return Sealed(self._webhook, headers)

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the event with the smallest amount more."""
        return with_wrong_amount(body)

    def _create(self, call: Call) -> Callable[[], dict[str, Any]]:
        wanted = read_session(call.form, self._clock.now(), call.version)

        def execute() -> dict[str, Any]:
            session = self._book.create(wanted, call.base_url)
            return self._reads.expanded(session_shape(session, livemode=self._livemode), call.form)

        return execute

    def _refund(self, call: Call) -> Callable[[], dict[str, Any]]:
        wanted = read_refund(call.form)

        def execute() -> dict[str, Any]:
            refund = self._book.refund(wanted, Cause(call.id, call.key))
            return self._reads.expanded(refund_shape(refund), call.form)

        return execute

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        def work(call: Call) -> Callable[[], dict[str, Any]]:
            known(call.form, ("expand",))

            def execute() -> dict[str, Any]:
                session = self._book.session(request.match_info["id"])
                session = self._book.expire(session, Cause(call.id, call.key))
                return self._reads.expanded(session_shape(session, livemode=self._livemode), call.form)

            return execute

        return await self._post(work)(request)

    async def _items(self, request: web.Request) -> web.StreamResponse:
        call = self._calls.read(request)
        return self._calls.answer(call, self._reads.items(request.match_info["id"], call.form))

    def _list(self, collection: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            call = self._calls.read(request)
            return self._calls.answer(call, self._reads.page(collection, call.form))

        return handler

    def _one(self, collection: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            call = self._calls.read(request)
            return self._calls.answer(call, self._reads.one(collection, request.match_info["id"], call.form))

        return handler

    def _post(self, work: Work) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await self._calls.once(request, work)

        return handler

    async def _lost(self, request: web.Request, status: int) -> None:
        """Remember that the caller was given an error in place of the answer."""
        try:
            await self._calls.lost(request, status)
        except Rejected:
            return  # it was never let in


STRIPE: Final = Kind(StripeConfig, Stripe)
"""The fake Stripe as the registry opens it."""
