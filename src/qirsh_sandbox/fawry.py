"""The fake Fawry (Egypt): reference numbers, wallets by QR code or prompt, hosted card pages, status, refund, cancel.

https://developer.fawrystaging.com, and the answers that its clients have recorded; where neither says anything, the
choice is the sandbox's own and docs/gateways/fawry.md names it.
"""

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from . import fawry_payer, fawry_signing
from .deliveries import Sealed
from .fawry_book import Book
from .fawry_config import FawryConfig
from .fawry_forms import Form, read_form, read_query
from .fawry_pages import PLUGIN, REFERENCES, TILL, TITLE, Pages
from .fawry_records import Means, Order
from .fawry_shapes import (
    OK,
    charge_shape,
    failed,
    notification_body,
    signed,
    status_v1_shape,
    with_wrong_amount,
)
from .page_parts import Due, Place
from .psp import CannotActError, Kind, LedgerRow, PayerCommand, Refused, Route, World, json_answer

_CHARGE: Final = "ChargeResponse"
_STATUS: Final = "PaymentStatusResponse"
_REFUND: Final = "ResponseDataModel"


class Fawry:
    """One merchant's Fawry."""

    name = "fawry"
    title = TITLE
    places: Sequence[Place] = (Place(TILL, REFERENCES),)

    def __init__(self, config: FawryConfig, world: World) -> None:
        self._config = config
        self._clock = world.clock
        self._webhook = world.webhook(self.name)
        self._book = Book(world, self)
        self._pages = Pages(config, self._book)

    def routes(self) -> Sequence[Route]:
        """Return the data plane and the pages. Sources disagree on where wallets are charged, so both paths are."""
        return [
            Route("POST", "/ECommerceWeb/Fawry/payments/charge", self._charge, "register"),
            Route("POST", "/ECommerceWeb/api/payments/charge", self._charge, "register"),
            Route("POST", "/fawrypay-api/api/payments/init", self._init, "register"),
            Route("GET", "/ECommerceWeb/Fawry/payments/status/v2", self._status, "lookup"),
            Route("GET", "/ECommerceWeb/Fawry/payments/status", self._status_v1, "lookup"),
            Route("POST", "/ECommerceWeb/Fawry/payments/refund", self._refund, "refund"),
            Route("POST", "/ECommerceWeb/api/orders/cancel-unpaid-order", self._cancel, "register"),
            *self._pages.routes(),
        ]

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened."""
        return fawry_payer.ledger(self._book)

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer."""
        return self._pages.dues(limit)

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does."""
        fawry_payer.act(self._book, command)

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign a notification, in the body; an order may have named its own address."""
        order = self._book.order(msgspec.json.decode(body)["merchantRefNumber"])
        address = (order and order.webhook) or self._webhook
        return Sealed(
            address, {"Content-Type": "application/json"}, signed(body, self._config.security_key, corrupt=corrupt)
        )

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the notification with one piastre more."""
        return with_wrong_amount(body)

    async def _charge(self, request: web.Request) -> web.Response:
        form = await read_form(request, _CHARGE)
        form.check(self._config, fawry_signing.charge)
        means = _means(form)
        items, total = form.items()
        if total != form.minor("amount") or form.text("currencyCode") != "EGP":
            raise form.refused(21004, "INVALID_AMOUNT")
        order = self._order(request, form, means, items, total)
        return json_answer(charge_shape(self._book.register(order)))

    async def _init(self, request: web.Request) -> web.Response:
        form = await read_form(request, _CHARGE)
        form.check(self._config, fawry_signing.init)
        if form.optional("paymentMethod") != "CARD":
            raise form.refused(10045, "paymentMethod element is mandatory")
        items, total = form.items()
        order = self._order(request, form, "page", items, total)
        order.return_url, order.page = form.text("returnUrl"), secrets.token_urlsafe(9) + "="
        order = self._book.register(order)
        query = urlencode({"payment-id": order.page, "locale": "en"})
        return web.Response(text=f"{order.base_url}{PLUGIN}?{query}")

    async def _status(self, request: web.Request) -> web.Response:
        order = self._asked(read_query(request, _STATUS))
        if order is None:
            raise Refused(404, failed(_STATUS, 9938, "ORDER_NOT_FOUND"))
        body = signed(notification_body(order), self._config.security_key)
        return web.Response(body=body, content_type="application/json")

    async def _status_v1(self, request: web.Request) -> web.Response:
        order = self._asked(read_query(request, _STATUS))
        if order is None:
            raise Refused(200, failed(_STATUS, 9938, "ORDER_NOT_FOUND"))
        return web.Response(body=status_v1_shape(order), content_type="application/json")

    async def _refund(self, request: web.Request) -> web.Response:
        form = await read_form(request, _REFUND)
        form.check(self._config, fawry_signing.refund)
        order = self._book.by_number(form.text("referenceNumber"))
        if order is None:
            raise form.refused(9938, "ORDER_NOT_FOUND")
        self._book.refund(order, form.minor("refundAmount"))
        return json_answer({"type": _REFUND, **OK})

    async def _cancel(self, request: web.Request) -> web.Response:
        form = await read_form(request, "")
        try:
            form.check(self._config, fawry_signing.cancel, "merchantAccount")
        except Refused as refusal:
            raise Refused(200, _reason(refusal.body["statusCode"], refusal.body["statusDescription"])) from None
        order = self._book.by_number(form.text("orderRefNo"))
        if order is None:
            raise Refused(200, _reason(9938, "ORDER_NOT_FOUND"))
        if order.status == "CANCELED":
            raise Refused(200, _reason(9984, "ORDER_ALREADY_CANCELED"))
        try:
            self._book.cancel(order, by_merchant=True)
        except CannotActError:
            raise Refused(400, _reason(400, f"ORDER_IS_{order.status}")) from None
        return json_answer(_reason(200, "Operation done successfully"))

    def _asked(self, form: Form) -> Order | None:
        form.check(self._config, fawry_signing.status)
        return self._book.order(form.text("merchantRefNumber"))

    def _order(
        self, request: web.Request, form: Form, means: Means, items: list[dict[str, object]], total: int
    ) -> Order:
        """Return the order that a request asks for, without its number."""
        return Order(
            number="",
            merchant_number=form.text("merchantRefNum"),
            means=means,
            amount_minor=total,
            items=items,
            created_at=0.0,
            expires_at=form.expiry(self._clock.now()),
            webhook=form.optional("orderWebHookUrl"),
            base_url=f"{request.scheme}://{request.host}",
            wallet=form.optional("debitMobileWalletNo"),
            customer=form.customer(),
        )


def _means(form: Form) -> Means:
    match form.text("paymentMethod"):
        case "PAYATFAWRY" | "PayAtFawry":
            return "reference"
        case "MWALLET":
            return "prompt" if form.optional("debitMobileWalletNo") else "qr"
        case other:
            raise form.refused(10045, f"paymentMethod {other} is not played by the sandbox")


def _reason(code: int, description: str) -> dict[str, object]:
    return {"code": code, "description": description, "reason": description}


FAWRY: Final = Kind(FawryConfig, Fawry)
