"""Fawry's server notification V2: the signature that makes one believable, and what each status says.

https://developer.fawrystaging.com, "Server notification V2". It has no time and no id that would outlive a repeat, so a
repeat is known by what is signed. The older V1, a GET signed with MD5, is not taken.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from qirsh.draft import GatewayEvent
from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Hint
from qirsh.gateways.fawry.orders import CANCELLED, CARD_METHODS, CASH_METHODS, FAILED, GIVEN_BACK, NAME, Order, told
from qirsh.gateways.fawry.signing import is_signed
from qirsh.gateways.references import draft_id_of


def read_notification(body: bytes, security_key: str) -> Sequence[GatewayEvent | Hint]:
    """Verify, then read. Unsigned fields explain a decline and decide nothing.

    The values are signed without separators, and one signature therefore fits several splits; so does the one on the
    browser's way back, which ends in what the payer wrote. None of them says anything else as long as Fawry's number
    is digits and the reference is one of ours: what comes after it are the amounts and the status that Fawry signed.

    Raises:
        WebhookMalformed: it is no notification.
        WebhookNotAuthentic: its signature is missing, empty or wrong.
    """
    try:
        order = msgspec.json.decode(body, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookMalformed from error
    if not order.message_signature:
        raise WebhookNotAuthentic
    signed_text = order.signed_text
    if signed_text is None or not is_signed(signed_text, security_key, order.message_signature):
        raise WebhookNotAuthentic
    return _said(order, body)


def _said(order: Order, body: bytes) -> Sequence[GatewayEvent | Hint]:
    """Payment is a fact, and so is a declined card: the payer is still at the hosted checkout.

    Money that went back is told without a sum. An order that was cancelled or has expired may be one that we replaced,
    other than a reference number, and one that failed may be a try on a hosted checkout whatever its method is called:
    only with the draft at hand a look-up tells.
    """
    draft_id = draft_id_of(order.merchant_number)
    card = order.payment_method in CARD_METHODS
    match order.status:
        case "PAID":
            return tuple(told(order, draft_id=draft_id, hosted=card))
        case "EXPIRED" if order.payment_method in CASH_METHODS:
            return tuple(told(order, draft_id=draft_id, hosted=False))
        case status if status in FAILED and card:
            return tuple(told(order, draft_id=draft_id, hosted=True))
        case status if status in FAILED | CANCELLED | GIVEN_BACK | {"EXPIRED"}:
            # Two partial refunds sign the same values, so this is told apart by all that it says.
            event_id = hashlib.sha256(body).hexdigest()
            return (Hint(gateway=NAME, event_id=event_id, draft_id=draft_id, payment_reference=order.reference),)
        case _:
            return ()
