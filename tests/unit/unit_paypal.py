"""What the PayPal tests share: a scripted PayPal on loopback, served certificates, a clock, and drafts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from unit_psp import psp, read_request
from unit_support import NOT_SHARED, SHARED, data_json, shared_json

from qirsh.draft import DraftRequest, PaymentDraft
from qirsh.errors import GatewayUnavailable
from qirsh.gateways.base import Surroundings
from qirsh.gateways.paypal import Credentials, PayPal
from qirsh.gateways.paypal.certificates import Address, CertificateSource
from qirsh.methods import Method
from qirsh.money import Money

GOLDEN: Final = data_json("paypal_golden.json")
DRAFT_ID: Final = UUID("01990000-0000-7000-8000-000000000001")
ORDER_ID: Final = "1788572669270162R"
CAPTURE_ID: Final = "65066433PF4829143"
KEY: Final = "0d1f8f0e-0000-5000-8000-000000000001"
SECRET: Final = "EK_do_not_show_this_secret"
CLIENT: Final = "AZ_do_not_show_this_client"
TOKEN: Final = "A21AA_do_not_show_this_token"
NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)

Answer = tuple[int, Any]
Script = Callable[["Asked"], Answer]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """The time now."""
        return self.at

    def advance(self, by: timedelta) -> None:
        """Move it forward."""
        self.at += by


@dataclass(frozen=True)
class Asked:
    """One request as the fake PayPal saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, parsed."""
        return json.loads(self.body)


@dataclass
class FakePayPal:
    """What was asked, and what is answered to the next request of each method and path; the token comes by itself.

    An answer of status 0 is none: the fake hangs up.
    """

    url: str = ""
    answers: dict[tuple[str, str], Script | Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    token: Answer = (200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 32103})

    def calls(self, path: str) -> list[Asked]:
        """The requests to a path."""
        return [one for one in self.asked if one.path == path]

    def answer(self, asked: Asked) -> Answer:
        """What the script says to a request."""
        self.asked.append(asked)
        if asked.path == "/v1/oauth2/token":
            return self.token
        said = self.answers[asked.method, asked.path]
        return said(asked) if callable(said) else said


@asynccontextmanager
async def fake_paypal() -> AsyncIterator[FakePayPal]:
    """A scripted PayPal behind a real socket."""
    fake = FakePayPal()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(": ") for line in lines)
        status, said = fake.answer(Asked(method, path, {name.lower(): value for name, _, value in pairs}, body))
        if status == 0:
            return
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} S\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        await writer.drain()

    async with psp(behave) as url:
        fake.url = url
        yield fake


def credentials(base_url: str = "https://api-m.sandbox.paypal.com", **changes: Any) -> Credentials:
    """Credentials with the shipped trust file, but for the changes."""
    keys = {"client_id": CLIENT, "client_secret": SECRET, "webhook_id": "4JH86294D6297924G", "base_url": base_url}
    return Credentials.model_validate({**keys, **changes})


def surroundings(now: Callable[[], datetime] = Clock(), *, dev: bool = True) -> Surroundings:  # noqa: B008  read only
    """A development server's, but for the changes."""
    return Surroundings(public_url="https://pay.example", dev=dev, now=now)


@asynccontextmanager
async def gateway_at(
    keys: Credentials,
    *,
    now: Callable[[], datetime] | None = None,
    dev: bool = True,
    certificates: CertificateSource | None = None,
) -> AsyncIterator[PayPal]:
    """A gateway, closed in the end."""
    gateway = PayPal(keys, surroundings(now or Clock(), dev=dev), certificates=certificates)
    try:
        yield gateway
    finally:
        await gateway.aclose()


@asynccontextmanager
async def paypal_and_gateway(now: Callable[[], datetime] | None = None) -> AsyncIterator[tuple[FakePayPal, PayPal]]:
    """A scripted PayPal, and a gateway that talks to it."""
    async with fake_paypal() as fake, gateway_at(credentials(fake.url), now=now) as gateway:
        yield fake, gateway


def draft_of(amount: Money = Money(1000, "USD"), **changes: Any) -> PaymentDraft:  # noqa: B008  money is frozen
    """A draft of this amount, but for the changes to it or to its request."""
    request = {name: changes.pop(name) for name in ("locale", "product_name") if name in changes}
    new = PaymentDraft(
        id=DRAFT_ID,
        gateway="paypal",
        amount=amount,
        request=DraftRequest(product_id="tshirt", amount=amount.major, method=Method.PAYPAL, **request),
        created_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return msgspec.structs.replace(new, **changes)


def registered(**changes: Any) -> PaymentDraft:
    """A draft whose order PayPal has."""
    return draft_of(**{"transaction_reference_id": ORDER_ID, **changes})


def captured(status: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    """A capture as the order shows it."""
    amount = {"currency_code": "USD", "value": "10.00"}
    return {"id": CAPTURE_ID, "status": status, "amount": amount, "final_capture": True, **changes}


def order(status: str, *captures: dict[str, Any], refunds: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """An order with what was paid for it."""
    payments = {"captures": list(captures), "refunds": refunds}
    return {"id": ORDER_ID, "status": status, "purchase_units": [{"reference_id": "default", "payments": payments}]}


def refunded(value: str, status: str = "COMPLETED", of: str = CAPTURE_ID) -> dict[str, Any]:
    """A refund as the order shows it."""
    up = {"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{of}"}
    return {"id": "R1", "status": status, "amount": {"currency_code": "USD", "value": value}, "links": [up]}


def refusal(issue: str, *, link: str | None = None, rel: str = "redirect") -> dict[str, Any]:
    """An error body."""
    return {
        "name": "UNPROCESSABLE_ENTITY",
        "details": [{"issue": issue, "description": "…"}],
        "debug_id": "f3391198e4dae",
        "links": [{"rel": "information_link", "href": "https://developer.paypal.com/x"}]
        + ([{"rel": rel, "href": link, "method": "GET"}] if link else []),
    }


def each_vector(path: str, *keys: str) -> list[Any]:
    """Parameters for a test of every vector under these keys; one skipped parameter where there are none."""
    if not SHARED.is_dir():
        return [pytest.param(path, marks=pytest.mark.skip(reason=NOT_SHARED))]
    found = shared_json(path)
    for key in keys:
        found = found[key]
    assert found, f"no vectors in shared/{path}: what did they prove?"
    return [pytest.param(one, id=one["name"]) for one in found]


@dataclass
class Served:
    """Certificates by their address, without a socket; what was asked for is counted."""

    at: Mapping[str, bytes | Exception]
    fetched: list[str] = field(default_factory=list)
    pause_seconds: float = 0.0

    async def fetch(self, address: Address) -> bytes:
        """As `CertificateSource.fetch`."""
        url = address.origin + address.path
        self.fetched.append(url)
        await asyncio.sleep(self.pause_seconds)
        found = self.at.get(url, GatewayUnavailable("not there"))
        if isinstance(found, Exception):
            raise found
        return found

    async def aclose(self) -> None:
        """Nothing is open."""
