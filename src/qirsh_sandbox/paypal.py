"""The fake PayPal: OAuth2, Orders v2, Payments v2 and the webhook parts of Notifications v1.

https://developer.paypal.com/api/rest/, its OpenAPI files and recorded answers; where neither says anything, the choice
is the sandbox's own and docs/sandbox.md names it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from . import paypal_payer
from .config import PaypalConfig
from .deliveries import Sealed
from .page_parts import Due, Place
from .paypal_answers import Once
from .paypal_auth import Tokens
from .paypal_book import Book
from .paypal_certs import TRUST_FILE, open_certificates
from .paypal_events import with_wrong_amount
from .paypal_forms import read_body, read_order, read_refund
from .paypal_issues import MOCKS, answer_headers, debug_id, detail, issue, refused, status_of
from .paypal_pages import TITLE, Pages
from .paypal_records import Operation, Order
from .paypal_refunds import Refunds
from .paypal_shapes import (
    buyer_link,
    capture_shape,
    captured_shape,
    created_shape,
    order_shape,
    refund_shape,
    zulu,
)
from .paypal_signing import CERTIFICATES, Postback, is_authentic, signed_headers
from .psp import Kind, LedgerRow, PayerCommand, Route, World, json_answer

_ORDERS: Final = "/v2/checkout/orders"
_CAPTURES: Final = "/v2/payments/captures"
_REFUNDS: Final = "/v2/payments/refunds"
_POSTBACK: Final = "/v1/notifications/verify-webhook-signature"
_MAX_REQUEST_ID: Final = 108


class Paypal:
    """One merchant's PayPal."""

    name = "paypal"
    title = TITLE
    places: Sequence[Place] = ()

    def __init__(self, config: PaypalConfig, world: World) -> None:
        self._config = config
        self._clock = world.clock
        self._webhook = world.webhook(self.name)
        self._certificates = open_certificates(world.folder)
        self._tokens = Tokens(config, world)
        self._book = Book(world, self)
        self._refunds = Refunds(self._book, world)
        self._pages = Pages(self._book)
        self._running: set[str] = set()

    def routes(self) -> Sequence[Route]:
        """Return the data plane and the hosted page."""
        return [
            Route("POST", "/v1/oauth2/token", self._token, "token"),
            Route("POST", _ORDERS, self._create, "register", self._claim),
            Route("GET", f"{_ORDERS}/{{id}}", self._show_order, "lookup"),
            Route("POST", f"{_ORDERS}/{{id}}/capture", self._capture, "capture", self._claim),
            Route("GET", f"{_CAPTURES}/{{id}}", self._show_capture, "lookup"),
            Route("POST", f"{_CAPTURES}/{{id}}/refund", self._refund, "refund", self._claim),
            Route("GET", f"{_REFUNDS}/{{id}}", self._show_refund, "lookup"),
            Route("GET", f"{CERTIFICATES}{{name}}", self._certificate, "verify"),
            Route("POST", _POSTBACK, self._verify, "verify"),
            *self._pages.routes(),
        ]

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened."""
        return paypal_payer.ledger(self._book)

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer."""
        return self._pages.dues(limit)

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does, or what PayPal decides."""
        paypal_payer.act(self._book, self._refunds, command)

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign an event; every attempt has an id and a time of its own."""
        headers = signed_headers(
            self._certificates,
            self._tokens.address,
            self._config.webhook_id,
            body,
            time=zulu(self._clock.now()),
            corrupt=corrupt,
        )
        return Sealed(self._webhook, headers)

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the event with the smallest amount more."""
        return with_wrong_amount(body)

    async def _token(self, request: web.Request) -> web.Response:
        return _answer(await self._tokens.issue(request))

    async def _create(self, request: web.Request) -> web.Response:
        body = await self._begin(request, "create")
        once = _once(request, "create", "")
        wanted = read_order(body, has_request_id=once.request_id is not None)
        order, repeated = self._book.register(wanted, once, f"{request.scheme}://{request.host}")
        # The form with a payment source answers 200 the first time too.
        status = 200 if repeated or order.wallet_form else 201
        shape = created_shape(self._book.story(order), self._book.account, full=_wants_all(request))
        return _answer(shape, status)

    async def _show_order(self, request: web.Request) -> web.Response:
        self._read(request)
        order = self._book.live(request.match_info["id"])
        return _answer(order_shape(self._book.story(order), self._book.account))

    async def _capture(self, request: web.Request) -> web.Response:
        await self._begin(request, "capture")
        order_id = request.match_info["id"]
        story, repeated = self._book.capture(order_id, _once(request, "capture", order_id))
        shape = captured_shape(story, self._book.account, full=_wants_all(request))
        return _answer(shape, 200 if repeated else 201)

    async def _show_capture(self, request: web.Request) -> web.Response:
        self._read(request, api="payments")
        capture = self._book.captures.get(request.match_info["id"])
        if capture is None:
            raise issue("INVALID_RESOURCE_ID", api="payments")
        return _answer(capture_shape(capture, self._book.order(capture.order_id).base_url, related=True))

    async def _refund(self, request: web.Request) -> web.Response:
        body = await self._begin(request, "refund", api="payments")
        capture_id = request.match_info["id"]
        refund, repeated = self._refunds.make(capture_id, read_refund(body), _once(request, "refund", capture_id))
        base_url = f"{request.scheme}://{request.host}"
        return _answer(refund_shape(refund, base_url, full=_wants_all(request)), 200 if repeated else 201)

    async def _show_refund(self, request: web.Request) -> web.Response:
        self._read(request, api="payments")
        refund = self._book.refunds.get(request.match_info["id"])
        if refund is None:
            raise issue("INVALID_RESOURCE_ID", api="payments")
        return _answer(refund_shape(refund, f"{request.scheme}://{request.host}"))

    async def _certificate(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != self._certificates.name:
            raise issue("INVALID_RESOURCE_ID")
        headers = {"Cache-Control": "public, max-age=86400", **answer_headers(debug_id())}
        return web.Response(body=self._certificates.leaf_pem, content_type="application/x-pem-file", headers=headers)

    async def _verify(self, request: web.Request) -> web.Response:
        self._tokens.authenticate(request)
        try:
            question = msgspec.json.decode(await request.read(), type=Postback)
        except msgspec.DecodeError as error:
            raise refused(400, [detail("MALFORMED_REQUEST_JSON", "/", f"{error}")]) from None
        authentic = is_authentic(self._certificates, self._config.webhook_id, question)
        return _answer({"verification_status": "SUCCESS" if authentic else "FAILURE"})

    async def _begin(self, request: web.Request, operation: Operation, *, api: str = "orders") -> dict[str, Any]:
        """Let the caller in, read the body, and refuse when a test asked PayPal to."""
        self._tokens.authenticate(request)
        body = await read_body(request, api=api)
        if len(request.headers.get("PayPal-Request-Id", "")) > _MAX_REQUEST_ID:
            raise refused(400, [detail("INVALID_STRING_LENGTH", "/PayPal-Request-Id", in_body=False)], api=api)
        order = self._book.orders.get(request.match_info.get("id", "")) if operation == "capture" else None
        _mock(request, operation, api, order)
        return body

    def _read(self, request: web.Request, *, api: str = "orders") -> None:
        self._tokens.authenticate(request)
        _mock(request, "lookup", api, None)

    @contextmanager
    def _claim(self, request: web.Request) -> Iterator[None]:
        """Hold the request's id while PayPal works on it: of two at the same moment, the second is refused."""
        name = request.headers.get("PayPal-Request-Id")
        if name is None:
            yield
            return
        key = f"{request.path}:{name}"
        if key in self._running:
            raise issue(
                "PREVIOUS_REQUEST_IN_PROGRESS", api="payments" if request.path.startswith(_CAPTURES) else "orders"
            )
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)


