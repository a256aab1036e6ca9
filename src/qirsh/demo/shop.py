"""The demo shop's side: its page, its products, and its fulfilment endpoint, which checks who announces."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler
from standardwebhooks import Webhook, WebhookVerificationError

from qirsh.money import Money
from qirsh.store.store import Store

MAX_ORDERS: Final = 10_000
MAX_PRODUCTS: Final = 50

_FILES: Final = {
    "shop.html": "text/html",
    "shop.css": "text/css",
    **dict.fromkeys(("shop.js", "words.js"), "text/javascript"),
    **dict.fromkeys(("tshirt.svg", "mug.svg", "ebook.svg", "parcel.svg"), "image/svg+xml"),
}


# The sandbox's card form stands in a frame, and is http here.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src http: https:; base-uri 'none'; form-action 'none'"
)


def demo_shop(secrets: Sequence[str]) -> tuple[ControllerRouterHandler, ...]:
    """The shop's routes; announcements are believed when any of the secrets signed them."""
    delivered: OrderedDict[str, str] = OrderedDict()
    verifiers = [Webhook(secret) for secret in secrets]

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

    @get("/demo/orders/{draft_id:uuid}", include_in_schema=False)
    async def order(request: Request[Any, Any, Any], draft_id: UUID) -> dict[str, object]:
        store: Store = request.app.state.services.store
        return {
            "delivered": str(draft_id) in delivered,
            "journal": [_line(entry) for entry in await store.drafts.journal(draft_id)],
            "announcements": [
                {
                    "at": (one.delivered_at or one.created_at).isoformat(),
                    "type": one.kind,
                    "status": one.state,
                    "attempts": one.attempts,
                }
                for one in await store.fulfilments.of(draft_id)
            ],
        }

    @get("/demo/orders/{draft_id:uuid}/download", include_in_schema=False)
    async def download(draft_id: UUID) -> Response[str]:
        if str(draft_id) not in delivered:
            return Response("This order is not paid.\n", status_code=HTTPStatus.FORBIDDEN, media_type="text/plain")
        headers = {"Content-Disposition": "attachment; filename=order.txt", "Cache-Control": "no-store"}
        return Response(f"Thank you for your order, {draft_id}.\n", media_type="text/plain", headers=headers)

    return page, asset, sandbox, products, fulfilments, order, download


@get("/", include_in_schema=False)
async def page() -> Response[bytes]:
    """The shop."""
    return _file("shop.html")


@get("/demo/{name:str}", include_in_schema=False)
async def asset(name: str) -> Response[bytes]:
    """Its scripts, style and pictures."""
    return _file(name) if name in _FILES else Response(b"", status_code=HTTPStatus.NOT_FOUND)


@get("/demo/sandbox", include_in_schema=False)
async def sandbox(request: Request[Any, Any, Any]) -> Redirect:
    """The way to the sandbox, whose address the page cannot know."""
    return Redirect(f"{request.app.state.services.settings.sandbox_url}/")


@get("/demo/products", include_in_schema=False)
async def products(request: Request[Any, Any, Any]) -> list[dict[str, object]]:
    """What it sells, and for how much."""
    found = await request.app.state.services.store.products.page("", MAX_PRODUCTS)
    return [
        {
            "id": product.id,
            "name": product.name,
            "prices": {currency: Money(price, currency).major for currency, price in product.prices.items()},
        }
        for product in found
        if product.purchasable
    ]


def _line(entry: Mapping[str, Any]) -> dict[str, object]:
    """What the panel shows of one entry of the journal: the payer's data is not in it."""
    event = msgspec.json.decode(entry["event"])
    told = {name: event[name] for name in ("kind", "gateway", "reason") if name in event}
    return {**told, "at": entry["at"].isoformat(), **{name: entry[name] for name in ("source", "verdict", "state")}}


def _file(name: str) -> Response[bytes]:
    return Response(
        (files(__package__) / name).read_bytes(),
        media_type=_FILES[name],
        headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY},
    )


def _is_signed(verifier: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        verifier.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True
