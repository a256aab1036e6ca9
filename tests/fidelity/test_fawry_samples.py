"""The fake Fawry's answers beside the samples of its documentation, its recorded answers and its captured returns.

https://developer.fawrystaging.com publishes no schema. Requests are signed here, with nothing of ours.
"""

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fidelity_samples import compare, documented

from judged import Judged, needs_shared, shared_json
from qirsh_sandbox.fawry_config import FawryConfig

ACCOUNT = FawryConfig()
FILE = "psp/fawry.md"
CUSTOMER = {"customerName": "سارة", "customerMobile": "01012345678", "customerEmail": "customer@example.com"}
CARD = {"card_number": "4242 4242 4242 4242", "card_expiry": "05/29", "card_cvv": "123", "action": "pay"}

pytestmark = needs_shared


@pytest.fixture
def fawry(sandbox: Judged) -> Iterator[httpx.Client]:
    """A merchant's connection."""
    with httpx.Client(base_url=sandbox.url) as client:
        yield client


def test_a_reference_number_and_its_status_are_answered_as_recorded(fawry: httpx.Client, reference: str) -> None:
    """The charge and the older status were recorded by one client."""
    compare("fawry", "charge", documented(FILE, '"931215518"'), charged(fawry, reference))
    sample = documented(FILE, '"931849400"')
    compare("fawry", "status v1", sample, asked(fawry, "/ECommerceWeb/Fawry/payments/status", reference))


def test_a_payment_is_told_and_looked_up_as_captured(fawry: httpx.Client, sandbox: Judged, reference: str) -> None:
    """A notification that staging sent; a status is the same object."""
    charged(fawry, reference)
    told(sandbox, reference, "NEW")
    sandbox.act(reference, "pay")
    sample = documented(FILE, '"39fcf5e43f2d4944b115a9a1f7948618"')
    compare("fawry", "notification", sample, told(sandbox, reference, "PAID"))
    compare("fawry", "status", sample, asked(fawry, "/ECommerceWeb/Fawry/payments/status/v2", reference))


def test_an_end_without_payment_is_told_as_captured(fawry: httpx.Client, sandbox: Judged, reference: str) -> None:
    """It names no customer and no time of payment."""
    charged(fawry, reference, customer={})
    sandbox.act(reference, "expire")
    sample = shared_json("vectors/fawry/webhook_expired_card_real_unverifiable.json")["payload"]
    compare("fawry", "expired", sample, told(sandbox, reference, "EXPIRED"))


def test_a_wallet_is_shown_a_picture_as_documented(fawry: httpx.Client, reference: str) -> None:
    """The picture comes ready to be shown."""
    answer = charged(fawry, reference, paymentMethod="MWALLET")
    assert answer.pop("walletQr").startswith("data:image/PNG;base64,iVBORw0KGgo")
    compare("fawry", "charge", documented(FILE, '"931215518"'), answer)


def test_a_card_page_is_answered_with_its_bare_address_and_leads_back_as_captured(
    fawry: httpx.Client, reference: str
) -> None:
    """No JSON is answered here, and amounts come back unpadded, as texts."""
    back = "https://shop.example/return"
    body = {**an_order(reference), **CUSTOMER, "paymentMethod": "CARD", "returnUrl": back, "customerProfileId": "123"}
    body["signature"] = signed(ACCOUNT.merchant_code, reference, "123", back, "1", "1", "220.55")
    answer = fawry.post("/fawrypay-api/api/payments/init", json=body)
    page = urlsplit(answer.text)
    assert (page.path, answer.headers["content-type"].partition(";")[0]) == ("/atfawry/plugin", "text/plain")

    sent_on = fawry.post(answer.text, data=CARD).headers["location"]
    sample = shared_json("vectors/fawry/return_url_card_paid_real_unverifiable.json")["payload"]
    compare("fawry", "way back", sample, dict(parse_qsl(urlsplit(sent_on).query, keep_blank_values=True)))


def test_a_refund_a_cancelling_and_refusals_are_answered_as_documented(
    fawry: httpx.Client, sandbox: Judged, reference: str
) -> None:
    """Refusals come with HTTP 200, so the body alone tells them."""
    number = charged(fawry, reference)["referenceNumber"]
    sandbox.act(reference, "pay")
    refund = {
        "merchantCode": ACCOUNT.merchant_code,
        "referenceNumber": number,
        "refundAmount": "10.50",
        "reason": "مقاس",
    }
    refund["signature"] = signed(ACCOUNT.merchant_code, number, "10.50", "مقاس")
    answer = fawry.post("/ECommerceWeb/Fawry/payments/refund", json=refund).json()
    compare("fawry", "refund", documented(FILE, '"ResponseDataModel"'), answer)

    other = charged(fawry, f"{reference}-2")["referenceNumber"]
    cancel = {"merchantAccount": ACCOUNT.merchant_code, "orderRefNo": other, "lang": "en-gb"}
    cancel["signature"] = signed(other, ACCOUNT.merchant_code, "en-gb")
    answer = fawry.post("/ECommerceWeb/api/orders/cancel-unpaid-order", json=cancel).json()
    compare("fawry", "cancel", {"code": 200, "description": "", "reason": ""}, answer)

    unsigned = fawry.post("/ECommerceWeb/Fawry/payments/charge", json={**an_order(reference), "signature": "0" * 64})
    assert unsigned.status_code == 200
    sample = documented(FILE, '"statusCode":9946,"statusDescription":"INVALID_SIGNATURE"')
    assert unsigned.json() == sample


def an_order(reference: str) -> dict[str, Any]:
    """What every charge says: a shirt of 220.55 EGP."""
    return {
        "merchantCode": ACCOUNT.merchant_code,
        "merchantRefNum": reference,
        "paymentMethod": "PAYATFAWRY",
        "amount": "220.55",
        "currencyCode": "EGP",
        "language": "ar-eg",
        "chargeItems": [{"itemId": "1", "description": "قميص", "price": "220.55", "quantity": "1"}],
    }


def charged(fawry: httpx.Client, reference: str, *, customer: dict[str, str] | None = None, **more: str) -> Any:
    """The answer to a direct charge, for the usual customer unless told."""
    body = {**an_order(reference), **(CUSTOMER if customer is None else customer), "customerProfileId": "77", **more}
    body["signature"] = signed(ACCOUNT.merchant_code, reference, "77", body["paymentMethod"], "220.55")
    return fawry.post("/ECommerceWeb/Fawry/payments/charge", json=body).json()


def asked(fawry: httpx.Client, path: str, reference: str) -> Any:
    """The answer to a question about an order."""
    query = {"merchantCode": ACCOUNT.merchant_code, "merchantRefNumber": reference}
    return fawry.get(path, params={**query, "signature": signed(ACCOUNT.merchant_code, reference)}).json()


def told(sandbox: Judged, reference: str, status: str) -> Any:
    """The next notification about an order, which must say this."""
    body = sandbox.receiver.take("fawry", f'"merchantRefNumber":"{reference}"').body
    return body if body["orderStatus"] == status else told(sandbox, reference, status)


def signed(*parts: str) -> str:
    """The parts signed as Fawry documents it: joined, with the secure key last."""
    return hashlib.sha256("".join((*parts, ACCOUNT.security_key)).encode()).hexdigest()
