"""What Fawry is told of a draft: request bodies, each a pure function of the row and of where this server is reached.

https://developer.fawrystaging.com: "Create payment by reference number", "Mobile wallet", "Hosted checkout".
"""

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from qirsh.draft import PaymentDraft
from qirsh.gateways.fawry.orders import NAME
from qirsh.methods import Method
from qirsh.money import Money

LONGEST_DESCRIPTION: Final = 255
LANGUAGE: Final = "en-gb"
WALLETS: Final = frozenset({Method.WALLET_QR, Method.MOBILE_WALLET, Method.VODAFONE_CASH})
PROMPTS: Final = frozenset({Method.MOBILE_WALLET, Method.VODAFONE_CASH})
"""Wallets that ask on the phone, which must be named."""

_LANGUAGES: Final = MappingProxyType({"ar": "ar-eg"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def charge_body(draft: PaymentDraft, reference: str, merchant_code: str, public_url: str) -> dict[str, Any]:
    """A charge by reference number or wallet, not signed yet."""
    body = {
        **_order(draft, reference, merchant_code, public_url),
        "paymentMethod": "MWALLET" if draft.request.method in WALLETS else "PAYATFAWRY",
        "amount": draft.amount.major,
        "currencyCode": draft.amount.currency,
        "description": _name(draft),
    }
    if draft.request.method in PROMPTS:
        body["debitMobileWalletNo"] = draft.request.payer.phone
    return body


def init_body(draft: PaymentDraft, reference: str, merchant_code: str, public_url: str) -> dict[str, Any]:
    """A hosted checkout for a card, not signed yet. The return address must have no parameter called `type`."""
    return {
        **_order(draft, reference, merchant_code, public_url),
        "paymentMethod": "CARD",
        "returnUrl": f"{public_url}/api/payments/return/{NAME}/{draft.id}",
        "authCaptureModePayment": False,
    }


def _order(draft: PaymentDraft, reference: str, merchant_code: str, public_url: str) -> dict[str, Any]:
    payer = draft.request.payer
    known = {"customerName": payer.name, "customerMobile": payer.phone, "customerEmail": payer.email}
    return {
        "merchantCode": merchant_code,
        "merchantRefNum": reference,
        **{name: value for name, value in known.items() if value},
        "language": _LANGUAGES.get((draft.request.locale or "").partition("-")[0], LANGUAGE),
        "paymentExpiry": (draft.expires_at - _EPOCH) // timedelta(milliseconds=1),
        "chargeItems": [_item(draft)],
        "orderWebHookUrl": f"{public_url}/api/payments/webhook-handler/{NAME}",
    }


def _item(draft: PaymentDraft) -> dict[str, Any]:
    """Fawry adds the items up, so price × quantity is the amount to the piastre."""
    price, left = divmod(draft.amount.amount_minor, draft.request.quantity)
    quantity = 1 if left else draft.request.quantity
    return {
        "itemId": draft.request.product_id,
        "description": _name(draft),
        "price": Money(draft.amount.amount_minor if left else price, draft.amount.currency).major,
        "quantity": quantity,
    }


def _name(draft: PaymentDraft) -> str:
    return (draft.request.product_name or draft.request.product_id)[:LONGEST_DESCRIPTION]
