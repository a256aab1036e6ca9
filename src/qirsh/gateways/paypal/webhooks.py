"""PayPal's webhooks: the signature that makes one believable, and what each event says.

https://developer.paypal.com/api/rest/webhooks/rest/ and https://developer.paypal.com/api/rest/webhooks/event-names/.

The signature covers a CRC-32 of the body. Whoever holds the headers of a genuine delivery can forge another body with
the same checksum, so these headers are as good as a secret: never log them.
"""

import zlib
from base64 import b64decode
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery, Hint
from qirsh.gateways.paypal.certificates import Certificates
from qirsh.gateways.paypal.orders import (
    DEAD,
    NAME,
    PAID,
    Capture,
    Id,
    Link,
    Order,
    Refund,
    code_of,
    read,
    up,
)
from qirsh.gateways.references import draft_id_of

SIGNATURE_HEADER: Final = "paypal-transmission-sig"
ALGORITHMS: Final = MappingProxyType({"SHA256withRSA": SHA256})
"""The one that PayPal uses. The header chooses from this list and never names an algorithm by itself."""
MAX_HEADER: Final = 2048


class _Envelope(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,200}\Z")]
    event_type: str
    resource: dict[str, Any] = msgspec.field(default_factory=dict)
    resource_type: str | None = None


class _Reversal(msgspec.Struct):
    """What CHECKOUT.PAYMENT-APPROVAL.REVERSED is about."""

    order_id: Id | None = None
    links: list[Link] | None = None


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


async def verify(delivery: Delivery, webhook_id: str, certificates: Certificates) -> None:
    """Check that PayPal sent this body to this webhook.

    https://developer.paypal.com/api/rest/webhooks/rest/#link-selfverificationmethod. The time is signed and not
    compared with ours: PayPal delivers for three days, and what comes twice is known by its event id.

    Raises:
        WebhookNotAuthentic: it did not, or the delivery does not say so.
        GatewayUnavailable: PayPal did not give the certificate; it will deliver again.
    """
    transmission_id = _header(delivery, "paypal-transmission-id")
    time = _header(delivery, "paypal-transmission-time")
    url = _header(delivery, "paypal-cert-url")
    hash_of = ALGORITHMS.get(_header(delivery, "paypal-auth-algo"))
    try:
        signature = b64decode(_header(delivery, SIGNATURE_HEADER), validate=True)
    except ValueError:
        raise WebhookNotAuthentic from None
    if hash_of is None or not signature or "|" in transmission_id + time:
        raise WebhookNotAuthentic
    key = await certificates.key(url)
    message = f"{transmission_id}|{time}|{webhook_id}|{zlib.crc32(delivery.body)}".encode()
    try:
        key.verify(signature, message, PKCS1v15(), hash_of())
    except InvalidSignature:
        raise WebhookNotAuthentic from None


def read_event(body: bytes) -> Sequence[GatewayEvent | Hint]:
    """What a verified delivery says. An event we do not know says nothing.

    Raises:
        WebhookMalformed: it is not an event, or one we know without what it must have.
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookMalformed from error
    match envelope.event_type:
        case "CHECKOUT.ORDER.APPROVED":
            return (_approved(envelope),)
        case "PAYMENT.CAPTURE.COMPLETED":
            return (_paid(envelope),)
        case "PAYMENT.CAPTURE.DECLINED" | "PAYMENT.CAPTURE.DENIED":
            return (_declined(envelope),)
        case "PAYMENT.CAPTURE.REFUNDED" | "PAYMENT.CAPTURE.REVERSED":
            return (_refunded(envelope),)
        case "PAYMENT.REFUND.PENDING" | "PAYMENT.REFUND.FAILED":
            return (_refund_hint(envelope, _resource(envelope, Refund)),)
        case "CHECKOUT.PAYMENT-APPROVAL.REVERSED":
            reversal = _resource(envelope, _Reversal)
            order_id = reversal.order_id or up(reversal.links, "checkout/orders")
            return (Hint(gateway=NAME, event_id=envelope.id, transaction_reference_id=order_id),) if order_id else ()
        case _:
            return ()


def _approved(envelope: _Envelope) -> GatewayEvent | Hint:
    order = _resource(envelope, Order)
    draft_id = draft_id_of(order.custom_id)
    if order.status != "APPROVED":
        return Hint(gateway=NAME, event_id=envelope.id, draft_id=draft_id, transaction_reference_id=order.id)
    return GatewayEvent(
        kind=Kind.APPROVED,
        gateway=NAME,
        event_id=envelope.id,
        draft_id=draft_id,
        transaction_reference_id=order.id,
    )


def _paid(envelope: _Envelope) -> GatewayEvent | Hint:
    """Delivered again after a refund it may say so; the money came all the same."""
    capture = _resource(envelope, Capture)
    if capture.status not in PAID:
        return _capture_hint(envelope, capture)
    assert capture.amount is not None, "checked when it was read"
    return GatewayEvent(
        kind=Kind.PAID,
        gateway=NAME,
        event_id=envelope.id,
        draft_id=draft_id_of(capture.custom_id),
        transaction_reference_id=capture.order_id,
        payment_reference=capture.id,
        amount=capture.amount.money,
    )


def _declined(envelope: _Envelope) -> GatewayEvent | Hint:
    """The order cannot be captured again. A declined capture is nobody's payment, so it leaves no reference."""
    capture = _resource(envelope, Capture)
    draft_id, order_id = draft_id_of(capture.custom_id), capture.order_id
    if capture.status not in DEAD or (draft_id is None and order_id is None):
        return _capture_hint(envelope, capture)
    return GatewayEvent(
        kind=Kind.FAILED,
        gateway=NAME,
        event_id=envelope.id,
        draft_id=draft_id,
        transaction_reference_id=order_id,
        reason=DEAD.get(capture.status, DeclineCode.UNKNOWN),
        psp_code=code_of(capture),
    )


def _refunded(envelope: _Envelope) -> GatewayEvent | Hint:
    """The total given back so far, where PayPal says it; the event's own amount is this refund's alone.

    Found by the capture it names and by nothing else: a refund's custom_id is whatever who refunded wrote into it, and
    a refund that overtakes its payment waits for the draft to learn its capture.
    """
    refund = _resource(envelope, Refund)
    if refund.capture_id is None or refund.status != "COMPLETED" or refund.total is None:
        return _refund_hint(envelope, refund)
    return GatewayEvent(
        kind=Kind.REFUNDED,
        gateway=NAME,
        event_id=envelope.id,
        payment_reference=refund.capture_id,
        amount=refund.total,
    )


def _refund_hint(envelope: _Envelope, refund: Refund) -> Hint:
    """A refund's custom_id may be of another's making, but a look-up at the wrong draft moves nothing."""
    own = refund.id if envelope.resource_type == "capture" else None
    return Hint(
        gateway=NAME,
        event_id=envelope.id,
        draft_id=draft_id_of(refund.custom_id),
        payment_reference=refund.capture_id or own,
    )


def _capture_hint(envelope: _Envelope, capture: Capture) -> Hint:
    return Hint(
        gateway=NAME,
        event_id=envelope.id,
        draft_id=draft_id_of(capture.custom_id),
        transaction_reference_id=capture.order_id,
        payment_reference=capture.id,
    )


def _resource(envelope: _Envelope, kind: type[_Shape]) -> _Shape:
    resource = read(kind, envelope.resource)
    if resource is None:
        raise WebhookMalformed
    return resource


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name, "")
    if not 0 < len(value) <= MAX_HEADER or not value.isascii() or not value.isprintable():
        raise WebhookNotAuthentic
    return value