def _mock(request: web.Request, operation: str, api: str, order: Order | None) -> None:
    """Refuse as the header of PayPal's negative testing asks. Nothing is done, and nothing kept under the call's id.

    Raises:
        Refused: with the issue that was asked for; 400 when this operation has no such issue.
    """
    header = request.headers.get("PayPal-Mock-Response")
    if header is None:
        return
    try:
        name = f"{msgspec.json.decode(header, type=dict[str, Any]).get('mock_application_codes')}"
    except msgspec.DecodeError:
        name = header
    if name == "INTERNAL_SERVER_ERROR":
        raise refused(500, [], api=api)
    if name not in MOCKS[operation]:
        raise refused(400, [detail("INVALID_PARAMETER_VALUE", "/PayPal-Mock-Response", name, in_body=False)], api=api)
    more = [buyer_link(order, "redirect")] if name == "INSTRUMENT_DECLINED" and order is not None else ()
    raise refused(status_of(name), [detail(name)], api=api, more=more)


def _once(request: web.Request, operation: Operation, resource: str) -> Once:
    return Once(operation, resource, request.headers.get("PayPal-Request-Id") or None)


def _wants_all(request: web.Request) -> bool:
    return "return=representation" in request.headers.get("Prefer", "").replace(" ", "")


def _answer(body: Any, status: int = 200) -> web.Response:  # noqa: ANN401 - any JSON value is an answer
    return json_answer(body, status, headers=answer_headers(debug_id()))


def _addresses(url: str, folder: Path) -> dict[str, object]:
    return {"base_url": url, "cert_hosts": [url], "trust_file": str(folder / TRUST_FILE)}


PAYPAL: Final = Kind(PaypalConfig, Paypal, _addresses)
