"""What each of PayPal's events says, once its signature is believed; real bodies among them."""

import copy
import json
from typing import Any

import pytest
from unit_paypal import (
    CAPTURE_ID,
    DRAFT_ID,
    ORDER_ID,
    each_vector,
)

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.gateways.base import Hint
from qirsh.gateways.paypal.webhooks import read_event
from qirsh.money import Money

UUID_SENT = str(DRAFT_ID)


def envelope(event_type: str, resource: dict[str, Any], **changes: Any) -> bytes:
    """A body as PayPal sends it."""
    return json.dumps({"id": "WH-1-1", "event_type": event_type, "resource": resource, **changes}).encode()


def order(**changes: Any) -> dict[str, Any]:
    """The resource of an order event."""
    return {"id": ORDER_ID, "status": "APPROVED", "purchase_units": [{"custom_id": UUID_SENT}], **changes}


def capture(**changes: Any) -> dict[str, Any]:
    """The resource of a capture event."""
    return {
        "id": CAPTURE_ID,
        "status": "COMPLETED",
        "amount": {"currency_code": "USD", "value": "10.00"},
        "custom_id": UUID_SENT,
        "supplementary_data": {"related_ids": {"order_id": ORDER_ID}},
        **changes,
    }


def refund(**changes: Any) -> dict[str, Any]:
    """The resource of a refund event."""
    link = {"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{CAPTURE_ID}"}
    total = {"total_refunded_amount": {"currency_code": "USD", "value": "7.50"}}
    amount = {"currency_code": "USD", "value": "2.50"}
    new = {"id": "R1", "status": "COMPLETED", "amount": amount, "custom_id": UUID_SENT, "links": [link]}
    return {**new, "seller_payable_breakdown": total, **changes}


def fact(kind: Kind, **fields: Any) -> GatewayEvent:
    """An event of this delivery."""
    return GatewayEvent(kind=kind, gateway="paypal", event_id="WH-1-1", **fields)


def hint(**fields: Any) -> Hint:
    """A hint of this delivery."""
    return Hint(gateway="paypal", event_id="WH-1-1", **fields)


OURS = {"draft_id": DRAFT_ID, "transaction_reference_id": ORDER_ID}
PAID = fact(Kind.PAID, **OURS, payment_reference=CAPTURE_ID, amount=Money(1000, "USD"))
CAPTURE_HINT = hint(**OURS, payment_reference=CAPTURE_ID)
REFUND_HINT = hint(draft_id=DRAFT_ID, payment_reference=CAPTURE_ID)
SAID: dict[str, tuple[bytes, list[GatewayEvent | Hint]]] = {
    "approved": (envelope("CHECKOUT.ORDER.APPROVED", order()), [fact(Kind.APPROVED, **OURS)]),
    "approved, and captured since": (envelope("CHECKOUT.ORDER.APPROVED", order(status="COMPLETED")), [hint(**OURS)]),
    "approved, of another application": (
        envelope("CHECKOUT.ORDER.APPROVED", order(purchase_units=[{"custom_id": "841"}])),
        [fact(Kind.APPROVED, transaction_reference_id=ORDER_ID)],
    ),
    "approved, without units": (
        envelope("CHECKOUT.ORDER.APPROVED", order(purchase_units=None)),
        [fact(Kind.APPROVED, transaction_reference_id=ORDER_ID)],
    ),
    "order completed": (envelope("CHECKOUT.ORDER.COMPLETED", order(status="COMPLETED")), []),
    "approval reversed": (
        envelope("CHECKOUT.PAYMENT-APPROVAL.REVERSED", {"order_id": ORDER_ID}),
        [hint(transaction_reference_id=ORDER_ID)],
    ),
    "approval reversed, of nothing": (envelope("CHECKOUT.PAYMENT-APPROVAL.REVERSED", {}), []),
    "paid": (envelope("PAYMENT.CAPTURE.COMPLETED", capture()), [PAID]),
    "paid and refunded since": (envelope("PAYMENT.CAPTURE.COMPLETED", capture(status="REFUNDED")), [PAID]),
    "completed, and pending": (envelope("PAYMENT.CAPTURE.COMPLETED", capture(status="PENDING")), [CAPTURE_HINT]),
    "paid in an unknown currency": (
        envelope("PAYMENT.CAPTURE.COMPLETED", capture(amount={"currency_code": "XXX", "value": "10.00"})),
        [fact(Kind.PAID, **OURS, payment_reference=CAPTURE_ID, amount=Money(0, "EGP"))],
    ),
    "paid in forints": (
        envelope("PAYMENT.CAPTURE.COMPLETED", capture(amount={"currency_code": "HUF", "value": "2500"})),
        [fact(Kind.PAID, **OURS, payment_reference=CAPTURE_ID, amount=Money(250_000, "HUF"))],
    ),
    "pending": (envelope("PAYMENT.CAPTURE.PENDING", capture(status="PENDING")), []),
    "declined": (
        envelope("PAYMENT.CAPTURE.DECLINED", capture(status="DECLINED", status_details={"reason": "OTHER"})),
        [fact(Kind.FAILED, **OURS, reason=DeclineCode.CARD_DECLINED, psp_code="OTHER")],
    ),
    "denied": (
        envelope("PAYMENT.CAPTURE.DENIED", capture(status="DENIED")),
        [fact(Kind.FAILED, **OURS, reason=DeclineCode.CARD_DECLINED)],
    ),
    "denied, and completed": (envelope("PAYMENT.CAPTURE.DENIED", capture()), [CAPTURE_HINT]),
    "declined, of nobody known": (
        envelope("PAYMENT.CAPTURE.DECLINED", {"id": CAPTURE_ID, "status": "DECLINED"}),
        [hint(payment_reference=CAPTURE_ID)],
    ),
    "refunded": (
        envelope("PAYMENT.CAPTURE.REFUNDED", refund()),
        [fact(Kind.REFUNDED, payment_reference=CAPTURE_ID, amount=Money(750, "USD"))],
    ),
    "reversed": (
        envelope("PAYMENT.CAPTURE.REVERSED", refund()),
        [fact(Kind.REFUNDED, payment_reference=CAPTURE_ID, amount=Money(750, "USD"))],
    ),
    "refunded, no total": (
        envelope("PAYMENT.CAPTURE.REFUNDED", refund(seller_payable_breakdown={})),
        [REFUND_HINT],
    ),
    "refunded, pending": (envelope("PAYMENT.CAPTURE.REFUNDED", refund(status="PENDING")), [REFUND_HINT]),
    "refunded, of no capture": (envelope("PAYMENT.CAPTURE.REFUNDED", refund(links=[])), [hint(draft_id=DRAFT_ID)]),
    "reversed, told by the capture": (
        envelope("PAYMENT.CAPTURE.REVERSED", capture(status="REFUNDED"), resource_type="capture"),
        [REFUND_HINT],
    ),
    "refund pending": (envelope("PAYMENT.REFUND.PENDING", refund(status="PENDING")), [REFUND_HINT]),
    "refund failed": (envelope("PAYMENT.REFUND.FAILED", refund(status="FAILED")), [REFUND_HINT]),
    "unknown event": (envelope("BILLING.PLAN.CREATED", {"id": "P-1"}), []),
    "unknown event without resource": (b'{"id":"WH-1-1","event_type":"X"}', []),
}


