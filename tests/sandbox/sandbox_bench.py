"""A shop for the sandbox's tests: speaks to a sandbox over a real socket, and receives its webhooks on another."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web

from qirsh_sandbox import PaymobConfig, Sandbox, SandboxConfig, start
from qirsh_sandbox.paymob_signing import callback_hmac
from qirsh_sandbox.paypal_certs import KEY_FILE, open_certificates

PAYMOB = PaymobConfig()
BILLING = {
    **dict.fromkeys(("apartment", "floor", "street", "building", "shipping_method", "postal_code"), "NA"),
    **dict.fromkeys(("city", "country", "state"), "NA"),
    "first_name": "Sara",
    "last_name": "Hassan",
    "email": "customer@example.com",
    "phone_number": "+201012345678",
}
GOOD_CARD = {"card_number": "5123 4567 8901 2346", "card_expiry": "01/39", "card_cvv": "123", "action": "pay"}
GOOD_PIN = {"mpin": "123456", "otp": "123456", "action": "pay"}


class Answer(NamedTuple):
    """A status and the JSON or text that came with it."""

    status: int
    body: Any
    headers: dict[str, str]


class Callback(NamedTuple):
    """A webhook as it arrived."""

    hmac: str
    body: dict[str, Any]

    @property
    def obj(self) -> dict[str, Any]:
        """The transaction."""
        transaction: dict[str, Any] = self.body["obj"]
        return transaction

    @property
    def is_authentic(self) -> bool:
        """Whether the signature fits the body."""
        return callback_hmac(self.obj, PAYMOB.hmac_secret) == self.hmac


class Bench:
    """The shop, and the other side of its webhooks."""

    def __init__(self, http: aiohttp.ClientSession, folder: Path) -> None:
        self._http = http
        self.config = SandboxConfig(state_file=folder / "sandbox.sqlite3", port=0)
        self.sandbox: Sandbox | None = None
        self.received: list[Callback] = []
        self.answers: list[int] = []
        self.token = ""

    @property
    def base(self) -> str:
        """The sandbox's address."""
        assert self.sandbox is not None
        return f"http://127.0.0.1:{self.sandbox.port}"

    async def start(self) -> None:
        """Start a sandbox on the same state file as before."""
        _lend_certificates(self.config.state_file.parent)
        self.sandbox = await start(self.config)

    async def stop(self) -> None:
        """Stop it; nothing when it is stopped."""
        if self.sandbox is not None:
            await self.sandbox.stop()
        self.sandbox = None

    async def receive(self, request: web.Request) -> web.Response:
        """Take a webhook and answer as told, 200 when told nothing."""
        self.received.append(Callback(request.query["hmac"], await request.json()))
        return web.Response(status=self.answers.pop(0) if self.answers else HTTPStatus.OK)

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Make one call and read all of its answer."""
        address = path if path.startswith("http") else f"{self.base}{path}"
        async with self._http.request(method, address, allow_redirects=False, **options) as response:
            json = response.content_type == "application/json"
            body = await response.json() if json else await response.text()
            return Answer(response.status, body, dict(response.headers))

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Post JSON with the shop's token, when it has one, in the body."""
        auth = {"auth_token": self.token} if self.token and not path.startswith("/__sandbox") else {}
        return await self.call("POST", path, json={**auth, **body})

    async def get(self, path: str) -> Answer:
        """Get with the shop's token as a bearer."""
        return await self.call("GET", path, headers={"Authorization": f"Bearer {self.token}"})

    async def log_in(self) -> Answer:
        """Fetch an auth token and keep it."""
        answer = await self.call("POST", "/api/auth/tokens", json={"api_key": PAYMOB.api_key})
        self.token = answer.body["token"]
        return answer

    async def order(self, reference: str | None = "draft-1", amount_cents: int | str = 30000) -> Answer:
        """Register an order."""
        body: dict[str, Any] = {
            "delivery_needed": "false",
            "amount_cents": amount_cents,
            "currency": "EGP",
            "items": [],
        }
        return await self.post("/api/ecommerce/orders", {**body, "merchant_order_id": reference})

    async def key(self, order: int, **changes: Any) -> Answer:
        """Ask for a payment key, for cards unless told."""
        body: dict[str, Any] = {
            "amount_cents": "30000",
            "expiration": 3600,
            "order_id": f"{order}",
            "billing_data": BILLING,
            "currency": "EGP",
            "integration_id": PAYMOB.card_integration_id,
            "lock_order_when_paid": "true",
        }
        return await self.post("/api/acceptance/payment_keys", {**body, **changes})

    async def card_page(self, reference: str = "draft-1") -> str:
        """Register an order with a card key; return the path of its card page."""
        token = (await self.key((await self.order(reference)).body["id"])).body["token"]
        return f"/api/acceptance/iframes/{PAYMOB.iframe_id}?payment_token={token}"

    async def wallet(self, reference: str = "draft-1", number: str = "01010101010") -> dict[str, Any]:
        """Register an order and start a wallet payment; return the pending transaction."""
        order_id = (await self.order(reference)).body["id"]
        key = (await self.key(order_id, integration_id=PAYMOB.wallet_integration_id)).body["token"]
        source = {"identifier": number, "subtype": "WALLET"}
        answer = await self.post("/api/acceptance/payments/pay", {"source": source, "payment_token": key})
        assert answer.status == HTTPStatus.OK, answer
        transaction: dict[str, Any] = answer.body
        return transaction

    async def act(self, act: str, reference: str = "draft-1", **more: Any) -> Answer:
        """Let the payer act."""
        return await self.post("/__sandbox/payer", {"merchant_reference": reference, "act": act, **more})

    async def fault(self, operation: str, kind: str, **more: Any) -> None:
        """Arm a fault."""
        body: dict[str, Any] = {"psp": "paymob", "operation": operation, "kind": kind, "times": 1, **more}
        answer = await self.post("/__sandbox/faults", body)
        assert answer.status == HTTPStatus.OK, answer

    async def advance(self, seconds: float) -> None:
        """Move the PSPs' clock."""
        assert (await self.post("/__sandbox/clock", {"advance_seconds": seconds})).status == HTTPStatus.OK

    async def ledger(self) -> list[dict[str, Any]]:
        """Read the ledger."""
        rows: list[dict[str, Any]] = (await self.get("/__sandbox/ledger")).body
        return rows

    async def deliveries(self) -> list[dict[str, Any]]:
        """Read the webhooks."""
        rows: list[dict[str, Any]] = (await self.get("/__sandbox/deliveries")).body
        return rows

    async def callbacks(self, count: int) -> list[Callback]:
        """Wait until that many webhooks have arrived."""
        await until(lambda: len(self.received) >= count)
        return self.received


@cache
def _certificates() -> bytes:
    """Make PayPal's keys once for all benches of this process: they take a fifth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        open_certificates(Path(folder))
        return (Path(folder) / KEY_FILE).read_bytes()


def _lend_certificates(folder: Path) -> None:
    if not (folder / KEY_FILE).exists():
        (folder / KEY_FILE).write_bytes(_certificates())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that is bound to happen; fail when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is in the state of another server; it has no event
            await asyncio.sleep(0.005)


def query_of(answer: Answer) -> dict[str, str]:
    """Return the query of the address that a redirect names."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


@asynccontextmanager
async def bench(folder: Path, *, log_in: bool = True, webhooks: bool = True) -> AsyncIterator[Bench]:
    """Run a sandbox, a receiver of its webhooks, and a shop that has logged in."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        shop = Bench(http, folder)
        application = web.Application()
        application.router.add_post("/hooks/paymob", shop.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        if webhooks:
            receiver = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
            shop.config = replace(shop.config, webhooks=receiver, returns="http://shop.example/return")
        try:
            await shop.start()
            if log_in:
                await shop.log_in()
            yield shop
        finally:
            await shop.stop()
            await runner.cleanup()
