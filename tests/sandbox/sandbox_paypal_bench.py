"""A shop that takes PayPal: speaks to the sandbox over a real socket, and keeps its webhooks as they came."""

import base64
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import verification
from sandbox_bench import Answer, Bench, until

from qirsh_sandbox import PaypalConfig
from qirsh_sandbox.paypal_certs import TRUST_FILE

PAYPAL = PaypalConfig()
ORDERS = "/v2/checkout/orders"
CAPTURES = "/v2/payments/captures"


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
        return str(self.body["event_type"])

    @property
    def resource(self) -> dict[str, Any]:
        """What it is about."""
        resource: dict[str, Any] = self.body["resource"]
        return resource


class PaypalShop(Bench):
    """The shop, and the other side of its webhooks."""

    def __init__(self, http: aiohttp.ClientSession, folder: Path) -> None:
        super().__init__(http, folder)
        self.events: list[Event] = []

    async def receive(self, request: web.Request) -> web.Response:
        """Take a webhook and answer as told, 200 when told nothing."""
        self.events.append(Event(dict(request.headers), await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else HTTPStatus.OK)

    async def log_in(self) -> Answer:
        """Fetch an access token and keep it."""
        answer = await self.ask_token(basic())
        self.token = answer.body["access_token"]
        return answer

    async def ask_token(self, headers: dict[str, str], grant_type: str = "client_credentials") -> Answer:
        """Ask for a token with these credentials."""
        return await self.call("POST", "/v1/oauth2/token", data={"grant_type": grant_type}, headers=headers)

    async def send(self, path: str, body: Any = None, request_id: str | None = None, **headers: str) -> Answer:
        """Post JSON, or no bytes at all, with the token; `headers` are PayPal's, with `_` for `-`."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if request_id is not None:
            sent["PayPal-Request-Id"] = request_id
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.call("POST", path, data=data, headers=sent)

    async def create(
        self, reference: str | None = "draft-1", value: str = "10.00", currency: str = "USD", **unit: Any
    ) -> Answer:
        """Create an order in today's form."""
        return await self.send(ORDERS, order_body(reference, value, currency, **unit), f"create:{reference}")

    async def approved(self, reference: str = "draft-1", act: str = "pay", **unit: Any) -> str:
        """Create an order and let its payer approve; return its id."""
        order_id: str = (await self.create(reference, **unit)).body["id"]
        assert (await self.act(act, reference)).status == HTTPStatus.OK
        return order_id

    async def capture(self, order_id: str, request_id: str | None = "capture:1", **headers: str) -> Answer:
        """Capture an order, as the SDKs do, without a body."""
        return await self.send(f"{ORDERS}/{order_id}/capture", None, request_id, **headers)

    async def paid(self, reference: str = "draft-1", act: str = "pay", **unit: Any) -> dict[str, Any]:
        """Create, approve and capture an order; return its capture."""
        answer = await self.capture(await self.approved(reference, act, **unit))
        assert answer.status == HTTPStatus.CREATED, answer
        capture: dict[str, Any] = answer.body["purchase_units"][0]["payments"]["captures"][0]
        return capture

    async def refund(self, capture_id: str, body: Any = None, request_id: str | None = None, **headers: str) -> Answer:
        """Refund a capture, all that is left of it without a body."""
        return await self.send(f"{CAPTURES}/{capture_id}/refund", body, request_id, **headers)

    async def fault(self, operation: str, kind: str, **more: Any) -> None:
        """Arm a fault."""
        await super().fault(operation, kind, psp="paypal", **more)

    async def told(self, *kinds: str) -> list[Event]:
        """Wait for these webhooks, in any order and no other; return them in the order of the names."""
        await until(lambda: len(self.events) >= len(kinds))
        assert sorted(event.kind for event in self.events) == sorted(kinds)
        left = list(self.events)
        return [left.pop([event.kind for event in left].index(kind)) for kind in kinds]

    async def is_authentic(self, event: Event, webhook_id: str = PAYPAL.webhook_id) -> bool:
        """Verify a webhook as PayPal documents it, with nothing of the sandbox's but its trust file."""
        headers = {name.lower(): value for name, value in event.headers.items()}
        assert headers["paypal-auth-algo"] == "SHA256withRSA"
        served = await self.call("GET", headers["paypal-cert-url"])
        assert served.headers["Content-Type"].startswith("application/x-pem-file")
        leaf = x509.load_pem_x509_certificate(served.body.encode())
        assert self.sandbox is not None
        intermediate, root = x509.load_pem_x509_certificates(self.config.state_file.with_name(TRUST_FILE).read_bytes())
        name = x509.DNSName("messageverificationcerts.sandbox.paypal.com")
        builder = verification.PolicyBuilder().store(verification.Store([root])).time(datetime.now(UTC))
        builder.build_server_verifier(name).verify(leaf, [intermediate])
        parts = (headers["paypal-transmission-id"], headers["paypal-transmission-time"], webhook_id)
        message = "|".join((*parts, str(zlib.crc32(event.raw)))).encode()
        key = leaf.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        signature = base64.b64decode(headers["paypal-transmission-sig"])
        try:
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def basic(client_id: str = PAYPAL.client_id, client_secret: str = PAYPAL.client_secret) -> dict[str, str]:
    """Return the header with the application's own credentials."""
    return {"Authorization": f"Basic {base64.b64encode(f'{client_id}:{client_secret}'.encode()).decode()}"}


def order_body(
    reference: str | None = "draft-1", value: str = "10.00", currency: str = "USD", *, old: bool = False, **unit: Any
) -> dict[str, Any]:
    """Return the body of a new order, in today's form unless the old one is asked for."""
    purchase = {"amount": {"currency_code": currency, "value": value}, **unit}
    if reference is not None:
        purchase["custom_id"] = reference
    context = {
        "return_url": "https://shop.example/return?draft=1",
        "cancel_url": "https://shop.example/cancel",
        "user_action": "PAY_NOW",
        "shipping_preference": "NO_SHIPPING",
    }
    body: dict[str, Any] = {"intent": "CAPTURE", "purchase_units": [purchase]}
    if old:
        return {**body, "application_context": context}
    context |= {"locale": "ar-EG", "brand_name": "متجر", "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED"}
    return {**body, "payment_source": {"paypal": {"experience_context": context}}}


def issue_of(answer: Answer) -> tuple[int, str]:
    """Return the status and the first issue of a refusal, whose debug id is in header and body alike."""
    assert answer.headers["paypal-debug-id"] == answer.body["debug_id"]
    return answer.status, answer.body["details"][0]["issue"]


def link_of(answer: Answer, rel: str) -> str:
    """Return one link of an answer."""
    return next(str(each["href"]) for each in answer.body["links"] if each["rel"] == rel)


@asynccontextmanager
async def paypal_shop(folder: Path) -> AsyncIterator[PaypalShop]:
    """Run a sandbox, a receiver of its webhooks, and a shop that has logged in."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        shop = PaypalShop(http, folder)
        application = web.Application()
        application.router.add_post("/hooks/paypal", shop.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        shop.config = replace(shop.config, webhooks=f"http://127.0.0.1:{runner.addresses[0][1]}/hooks")
        try:
            await shop.start()
            await shop.log_in()
            yield shop
        finally:
            await shop.stop()
            await runner.cleanup()
