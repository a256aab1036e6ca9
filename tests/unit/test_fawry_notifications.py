"""Fawry's notifications: who may speak, and which of its statuses are facts."""

import hashlib
import json
from typing import Any

import pytest
from unit_fawry import DRAFT_ID, KEY, NUMBER, delivery_of, gateway_of, order, signature

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import WebhookError, WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Hint
from qirsh.money import Money

SIGNED = ("fawryRefNumber", "merchantRefNumber", "paymentAmount", "orderAmount", "orderStatus", "paymentMethod")


async def heard(fields: dict[str, Any] | bytes) -> list[GatewayEvent | Hint]:
    """What a notification says."""
    return list(await gateway_of().read_webhook(delivery_of(fields)))


async def test_a_payment_is_a_fact_of_the_orders_amount() -> None:
    """The fees on top are not ours, and the number is what a refund needs."""
    (event,) = await heard(order("PAID", paymentRefrenceNumber="963455678"))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.amount, event.draft_id) == (Kind.PAID, Money(58055, "EGP"), DRAFT_ID)
    assert (event.payment_reference, event.transaction_reference_id) == (NUMBER, None)


async def test_the_method_is_signed_as_it_was_received() -> None:
    """MWALLET comes back as words."""
    (event,) = await heard(order("PAID", paymentMethod="Mobile Wallet"))
    assert isinstance(event, GatewayEvent)


@pytest.mark.parametrize("written", ["840.0", "840", "840.00", '"840.00"', "8.4E2"])
async def test_an_amount_is_believed_as_it_was_signed(written: str) -> None:
    """However its number is written."""
    fields = order("PAID", orderAmount=840.0, paymentAmount=840.0)
    body = json.dumps(fields).replace('"orderAmount": 840.0', f'"orderAmount": {written}')
    (event,) = await heard(body.encode())
    assert isinstance(event, GatewayEvent)
    assert event.amount == Money(84000, "EGP")


async def test_every_flipped_byte_is_refused_or_changes_nothing() -> None:
    """What the signature does not cover may be anything; nothing that we believe is in there."""
    body = json.dumps(order("PAID")).encode()
    (whole,) = await heard(body)
    for position in range(len(body)):
        flipped = bytes((*body[:position], body[position] ^ 1, *body[position + 1 :]))
        try:
            facts = await heard(flipped)
        except WebhookError:
            continue
        assert facts == [whole], flipped


@pytest.mark.parametrize(
    "changes",
    [
        {"orderStatus": "PAID"},
        {"orderAmount": 1.0},
        {"paymentAmount": 1.0},
        {"fawryRefNumber": "1"},
        {"merchantRefNumber": "01990000-0000-7000-8000-000000000002"},
        {"paymentMethod": "CARD"},
        {"paymentRefrenceNumber": "1"},
        {"messageSignature": ""},
        {"messageSignature": None},
        {"messageSignature": signature(order("NEW"), key="")},
    ],
)
async def test_what_was_not_signed_is_refused(changes: dict[str, Any]) -> None:
    """Anybody can post here."""
    with pytest.raises(WebhookNotAuthentic):
        await heard({**order("NEW"), **changes})


@pytest.mark.parametrize("name", SIGNED)
async def test_a_signed_field_that_is_missing_is_refused(name: str) -> None:
    """The signature over the rest must not do for the whole."""
    fields = order("PAID")
    texts = [f"{value:.2f}" if isinstance(value, float) else value for value in map(fields.get, SIGNED) if value]
    texts.remove(f"{fields[name]:.2f}" if isinstance(fields[name], float) else fields[name])
    fields["messageSignature"] = hashlib.sha256("".join([*texts, KEY]).encode()).hexdigest()
    del fields[name]
    with pytest.raises(WebhookNotAuthentic):
        await heard(fields)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'"x"', b"\xff", b"[" * 5000, b'{"orderAmount": "much"}', b'{"orderStatus": 5}']
)
async def test_what_is_no_notification_is_malformed(body: bytes) -> None:
    """A 400, so that a wrong address is found."""
    with pytest.raises(WebhookMalformed):
        await heard(body)


@pytest.mark.parametrize("status", ["NEW", "UNPAID", "DELIVERED", "paid", "SOMETHING_NEW"])
async def test_what_waits_and_what_we_do_not_know_says_nothing(status: str) -> None:
    """Only an explicit success or end is a fact."""
    assert await heard(order(status)) == []


async def test_an_expired_order_has_failed() -> None:
    """Fawry lets nobody pay it any more."""
    (event,) = await heard(order("EXPIRED"))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.reason) == (Kind.FAILED, DeclineCode.EXPIRED)


@pytest.mark.parametrize("status", ["FAILED", "FAILD"])
@pytest.mark.parametrize("method", ["CARD", "PayUsingCC"])
async def test_a_refused_card_is_a_decline(status: str, method: str) -> None:
    """Cards are taken on the hosted checkout only, where the payer may try again."""
    (event,) = await heard(order(status, paymentMethod=method, failureErrorCode="99951"))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.reason, event.psp_code) == (Kind.DECLINED, DeclineCode.INSUFFICIENT_FUNDS, "99951")


@pytest.mark.parametrize(
    ("status", "method"),
    [
        ("FAILED", "Mobile Wallet"),
        ("FAILED", "PAYATFAWRY"),
        ("CANCELED", "Mobile Wallet"),
        ("CANCELLED", "CARD"),
        ("REFUNDED", "CARD"),
        ("PARTIAL_REFUNDED", "CARD"),
    ],
)
async def test_what_needs_the_draft_or_a_sum_is_a_hint(status: str, method: str) -> None:
    """A cancelled order may be one that we replaced; a refund is told without its sum."""
    (hint,) = await heard(order(status, paymentMethod=method))
    assert isinstance(hint, Hint)
    assert (hint.draft_id, hint.payment_reference) == (DRAFT_ID, NUMBER)


async def test_a_repeat_is_known_although_its_request_id_is_another() -> None:
    """The same fact must not be counted twice, and another one must not be taken for it."""
    first, again = order("PAID"), order("PAID", requestId="other")
    (one,), (two,), (three,) = await heard(first), await heard(again), await heard(order("EXPIRED"))
    assert one.event_id == two.event_id
    assert one.event_id != three.event_id


async def test_two_partial_refunds_are_two_hints() -> None:
    """They sign the same values."""
    (one,), (two,) = [await heard(order("PARTIAL_REFUNDED", requestId=name)) for name in ("a", "b")]
    assert one.event_id != two.event_id


async def test_an_order_that_is_not_ours_is_heard_and_belongs_to_no_draft() -> None:
    """A merchant may sell through Fawry elsewhere too."""
    (event,) = await heard(order("PAID", merchantRefNumber="952897339548.1"))
    assert event.draft_id is None


async def test_a_replacements_suffix_finds_the_same_draft() -> None:
    """A lost QR code goes on under another reference."""
    (event,) = await heard(order("PAID", merchantRefNumber=f"{DRAFT_ID}~2"))
    assert event.draft_id == DRAFT_ID


def test_the_key_is_nowhere_to_be_seen() -> None:
    """It would let whoever reads a log sign payments."""
    gateway = gateway_of()
    assert KEY not in f"{gateway!r}{vars(gateway)!r}{vars(gateway._account)!r}"  # noqa: SLF001  that is what is judged
