"""What we ask PayPal for, in PayPal's words.

https://developer.paypal.com/docs/api/orders/v2/#orders_create and
https://developer.paypal.com/docs/api/payments/v2/#captures_refund.
"""

import re
from types import MappingProxyType
from typing import Any, Final

from qirsh.draft import DeclineCode, PaymentDraft
from qirsh.errors import GatewayRejected
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.paypal.orders import NAME
from qirsh.money import EXPONENTS, Money

CURRENCIES: Final = frozenset(EXPONENTS) & {
    *("AUD", "BRL", "CAD", "CNY", "CZK", "DKK", "EUR", "HKD", "HUF", "ILS", "JPY", "MYR", "MXN", "TWD", "NZD", "NOK"),
    *("PHP", "PLN", "GBP", "RUB", "SGD", "SEK", "CHF", "THB", "USD"),
}
"""https://developer.paypal.com/api/rest/reference/currency-codes/. EGP is not among them."""
WHOLE_ONLY: Final = frozenset({"HUF", "JPY", "TWD"})
"""Those that PayPal takes without decimals, whatever ISO 4217 says."""

DESCRIPTION_BYTES: Final = 127
"""PayPal counts characters "as US ASCII" and says that others may count for more."""
NOTE_BYTES: Final = 255
"""PayPal's limit is 255 characters; bytes are never fewer, and a long note must not cost a payer the refund."""
_LOCALES: Final = MappingProxyType({"ar": "ar-EG", "en": "en-US"})
_LOCALE: Final = re.compile(r"[a-z]{2}-[A-Z]{2}\Z")


def order_request(draft: PaymentDraft, public_url: str) -> dict[str, Any]:
    """The body that creates a draft's order: a pure function of the row and our address.

    https://developer.paypal.com/docs/api/orders/v2/#orders_create. `invoice_id` is left out: it must be unique per
    merchant, so a shop that uses it elsewhere could collide. `IMMEDIATE_PAYMENT_REQUIRED` spares most reviews.

    Raises:
        GatewayRejected: PayPal takes no such amount.
    """
    back = f"{public_url}/api/payments/return/{NAME}/{draft.id}"
    context = {
        "return_url": back,
        "cancel_url": f"{back}?cancelled=1",
        "user_action": "PAY_NOW",
        "shipping_preference": "NO_SHIPPING",
        "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED",
    }
    locale = _LOCALES.get(draft.request.locale or "", draft.request.locale or "")
    if _LOCALE.match(locale):
        context["locale"] = locale
    name = (draft.request.product_name or draft.request.product_id).encode()[:DESCRIPTION_BYTES]
    unit = {
        "custom_id": str(draft.id),
        "description": name.decode(errors="ignore"),
        "amount": {"currency_code": draft.amount.currency, "value": value_of(draft.amount)},
    }
    return {
        "intent": "CAPTURE",
        "purchase_units": [unit],
        "payment_source": {"paypal": {"experience_context": context}},
    }


def refund_request(order: RefundOrder) -> dict[str, Any]:
    """The body that gives money back: a pure function of the refund, and never "all that is left".

    https://developer.paypal.com/docs/api/payments/v2/#captures_refund. `custom_id` is the refund's id, by which
    look-ups know it. A note has one line, and `invoice_id` is left out as in orders.

    Raises:
        GatewayRejected: PayPal takes no such amount.
    """
    amount = Money(order.amount_minor, order.draft.amount.currency)
    body: dict[str, Any] = {
        "amount": {"currency_code": amount.currency, "value": value_of(amount)},
        "custom_id": str(order.id),
    }
    note = " ".join(order.reason.split()).encode(errors="ignore")[:NOTE_BYTES].decode(errors="ignore").rstrip()
    return {**body, "note_to_payer": note} if note else body


def is_taken(money: Money) -> bool:
    """Whether PayPal can write this amount."""
    try:
        value_of(money)
    except GatewayRejected:
        return False
    return True


def value_of(money: Money) -> str:
    """An amount as PayPal writes it.

    Raises:
        GatewayRejected: not a currency of PayPal's, or decimals that it does not take.
    """
    if money.currency not in CURRENCIES:
        raise GatewayRejected("PayPal does not take this currency.", reason=DeclineCode.PROCESSING_ERROR)
    if money.currency not in WHOLE_ONLY:
        return money.major
    whole, _, decimals = money.major.partition(".")
    if decimals.strip("0"):
        raise GatewayRejected(
            f"PayPal takes whole amounts of {money.currency} only.", reason=DeclineCode.PROCESSING_ERROR
        )
    return whole
