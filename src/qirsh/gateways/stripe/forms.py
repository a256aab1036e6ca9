"""What Stripe is told, as its form bodies: each a pure function of the row and our address, so repeats are the same.

https://docs.stripe.com/api/checkout/sessions/create and https://docs.stripe.com/api/refunds/create. Stripe compares
the parameters of a repeat under one key with those of the first, so nothing here may read a clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qirsh.draft import PaymentDraft
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.stripe.currencies import wire_amount
from qirsh.money import Money

NAME: Final = "stripe"
LONGEST_NAME: Final = 250
LONGEST_METADATA: Final = 500
"""https://docs.stripe.com/api/metadata: the longest value."""

LOCALES: Final = frozenset(
    {
        *("bg", "cs", "da", "de", "el", "en", "en-GB", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA", "hr", "hu"),
        *("id", "it", "ja", "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl"),
        *("sv", "th", "tr", "vi", "zh", "zh-HK", "zh-TW"),
    }
)
"""The languages of Stripe's page. Arabic is not among them, and would be refused."""
REASONS: Final = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
"""The only words that Stripe takes as the reason of a refund."""

Value = str | int | Mapping[str, "Value"] | Sequence["Value"]


def session_form(draft: PaymentDraft, public_url: str) -> dict[str, str]:
    """The body that creates a draft's Checkout Session.

    One line item of the whole amount, since a unit price times a quantity could miss it. No `payment_method_types`:
    the pinned version refuses them, and the dashboard decides. `expires_at` comes from the row and must lie 30 minutes
    to 24 hours ahead; a draft of these methods lives for one hour.

    Raises:
        GatewayRejected: Stripe takes no such amount.
    """
    request = draft.request
    back = f"{public_url}/api/payments/return/{NAME}/{draft.id}"
    price: dict[str, Value] = {
        "currency": draft.amount.currency.lower(),
        "unit_amount": wire_amount(draft.amount),
        "product_data": {"name": _product_name(draft)},
    }
    body: dict[str, Value] = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "client_reference_id": str(draft.id),
        "metadata": {"draft_id": str(draft.id)},
        # An object of its own: without this, events about the payment would carry nothing of ours.
        "payment_intent_data": {"metadata": {"draft_id": str(draft.id)}},
        "success_url": back,
        "cancel_url": f"{back}?cancelled=1",
        "expires_at": int(draft.expires_at.timestamp()),
        "locale": _locale(request.locale),
    }
    if request.payer.email:
        body["customer_email"] = request.payer.email
    return flattened(body)


def refund_form(order: RefundOrder, payment: str) -> dict[str, str]:
    """The body that gives money of a PaymentIntent back. The operator's words are kept where Stripe has no such reason.

    Raises:
        GatewayRejected: Stripe takes no such amount.
    """
    metadata: dict[str, Value] = {"refund_id": str(order.id), "draft_id": str(order.draft.id)}
    body: dict[str, Value] = {
        "payment_intent": payment,
        "amount": wire_amount(Money(order.amount_minor, order.draft.amount.currency)),
        "metadata": metadata,
    }
    if order.reason in REASONS:
        body["reason"] = order.reason
    elif order.reason:
        metadata["reason"] = order.reason[:LONGEST_METADATA]
    return flattened(body)


def flattened(body: Mapping[str, Value]) -> dict[str, str]:
    """Nested parameters as Stripe reads them: `line_items[0][quantity]=1`, in the order in which they stand."""
    return {key: text for name, value in body.items() for key, text in _flat(name, value)}


def _flat(name: str, value: Value) -> Iterator[tuple[str, str]]:
    match value:
        case str() | int():
            yield name, str(value)
        case Mapping():
            for key, one in value.items():
                yield from _flat(f"{name}[{key}]", one)
        case _:
            for index, one in enumerate(value):
                yield from _flat(f"{name}[{index}]", one)


def _product_name(draft: PaymentDraft) -> str:
    name, quantity = draft.request.product_name or draft.request.product_id, draft.request.quantity
    return (name if quantity == 1 else f"{quantity} × {name}")[:LONGEST_NAME]


def _locale(locale: str | None) -> str:
    """The payer's language where Stripe's page speaks it, else what the browser asks for."""
    language = (locale or "").partition("-")[0]
    return next((one for one in (locale, language) if one in LOCALES), None) or "auto"
