"""Fawry's signatures: every published vector, those computed with the published recipes, and the known wrong ones."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_fawry import delivery_of, gateway_of
from unit_support import data_json, each_shared, shared, thorough

from qirsh.errors import WebhookNotAuthentic
from qirsh.gateways.fawry.orders import Order
from qirsh.gateways.fawry.signing import (
    cancel_signature,
    charge_signature,
    digest,
    init_signature,
    refund_signature,
    status_signature,
    two_decimals,
)
from qirsh.gateways.references import draft_id_of

GOLDEN = data_json("fawry_golden.json")
RECIPES = {
    "charge_reference": charge_signature,
    "charge_wallet_r2p": charge_signature,
    "hosted_init": init_signature,
    "refund": refund_signature,
    "status": status_signature,
    "cancel_unpaid": cancel_signature,
}
NEVER_ASKED = {"charge_card_3ds", "charge_response"}
"""Cards are typed at Fawry's page, and the way back proves nothing: of these only the primitive is ours."""


def exact(text: str) -> dict[str, Any]:
    """A vector whose amounts are no floats."""
    vector: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return vector


def signed_text(payload: dict[str, Any]) -> str | None:
    """What the notification's signature covers, read as a delivery is."""
    raw = json.dumps(payload, default=float)
    return msgspec.json.decode(raw, type=Order).signed_text


@pytest.mark.parametrize("path", each_shared("vectors/fawry/*.json"))
async def test_every_vector_is_signed_as_it_says(path: str) -> None:
    """The recipe of each operation, with its optional fields there or not."""
    vector = exact(Path(shared(path)).read_text("utf-8"))
    kind, secret, payload = vector["kind"], vector["secret"], vector["payload"]
    if kind == "webhook_v2":
        assert signed_text(payload) == vector["concatenated"].removesuffix(secret or "")
    if secret is None:
        if kind == "webhook_v2":  # a capture whose key nobody has published: read, and not believed
            with pytest.raises(WebhookNotAuthentic):
                await gateway_of().read_webhook(delivery_of(json.dumps(payload, default=float).encode()))
        return
    if kind in RECIPES:
        assert RECIPES[kind](payload, secret) == vector["expected"]
    elif kind == "webhook_v2":
        body = delivery_of(json.dumps(payload, default=float).encode())
        await gateway_of(security_key=secret).read_webhook(body)
    else:
        assert kind in NEVER_ASKED
        assert digest(secret, vector["concatenated"].removesuffix(secret)) == vector["expected"]


@pytest.mark.parametrize("vector", GOLDEN["signatures"], ids=lambda vector: vector["id"])
async def test_the_essential_vectors_are_kept_here_too(vector: dict[str, Any]) -> None:
    """This suite proves the recipes alone."""
    exactly = exact(json.dumps(vector))
    if vector["kind"] == "webhook_v2":
        await gateway_of(security_key=vector["secret"]).read_webhook(delivery_of(vector["payload"]))
    else:
        assert RECIPES[vector["kind"]](exactly["payload"], vector["secret"]) == vector["expected"]


async def test_a_capture_of_fawrys_staging_is_read_with_what_is_missing_in_it() -> None:
    """A real EXPIRED notification has no customer, no payment time and no payment's number."""
    capture = GOLDEN["capture"]["payload"]
    read = msgspec.json.decode(json.dumps(capture), type=Order)
    assert (read.reference, read.status, read.amount.amount_minor) == ("776215646", "EXPIRED", 10023)
    assert draft_id_of(read.merchant_number) is None
    with pytest.raises(WebhookNotAuthentic):
        await gateway_of().read_webhook(delivery_of(capture))


@pytest.mark.parametrize(
    "copied",
    [
        ("merchant_code", "merchant_code", "ref", "PAYATFAWRY", "20.50"),  # the documentation's sample in JavaScript
        ("merchant_code", "ref", "PAYATFAWRY", "20.5"),  # not padded
        ("fawry_secure_key", "merchant_code", "ref", "PAYATFAWRY", "20.50"),  # the key first
    ],
)
def test_the_known_wrong_recipes_are_not_ours(copied: tuple[str, ...]) -> None:
    """Public samples are copied from one another."""
    body = {"merchantCode": "merchant_code", "merchantRefNum": "ref", "paymentMethod": "PAYATFAWRY", "amount": "20.5"}
    assert charge_signature(body, "fawry_secure_key") != digest("fawry_secure_key", *copied)


def test_a_notification_signed_without_our_reference_is_refused() -> None:
    """The Ruby client's own test signs so, and would let any order pass for any other."""
    order = Order(
        fawry_number="970177",
        merchant_number="9990064204",
        payment_amount=Decimal(20),
        order_amount=Decimal(20),
        order_status="NEW",
        payment_method="PAYATFAWRY",
    )
    assert order.signed_text == "970177999006420420.0020.00NEWPAYATFAWRY"


def test_items_are_signed_in_the_order_of_their_ids() -> None:
    """Whatever their order in the body."""
    items = [{"itemId": name, "quantity": 1, "price": "1"} for name in ("b", "a")]
    body = {"merchantCode": "M", "merchantRefNum": "R", "returnUrl": "U", "chargeItems": items}
    assert init_signature(body, "k") == digest("k", "MRUa11.00b11.00")


@pytest.mark.parametrize(
    ("written", "signed"),
    [
        ("840.0", "840.00"),
        ("100", "100.00"),
        ("20.5", "20.50"),
        ("1.23456789E7", "12345678.90"),  # how Java prints a large double
        ("0.125", "0.13"),  # half up, and not to the even neighbour
        ("0.005", "0.01"),
        ("1E-999999", "0.00"),
        ("9999999999999.994", "9999999999999.99"),
        ("9999999999999.995", None),  # rounds to more than Money holds
        ("NaN", None),
        ("-1", None),
        ("Infinity", None),
        ("1E999999999", None),
    ],
)
def test_an_amount_is_signed_with_two_decimals(written: str, signed: str | None) -> None:
    """Fawry writes JSON numbers in any form; what is no amount has no signature, and costs no memory."""
    assert two_decimals(Decimal(written)) == signed


@given(st.integers(0, 10**14))
@thorough
def test_every_amount_keeps_its_piastres(minor: int) -> None:
    """Through the wire and back, without a float."""
    text = two_decimals(Decimal(minor).scaleb(-2))
    assert text is not None
    assert int(text.replace(".", "")) == minor
