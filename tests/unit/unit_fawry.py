"""What the Fawry tests share: a scripted Fawry on loopback, drafts, and notifications signed by hand."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
from unit_psp import psp, read_request
from unit_support import SURROUNDINGS

from qirsh.draft import DraftRequest, Payer, PaymentDraft
from qirsh.gateways.base import Delivery
from qirsh.gateways.fawry import Credentials, Fawry
from qirsh.methods import Method
from qirsh.money import Money

DRAFT_ID: Final = UUID("01990000-0000-7000-8000-000000000001")
MERCHANT: Final = "1tSa6uxz2nTwlaAmt+38enA=="
KEY: Final = "do_not_show_this_key"
NUMBER: Final = "931215518"
QR: Final = "data:image/PNG;base64,iVBORw0KGgo="
NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)

CHARGE: Final = "/ECommerceWeb/Fawry/payments/charge"
WALLET: Final = "/ECommerceWeb/api/payments/charge"
INIT: Final = "/fawrypay-api/api/payments/init"
STATUS: Final = "/ECommerceWeb/Fawry/payments/status/v2"
REFUND: Final = "/ECommerceWeb/Fawry/payments/refund"
CANCEL: Final = "/ECommerceWeb/api/orders/cancel-unpaid-order"

Answer = tuple[int, Any]


@dataclass(frozen=True)
class Asked:
    """One request as the fake Fawry saw it."""

    path: str
    query: str
    raw: bytes

    @property
    def json(self) -> Any:
        """Its body, parsed."""
        return json.loads(self.raw)

    @property
    def reference(self) -> str:
        """Our reference in a question."""
        return parse_qs(self.query)["merchantRefNumber"][0]


@dataclass
class FakeFawry:
    """What was asked, and the answers to each path in turn; the last of them is repeated. Bytes are sent as they are.

    A dictionary at the status answers by our reference, and 404 to any other.
    """

    url: str = ""
    answers: dict[str, list[Answer] | dict[str, list[Answer]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def calls(self, path: str) -> list[Asked]:
        """The requests to a path."""
        return [one for one in self.asked if one.path == path]

    def answer(self, asked: Asked) -> Answer:
        """What the script says to a request."""
        self.asked.append(asked)
        script = self.answers.get(asked.path, [(404, {"statusCode": 9938})])
        turns = script.get(asked.reference, [(404, {"statusCode": 9938})]) if isinstance(script, dict) else script
        return turns.pop(0) if len(turns) > 1 else turns[0]


@asynccontextmanager
async def fawry(**credentials: Any) -> AsyncIterator[tuple[FakeFawry, Fawry]]:
    """A scripted Fawry behind a real socket, and a gateway that talks to it."""
    fake = FakeFawry()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
        parts = urlsplit(head.decode().split(" ")[1])
        status, said = fake.answer(Asked(parts.path, parts.query, body))
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} S\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        await writer.drain()

    async with psp(behave) as url:
        fake.url = url
        gateway = gateway_of(base_url=url, **credentials)
        try:
            yield fake, gateway
        finally:
            await gateway.aclose()


def gateway_of(**credentials: Any) -> Fawry:
    """A gateway of these tests' merchant."""
    keys = {"merchant_code": MERCHANT, "security_key": KEY, **credentials}
    return Fawry(Credentials.model_validate(keys), SURROUNDINGS)


def draft_of(method: Method = Method.FAWRY, **changes: Any) -> PaymentDraft:
    """A draft of 580.55 EGP that Fawry may register."""
    request = DraftRequest(
        product_id="tshirt",
        amount="580.55",
        method=method,
        payer=Payer(phone="01012345010"),
        product_name="T-shirt",
        **{name: changes.pop(name) for name in ("quantity", "locale") if name in changes},
    )
    new = PaymentDraft(
        id=DRAFT_ID,
        gateway="fawry",
        amount=Money(58055, "EGP"),
        request=request,
        created_at=NOW,
        expires_at=NOW + timedelta(days=2),
    )
    return msgspec.structs.replace(new, **changes)


def charged(**changes: Any) -> dict[str, Any]:
    """The recorded answer to a charge."""
    return {
        "type": "ChargeResponse",
        "referenceNumber": NUMBER,
        "merchantRefNumber": str(DRAFT_ID),
        "expirationTime": 1572884477505,
        "statusCode": 200,
        "statusDescription": "Operation done successfully",
        **changes,
    }


def order(status: str, **changes: Any) -> dict[str, Any]:
    """An order as notifications and the status show it, signed after the changes; a change to None leaves out."""
    fields = {
        "requestId": "c72827d084ea4b88949d91dd2db4996e",
        "fawryRefNumber": NUMBER,
        "merchantRefNumber": str(DRAFT_ID),
        "paymentAmount": 581.55,
        "orderAmount": 580.55,
        "fawryFees": 1.0,
        "shippingFees": "",
        "orderStatus": status,
        "paymentMethod": "PAYATFAWRY",
        **changes,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if "messageSignature" not in changes:
        fields["messageSignature"] = signature(fields)
    return fields


def signature(fields: dict[str, Any], key: str = KEY) -> str:
    """https://developer.fawrystaging.com, "Server notification V2", written down once more."""
    texts = [
        str(fields["fawryRefNumber"]),
        str(fields["merchantRefNumber"]),
        f"{float(fields['paymentAmount']):.2f}",
        f"{float(fields['orderAmount']):.2f}",
        fields["orderStatus"],
        fields["paymentMethod"],
        str(fields.get("paymentRefrenceNumber", "")),
        key,
    ]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def delivery_of(fields: dict[str, Any] | bytes) -> Delivery:
    """A notification as it comes off the wire."""
    return Delivery(fields if isinstance(fields, bytes) else json.dumps(fields).encode(), {}, {})
