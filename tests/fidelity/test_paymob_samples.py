"""The fake Paymob's answers beside the samples of its documentation, its recorded answers and its verified vectors.

https://developers.paymob.com publishes no schema.
"""

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fidelity_samples import compare, documented, excerpt

from judged import Judged, needs_shared, shared_json
from qirsh_sandbox import PaymobConfig

ACCOUNT = PaymobConfig()
FILE = "psp/paymob.md"
CARD = {"card_number": "5123 4567 8901 2346", "card_expiry": "01/39", "card_cvv": "123", "action": "pay"}
BILLING = {
    **dict.fromkeys(("apartment", "floor", "street", "building", "shipping_method", "postal_code"), "NA"),
    **dict.fromkeys(("city", "country", "state"), "NA"),
    "first_name": "سارة",
    "last_name": "Hassan",
    "email": "customer@example.com",
    "phone_number": "+201012345678",
}

pytestmark = needs_shared


class Paymob:
    """A merchant who speaks to the sandbox as Paymob documents it."""

    def __init__(self, client: httpx.Client, reference: str) -> None:
        """Log in and register an order of 300 EGP."""
        self.client = client
        self.login = self.post("/api/auth/tokens", {"api_key": ACCOUNT.api_key})
        self.order = self.post(
            "/api/ecommerce/orders",
            {
                "auth_token": self.login["token"],
                "delivery_needed": "false",
                "amount_cents": "30000",
                "currency": "EGP",
                "merchant_order_id": reference,
                "items": [],
            },
        )

    def key(self, integration_id: int) -> Any:
        """The answer to a payment key for this integration."""
        body = {
            "auth_token": self.login["token"],
            "amount_cents": "30000",
            "expiration": 3600,
            "order_id": str(self.order["id"]),
            "billing_data": BILLING,
            "currency": "EGP",
            "integration_id": integration_id,
            "lock_order_when_paid": "true",
        }
        return self.post("/api/acceptance/payment_keys", body)

    def pay(self, integration_id: int, identifier: str, subtype: str) -> Any:
        """The answer to a payment that is begun by us, not by the payer."""
        source = {"identifier": identifier, "subtype": subtype}
        token = self.key(integration_id)["token"]
        return self.post("/api/acceptance/payments/pay", {"source": source, "payment_token": token})

    def pay_by_card(self) -> str:
        """Pay on the hosted page; the address that the browser is sent to."""
        token = self.key(ACCOUNT.card_integration_id)["token"]
        page = f"/api/acceptance/iframes/{ACCOUNT.iframe_id}?payment_token={token}"
        return str(self.client.post(page, data=CARD).headers["location"])

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        """Post JSON and read the answer, which is a success."""
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def paymob(sandbox: Judged, reference: str) -> Iterator[Paymob]:
    """A merchant with an order."""
    with httpx.Client(base_url=sandbox.url) as client:
        yield Paymob(client, reference)


def test_logging_in_registering_and_a_key_are_answered_as_documented(paymob: Paymob) -> None:
    """The three steps before any payer sees a page."""
    compare("paymob", "login", documented(FILE, '"profile_type"'), paymob.login)
    compare("paymob", "order", documented(FILE, '"order_url"'), paymob.order)
    compare("paymob", "key", documented(FILE, '"token": "ZXlKaGJHY2lPaUpJVXpVeE1pSX…" }`'), paymob.key(4_100_001))


def test_a_wallet_payment_is_answered_and_told_as_recorded(paymob: Paymob, sandbox: Judged, reference: str) -> None:
    """The answer was recorded by one client, the callback by another."""
    answer = paymob.pay(ACCOUNT.wallet_integration_id, "01010101010", "WALLET")
    compare("paymob", "wallet", documented(FILE, '"uig_txn_id"'), answer)
    sandbox.act(reference, "pay")
    vector = shared_json("vectors/paymob/selfcomputed_wallet_pending.json")["payload"]
    compare("paymob", "wallet callback", vector, told(sandbox, reference))


def test_a_kiosk_bill_is_answered_and_its_end_told_as_recorded(paymob: Paymob, sandbox: Judged, reference: str) -> None:
    """The bill's number is what a payer quotes, and an end without money looks like nothing else."""
    answer = paymob.pay(ACCOUNT.kiosk_integration_id, "AGGREGATOR", "AGGREGATOR")
    callback = shared_json("vectors/paymob/kiosk_expired_callback_unverifiable.json")["payload"]
    compare("paymob", "kiosk", callback["obj"], answer)
    sandbox.act(reference, "expire")
    compare("paymob", "kiosk callback", callback, told(sandbox, reference))


def test_a_card_payment_its_way_back_and_its_refund_look_as_documented(
    paymob: Paymob, sandbox: Judged, reference: str
) -> None:
    """The callback's sample is the official one, whose signature was verified."""
    back = dict(parse_qsl(urlsplit(paymob.pay_by_card()).query, keep_blank_values=True))
    compare(
        "paymob", "way back", shared_json("vectors/paymob/redirect_same_values_as_official_docs.json")["payload"], back
    )
    callback = told(sandbox, reference)
    official = shared_json("vectors/paymob/transaction_official_docs.json")["payload"]
    compare("paymob", "card callback", official, callback)

    found = paymob.post(
        "/api/ecommerce/orders/transaction_inquiry",
        {"auth_token": paymob.login["token"], "merchant_order_id": reference},
    )
    compare("paymob", "inquiry", official["obj"], found)
    refund = {"transaction_id": callback["obj"]["id"], "amount_cents": 1000}
    token = f"Token {ACCOUNT.secret_key}"
    child = paymob.post("/api/acceptance/void_refund/refund", refund, authorization=token)
    sample = excerpt(documented(FILE, '"migs_transaction": { "type": "REFUND"'))
    compare("paymob", "refund", sample, child)


def test_an_intention_is_answered_as_documented(paymob: Paymob) -> None:
    """The newer API, with keys and shapes of its own."""
    reference = str(uuid.uuid4())
    body = {
        "amount": 30000,
        "currency": "EGP",
        "payment_methods": [ACCOUNT.card_integration_id],
        "items": [{"name": "قميص", "amount": 30000, "description": "قميص", "quantity": 1}],
        "billing_data": BILLING,
        "extras": {"paymentDraftId": reference},
        "special_reference": reference,
        "expiration": 3600,
        "notification_url": "https://api.example.com/webhooks/paymob",
        "redirection_url": "https://shop.example/return",
    }
    answer = paymob.post("/v1/intention/", body, authorization=f"Token {ACCOUNT.secret_key}")
    compare("paymob", "intention", documented(FILE, '"intention_order_id": 399862108'), answer)


def told(sandbox: Judged, reference: str) -> Any:
    """The next callback about an order."""
    return sandbox.receiver.take("paymob", f'"merchant_order_id":"{reference}"').body


def test_the_comparison_sees_what_is_wrong(paymob: Paymob) -> None:
    """A comparison that excuses everything would be no test."""
    sample = documented(FILE, '"order_url"')
    wrong = [
        {**paymob.order, "amount_cents": "30000"},
        {**paymob.order, "amount": 30000},
        {name: value for name, value in paymob.order.items() if name != "order_url"},
    ]
    for order, word in zip(wrong, ["became text", "extra", "missing"], strict=True):
        with pytest.raises(AssertionError, match=word):
            compare("paymob", "order", sample, order)
    with pytest.raises(AssertionError, match="take them off the list"):
        compare("paymob", "wallet", sample, sample)
