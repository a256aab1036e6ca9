"""What the Stripe tests share: a scripted Stripe on loopback, signed deliveries, and drafts."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import msgspec
from unit_psp import psp, read_request

from qirsh.draft import DraftRequest, Payer, PaymentDraft
from qirsh.gateways.base import Delivery, RefundOrder, Surroundings
from qirsh.gateways.stripe import Credentials, Stripe
from qirsh.methods import Method
from qirsh.money import Money

DRAFT_ID: Final = UUID("01990000-0000-7000-8000-000000000001")
REFUND_ID: Final = UUID("01990000-0000-7000-8000-000000000002")
SESSION_ID: Final = "cs_test_a1B2c3"
PAYMENT_ID: Final = "pi_3MtwBwLkdIwHu7ix28a3tqPa"
PAGE_URL: Final = f"https://checkout.stripe.com/c/pay/{SESSION_ID}"
KEY: Final = "0d1f8f0e-0000-5000-8000-000000000001"
SECRET_KEY: Final = "sk_test_do_not_show_this"
WEBHOOK_SECRET: Final = "whsec_do_not_show_this"
NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
USD_10: Final = Money(1000, "USD")

SESSIONS: Final = "/v1/checkout/sessions"
SESSION: Final = f"{SESSIONS}/{SESSION_ID}"
REFUNDS: Final = "/v1/refunds"

Answer = tuple[int, Any]
Script = Callable[["Asked"], Answer]


@dataclass(frozen=True)
class Asked:
    """One request as the fake Stripe saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """Its body, decoded."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def key(self) -> str | None:
        """Its Idempotency-Key."""
        return self.headers.get("idempotency-key")


@dataclass
class FakeStripe:
    """What was asked, and what is answered to each method and path."""

    url: str = ""
    answers: dict[tuple[str, str], Script | Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """What the script says to a request."""
        self.asked.append(asked)
        said = self.answers[asked.method, asked.path]
        return said(asked) if callable(said) else said

    def posts(self) -> list[Asked]:
        """The requests that move something."""
        return [one for one in self.asked if one.method == "POST"]


@asynccontextmanager
async def stripe_and_gateway(**changes: Any) -> AsyncIterator[tuple[FakeStripe, Stripe]]:
    """A scripted Stripe behind a real socket, and a gateway that talks to it."""
    fake = FakeStripe()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(": ") for line in lines)
        url = urlsplit(target)
        headers = {name.lower(): value for name, _, value in pairs}
        status, said = fake.answer(Asked(method, url.path, dict(parse_qsl(url.query)), headers, body))
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} S\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        await writer.drain()

    async with psp(behave) as url:
        fake.url = url
        gateway = gateway_of(base_url=url, **changes)
        try:
            yield fake, gateway
        finally:
            await gateway.aclose()


def credentials(**changes: Any) -> Credentials:
    """Credentials of a test account, but for the changes."""
    keys = {"secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET]}
    return Credentials.model_validate({**keys, **changes})


def gateway_of(*, now: datetime = NOW, dev: bool = True, **changes: Any) -> Stripe:
    """A gateway whose clock stands."""
    surroundings = Surroundings(public_url="https://pay.example/", dev=dev, now=lambda: now)
    return Stripe(credentials(**changes), surroundings)


def draft_of(amount: Money = USD_10, **changes: Any) -> PaymentDraft:
    """A new draft by card; fields of its request are changed as well as its own."""
    names = set(DraftRequest.__struct_fields__) - {"amount"}
    request = {name: changes.pop(name) for name in list(changes) if name in names}
    fields: dict[str, Any] = {"product_id": "tshirt", "amount": amount.major, "method": Method.CARD, **request}
    new = PaymentDraft(
        id=DRAFT_ID,
        gateway="stripe",
        amount=amount,
        request=DraftRequest(**fields),
        created_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return msgspec.structs.replace(new, **changes)


def registered(**changes: Any) -> PaymentDraft:
    """A draft whose session we know."""
    return draft_of(**{"transaction_reference_id": SESSION_ID, **changes})


def order_of(amount_minor: int = 250, **changes: Any) -> RefundOrder:
    """A refund of a part of a paid draft."""
    reason = changes.pop("reason", "")
    amount = changes.pop("amount", USD_10)
    draft = registered(amount=amount, **{"payment_reference": PAYMENT_ID, **changes})
    return RefundOrder(REFUND_ID, draft, amount_minor, reason)


def payer(**fields: str) -> Payer:
    """A payer."""
    return Payer(**fields)


def session_of(**changes: Any) -> dict[str, Any]:
    """An open session of the draft, but for the changes."""
    shape = {
        "id": SESSION_ID,
        "object": "checkout.session",
        "status": "open",
        "payment_status": "unpaid",
        "amount_total": 1000,
        "currency": "usd",
        "client_reference_id": str(DRAFT_ID),
        "metadata": {"draft_id": str(DRAFT_ID)},
        "payment_intent": None,
        "livemode": False,
        "url": PAGE_URL,
    }
    return {**shape, **changes}


def paid_session(**changes: Any) -> dict[str, Any]:
    """A session that is paid."""
    paid = {"status": "complete", "payment_status": "paid", "url": None, "payment_intent": payment_of("succeeded")}
    return session_of(**{**paid, **changes})


def payment_of(status: str, **changes: Any) -> dict[str, Any]:
    """A payment as a session shows it when it is asked to."""
    charge = {"id": "ch_1", "object": "charge", "disputed": False}
    shape = {"id": PAYMENT_ID, "object": "payment_intent", "status": status, "latest_charge": charge}
    return {**shape, "metadata": {"draft_id": str(DRAFT_ID)}, "last_payment_error": None, **changes}


def refund_of(status: str = "succeeded", amount: int = 250, **changes: Any) -> dict[str, Any]:
    """A refund of ours."""
    metadata = {"refund_id": str(REFUND_ID), "draft_id": str(DRAFT_ID)}
    shape = {"id": "re_1", "object": "refund", "amount": amount, "currency": "usd", "status": status}
    return {**shape, "payment_intent": PAYMENT_ID, "metadata": metadata, **changes}


def listed(*data: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    """A page of a list."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": "/v1/x"}


def error_of(type_: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    """An error's body."""
    return {"error": {"type": type_, "message": "…", **more}}


def event_of(kind: str, shape: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An event's envelope."""
    envelope = {"id": "evt_1", "object": "event", "api_version": "2026-10-28.endive", "created": 1748779200}
    return {**envelope, "livemode": False, "type": kind, "data": {"object": shape}, **changes}


def signed(event: Any, *, secret: str = WEBHOOK_SECRET, at: datetime = NOW) -> Delivery:
    """A delivery as Stripe documents its signature: https://docs.stripe.com/webhooks/signature."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    time = int(at.timestamp())
    signature = hmac.new(secret.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    return Delivery(body, {"stripe-signature": f"t={time},v1={signature}"}, {})
