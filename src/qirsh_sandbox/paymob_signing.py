"""How the fake Paymob signs: callbacks by HMAC-SHA512, tokens as base64 of an HS512 JWT. Shared with nobody on purpose.

https://developers.paymob.com/egypt/manage-callback/hmac
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

# The order is Paymob's; the values are joined with nothing between them, and null counts as empty.
SIGNED_FIELDS: Final = (
    "amount_cents",
    "created_at",
    "currency",
    "error_occured",
    "has_parent_transaction",
    "id",
    "integration_id",
    "is_3d_secure",
    "is_auth",
    "is_capture",
    "is_refunded",
    "is_standalone_payment",
    "is_voided",
    "order.id",
    "owner",
    "pending",
    "source_data.pan",
    "source_data.sub_type",
    "source_data.type",
    "success",
)
_HEADER: Final = b'{"alg":"HS512","typ":"JWT"}'


def callback_hmac(transaction: Mapping[str, Any], secret: str) -> str:
    """Return the `hmac` of a callback whose `obj` is this transaction; the browser's redirect carries the same one."""
    message = "".join(_text(_at(transaction, field)) for field in SIGNED_FIELDS)
    return hmac.new(secret.encode(), message.encode(), hashlib.sha512).hexdigest()


def redirect_query(transaction: Mapping[str, Any], secret: str) -> list[tuple[str, str]]:
    """Return the query of the transaction response callback, in the order of Paymob's published sample."""
    data = transaction["data"]
    pairs = [(name, _text(transaction[name])) for name in _REDIRECT_BEFORE_ORDER]
    pairs.append(("order", _text(transaction["order"]["id"])))
    pairs += [(name, _text(transaction[name])) for name in _REDIRECT_AFTER_ORDER]
    if transaction["order"]["merchant_order_id"] is not None:
        pairs.append(("merchant_order_id", transaction["order"]["merchant_order_id"]))
    pairs.append(("data.message", _text(data.get("message"))))
    pairs += [(f"source_data.{name}", _text(transaction["source_data"][name])) for name in ("type", "pan", "sub_type")]
    pairs += [(name, _text(data[name])) for name in ("acq_response_code", "txn_response_code") if data.get(name)]
    return [*pairs, ("hmac", callback_hmac(transaction, secret))]


def make_token(claims: Mapping[str, Any], secret: str) -> str:
    """Return an opaque token that only `read_token` with the same secret accepts."""
    signed = _encode(_HEADER) + b"." + _encode(msgspec.json.encode(claims))
    signature = hmac.digest(secret.encode(), signed, "sha512")
    return base64.b64encode(signed + b"." + _encode(signature)).decode()


def read_token(token: str, secret: str) -> dict[str, Any] | None:
    """Return a token's claims, or None when it was not made with this secret."""
    try:
        signed, _, signature = base64.b64decode(token, validate=True).rpartition(b".")
        if not hmac.compare_digest(_encode(hmac.digest(secret.encode(), signed, "sha512")), signature):
            return None
        claims: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(signed.partition(b".")[2] + b"=="))
    except ValueError:
        return None
    return claims


_REDIRECT_BEFORE_ORDER: Final = (
    "id",
    "pending",
    "amount_cents",
    "success",
    "is_auth",
    "is_capture",
    "is_standalone_payment",
    "is_voided",
    "is_refunded",
    "is_3d_secure",
    "integration_id",
    "profile_id",
    "has_parent_transaction",
)
_REDIRECT_AFTER_ORDER: Final = (
    "created_at",
    "currency",
    "merchant_commission",
    "discount_details",
    "is_void",
    "is_refund",
    "error_occured",
    "refunded_amount_cents",
    "captured_amount",
    "updated_at",
    "is_settled",
    "bill_balanced",
    "is_bill",
    "owner",
)


def _at(transaction: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON value
    value: Any = transaction
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
