"""How the fake Fawry signs and checks: SHA-256 over joined values with the secure key last. Shared with nobody.

https://developer.fawrystaging.com, on each API's page. Amounts are signed with two decimals.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

_CHARGE: Final = (
    *("merchantCode", "merchantRefNum", "customerProfileId", "paymentMethod", "amount", "debitMobileWalletNo"),
    *("cardNumber", "cardExpiryYear", "cardExpiryMonth", "cvv", "returnUrl"),
)
_REFUND: Final = ("merchantCode", "referenceNumber", "refundAmount", "reason")
_STATUS: Final = ("merchantCode", "merchantRefNumber")
_CANCEL: Final = ("orderRefNo", "merchantAccount", "lang")
_NOTIFICATION: Final = (
    *("fawryRefNumber", "merchantRefNumber", "paymentAmount", "orderAmount", "orderStatus", "paymentMethod"),
    "paymentRefrenceNumber",
)
_RESPONSE: Final = (
    *("referenceNumber", "merchantRefNumber", "paymentAmount", "orderAmount", "orderStatus", "paymentMethod"),
    *("fawryFees", "shippingFees", "authNumber", "customerMail", "customerMobile"),
)
_AMOUNTS: Final = frozenset(
    {"amount", "price", "refundAmount", "paymentAmount", "orderAmount", "fawryFees", "shippingFees"}
)


def charge(body: Mapping[str, Any], key: str) -> str:
    """Return the signature of a direct charge."""
    return _hash(_texts(body, _CHARGE), key)


def init(body: Mapping[str, Any], key: str) -> str:
    """Return the signature of a hosted checkout, whose items are sorted by id."""
    texts = list(_texts(body, ("merchantCode", "merchantRefNum", "customerProfileId", "returnUrl")))
    for item in sorted(body["chargeItems"], key=lambda each: str(each.get("itemId"))):
        texts.extend(_texts(item, ("itemId", "quantity", "price")))
    return _hash(texts, key)


def refund(body: Mapping[str, Any], key: str) -> str:
    """Return the signature of a refund."""
    return _hash(_texts(body, _REFUND), key)


def status(query: Mapping[str, Any], key: str) -> str:
    """Return the signature of a status question."""
    return _hash(_texts(query, _STATUS), key)


def cancel(body: Mapping[str, Any], key: str) -> str:
    """Return the signature of the end of an unpaid order."""
    return _hash(_texts(body, _CANCEL), key)


def notification(body: Mapping[str, Any], key: str) -> str:
    """Return the `messageSignature` of a notification or a status."""
    return _hash(_texts(body, _NOTIFICATION), key)


def response(fields: Mapping[str, Any], key: str) -> str:
    """Return the `signature` in the address that the browser goes back to."""
    return _hash(_texts(fields, _RESPONSE), key)


def same(given: object, expected: str) -> bool:
    """Tell whether a signature or a code is the expected one."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())


def _texts(body: Mapping[str, Any], names: Iterable[str]) -> Iterable[str]:
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            yield ""
        elif name in _AMOUNTS:
            yield f"{Decimal(str(value)).quantize(Decimal('0.01'), ROUND_HALF_UP):f}"
        else:
            yield str(value)


def _hash(texts: Iterable[str], key: str) -> str:
    return hashlib.sha256(("".join(texts) + key).encode()).hexdigest()