@pytest.mark.parametrize("name", SAID)
def test_each_event_says_what_it_says(name: str) -> None:
    """Only an explicit success is paid, only an explicit end is failed; what is in doubt is looked up."""
    body, expected = SAID[name]
    assert list(read_event(body)) == expected


@pytest.mark.parametrize(
    "custom_id",
    ["", "841", f"urn:uuid:{UUID_SENT}", f"{{{UUID_SENT}}}", UUID_SENT.replace("-", ""), f"{UUID_SENT} ", None],
)
def test_anothers_custom_id_does_not_hide_the_order(custom_id: str | None) -> None:
    """A draft that is named wrongly is not found at all; the order id still finds it."""
    (event,) = read_event(envelope("PAYMENT.CAPTURE.COMPLETED", capture(custom_id=custom_id)))
    assert event.draft_id is None
    assert event.transaction_reference_id == ORDER_ID


def test_the_order_of_a_capture_is_also_in_its_link() -> None:
    """Older deliveries have no supplementary data; with intent AUTHORIZE the link names something else."""
    up = {"rel": "up", "href": f"https://api.paypal.com/v2/checkout/orders/{ORDER_ID}"}
    resource = capture(supplementary_data=None, links=[{"href": "https://x", "rel": "self"}, up])
    (event,) = read_event(envelope("PAYMENT.CAPTURE.COMPLETED", resource))
    assert event.transaction_reference_id == ORDER_ID
    authorised = copy.deepcopy(resource)
    authorised["links"][1]["href"] = f"https://api.paypal.com/v2/payments/authorizations/{ORDER_ID}"
    (event,) = read_event(envelope("PAYMENT.CAPTURE.COMPLETED", authorised))
    assert event.transaction_reference_id is None


@pytest.mark.parametrize("vector", each_vector("vectors/paypal/recordings.json", "webhook_events"))
def test_recorded_events_name_what_is_recorded(vector: dict[str, Any]) -> None:
    """Real bodies, with their empty objects, offsets and links to older hosts."""
    expected = vector["expected"]
    found = read_event(json.dumps(vector["inputs"]["body"]).encode())
    if expected["status"] == "PENDING":
        assert found == ()
        return
    (event,) = found
    assert event.transaction_reference_id == expected["order_id"]
    dead = isinstance(event, GatewayEvent) and event.kind is Kind.FAILED
    assert event.payment_reference == (None if dead else expected["capture_id"])
    assert event.draft_id is None
    assert event.event_id == vector["inputs"]["body"]["id"]


def test_a_refund_counts_all_that_went_back_so_far() -> None:
    """Recorded by PayPal: this refund is 0.99, and with the one before it is 1.98."""
    found = [
        vector.values[0]
        for vector in each_vector("vectors/paypal/recordings.json", "webhook_events")
        if vector.id and "REFUNDED" in vector.id
    ]
    if not found:
        pytest.skip("the shared vectors are not here")
    (event,) = read_event(json.dumps(found[0]["inputs"]["body"]).encode())
    assert isinstance(event, GatewayEvent)
    assert event.amount == Money(198, "USD")
