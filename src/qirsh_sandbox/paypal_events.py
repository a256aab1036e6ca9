"""The bodies of PayPal's webhooks, with the quirks of real ones.

A breakdown that nobody sent is an empty object, a pending capture names its order only in its link, and a refund names
neither order nor merchant's reference.
"""

import secrets
import string
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from .paypal_money import money, parse, step, text
from .paypal_records import Capture, Order, Refund
from .paypal_shapes import (
    Account,
    Story,
    capture_shape,
    link,
    order_shape,
    refund_shape,
    units_shape,
)

CaptureEvent = Literal["COMPLETED", "PENDING", "DECLINED", "DENIED"]
RefundEvent = Literal[
    "PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.REFUND.PENDING", "PAYMENT.REFUND.FAILED"
]

_ID_SIGNS: Final = string.ascii_uppercase + string.digits
_ACCOUNT_SIGNS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # published: nothing that reads like another sign
_SUMMARIES: Final = {
    "COMPLETED": "Payment completed for {}",
    "PENDING": "Payment pending for {}",
    "DECLINED": "A payment capture for {} was declined.",
    "DENIED": "A payment capture for {} was denied.",
    "PAYMENT.CAPTURE.REFUNDED": "A {} capture payment was refunded",
    "PAYMENT.CAPTURE.REVERSED": "A {} capture payment was reversed",
    "PAYMENT.REFUND.PENDING": "A {} refund is pending",
    "PAYMENT.REFUND.FAILED": "A {} refund failed",
}


def fresh_id() -> str:
    """Return an id of PayPal's kind: 17 capitals and digits."""
    return "".join(secrets.choice(_ID_SIGNS) for _ in range(17))


def fresh_account() -> str:
    """Return the id of an account, a payer's or a merchant's."""
    return "".join(secrets.choice(_ACCOUNT_SIGNS) for _ in range(13))


def approved_event(order: Order, account: Account, now: float) -> bytes:
    """Return the event of a payer who approved."""
    story = Story(order, [], [])
    resource = order_shape(story, account)
    resource["purchase_units"] = units_shape(story, account, shipping=order.ships, quirky=True)
    summary = "An order has been approved by buyer"
    return _event("CHECKOUT.ORDER.APPROVED", "checkout-order", summary, resource, order.base_url, now)


def approval_reversed_event(order: Order, now: float) -> bytes:
    """Return the event of an approval that nobody captured in time. Its order is in `order_id`, not in `id`."""
    units = [{"reference_id": unit.reference_id, **unit.said} for unit in order.units]
    resource = {"order_id": order.id, "purchase_units": units, "payment_source": {"paypal": {}}}
    summary = "A payment has been reversed after approval."
    return _event("CHECKOUT.PAYMENT-APPROVAL.REVERSED", "checkout-order", summary, resource, order.base_url, now)


def capture_event(capture: Capture, kind: CaptureEvent, base_url: str, now: float) -> bytes:
    """Return the event of a capture."""
    resource = capture_shape(capture, base_url, related=kind != "PENDING")
    summary = _SUMMARIES[kind].format(_spoken(capture.amount_minor, capture.currency))
    return _event(f"PAYMENT.CAPTURE.{kind}", "capture", summary, resource, base_url, now)


def refund_event(refund: Refund, kind: RefundEvent, base_url: str, now: float) -> bytes:
    """Return the event of money that went back, will, or will not."""
    resource = refund_shape(refund, base_url, event=True)
    summary = _SUMMARIES[kind].format(_spoken(refund.amount_minor, refund.currency))
    return _event(kind, "refund", summary, resource, base_url, now)


def with_wrong_amount(body: bytes) -> bytes:
    """Return an event that says the smallest amount more; one without an amount stays as it is."""
    event: dict[str, Any] = msgspec.json.decode(body)
    resource = event["resource"]
    holder = resource if "amount" in resource else resource.get("purchase_units", [{}])[0]
    if "amount" in holder:
        currency = holder["amount"]["currency_code"]
        minor = parse(holder["amount"]["value"], currency) + step(currency)
        holder["amount"] |= money(minor, currency)
    return msgspec.json.encode(event)


def _event(kind: str, resource_type: str, summary: str, resource: dict[str, Any], base_url: str, now: float) -> bytes:
    name = f"WH-{fresh_id()}-{fresh_id()}"
    address = f"{base_url}/v1/notifications/webhooks-events/{name}"
    moment = datetime.fromtimestamp(now, UTC)
    event = {
        "id": name,
        "event_version": "1.0",
        "create_time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z",
        "resource_type": resource_type,
        "resource_version": "2.0",
        "event_type": kind,
        "summary": summary,
        "resource": resource,
        "links": [link(address, "self"), link(f"{address}/resend", "resend", "POST")],
    }
    return msgspec.json.encode(event)


def _spoken(minor: int, currency: str) -> str:
    """Print an amount as summaries do: `$ 30.0 USD`, with one decimal at least."""
    value = Decimal(text(minor, currency)).normalize()
    number = f"{value:f}" if "." in f"{value:f}" else f"{value:f}.0"
    return f"{'$ ' if currency == 'USD' else ''}{number} {currency}"
