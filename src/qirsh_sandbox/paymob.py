"""The fake Paymob (Accept, Egypt): token, order, payment key, pay, inquiry, refund and void, shared by both its flows.

https://developers.paymob.com/egypt, and the answers that its clients have recorded; where neither says anything, the
choice is the sandbox's own: 404 for an inquiry without a match, 401 for a payment key that cannot be used.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from . import paymob_payer
from .config import PaymobConfig
from .deliveries import Sealed
from .page_parts import Due, Place
from .paymob_book import Book
from .paymob_checkout import Checkout
from .paymob_dues import KIOSK, TILL, TITLE, Dues
from .paymob_forms import read_form
from .paymob_intention import Intentions
from .paymob_pages import Pages
from .paymob_pay import pay_at_kiosk, pay_by_wallet
from .paymob_records import Order, PaymentKey, Transaction
from .paymob_returns import Returns
from .paymob_shapes import auth_answer, order_shape
from .paymob_signing import callback_hmac, make_token, read_token
from .psp import Kind, LedgerRow, PayerCommand, Refused, Route, World, json_answer

_TOKEN_SECONDS: Final = 3600  # published: an auth token lives an hour
_KEY_SECONDS: Final = 3600  # the documented default of a payment key
_MAX_KEY_SECONDS: Final = 3_110_400  # 36 days, the longest that any page of Paymob's names
_MAX_TOKEN: Final = 8000  # a payment key is about a thousand characters, and grows with the payer's data
_PAGE_SIZE: Final = 20


class Paymob:
    """One merchant's Paymob."""

    name = "paymob"
    title = TITLE
    places: Sequence[Place] = (Place(TILL, KIOSK),)

    def __init__(self, config: PaymobConfig, world: World) -> None:
        self._config = config
        self._clock = world.clock
        self._webhook = world.webhook(self.name)
        self._book = Book(config, world, self)
        self._returns = Returns(self._book, world)
        self._intentions = Intentions(config, self._book)
        self._pages = Pages(config, self._book, world.clock, world.returns)
        self._dues = Dues(config, self._book, world.clock)
        self._checkout = Checkout(config, self._book, self._pages)

    def routes(self) -> Sequence[Route]:
        """Return the data plane and the hosted pages."""
        return [
            Route("POST", "/api/auth/tokens", self._token, "token"),
            Route("POST", "/api/ecommerce/orders", self._register_order, "register"),
            Route("GET", "/api/ecommerce/orders", self._list_orders, "lookup"),
            Route("GET", "/api/ecommerce/orders/{id}", self._show_order, "lookup"),
            Route("POST", "/api/acceptance/payment_keys", self._issue_key, "register"),
            Route("POST", "/api/acceptance/payments/pay", self._pay, "register"),
            Route("POST", "/api/ecommerce/orders/transaction_inquiry", self._inquire, "lookup"),
            Route("GET", "/api/acceptance/transactions/{id}", self._show_transaction, "lookup"),
            Route("POST", "/api/acceptance/void_refund/refund", self._refund, "refund"),
            Route("POST", "/api/acceptance/void_refund/void", self._void, "refund"),
            *self._intentions.routes(),
            *self._pages.routes(),
            *self._checkout.routes(),
            *self._dues.till.routes(),
        ]

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened."""
        return paymob_payer.ledger(self._book, self._clock)

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer."""
        return self._dues.newest(limit)

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does."""
        paymob_payer.act(self._book, self._returns, self._clock, command)

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign a callback: the signature travels in the address, which an intention may have named."""
        transaction = msgspec.json.decode(body)["obj"]
        key = self._book.key_of(transaction["id"])
        address = (key and key.notification_url) or self._webhook
        if not address:
            return Sealed("", {})
        signature = callback_hmac(transaction, self._config.hmac_secret)
        if corrupt:
            signature = f"{int(signature[0], 16) ^ 1:x}{signature[1:]}"
        separator = "&" if "?" in address else "?"
        return Sealed(f"{address}{separator}{urlencode({'hmac': signature})}", {"Content-Type": "application/json"})

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the callback with one piastre more."""
        callback: dict[str, Any] = msgspec.json.decode(body)
        callback["obj"]["amount_cents"] += 1
        return msgspec.json.encode(callback)

    async def _token(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        api_key = form.text("api_key", longest=_MAX_TOKEN)
        form.check()
        if not _same(api_key, self._config.api_key):
            raise Refused(403, {"detail": "incorrect credentials"})
        claims = {
            "class": "Merchant",
            "profile_pk": self._book.merchant.profile_id,
            "exp": int(self._clock.now()) + _TOKEN_SECONDS,
        }
        return json_answer(auth_answer(self._book.merchant, make_token(claims, self._token_secret)), 201)

    async def _register_order(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request, form.fields)
        currency = form.text("currency")
        draft = Order(
            id=0,
            merchant_order_id=form.text("merchant_order_id", required=False) or None,
            amount_cents=form.integer("amount_cents"),
            currency=currency,
            created_at=0.0,
            base_url=f"{request.scheme}://{request.host}",
            items=form.entries("items"),
            delivery_needed=form.flag("delivery_needed"),
        )
        if currency and currency != "EGP":
            form.errors["currency"] = [f'"{currency}" is not a valid choice.']
        form.check()
        return json_answer(order_shape(self._book.register(draft), self._book.merchant), 201)

    async def _list_orders(self, request: web.Request) -> web.Response:
        self._authenticate(request, {})
        text = request.query.get("page", "1")
        number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
        count = self._book.orders.count()
        last = max(1, -(-count // _PAGE_SIZE))
        if not 1 <= number <= last:
            raise Refused(404, {"detail": "Invalid page."})
        orders = self._book.orders.page(limit=_PAGE_SIZE, offset=(number - 1) * _PAGE_SIZE)
        address = f"{request.scheme}://{request.host}{request.path}?page="
        return json_answer(
            {
                "count": count,
                "next": f"{address}{number + 1}" if number < last else None,
                "previous": f"{address}{number - 1}" if number > 1 else None,
                "results": [order_shape(order, self._book.merchant) for order in orders],
            }
        )

    async def _show_order(self, request: web.Request) -> web.Response:
        self._authenticate(request, {})
        order = self._book.orders.get(request.match_info["id"])
        if order is None:
            raise Refused(404, {"detail": "Not found."})
        return json_answer(order_shape(order, self._book.merchant))

    async def _issue_key(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request, form.fields)
        draft = PaymentKey(
            token="",
            order_id=form.integer("order_id"),
            integration_id=form.integer("integration_id"),
            amount_cents=form.integer("amount_cents"),
            currency=form.text("currency"),
            billing_data=form.billing_data(),
            lock_order_when_paid=form.flag("lock_order_when_paid"),
            created_at=0.0,
            expires_at=0.0,
        )
        seconds = form.integer("expiration", default=_KEY_SECONDS)
        if seconds > _MAX_KEY_SECONDS:
            form.errors["expiration"] = [f"Ensure this value is less than or equal to {_MAX_KEY_SECONDS}."]
        form.check()
        return json_answer({"token": self._book.issue_key(draft, seconds=seconds).token}, 201)

    async def _pay(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        token, source = form.text("payment_token", longest=_MAX_TOKEN), form.mapping("source")
        form.check()
        identifier = f"{source.get('identifier', '')}"
        match source.get("subtype"):
            case "WALLET":
                return json_answer(pay_by_wallet(self._book, token, identifier))
            case "AGGREGATOR":
                return json_answer(pay_at_kiosk(self._book, token))
            case other:
                raise Refused(400, {"source": {"subtype": [f'"{other}" is not a valid choice.']}})

    async def _inquire(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request, form.fields)
        if form.fields.get("order_id") is not None:
            order = self._book.orders.get(f"{form.integer('order_id')}")
        else:
            order = self._book.order_by_reference(form.text("merchant_order_id"))
        form.check()
        transactions = self._book.transactions.children(f"{order.id}") if order else []
        if not transactions:
            raise Refused(404, {"detail": "Not found."})
        return json_answer(self._as_read(transactions[-1]))

    async def _show_transaction(self, request: web.Request) -> web.Response:
        self._authenticate(request, {})
        transaction = self._book.transactions.get(request.match_info["id"])
        if transaction is None:
            raise Refused(404, {"detail": "Not found."})
        return json_answer(self._as_read(transaction))

    async def _refund(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request, form.fields, secret_key_too=True)
        transaction_id, amount_cents = form.integer("transaction_id"), form.integer("amount_cents")
        form.check()
        return json_answer(self._book.shape(self._returns.refund(transaction_id, amount_cents)))

    async def _void(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request, form.fields, secret_key_too=True)
        transaction_id = form.integer("transaction_id")
        form.check()
        return json_answer(self._book.shape(self._returns.void(transaction_id)))

    def _as_read(self, transaction: Transaction) -> dict[str, Any]:
        return {**self._book.shape(transaction), "unique_ref": f"{transaction.id}"}

    @property
    def _token_secret(self) -> str:
        """What signs auth tokens: a new API key ends the tokens of the old one."""
        return f"{self._book.merchant.token_secret}{self._config.api_key}"

    def _authenticate(self, request: web.Request, fields: dict[str, Any], *, secret_key_too: bool = False) -> None:
        """Accept a live auth token: as a bearer, in the body, or in a GET's query.

        Raises:
            Refused: 401, in Paymob's two wordings for a token that is missing and one that is wrong.
        """
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Token" and secret_key_too:
            if _same(credentials, self._config.secret_key):
                return
            raise Refused(401, {"detail": "incorrect credentials"})
        token = credentials if scheme == "Bearer" else fields.get("auth_token")
        if token is None and request.method == "GET":
            token = request.query.get("token")
        if token is None:
            raise Refused(401, {"detail": "Authentication credentials were not provided."})
        claims = read_token(f"{token}", self._token_secret)
        if claims is None or claims.get("class") != "Merchant" or claims.get("exp", 0) <= self._clock.now():
            raise Refused(401, {"detail": "incorrect credentials"})


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


PAYMOB: Final = Kind(PaymobConfig, Paymob)
