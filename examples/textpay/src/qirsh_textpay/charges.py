"""TextPay's charge: its shape, and what it says happened. See the package's docstring, 1 and 7."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.gateways.base import Standing
from qirsh.gateways.references import draft_id_of
from qirsh.money import MAX_AMOUNT_MINOR, Money

NAME: Final = "textpay"

DECLINES: Final = MappingProxyType(
    {
        "wrong_code": DeclineCode.AUTHENTICATION_FAILED,
        "insufficient_funds": DeclineCode.INSUFFICIENT_FUNDS,
    }
)
"""Refusals after which the charge can still be paid."""
ENDS: Final = MappingProxyType(
    {
        "locked": DeclineCode.AUTHENTICATION_FAILED,
        "expired": DeclineCode.EXPIRED,
        "cancelled": DeclineCode.CANCELLED_BY_PAYER,
    }
)
"""Statuses of a charge that nobody can pay any more."""

# An id goes into the path of the next call, so it must not be able to become another path.
Id = Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{2}_[A-Za-z0-9]{1,60}\Z")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT_MINOR)]


class Refund(msgspec.Struct):
    """Money that went back. `reference` is ours, or what was written in TextPay's dashboard."""

    id: Id
    amount: Amount
    reference: str = ""


class Charge(msgspec.Struct):
    """A charge; a word that we do not know in `status` is no end and no payment."""

    id: Id
    live: bool
    merchant_reference: str
    amount: Amount
    currency: Literal["EGP"]
    status: str
    otp_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    code_length: Annotated[int, msgspec.Meta(ge=4, le=12)]
    declines: list[str]
    refunds: list[Refund]


class Charges(msgspec.Struct):
    """The answer to a look-up."""

    charges: list[Charge]


class Event(msgspec.Struct):
    """A webhook's body."""

    type: str
    live: bool
    charge: Charge


def standing(charge: Charge) -> Standing:
    """Where a charge stands. What we do not know may still become a payment."""
    if charge.status == "paid" or charge.status in ENDS:
        return Standing.CLOSED
    return Standing.OPEN if charge.status == "awaiting_code" else Standing.IN_PROGRESS


def told(charge: Charge) -> Iterator[GatewayEvent]:
    """What a charge says happened, in causal order. Each fact has one id, whoever brings it and however often."""
    if charge.status == "paid":
        yield said(charge, Kind.PAID, "paid", amount_minor=charge.amount)
        # Each refund is told with what went back in all: a total counts once, however often and in what order it comes.
        total_minor = sum(refund.amount for refund in charge.refunds)
        for refund in charge.refunds:
            yield said(charge, Kind.REFUNDED, f"{refund.id}:{total_minor}", amount_minor=total_minor, refund=refund)
    elif charge.status in ENDS:
        yield said(charge, Kind.FAILED, charge.status, reason=ENDS[charge.status])
    elif charge.declines and charge.status == "awaiting_code":
        # Only the last, since a look-up tells it each time; and none once a later try is being decided.
        word = charge.declines[-1]
        reason = DECLINES.get(word, DeclineCode.UNKNOWN)
        yield said(charge, Kind.DECLINED, f"{word}:{len(charge.declines)}", reason=reason)


def said(
    charge: Charge,
    kind: Kind,
    word: str,
    *,
    amount_minor: int | None = None,
    reason: DeclineCode | None = None,
    refund: Refund | None = None,
) -> GatewayEvent:
    """One fact about a charge. `word` is TextPay's, and tells it from the charge's other facts."""
    return GatewayEvent(
        kind=kind,
        gateway=NAME,
        event_id=f"{charge.id}:{word}",
        draft_id=draft_id_of(charge.merchant_reference),
        transaction_reference_id=charge.id,
        # A charge is paid once, so its own id is the payment's.
        payment_reference=charge.id if amount_minor is not None else None,
        amount=None if amount_minor is None else Money(amount_minor, charge.currency),
        reason=reason,
        psp_code=None if reason is None else word.partition(":")[0],
        refund_id=draft_id_of(refund.reference) if refund else None,
    )
