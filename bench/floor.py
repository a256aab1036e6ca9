"""The floor: a bare Starlette application doing the same SQL and the same PSP calls as Qirsh, and nothing else.

No validation, no idempotency, no state table, no signatures, no metrics, no logs, no errors: what is left is what any
server in Python with these libraries would pay. The statements are Qirsh's own, by name, in the same order; with
`--tuned-alike` they go over Qirsh's pool, under Qirsh's garbage collection.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import aiohttp
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.contender import Told, main
from bench.psp import INTEGRATION
from qirsh.store.connection import Pool, connect_pool, new_id
from qirsh.store.sql import SQL

_NONE: Final = timedelta(0)
_HOUR: Final = timedelta(hours=1)
_FINGERPRINT: Final = bytes(32)

INTENTION: Final = msgspec.json.encode(
    {
        "amount": 30000,
        "currency": "EGP",
        "payment_methods": [INTEGRATION],
        "items": [{"name": "T-shirt", "amount": 30000, "description": "T-shirt", "quantity": 1}],
        "billing_data": {
            **dict.fromkeys(["apartment", "floor", "street", "building", "shipping_method"], "NA"),
            **dict.fromkeys(["postal_code", "city", "country", "state"], "NA"),
            "first_name": "Mona",
            "last_name": "Hassan",
            "email": "mona@example.com",
            "phone_number": "+201012345678",
        },
        "extras": {"paymentDraftId": "0199a7a0-0000-7000-8000-000000000000"},
        "special_reference": "0199a7a0-0000-7000-8000-000000000000",
        "expiration": 3600,
        "notification_url": "http://127.0.0.1:8000/api/payments/webhook-handler/paymob",
        "redirection_url": "http://127.0.0.1:8000/api/payments/return/paymob",
    }
)
_PAYER: Final = '{"product_id":"tshirt","amount":"300","method":"card","currency":"EGP","payer":{"name":"Mona Hassan"}}'
_EVENT: Final = '{"kind":"registered","gateway":"paymob","event_id":"-"}'
_PAID: Final = '{"kind":"paid","gateway":"paymob","event_id":"-","amount":{"amount_minor":30000,"currency":"EGP"}}'


async def initiate(request: Request) -> Response:
    """Product and key in one statement, the claim, the PSP, the fold."""
    pool, http = request.app.state.pool, request.app.state.http
    body = msgspec.json.decode(await request.body())
    key, draft_id, claim = body["idempotency_key"], new_id(), uuid4()
    await pool.fetchrow(SQL["find_for_initiate"], key, body["product_id"])
    await pool.fetchrow(
        SQL["claim_by_key"],
        *(draft_id, key, _FINGERPRINT, _PAYER, body["product_id"], "card", "paymob", body["order_reference"]),
        *(30000, "EGP", claim, _NONE, timedelta(seconds=15), timedelta(seconds=90), _HOUR),
    )
    async with http.post("/v1/intention/", data=INTENTION, headers={"Content-Type": "application/json"}) as answer:
        order = msgspec.json.decode(await answer.read())
    action = {"paymentAction": "redirect_url", "url": order["client_secret"], "display": "redirect"}
    await pool.fetchrow(
        SQL["save_fold"],
        *(draft_id, 0, "awaiting_user_action", None, False, 0, str(order["intention_order_id"]), None),
        *(msgspec.json.encode(action).decode(), False, False, 1, claim, False, timedelta(minutes=2), _NONE, True),
        *("initiate", [new_id()], [_EVENT], ["applied"], [None], ["awaiting_user_action"], None),
        *(None, None, None, "applied", None, None, None, None, False),
    )
    return _json({"paymentDraftId": str(draft_id), "paymentAction": "redirect_url", "actionData": action}, 201)


async def replay(request: Request) -> Response:
    """The row of the key."""
    body = msgspec.json.decode(await request.body())
    row = await request.app.state.pool.fetchrow(SQL["find_for_initiate"], body["idempotency_key"], body["product_id"])
    action = msgspec.json.decode(row["action"])
    return _json({"paymentDraftId": str(row["id"]), "paymentAction": "redirect_url", "actionData": action}, 201)


async def webhook(request: Request) -> Response:
    """The fact's row, and the fold of a payment."""
    body = await request.body()
    paid = msgspec.json.decode(body)["obj"]
    order, payment = str(paid["order"]["id"]), str(paid["id"])
    event_id = f"{payment}:false:true"
    pool = request.app.state.pool
    row = await pool.fetchrow(SQL["draft_by_transaction_reference"], "paymob", order)
    await pool.fetchrow(
        SQL["save_fold"],
        *(row["id"], row["version"], "completed", None, False, 0, order, payment, row["action"], False, False, 1),
        *(None, False, None, _NONE, True, "webhook", [new_id()], [_PAID], ["applied"], [None], ["completed"], new_id()),
        *("paymob", event_id, new_id(), "applied", body, "{}", "{}", None, False),
    )
    return _json({"received": True})


async def status(request: Request) -> Response:
    """The row. Nothing is hashed: whoever sends an ETag is told that nothing changed."""
    row = await request.app.state.pool.fetchrow(SQL["draft_by_id"], request.path_params["draft_id"])
    if "if-none-match" in request.headers:
        return Response(status_code=304)
    return _json({"paymentDraftId": str(row["id"]), "status": row["state"], "actionData": row["action"]})


def make(told: Told) -> Starlette:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        driver_pool = await connect_pool(told.database_url)
        pool = Pool(driver_pool) if told.tuned_alike else driver_pool
        async with aiohttp.ClientSession(told.psp_url, connector=aiohttp.TCPConnector(limit=1000)) as http:
            app.state.pool, app.state.http = pool, http
            yield
        await (pool.aclose() if isinstance(pool, Pool) else pool.close())

    return Starlette(
        routes=[
            Route("/api/payments/initiate", initiate, methods=["POST"]),
            Route("/replay", replay, methods=["POST"]),
            Route("/api/payments/webhook-handler/paymob", webhook, methods=["POST"]),
            Route("/api/payments/status/{draft_id}", status),
        ],
        lifespan=lifespan,
    )


def _json(body: Any, status_code: int = 200) -> Response:  # noqa: ANN401  whatever JSON is made of
    return Response(msgspec.json.encode(body), status_code, media_type="application/json")


if __name__ == "__main__":
    main(make)
