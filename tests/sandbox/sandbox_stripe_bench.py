"""A shop that takes Stripe: speaks to the sandbox over a real socket, and keeps its webhooks as they came."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from sandbox_bench import Answer, Bench, until

from qirsh_sandbox import StripeConfig

STRIPE = StripeConfig()
SESSIONS = "/v1/checkout/sessions"
REFUNDS = "/v1/refunds"
CURRENCY = "line_items[0][price_data][currency]"
UNIT_AMOUNT = "line_items[0][price_data][unit_amount]"

_SHORT = {"money": CURRENCY, "unit_amount": UNIT_AMOUNT}


class Event(NamedTuple):
    """A webhook as it arrived: what is signed are its bytes."""

    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The event."""
        event: dict[str, Any] = json.loads(self.raw)
        return event

    @property
    def kind(self) -> str:
        """The event's type."""
        return str(self.body["type"])

    @property
    def object(self) -> dict[str, Any]:
        """What it is about."""
        found: dict[str, Any] = self.body["data"]["object"]
        return found

    def is_signed_by(self, secret: str) -> bool:
        """Verify it as Stripe documents it, with nothing of the sandbox's."""
        time, *signatures = [item.split("=") for item in self.headers["Stripe-Signature"].split(",")]
        assert time[0] == "t"
        expected = hmac.new(secret.encode(), f"{time[1]}.".encode() + self.raw, hashlib.sha256).hexdigest()
        return ["v1", expected] in signatures


class StripeShop(Bench):
    """The shop, and the other side of its webhooks."""

    def __init__(self, http: aiohttp.ClientSession, folder: Path) -> None:
        super().__init__(http, folder)
        self.events: list[Event] = []

    async def receive(self, request: web.Request) -> web.Response:
        """Take a webhook and answer as told, 200 when told nothing."""
        self.events.append(Event(dict(request.headers), await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else HTTPStatus.OK)

    async def send(self, path: str, form: dict[str, str], key: str | None = None, **headers: str) -> Answer:
        """Post a form with the secret key; `headers` are Stripe's, with `_` for `-`."""
        sent = {"Authorization": f"Bearer {STRIPE.secret_key}", "Content-Type": "application/x-www-form-urlencoded"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Idempotency-Key"] = key
        return await self.call("POST", path, data=urlencode(form), headers=sent)

    async def show(self, path: str, **params: str) -> Answer:
        """Get something with the secret key."""
        query = f"?{urlencode(params)}" if params else ""
        return await self.call("GET", path + query, headers={"Authorization": f"Bearer {STRIPE.secret_key}"})

    async def create(self, reference: str = "draft-1", key: str | None = None, **changes: str) -> Answer:
        """Create a session."""
        return await self.send(SESSIONS, session_form(reference, **changes), key)

    async def paid(self, reference: str = "draft-1", card: str = "4242424242424242", **changes: str) -> dict[str, Any]:
        """Create a session and let its payer pay on the page; return it as it then stands, with its payment."""
        session = (await self.create(reference, **changes)).body
        answer = await self.press(session["url"], "pay", card)
        assert answer.status == HTTPStatus.SEE_OTHER, answer
        found: dict[str, Any] = (await self.show(f"{SESSIONS}/{session['id']}", **{"expand[]": "payment_intent"})).body
        return found

    async def press(self, page: str, action: str, card: str = "4242424242424242") -> Answer:
        """Press a button of the hosted page."""
        return await self.call("POST", page, data={"action": action, "card_number": card})

    async def fault(self, operation: str, kind: str, **more: Any) -> None:
        """Arm a fault."""
        await super().fault(operation, kind, psp="stripe", **more)

    async def told(self, *kinds: str) -> list[Event]:
        """Wait for these webhooks, in any order and no other; return them in the order of the names."""
        await until(lambda: len(self.events) >= len(kinds))
        assert sorted(event.kind for event in self.events) == sorted(kinds)
        left = list(self.events)
        return [left.pop([event.kind for event in left].index(kind)) for kind in kinds]


def session_form(reference: str = "draft-1", **changes: str) -> dict[str, str]:
    """Return the body of a new session; a change to nothing leaves a parameter out."""
    form = {
        "mode": "payment",
        "line_items[0][quantity]": "1",
        CURRENCY: "usd",
        UNIT_AMOUNT: "1000",
        "line_items[0][price_data][product_data][name]": "قميص",
        "success_url": "https://shop.example/ok?sid={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cancel",
        "client_reference_id": reference,
        "metadata[draft_id]": reference,
        "payment_intent_data[metadata][draft_id]": reference,
    }
    named = {_SHORT.get(name, name): text for name, text in changes.items()}
    return {name: text for name, text in {**form, **named}.items() if text}


def error_of(answer: Answer) -> tuple[int, str | None, str | None]:
    """Return the status, code and parameter of a refusal."""
    error = answer.body["error"]
    return answer.status, error.get("code"), error.get("param")


@asynccontextmanager
async def stripe_shop(folder: Path, *, secrets: tuple[str, ...] = STRIPE.webhook_secrets) -> AsyncIterator[StripeShop]:
    """Run a sandbox, a receiver of its webhooks, and a shop with a secret key."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        shop = StripeShop(http, folder)
        application = web.Application()
        application.router.add_post("/hooks/stripe", shop.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        shop.config = replace(
            shop.config,
            webhooks=f"http://127.0.0.1:{runner.addresses[0][1]}/hooks",
            accounts={"stripe": {"webhook_secrets": list(secrets)}},
        )
        try:
            await shop.start()
            yield shop
        finally:
            await shop.stop()
            await runner.cleanup()
