"""How Fawry signs: SHA-256 in lower-case hex over the values joined without separators, the secure key last.

https://developer.fawrystaging.com, on each API's page. It is no HMAC, and the key is used as it is printed. An absent
value is empty, and an amount has two decimals whatever the body shows.
"""

import hashlib
import hmac
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

PIASTRE: Final = Decimal("0.01")
LARGEST: Final = Decimal(10**13)
"""In pounds, just past what Money holds: from here on a number is not written out."""


def digest(security_key: str, *texts: str) -> str:
    """The signature over these texts."""
    return hashlib.sha256("".join((*texts, security_key)).encode()).hexdigest()


def charge_signature(body: Mapping[str, Any], security_key: str) -> str:
    """Of a charge by reference number or wallet; only a request to pay names the wallet's number."""
    signed = ("merchantCode", "merchantRefNum", "customerProfileId", "paymentMethod", "amount", "debitMobileWalletNo")
    return digest(security_key, *(_text(body, name) for name in signed))


def init_signature(body: Mapping[str, Any], security_key: str) -> str:
    """Of a hosted checkout, its items in the order of their ids."""
    items = sorted(body["chargeItems"], key=lambda item: str(item["itemId"]))
    return digest(
        security_key,
        *(_text(body, name) for name in ("merchantCode", "merchantRefNum", "customerProfileId", "returnUrl")),
        *(_text(item, name) for item in items for name in ("itemId", "quantity", "price")),
    )


def refund_signature(body: Mapping[str, Any], security_key: str) -> str:
    """Of a refund; the reason is signed where there is one."""
    signed = ("merchantCode", "referenceNumber", "refundAmount", "reason")
    return digest(security_key, *(_text(body, name) for name in signed))


def status_signature(body: Mapping[str, Any], security_key: str) -> str:
    """Of a question for an order's status."""
    return digest(security_key, _text(body, "merchantCode"), _text(body, "merchantRefNumber"))


def cancel_signature(body: Mapping[str, Any], security_key: str) -> str:
    """Of the end of an unpaid order."""
    return digest(security_key, *(_text(body, name) for name in ("orderRefNo", "merchantAccount", "lang")))


def is_signed(signed_text: str, security_key: str, signature: str) -> bool:
    """Whether this is the signature over a text, compared in constant time."""
    return hmac.compare_digest(digest(security_key, signed_text).encode(), signature.encode())


def two_decimals(amount: Decimal) -> str | None:
    """An amount as it is signed, "20.50"; None for what is no amount."""
    if not amount.is_finite() or not 0 <= amount < LARGEST:
        return None
    rounded = amount.quantize(PIASTRE, ROUND_HALF_UP)
    return f"{rounded:f}" if rounded < LARGEST else None


_AMOUNTS: Final = frozenset({"amount", "price", "refundAmount"})


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    return (two_decimals(Decimal(value)) or "") if name in _AMOUNTS else str(value)
