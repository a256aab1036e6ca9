"""The fake Paymob's Intention API: an order, its payment keys and a checkout page from one call with the secret key.

https://developers.paymob.com/egypt: create intention. Where nothing is published the choice is the sandbox's own: a
`special_reference` taken twice is refused as an order's is, and a paid intention takes no second payment.
"""

import hmac
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from .clock import cairo_naive
from .config import PaymobConfig
from .paymob_book import Book
from .paymob_forms import Form, read_form
from .paymob_records import Intention, Kind, Order, PaymentKey
from .psp import Refused, Route, json_answer

_MAX_SECONDS: Final = 3_110_400  # 36 days: published as the default and the most
_MAX_NAME: Final = 50
_MAX_URL: Final = 2000
_REQUIRED_BILLING: Final = ("first_name", "last_name", "email", "phone_number")
_NAMES: Final[dict[str, Kind]] = {"card": "card", "wallet": "wallet", "kiosk": "aggregator"}
_GATEWAYS: Final[dict[Kind, str]] = {"card": "MIGS", "wallet": "UIG", "aggregator": "CAGG"}
_SHOWN: Final[dict[Kind, str]] = {kind: name for name, kind in _NAMES.items()}


class Intentions:
    """The handlers of `/v1/intention/`."""

    def __init__(self, config: PaymobConfig, book: Book) -> None:
        self._config = config
        self._book = book

    def routes(self) -> list[Route]:
        """Return the API's paths. The element is read by pages, which reload: no fault hits it."""
        return [
            Route("POST", "/v1/intention/", self._create, "register"),
            Route("GET", "/v1/intention/element/{public_key}/{client_secret}/", self._element),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        self._authenticate(request)
        amount, currency, items = form.integer("amount"), form.text("currency"), _items(form)
        methods = form.entries("payment_methods")
        if not methods:
            form.errors.setdefault("payment_methods", ["This field is required."])
        if currency and currency != "EGP":
            form.errors["currency"] = [f'"{currency}" is not a valid choice.']
        key = PaymentKey(
            token="",
            order_id=0,
            integration_id=0,
            amount_cents=amount,
            currency=currency,
            billing_data=form.billing_data(required=_REQUIRED_BILLING),
            lock_order_when_paid=True,
            created_at=0.0,
            expires_at=0.0,
            notification_url=_address(form, "notification_url"),
            redirection_url=_address(form, "redirection_url"),
            extras=form.mapping("extras") if form.fields.get("extras") is not None else {},
        )
        order = Order(
            id=0,
            merchant_order_id=form.text("special_reference", required=False) or None,
            amount_cents=amount,
            currency=currency,
            created_at=0.0,
            base_url=f"{request.scheme}://{request.host}",
            items=items,
        )
        seconds = form.integer("expiration", default=_MAX_SECONDS)
        if seconds > _MAX_SECONDS:
            form.errors["expiration"] = [f"Ensure this value is less than or equal to {_MAX_SECONDS}."]
        form.check()
        integrations = [self._integration(method) for method in methods]
        if items and sum(item["amount"] for item in items) != amount:
            raise Refused(HTTPStatus.NOT_ACCEPTABLE, {"message": "unmatched_item_prices: the items do not add up."})
        keys = [msgspec.structs.replace(key, integration_id=each) for each in dict.fromkeys(integrations)]
        return json_answer(self._shape(self._book.open_intention(order, keys, seconds=seconds)), HTTPStatus.CREATED)

    async def _element(self, request: web.Request) -> web.Response:
        intention = self._book.intentions.get(request.match_info["client_secret"])
        if intention is None or not _same(request.match_info["public_key"], self._config.public_key):
            raise Refused(HTTPStatus.NOT_FOUND, {"detail": "Not found."})
        return json_answer(self._shape(intention))

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token" or not credentials:
            raise Refused(HTTPStatus.UNAUTHORIZED, {"detail": "Authentication credentials were not provided."})
        if not _same(credentials, self._config.secret_key):
            raise Refused(HTTPStatus.UNAUTHORIZED, {"detail": "The secret key is invalid."})

    def _integration(self, method: Any) -> int:  # noqa: ANN401 - an entry of a JSON list
        """Return the integration that a method names, by its id or by its name."""
        if isinstance(method, str) and method in _NAMES:
            found = self._book.integration_of(_NAMES[method])
        else:
            text = "" if isinstance(method, bool) else str(method)
            found = int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0
        if self._book.kind_of(found) is None:
            text = "Integration ID/Name does not exist in our system . You can find the list in your dashboard."
            raise Refused(HTTPStatus.NOT_FOUND, {"detail": text})
        return found

    def _shape(self, intention: Intention) -> dict[str, Any]:
        """Shape an intention as Paymob's published sample has it."""
        keys, order = self._book.keys_of(intention), self._book.order(intention.order_id)
        first = keys[0]
        return {
            "payment_keys": [self._key_shape(key) for key in keys],
            "redirection_url": first.redirection_url or None,
            "intention_order_id": order.id,
            "id": intention.id,
            "intention_detail": {
                "amount": order.amount_cents,
                "items": [{**item, "image": None} for item in order.items],
                "currency": order.currency,
                "billing_data": first.billing_data,
            },
            "client_secret": intention.client_secret,
            "payment_methods": [self._method_shape(key) for key in keys],
            "special_reference": order.merchant_order_id,
            "extras": {
                "creation_extras": {**first.extras, "merchant_order_id": order.merchant_order_id},
                "confirmation_extras": None,
            },
            "confirmed": order.paid_cents > 0,
            "status": "confirmed" if order.paid_cents else "intended",
            "created": cairo_naive(intention.created_at),
            "card_detail": None,
            "card_tokens": [],
            "object": "paymentintention",
        }

    def _key_shape(self, key: PaymentKey) -> dict[str, Any]:
        kind = self._book.kind_of(key.integration_id)
        return {
            "integration": key.integration_id,
            "key": key.token,
            "gateway_type": None if kind is None else _GATEWAYS[kind],
            "iframe_id": None,
            "order_id": key.order_id,
            "redirection_url": key.redirection_url or None,
            "save_card": kind == "card",
        }

    def _method_shape(self, key: PaymentKey) -> dict[str, Any]:
        kind = self._book.kind_of(key.integration_id)
        return {
            "integration_id": key.integration_id,
            "alias": None,
            "name": None if kind is None else _SHOWN[kind],
            "method_type": "online",
            "currency": key.currency,
            "live": False,
            "use_cvc_with_moto": False,
        }


def _items(form: Form) -> list[dict[str, Any]]:
    """Read the items, which may be left out; a bad one is named as Paymob does, without its place in the list."""
    items = []
    for entry in form.entries("items"):
        item = Form(entry if isinstance(entry, dict) else {})
        items.append(
            {
                "name": item.text("name", longest=_MAX_NAME),
                "amount": item.integer("amount", minimum=0),
                "description": item.text("description", required=False),
                "quantity": item.integer("quantity", default=1),
            }
        )
        if item.errors:
            form.errors["items"] = item.errors
    return items


def _address(form: Form, name: str) -> str:
    address = form.text(name, required=False, longest=_MAX_URL)
    parts = urlsplit(address)
    if address and (parts.scheme not in {"http", "https"} or not parts.netloc):
        form.errors[name] = ["Enter a valid URL."]
    return address


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
