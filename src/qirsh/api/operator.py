"""The operator's endpoints: the catalogue, a payment with its journal, announcements. All need the operator key."""

import hmac
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import prometheus_client
from litestar import Request, Response, get, post, put
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from msgspec import Meta

from qirsh.api import answers, described
from qirsh.api.operation import operation
from qirsh.api.requests import Name, pointed
from qirsh.api.routes import draft_id_of
from qirsh.catalog import Product
from qirsh.errors import (
    BodyTooLarge,
    DraftNotFound,
    FieldError,
    FulfilmentNotFound,
    InvalidRequest,
    OperatorKeyRequired,
    ProductNotFound,
    UnsupportedContentType,
)
from qirsh.money import InvalidAmountError, Money
from qirsh.store.rows import Row
from qirsh.store.store import Store

PAGE: Final = 100
KEYED: Final = [{"operatorKey": list[str]()}]
"""What OpenAPI says of whoever needs the operator key; `api.app` says what that is."""

Plain = Request[Any, Any, Any]
Language = Annotated[str, Meta(pattern=r"\A[a-z]{2}\Z")]
Price = Annotated[str, Meta(max_length=20, description='major units: "300.00"')]


class ProductFields(msgspec.Struct, forbid_unknown_fields=True):
    """A product on the wire, under the id in its path."""

    name: Annotated[dict[Language, Name], Meta(min_length=1)]
    prices: Annotated[dict[str, Price], Meta(min_length=1)]
    purchasable: bool


def operator_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Refuse whoever does not carry the operator key; with no key configured, everybody."""
    expected = connection.app.state.settings.operator_key.get_secret_value()
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if not expected or scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), expected.encode()):
        raise OperatorKeyRequired


def operator_unless_local(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Metrics may be read on the machine itself without a key."""
    try:
        if connection.client is not None and ip_address(connection.client.host).is_loopback:
            return
    except ValueError:
        pass
    operator_only(connection, handler)


@put(
    "/api/products/{product_id:str}",
    guards=[operator_only],
    status_code=HTTPStatus.OK,
    operation_class=operation(ProductFields),
    responses={
        HTTPStatus.OK: described.body(described.ProductBody, "As it is written."),
        **described.refusals(OperatorKeyRequired, BodyTooLarge, UnsupportedContentType, no_such_path=True),
    },
    security=KEYED,
    tags=["operator"],
)
async def put_product(request: Plain, product_id: str) -> Response[bytes]:
    """Write a product; from here on its new price is the one that counts."""
    if request.content_type[0] != "application/json":
        raise UnsupportedContentType
    try:
        product_id = msgspec.convert(product_id, Name)
        fields = msgspec.json.decode(await request.body(), type=ProductFields)
        prices = {currency: _price(text, currency) for currency, text in fields.prices.items()}
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        detail = str(error) if isinstance(error, msgspec.ValidationError) else "The body is not JSON that can be read."
        raise InvalidRequest(detail) from None
    product = Product(product_id, fields.name, prices, fields.purchasable)
    await request.app.state.services.store.products.put(product)
    return json_response(_product_body(product))


@get(
    "/api/products/{product_id:str}",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.ProductBody, "As it was written last."),
        **described.refusals(OperatorKeyRequired, ProductNotFound, no_such_path=True),
    },
    security=KEYED,
    tags=["operator"],
)
async def get_product(request: Plain, product_id: str) -> Response[bytes]:
    """A product."""
    product = await request.app.state.services.store.products.get(product_id) if "\0" not in product_id else None
    if product is None:
        raise ProductNotFound
    return json_response(_product_body(product))


@get(
    "/api/products",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.ProductsPage, "By id, those after `after`."),
        **described.refusals(OperatorKeyRequired),
    },
    security=KEYED,
    tags=["operator"],
)
async def list_products(request: Plain, after: str = "") -> Response[bytes]:
    """A page of products by id; `next` continues it."""
    page = await request.app.state.services.store.products.page(after.replace("\0", ""), PAGE)
    following = page[-1].id if len(page) == PAGE else None
    return json_response({"products": [_product_body(product) for product in page], "next": following})


@get(
    "/api/payments/{draft_id:str}",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.PaymentView, "As it stands, and how it came to that."),
        **described.refusals(OperatorKeyRequired, DraftNotFound, no_such_path=True),
    },
    security=KEYED,
    tags=["operator"],
)
async def payment(request: Plain, draft_id: str) -> Response[bytes]:
    """A payment draft with its journal, every fact that was folded into it, and what the shop was told of it."""
    services = request.app.state.services
    return await shown(services.store, await services.payments.status(draft_id_of(draft_id)))


@post(
    "/api/fulfilments/{fulfilment_id:str}/replay",
    guards=[operator_only],
    status_code=HTTPStatus.ACCEPTED,
    responses={
        HTTPStatus.ACCEPTED: described.body(described.FulfilmentView, "Due at once, under the same id."),
        **described.refusals(OperatorKeyRequired, FulfilmentNotFound, no_such_path=True),
    },
    security=KEYED,
    tags=["operator"],
)
async def replay_fulfilment(request: Plain, fulfilment_id: str) -> Response[bytes]:
    """Tell the shop again, under the same id: it is due at once, whatever became of it before."""
    try:
        wanted = UUID(fulfilment_id)
    except ValueError:
        raise FulfilmentNotFound from None
    fulfilment = await request.app.state.services.payments.announce_again(wanted)
    return json_response(answers.fulfilment_body(fulfilment), HTTPStatus.ACCEPTED)


@get("/metrics", guards=[operator_unless_local], include_in_schema=False)
async def metrics() -> Response[bytes]:
    """Counters in Prometheus' text format."""
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


OPERATOR_ROUTES: Final[Sequence[HTTPRouteHandler]] = (
    put_product,
    get_product,
    list_products,
    payment,
    replay_fulfilment,
    metrics,
)


async def shown(store: Store, row: Row) -> Response[bytes]:
    """A payment as the operator sees it."""
    journal = await store.drafts.journal(row.draft.id)
    refunds = await store.refunds.of(row.draft.id)
    fulfilments = await store.fulfilments.of(row.draft.id)
    return json_response(answers.operator_view(row, journal, refunds, fulfilments))


def json_response(body: object, status: HTTPStatus = HTTPStatus.OK) -> Response[bytes]:
    """JSON that nobody may keep."""
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)


def _price(text: str, currency: str) -> int:
    try:
        price = Money.parse(text, currency)
    except InvalidAmountError as error:
        raise InvalidRequest(errors=[FieldError(f"#/prices/{pointed(currency)}", str(error))]) from None
    if not price.amount_minor:
        raise InvalidRequest(errors=[FieldError(f"#/prices/{currency}", "must be more than zero")])
    return price.amount_minor


def _product_body(product: Product) -> dict[str, object]:
    prices = {currency: Money(minor, currency).major for currency, minor in product.prices.items()}
    return {"id": product.id, "name": product.name, "prices": prices, "purchasable": product.purchasable}
