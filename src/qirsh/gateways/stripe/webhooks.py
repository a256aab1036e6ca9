"""Stripe's webhooks: the signature that makes one believable, and what each event says.

https://docs.stripe.com/webhooks/signature and https://docs.stripe.com/api/events/types.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery, Hint
from qirsh.gateways.stripe.forms import NAME
from qirsh.gateways.stripe.objects import Payment, PaymentId, Session, draft_id_in, read

SIGNATURE_HEADER: Final = "stripe-signature"
TOLERANCE_SECONDS: Final = 300
"""How old a signature may be when it comes. Each attempt of Stripe's is signed anew; one from the future is accepted,
as Stripe's own libraries do, since it proves no less."""
MAX_HEADER: Final = 4096
MAX_SIGNATURES: Final = 32
"""Stripe sends one for each live secret: two while one is rolled."""

_SECONDS: Final = re.compile(r"[0-9]{1,12}\Z")


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Envelope(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,200}\Z")]
    type: str
    livemode: bool
    data: _Data


class _AboutMoney(msgspec.Struct):
    """What a charge, a refund and a dispute have in common."""

    payment_intent: PaymentId | None = None
    metadata: dict[str, str] | None = None


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def verify(delivery: Delivery, secrets: Sequence[str], received_at: float) -> None:
    """Check that Stripe signed this body for our endpoint, not long before it came: https://docs.stripe.com/webhooks/signature.

    HMAC-SHA256 of the time, a dot and the raw bytes, in lower-case hexadecimal. The key is the secret's whole text,
    `whsec_` included. Any `v1` by any of the secrets is enough, and every other scheme is ignored. `received_at` is in
    seconds since 1970.

    Raises:
        WebhookNotAuthentic: it did not, or the delivery does not say so.
    """
    assert all(secrets), "an empty secret would let anyone sign"
    header = delivery.headers.get(SIGNATURE_HEADER, "")
    if not 0 < len(header) <= MAX_HEADER or not header.isascii():
        raise WebhookNotAuthentic
    pairs = [item.partition("=") for item in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode() for name, _, value in pairs if name == "v1"][:MAX_SIGNATURES]
    if len(times) != 1 or not _SECONDS.match(times[0]) or not signatures:
        raise WebhookNotAuthentic
    message = f"{times[0]}.".encode() + delivery.body
    expected = [hmac.new(secret.encode(), message, hashlib.sha256).hexdigest().encode() for secret in secrets]
    matches = [hmac.compare_digest(one, signature) for one in expected for signature in signatures]
    if not any(matches) or int(times[0]) < received_at - TOLERANCE_SECONDS:
        raise WebhookNotAuthentic


def read_event(body: bytes, *, livemode: bool) -> Sequence[GatewayEvent | Hint]:
    """What a verified delivery says. An event we do not know says nothing.

    Raises:
        WebhookMalformed: it is not an event, or one we know without what it must have.
        WebhookNotAuthentic: it is of the other mode, where money is not of the same kind.
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookMalformed from error
    if envelope.livemode is not livemode:
        raise WebhookNotAuthentic("The event is of Stripe's other mode, live or test.")
    match envelope.type:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            return _paid(envelope)
        case "checkout.session.async_payment_failed":
            # Why it failed stands in the payment, which the event only names.
            return _ended(envelope, DeclineCode.PROCESSING_ERROR)
        case "checkout.session.expired":
            return _ended(envelope, DeclineCode.EXPIRED)
        case "payment_intent.payment_failed":
            return _declined(envelope)
        case "charge.refunded" | "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated":
            return _look_up(envelope)
        case kind if kind.startswith("charge.dispute."):
            return _look_up(envelope)
        case _:
            return ()


def _paid(envelope: _Envelope) -> Sequence[GatewayEvent]:
    """Money, if it has come: a session is complete before that where the payer chose a slow way to pay.

    It finds its draft by our id, else by the session's own: money that nobody expected is kept and looked into.
    """
    session = _object(envelope, Session)
    if not session.paid:
        return ()
    return (
        GatewayEvent(
            kind=Kind.PAID,
            gateway=NAME,
            event_id=envelope.id,
            draft_id=session.draft_id,
            transaction_reference_id=session.id,
            payment_reference=session.payment_id,
            amount=session.amount,
        ),
    )


def _ended(envelope: _Envelope, reason: DeclineCode) -> Sequence[GatewayEvent]:
    """A session that nobody can pay any more. A payment that failed is nobody's, and a session that is not ours too."""
    session = _object(envelope, Session)
    if session.draft_id is None:
        return ()
    return (
        GatewayEvent(
            kind=Kind.FAILED,
            gateway=NAME,
            event_id=envelope.id,
            draft_id=session.draft_id,
            transaction_reference_id=session.id,
            reason=reason,
        ),
    )


def _declined(envelope: _Envelope) -> Sequence[GatewayEvent]:
    """One try failed, and the payer may try another card on the same page. A payment that is not ours says nothing."""
    payment = _object(envelope, Payment)
    draft_id, problem = draft_id_in(payment.metadata), payment.last_payment_error
    if draft_id is None:
        return ()
    return (
        GatewayEvent(
            kind=Kind.DECLINED,
            gateway=NAME,
            event_id=envelope.id,
            draft_id=draft_id,
            reason=problem.reason if problem else DeclineCode.UNKNOWN,
            psp_code=problem.word if problem else None,
        ),
    )


def _look_up(envelope: _Envelope) -> Sequence[Hint]:
    """Refunds and disputes say their own amount and no total, so Stripe's books are asked."""
    about = _object(envelope, _AboutMoney)
    draft_id = draft_id_in(about.metadata)
    if draft_id is None and about.payment_intent is None:
        return ()
    return (Hint(gateway=NAME, event_id=envelope.id, draft_id=draft_id, payment_reference=about.payment_intent),)


def _object(envelope: _Envelope, kind: type[_Shape]) -> _Shape:
    found = read(kind, envelope.data.object)
    if found is None:
        raise WebhookMalformed
    return found
