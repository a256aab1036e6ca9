"""Fawry's order as notifications and the status show it: its shape, its signature, and what it says happened.

https://developer.fawrystaging.com: "Server notification V2", "Get payment status V2".
"""

import re
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.gateways.base import Standing
from qirsh.gateways.fawry.codes import DECLINES
from qirsh.gateways.fawry.signing import two_decimals
from qirsh.money import Money

NAME: Final = "fawry"

OPEN: Final = frozenset({"NEW", "UNPAID"})
CANCELLED: Final = frozenset({"CANCELED", "CANCELLED"})
FAILED: Final = frozenset({"FAILED", "FAILD"})
GIVEN_BACK: Final = frozenset({"REFUNDED", "PARTIAL_REFUNDED"})
"""Told with the original amount alone: how much went back is not said."""
_NUMBER: Final = re.compile(r"[0-9]{1,20}\Z")
CARD_METHODS: Final = frozenset({"CARD", "PayUsingCC"})
"""How Fawry spells a card, of which we take any on its hosted checkout only."""
CASH_METHODS: Final = frozenset({"PAYATFAWRY", "PayAtFawry"})
"""And a reference number, whose order is never replaced by another."""


class Order(
    msgspec.Struct,
    frozen=True,
    rename={
        "fawry_number": "fawryRefNumber",
        "reference_number": "referenceNumber",
        "merchant_number": "merchantRefNumber",
        "payment_amount": "paymentAmount",
        "order_amount": "orderAmount",
        "order_status": "orderStatus",
        "payment_status": "paymentStatus",
        "payment_method": "paymentMethod",
        "payment_number": "paymentRefrenceNumber",
        "message_signature": "messageSignature",
        "failure_code": "failureErrorCode",
        "status_code": "statusCode",
    },
):
    """One order. `paymentRefrenceNumber` is Fawry's spelling; amounts in pounds, read without floats."""

    fawry_number: str | int | None = None
    reference_number: str | int | None = None
    merchant_number: str | int | None = None
    payment_amount: Decimal | None = None
    order_amount: Decimal | None = None
    order_status: str | None = None
    payment_status: str | None = None
    payment_method: str | None = None
    payment_number: str | int | None = None
    message_signature: str | None = None
    failure_code: Any = None
    status_code: Any = None

    @property
    def reference(self) -> str:
        """Fawry's own number, under either of its names."""
        return str(self.fawry_number or self.reference_number or "")

    @property
    def status(self) -> str:
        """Where it stands, under either of its names."""
        return self.order_status or self.payment_status or ""

    @property
    def amount(self) -> Money:
        """What the order is about, without the fees that `paymentAmount` includes.

        What is no amount is nothing, which equals no draft's, so that it ends in review.
        """
        sum_asked = self.payment_amount if self.order_amount is None else self.order_amount
        text = None if sum_asked is None else two_decimals(sum_asked)
        return Money(int(text.replace(".", "")) if text else 0, "EGP")

    @property
    def signed_text(self) -> str | None:
        """What `messageSignature` covers, as received: the method too, "Mobile Wallet" for MWALLET, say.

        None where a field that is always signed is missing, or Fawry's number is none: the texts are joined without
        anything in between, and a number that could be any text would be signed by whoever has any signature.
        """
        if not _NUMBER.match(str(self.fawry_number)):
            return None
        amounts = [None if one is None else two_decimals(one) for one in (self.payment_amount, self.order_amount)]
        texts = (self.fawry_number, self.merchant_number, *amounts, self.order_status, self.payment_method)
        if any(text is None or text == "" for text in texts):
            return None
        return "".join(map(str, (*texts, "" if self.payment_number is None else self.payment_number)))


def standing_of(order: Order, *, hosted: bool) -> Standing:
    """A declined try leaves a hosted checkout open; a status that we do not know proves no end."""
    if order.status in OPEN or (hosted and order.status in FAILED):
        return Standing.OPEN
    ended = order.status in {"PAID", "EXPIRED"} | CANCELLED | FAILED | GIVEN_BACK
    return Standing.CLOSED if ended else Standing.IN_PROGRESS


def told(
    order: Order, *, draft_id: UUID | None, hosted: bool, transaction_reference_id: str | None = None
) -> list[GatewayEvent]:
    """What an order says happened, in causal order. What waits, and what we do not know, says nothing."""

    def event(kind: Kind, *, amount: Money | None = None, reason: DeclineCode | None = None) -> GatewayEvent:
        return GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=sha256((order.signed_text or f"{order.reference}:{order.status}").encode()).hexdigest(),
            draft_id=draft_id,
            transaction_reference_id=transaction_reference_id,
            payment_reference=order.reference if kind in {Kind.PAID, Kind.REFUNDED} else None,
            amount=amount,
            reason=reason,
            psp_code=str(order.failure_code)[:64] if order.failure_code is not None else None,
        )

    match order.status:
        case "PAID":
            return [event(Kind.PAID, amount=order.amount)]
        case "REFUNDED":
            return [event(Kind.PAID, amount=order.amount), event(Kind.REFUNDED, amount=order.amount)]
        case "PARTIAL_REFUNDED":
            return [event(Kind.PAID, amount=order.amount), event(Kind.REFUNDED)]
        case "EXPIRED":
            return [event(Kind.FAILED, reason=DeclineCode.EXPIRED)]
        case status if status in CANCELLED:
            return [event(Kind.FAILED, reason=DeclineCode.CANCELLED_BY_PAYER)]
        case status if status in FAILED:
            reason = DECLINES.get(str(order.failure_code), DeclineCode.UNKNOWN)
            return [event(Kind.DECLINED if hosted else Kind.FAILED, reason=reason)]
        case _:
            return []
