"""PayPal's wire shapes, field for field as in its recorded answers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from .paypal_money import fee, money
from .paypal_records import Capture, Order, Refund

BUYER_PAGE: Final = "/checkoutnow"

_PACIFIC: Final = ZoneInfo("America/Los_Angeles")  # refunds alone tell the time of PayPal's own office
_EMAIL: Final = "sb-buyer@personal.example.com"
_PAYER: Final = {"given_name": "John", "surname": "Doe"}
_SHIPPING: Final = {
    "name": {"full_name": "John Doe"},
    "address": {
        "address_line_1": "1 Main St",
        "admin_area_2": "San Jose",
        "admin_area_1": "CA",
        "postal_code": "95131",
        "country_code": "US",
    },
}


class Account(NamedTuple):
    """The two sides of every payment."""

    merchant_id: str
    payer_id: str


class Story(NamedTuple):
    """An order with what became of it; captures and refunds oldest first."""

    order: Order
    captures: Sequence[Capture]
    refunds: Sequence[Refund]


def zulu(epoch: float) -> str:
    """Print an instant as orders and captures do."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pacific(epoch: float) -> str:
    """Print an instant as refunds do, with another offset than all else."""
    return datetime.fromtimestamp(epoch, _PACIFIC).isoformat(timespec="seconds")


def link(href: str, rel: str, method: str = "GET") -> dict[str, str]:
    """Return one entry of `links`."""
    return {"href": href, "rel": rel, "method": method}


def buyer_link(order: Order, rel: str) -> dict[str, str]:
    """Return the link to the page on which the payer approves."""
    return link(f"{order.base_url}{BUYER_PAGE}?token={order.id}", rel)


def created_shape(story: Story, account: Account, *, full: bool) -> dict[str, Any]:
    """Shape the answer of `POST /v2/checkout/orders`, minimal unless the merchant preferred it full."""
    if full:
        return order_shape(story, account)
    order = story.order
    source: dict[str, Any] = {"payment_source": {"paypal": {}}} if order.wallet_form else {}
    return {"id": order.id, "status": order.status, **source, "links": _order_links(order)}


def order_shape(story: Story, account: Account) -> dict[str, Any]:
    """Shape an order as it is read."""
    order = story.order
    shape: dict[str, Any] = {"id": order.id, "intent": order.intent, "status": order.status}
    known = order.status in {"APPROVED", "COMPLETED"}
    if known:
        shape["payment_source"] = _source(account)
    elif order.wallet_form:
        shape["payment_source"] = {"paypal": {}}
    shape["purchase_units"] = units_shape(story, account, shipping=known and order.ships)
    if known:
        shape["payer"] = payer_shape(account)
    shape["create_time"] = zulu(order.created_at)
    if order.status == "COMPLETED":
        shape["update_time"] = zulu(order.updated_at)
    shape["links"] = _order_links(order)
    return shape


def captured_shape(story: Story, account: Account, *, full: bool) -> dict[str, Any]:
    """Shape the answer of a capture. The short one has the captures, and no amount of the unit."""
    if full:
        return order_shape(story, account)
    units = [
        {"reference_id": unit.reference_id, "payments": _payments(story, number)}
        for number, unit in enumerate(story.order.units)
    ]
    return {
        "id": story.order.id,
        "status": story.order.status,
        "payment_source": _source(account),
        "purchase_units": units,
        "payer": payer_shape(account),
        "links": _order_links(story.order),
    }


def units_shape(story: Story, account: Account, *, shipping: bool, quirky: bool = False) -> list[dict[str, Any]]:
    """Shape the purchase units; `quirky` as in events, where a breakdown that nobody sent is an empty object."""
    shapes = []
    for number, unit in enumerate(story.order.units):
        amount = money(unit.amount_minor, unit.currency)
        if unit.breakdown is not None or quirky:
            amount["breakdown"] = unit.breakdown or {}
        payee = {"email_address": "sb-merchant@business.example.com", "merchant_id": account.merchant_id}
        shape = {"reference_id": unit.reference_id, "amount": amount, "payee": payee, **unit.said}
        if shipping:
            shape.setdefault("shipping", _SHIPPING)
        if any(capture.unit == number for capture in story.captures):
            shape["payments"] = _payments(story, number)
        shapes.append(shape)
    return shapes


