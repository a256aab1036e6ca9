"""Fawry's answers and notifications, in the shape of its documentation and of captured ones.

Amounts are JSON numbers as Java prints them: `840.0`, `580.55`.
"""

import base64
import io
import secrets
from decimal import Decimal
from typing import Any, Final

import msgspec
import segno

from . import fawry_signing
from .fawry_records import METHODS, Order

OK: Final = {"statusCode": 200, "statusDescription": "Operation done successfully"}

_RETURNED: Final = {"customerMerchantId": "customerProfileId"}  # notifications and returns call it differently
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_exact: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def failed(kind: str, code: int, description: str) -> dict[str, Any]:
    """Return a business error."""
    return {"type": kind, "statusCode": code, "statusDescription": description}


def charge_shape(order: Order) -> dict[str, Any]:
    """Return the answer to a direct charge."""
    shape: dict[str, Any] = {
        "type": "ChargeResponse",
        "referenceNumber": order.number,
        "merchantRefNumber": order.merchant_number,
        "expirationTime": _milliseconds(order.expires_at),
        **OK,
    }
    if order.means == "qr":
        shape["walletQr"] = _qr_code(order)
    return shape


def notification_body(order: Order, *, created: bool = False) -> bytes:
    """Return what is told of an order, unsigned: `sign` does that anew for every delivery."""
    shape: dict[str, Any] = {
        "requestId": "",
        "fawryRefNumber": order.number,
        "merchantRefNumber": order.merchant_number,
        **order.customer,
        "paymentAmount": _major(order.amount_minor + order.fee_minor),
        "orderAmount": _major(order.amount_minor),
        "fawryFees": _major(order.fee_minor),
        "orderStatus": "NEW" if created else order.status,
        "paymentMethod": METHODS[order.means],
        "messageSignature": "",
        "orderExpiryDate": _milliseconds(order.expires_at),
        "orderItems": [_item(item) for item in order.items],
    }
    if order.paid_at is not None and not created:
        shape["paymentTime"] = _milliseconds(order.paid_at)
        shape["paymentRefrenceNumber"] = order.payment_number
    if order.failure is not None:
        shape["failureErrorCode"], shape["failureReason"] = order.failure
    return _encode(shape)


def signed(body: bytes, key: str, *, corrupt: bool = False) -> bytes:
    """Return a notification with a request id of its own and its signature, every other byte as it was."""
    fields, signature = _fields.decode(body), fawry_signing.notification(_exact.decode(body), key)
    if corrupt:
        signature = f"{int(signature[0], 16) ^ 1:x}{signature[1:]}"
    fields["requestId"] = msgspec.Raw(msgspec.json.encode(secrets.token_hex(16)))
    fields["messageSignature"] = msgspec.Raw(msgspec.json.encode(signature))
    return msgspec.json.encode(fields)


def with_wrong_amount(body: bytes) -> bytes:
    """Return a notification with one piastre more in both of its amounts."""
    fields = _fields.decode(body)
    for name in ("orderAmount", "paymentAmount"):
        amount = msgspec.json.decode(fields[name], type=Decimal) + Decimal("0.01")
        fields[name] = msgspec.Raw(f"{amount}".encode())
    return msgspec.json.encode(fields)


def status_v1_shape(order: Order) -> bytes:
    """Return the older status."""
    shape = {
        "type": "PaymentStatusResponse",
        "referenceNumber": order.number,
        "merchantRefNumber": order.merchant_number,
        "paymentAmount": _major(order.amount_minor + order.fee_minor),
        "expirationTime": _milliseconds(order.expires_at),
        "paymentMethod": METHODS[order.means],
        "paymentStatus": "CANCELLED" if order.status == "CANCELED" else order.status,
        **OK,
    }
    return _encode(shape)


def return_fields(order: Order, key: str) -> dict[str, str]:
    """Return the parameters that the browser takes back to the merchant. Amounts are not padded here."""
    fields = {
        "type": "ChargeResponse",
        "referenceNumber": order.number,
        "merchantRefNumber": order.merchant_number,
        "orderAmount": _unpadded(order.amount_minor),
        "paymentAmount": _unpadded(order.amount_minor + order.fee_minor),
        "fawryFees": _unpadded(order.fee_minor),
        "orderStatus": order.status,
        "paymentMethod": "PayUsingCC",
        **{_RETURNED.get(name, name): value for name, value in order.customer.items()},
        "taxes": "0",
        "statusCode": f"{OK['statusCode']}",
        "statusDescription": f"{OK['statusDescription']}",
        "basketPayment": "false",
    }
    if order.paid_at is not None:
        fields |= {"paymentTime": f"{_milliseconds(order.paid_at)}", "authNumber": order.payment_number[-6:]}
    return {**fields, "signature": fawry_signing.response(fields, key)}


def money(minor: int) -> str:
    """Write an amount as the payer reads it."""
    return f"EGP {minor // 100}.{minor % 100:02}"


def _major(minor: int) -> Decimal:
    """Return major units as Java prints a double: at least one decimal, and no zero after that."""
    text = f"{minor // 100}.{minor % 100:02}"
    return Decimal(text.removesuffix("0"))


def _unpadded(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}".rstrip("0").rstrip(".")


def _item(item: dict[str, Any]) -> dict[str, Any]:
    return {"itemCode": item["itemId"], "price": Decimal(item["price"]), "quantity": item["quantity"]}


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _qr_code(order: Order) -> str:
    """Return a picture that leads to the page where the sandbox's wallet confirms."""
    picture = io.BytesIO()
    segno.make(f"{order.base_url}/__sandbox/fawry?number={order.number}").save(picture, kind="png", scale=6)
    return f"data:image/PNG;base64,{base64.b64encode(picture.getvalue()).decode()}"
