"""The routes: each reads its input, calls one verb, and writes the answer."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response import Redirect
from litestar.types import ASGIApp

from qirsh.api import answers, described
from qirsh.api.idempotency import IdempotencyMiddleware, read_of
from qirsh.api.operation import KEY_HEADER_OR_FIELD, KNOWN_HEADER, operation
from qirsh.api.requests import InitiatePaymentRequest, read_fields
from qirsh.catalog import Product
from qirsh.errors import (
    BodyTooLarge,
    CodeNotAwaited,
    CodeRefused,
    CodeTriesUsed,
    DraftNotFound,
    FieldError,
    GatewayMisconfigured,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    MethodNotSupported,
    PriceMismatch,
    ProductNotFound,
    ProductNotPurchasable,
    RequestInProgress,
    TooManyRequests,
    UnsupportedContentType,
    WebhookError,
    WebhookMalformed,
    WebhookNotAuthentic,
)
from qirsh.gateways.base import Delivery
from qirsh.methods import METHODS, Method
from qirsh.metrics import WEBHOOKS_REFUSED
from qirsh.money import Money
from qirsh.store.rows import Row

MAX_WEBHOOK_BYTES: Final = 1_000_000
MAX_WAIT_SECONDS: Final = 30
MAX_WAIT_DIGITS: Final = 9
READY_SECONDS: Final = 2.0

Plain = Request[Any, Any, Any]


def initiate_with(middleware: IdempotencyMiddleware) -> HTTPRouteHandler:
    """POST /api/payments/initiate, behind the middleware that reads its request."""

    @post(
        "/api/payments/initiate",
        middleware=[middleware],
        status_code=HTTPStatus.CREATED,
        operation_class=operation(InitiatePaymentRequest, headers=[KEY_HEADER_OR_FIELD]),
        responses={
            HTTPStatus.CREATED: described.body(answers.InitiatedBody, "Registered: what the payer must do next."),
            HTTPStatus.ACCEPTED: described.body(
                answers.InitiatedBody, "The PSP did not answer: the same key asks again."
            ),
            **described.refusals(
                *(ProductNotFound, ProductNotPurchasable, PriceMismatch, MethodNotSupported, GatewayRejected),
                *(IdempotencyConflict, RequestInProgress, TooManyRequests, GatewayUnavailable, GatewayMisconfigured),
                *(BodyTooLarge, UnsupportedContentType),
            ),
        },
        tags=["payments"],
    )
    async def initiate(request: Plain) -> ASGIApp:
        """Make a payment draft and tell the page what the payer must do."""
        read, state = read_of(request.scope), request.app.state
        host = None if request.client is None else request.client.host
        answer = await state.services.payments.initiate(
            read.request,
            key=read.key,
            fingerprint=read.fingerprint,
            admit=lambda: state.limits.admit(host, read.request),
        )
        return answers.initiated(answer)

    return initiate


@post(
    ["/api/payments/webhook-handler", "/api/payments/webhook-handler/{gateway:str}"],
    status_code=HTTPStatus.OK,
    request_max_body_size=MAX_WEBHOOK_BYTES,
    responses={
        HTTPStatus.OK: described.body(answers.Received, "Stored, or heard before."),
        **described.refusals(
            *(WebhookMalformed, WebhookNotAuthentic, GatewayUnavailable, BodyTooLarge), no_such_path=True
        ),
    },
    tags=["webhooks"],
)
async def webhook_handler(request: Plain, gateway: str | None = None) -> ASGIApp:
    """Take a PSP's webhook: verified before anything, stored before it is answered."""
    delivery = Delivery(
        body=await request.body(),
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(request.query_params),
    )
    try:
        await request.app.state.services.payments.receive(delivery, gateway)
    except WebhookError as error:
        WEBHOOKS_REFUSED.labels(error.code).inc()
        raise
    return answers.RECEIVED


@get(
    "/api/payments/status/{draft_id:str}",
    operation_class=operation(headers=[KNOWN_HEADER]),
    responses={
        HTTPStatus.OK: described.body(answers.StatusBody, "As it stands."),
        HTTPStatus.NOT_MODIFIED: ResponseSpec(None, description="As If-None-Match says it was known."),
        **described.refusals(DraftNotFound, no_such_path=True),
    },
    tags=["payments"],
)
async def status(
    request: Plain,
    draft_id: str,
    wait: Annotated[str, Parameter(description="seconds to wait for a change, at most 30")] = "0",
) -> ASGIApp:
    """A draft as it stands; with If-None-Match and `wait`, as soon as it stands otherwise."""
    seconds = _seconds(wait)
    services = request.app.state.services
    wanted = draft_id_of(draft_id)
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if not seconds:
        body = answers.status_body(await services.payments.status(wanted))
        return answers.status(body, known=answers.etag_of(body) in known)
    with services.watch.waiting(wanted) as waiter:
        waiter.knows(row := await services.payments.status(wanted))
        body = answers.status_body(row)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while answers.etag_of(body) in known:
                    body = answers.status_body(await waiter.next())
    return answers.status(body, known=answers.etag_of(body) in known)


class CodeFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an otp: the action's token, and what the payer typed."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    otp: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,12}\Z")]


@post(
    "/api/payments/{draft_id:str}/otp",
    status_code=HTTPStatus.OK,
    operation_class=operation(CodeFields),
    responses={
        HTTPStatus.OK: described.body(answers.StatusBody, "As it stands now; still awaited while the PSP decides."),
        **described.refusals(
            *(DraftNotFound, CodeNotAwaited, CodeRefused, CodeTriesUsed, GatewayUnavailable, GatewayMisconfigured),
            *(BodyTooLarge, UnsupportedContentType),
            no_such_path=True,
        ),
    },
    tags=["payments"],
)
async def submit_code(request: Plain, draft_id: str) -> ASGIApp:
    """Hand in the code that was texted to the payer."""
    fields = read_fields(request.content_type[0], await request.body(), CodeFields)
    row = await request.app.state.services.payments.codes.submit(draft_id_of(draft_id), fields.token, fields.otp)
    return answers.status(answers.status_body(row), known=False)


@get(
    "/api/payments/methods",
    responses={
        HTTPStatus.OK: described.body(described.Offers, "What the payer can choose."),
        **described.refusals(ProductNotFound),
    },
    tags=["payments"],
)
async def methods(request: Plain, product_id: str, currency: str | None = None) -> Response[Any]:
    """What the payer can choose for a product, in order."""
    services = request.app.state.services
    product = await services.store.products.get(product_id) if "\0" not in product_id else None
    if product is None:
        raise ProductNotFound
    offered = [
        _offer(product, method, priced_in)
        for method in Method
        for priced_in in sorted(product.prices)
        if product.purchasable
        and currency in {None, priced_in}
        and services.router.can_take(method, Money(product.prices[priced_in], priced_in))
    ]
    return Response(
        {"product_id": product.id, "name": product.name, "methods": offered}, headers={"Cache-Control": "no-cache"}
    )


@get(
    "/api/payments/return/{gateway:str}",
    status_code=HTTPStatus.SEE_OTHER,
    responses=described.refusals(DraftNotFound, no_such_path=True),
    tags=["payments"],
)
async def return_from(request: Plain, gateway: str) -> Redirect:
    """The payer's browser, back from a PSP: look the payment up and send the payer on. Proves nothing by itself."""
    payments = request.app.state.services.payments
    return _onward(await payments.come_back(gateway, dict(request.query_params)))


@get("/health/live", media_type=MediaType.TEXT, tags=["health"])
async def live() -> str:
    """The process answers."""
    return "live"


@get("/health/ready", media_type=MediaType.TEXT, responses=described.refusals(), tags=["health"])
async def ready(request: Plain) -> str:
    """The database answers too."""
    async with asyncio.timeout(READY_SECONDS):
        await request.app.state.services.store.pool.fetchval("SELECT 1")
    return "ready"


@get(
    "/api/payments/return/{gateway:str}/{draft_id:str}",
    status_code=HTTPStatus.SEE_OTHER,
    responses=described.refusals(DraftNotFound, no_such_path=True),
    tags=["payments"],
)
async def return_to(request: Plain, gateway: str, draft_id: str, cancelled: str = "") -> Redirect:
    """The payer's browser, back from a PSP to the draft's own address: as above, and an approved draft is captured."""
    payments = request.app.state.services.payments
    return _onward(await payments.come_back_to(gateway, draft_id_of(draft_id), cancelled=cancelled == "1"))


ROUTES: Final[Sequence[HTTPRouteHandler]] = (
    webhook_handler,
    status,
    submit_code,
    methods,
    return_from,
    return_to,
    live,
    ready,
)


def draft_id_of(text: str) -> UUID:
    """A draft id from a path; what is no id names no draft."""
    try:
        return UUID(text)
    except ValueError:
        raise DraftNotFound from None


def _onward(row: Row | None) -> Redirect:
    """On to where the shop wants its payers, or to the payment's own page."""
    if row is None:
        raise DraftNotFound
    target = row.draft.request.return_url or f"/pay/{row.draft.id}"
    return Redirect(target, status_code=303, headers={"Cache-Control": "no-store"})


def _offer(product: Product, method: Method, currency: str) -> dict[str, object]:
    facts = METHODS[method]
    return {
        "payment_method": method,
        "label": {"en": facts.label_en, "ar": facts.label_ar},
        "currency": currency,
        "amount": Money(product.prices[currency], currency).major,
        "fields": ["payer.phone"] if facts.needs_phone else [],
    }


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_WAIT_DIGITS):
        detail = f"a whole number of seconds from 0 to {MAX_WAIT_SECONDS}"
        raise InvalidRequest(errors=[FieldError("?wait", detail)])
    return min(int(text), MAX_WAIT_SECONDS)
