"""The demo shop's side: its page, its products, and its fulfilment endpoint, which checks who announces."""

from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.types import ControllerRouterHandler
from standardwebhooks import Webhook, WebhookVerificationError

MAX_ORDERS: Final = 10_000
MAX_PRODUCTS: Final = 50

_FILES: Final = {"shop.html": "text/html", "shop.css": "text/css", "shop.js": "text/javascript"}


def demo_shop(secrets: Sequence[str]) -> tuple[ControllerRouterHandler, ...]:
    """The shop's routes; announcements are believed when any of the secrets signed them."""
    delivered: OrderedDict[str, str] = OrderedDict()
    verifiers = [Webhook(secret) for secret in secrets]

    @get("/", include_in_schema=False)
    async def page() -> Response[bytes]:
        return _file("shop.html")

    @get("/demo/{name:str}", include_in_schema=False)
    async def asset(name: str) -> Response[bytes]:
        return _file(name) if name in _FILES else Response(b"", status_code=HTTPStatus.NOT_FOUND)

    @get("/demo/products", include_in_schema=False)
    async def products(request: Request[Any, Any, Any]) -> list[dict[str, object]]:
        found = await request.app.state.services.store.products.page("", MAX_PRODUCTS)
        return [{"id": product.id, "name": product.name} for product in found if product.purchasable]

    @post("/demo/fulfilments", status_code=HTTPStatus.OK, include_in_schema=False)
    async def fulfilments(request: Request[Any, Any, Any]) -> Response[dict[str, bool]]:
        body = await request.body()
        headers = dict(request.headers.items())
        if not any(_is_signed(verifier, body, headers) for verifier in verifiers):
            return Response({"delivered": False}, status_code=HTTPStatus.UNAUTHORIZED)
        announced = msgspec.json.decode(body)
        data = announced["data"]
        # An order that was paid twice is delivered once, and what went back delivers nothing.
        if announced["type"] == "payment.completed" and "duplicate_of" not in data:
            # The same announcement may come twice; the message id tells that it is the same.
            delivered.setdefault(data["paymentDraftId"], headers["webhook-id"])
        while len(delivered) > MAX_ORDERS:
            delivered.popitem(last=False)
        return Response({"delivered": True})

    @get("/demo/orders/{draft_id:str}", include_in_schema=False)
    async def order(draft_id: str) -> dict[str, bool]:
        return {"delivered": draft_id in delivered}

    return page, asset, products, fulfilments, order


def _file(name: str) -> Response[bytes]:
    return Response(
        (files(__package__) / name).read_bytes(),
        media_type=_FILES[name],
        headers={"Cache-Control": "no-store"},
    )


def _is_signed(verifier: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        verifier.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True