def capture_shape(capture: Capture, base_url: str, *, related: bool = False) -> dict[str, Any]:
    """Shape a capture; `related` with the order's id, which the capture inside an order does not carry."""
    shape: dict[str, Any] = {
        "id": capture.id,
        "status": capture.status,
        "amount": money(capture.amount_minor, capture.currency),
        "final_capture": True,
    }
    if capture.status == "PENDING":
        shape["status_details"] = {"reason": "PENDING_REVIEW"}
        shape["seller_protection"] = {"status": "NOT_ELIGIBLE"}
    else:
        disputes = ["ITEM_NOT_RECEIVED", "UNAUTHORIZED_TRANSACTION"]
        shape["seller_protection"] = {"status": "ELIGIBLE", "dispute_categories": disputes}
    if capture.is_paid:
        kept = fee(capture.amount_minor, capture.currency)
        shape["seller_receivable_breakdown"] = {
            "gross_amount": money(capture.amount_minor, capture.currency),
            "paypal_fee": money(kept, capture.currency),
            "net_amount": money(capture.amount_minor - kept, capture.currency),
        }
    shape |= _said(capture)
    if related:
        shape["supplementary_data"] = {"related_ids": {"order_id": capture.order_id}}
    address = f"{base_url}/v2/payments/captures/{capture.id}"
    shape["links"] = [
        link(address, "self"),
        link(f"{address}/refund", "refund", "POST"),
        link(f"{base_url}/v2/checkout/orders/{capture.order_id}", "up"),
    ]
    return {**shape, "create_time": zulu(capture.created_at), "update_time": zulu(capture.updated_at)}


def refund_shape(refund: Refund, base_url: str, *, full: bool = True, event: bool = False) -> dict[str, Any]:
    """Shape a refund; in an event it knows neither the merchant's ids nor the order, only the capture's address."""
    links = [
        link(f"{base_url}/v2/payments/refunds/{refund.id}", "self"),
        link(f"{base_url}/v2/payments/captures/{refund.capture_id}", "up"),
    ]
    if not full:
        return {"id": refund.id, "status": refund.status, "links": links}
    gross = money(refund.amount_minor, refund.currency)
    shape: dict[str, Any] = {
        "id": refund.id,
        "amount": gross,
        "seller_payable_breakdown": {
            "gross_amount": gross,
            "paypal_fee": money(0, refund.currency),
            "net_amount": gross,
            "total_refunded_amount": money(refund.total_refunded_minor, refund.currency),
        },
    }
    if refund.status == "PENDING":
        shape["status_details"] = {"reason": "ECHECK"}
    if refund.note_to_payer is not None:
        shape["note_to_payer"] = refund.note_to_payer
    if not event:
        shape |= _said(refund)
    times = {"create_time": pacific(refund.created_at), "update_time": pacific(refund.ended_at or refund.created_at)}
    return {**shape, "status": refund.status, **times, "links": links}


def payer_shape(account: Account) -> dict[str, Any]:
    """Shape the payer."""
    return {
        "name": _PAYER,
        "email_address": _EMAIL,
        "payer_id": account.payer_id,
        "address": {"country_code": "US"},
    }


def _source(account: Account) -> dict[str, Any]:
    wallet = {
        "email_address": _EMAIL,
        "account_id": account.payer_id,
        "account_status": "VERIFIED",
        "name": _PAYER,
        "address": {"country_code": "US"},
    }
    return {"paypal": wallet}


def _payments(story: Story, number: int) -> dict[str, Any]:
    captures = [capture for capture in story.captures if capture.unit == number]
    ids = {capture.id for capture in captures}
    refunds = [refund_shape(each, story.order.base_url) for each in story.refunds if each.capture_id in ids]
    shape: dict[str, Any] = {"captures": [capture_shape(each, story.order.base_url) for each in captures]}
    return {**shape, "refunds": refunds} if refunds else shape


def _said(source: Capture | Refund) -> dict[str, str]:
    """Return the merchant's ids, those that there are."""
    ids = {"invoice_id": source.invoice_id, "custom_id": source.custom_id}
    return {name: value for name, value in ids.items() if value is not None}


def _order_links(order: Order) -> list[dict[str, str]]:
    address = f"{order.base_url}/v2/checkout/orders/{order.id}"
    links = [link(address, "self")]
    if order.status == "PAYER_ACTION_REQUIRED":
        return [*links, buyer_link(order, "payer-action")]
    if order.status == "CREATED":
        links.append(buyer_link(order, "approve"))
    if order.status in {"CREATED", "APPROVED"}:
        links += [link(address, "update", "PATCH"), link(f"{address}/capture", "capture", "POST")]
    return links
