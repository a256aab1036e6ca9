"""Stripe's sessions, payments and refunds: their shapes, and what they say happened.

https://docs.stripe.com/api/checkout/sessions/object, https://docs.stripe.com/api/payment_intents/object and
https://docs.stripe.com/api/refunds/object.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.gateways.base import Standing
from qirsh.gateways.references import draft_id_of
from qirsh.gateways.stripe.currencies import money_of
from qirsh.gateways.stripe.forms import NAME
from qirsh.gateways.stripe.refusals import StripeError
from qirsh.money import Money

PAID: Final = frozenset({"paid", "no_payment_required"})
"""Payment statuses of a session after which nothing more is owed."""
DEAD_PAYMENTS: Final = frozenset({"requires_payment_method", "canceled"})
"""Statuses of the payment of a complete session in which no money is on its way any more."""
FAILED_REFUNDS: Final = frozenset({"failed", "canceled"})

_ANY: Final = "[A-Za-z0-9_]{1,250}"
SessionId = Annotated[str, msgspec.Meta(pattern=rf"\Acs_{_ANY}\Z")]
PaymentId = Annotated[str, msgspec.Meta(pattern=rf"\Api_{_ANY}\Z")]
RefundId = Annotated[str, msgspec.Meta(pattern=rf"\A[a-z]+_{_ANY}\Z")]
"""Stripe's ids. They become parts of paths and columns, so nothing else passes. A refund's may be re_ or pyr_."""


class Charge(msgspec.Struct):
    """Money taken from a payer, or one try at it."""

    id: str = ""
    disputed: bool = False
    payment_intent: PaymentId | None = None
    metadata: dict[str, str] | None = None


class Payment(msgspec.Struct):
    """A PaymentIntent: every try to pay one session."""

    id: PaymentId
    status: str = ""
    metadata: dict[str, str] | None = None
    last_payment_error: StripeError | None = None
    latest_charge: Charge | str | None = None

    @property
    def disputed(self) -> bool:
        """Whether the payer's bank took the money back, or asks about it."""
        return isinstance(self.latest_charge, Charge) and self.latest_charge.disputed


class Session(msgspec.Struct):
    """A Checkout Session: what a payer is asked for, and what became of it. Amounts as Stripe counts them."""

    id: SessionId
    status: str | None = None
    payment_status: str = ""
    amount_total: int | None = None
    currency: str | None = None
    payment_intent: Payment | PaymentId | None = None
    metadata: dict[str, str] | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        """Refuse money without an amount: a reader must not have to guess it."""
        if self.paid and (self.amount_total is None or self.currency is None):
            raise ValueError("a paid session has an amount")

    @property
    def paid(self) -> bool:
        """Whether the money came."""
        return self.payment_status in PAID

    @property
    def amount(self) -> Money:
        """What was paid."""
        assert self.amount_total is not None, "checked when it was read"
        assert self.currency is not None, "checked when it was read"
        return money_of(self.amount_total, self.currency)

    @property
    def payment(self) -> Payment | None:
        """The payment where Stripe was asked to show it."""
        return self.payment_intent if isinstance(self.payment_intent, Payment) else None

    @property
    def payment_id(self) -> str | None:
        """The payment's id; there is none before the payer has tried."""
        intent = self.payment_intent
        return intent.id if isinstance(intent, Payment) else intent

    @property
    def draft_id(self) -> UUID | None:
        """Our draft id, as we sent it. `client_reference_id` has it too, but a Payment Link's payer may write there."""
        return draft_id_in(self.metadata)

    @property
    def standing(self) -> Standing:
        """How it stands. A complete session without money waits for a slow way to pay, such as a bank transfer."""
        if self.paid or self.status == "expired" or self.dead:
            return Standing.CLOSED
        return Standing.OPEN if self.status == "open" else Standing.IN_PROGRESS

    @property
    def dead(self) -> bool:
        """Whether a slow payment came to nothing: its session takes no other."""
        ended = self.payment is not None and self.payment.status in DEAD_PAYMENTS
        return self.status == "complete" and not self.paid and ended


class Refund(msgspec.Struct):
    """Money on its way back."""

    id: RefundId
    amount: int
    currency: str
    status: str | None = None
    payment_intent: PaymentId | None = None
    metadata: dict[str, str] | None = None
    failure_reason: str | None = None

    @property
    def refund_id(self) -> UUID | None:
        """Our refund, where it is one of ours."""
        return draft_id_of((self.metadata or {}).get("refund_id"))


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def read(kind: type[_Shape], answer: object) -> _Shape | None:
    """An object of an answer or a delivery; None where a field that we need is missing or not of its type."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        return None


def draft_id_in(metadata: object) -> UUID | None:
    """Our draft id in the metadata of any object of Stripe's."""
    return draft_id_of(metadata.get("draft_id")) if isinstance(metadata, dict) else None


def told(session: Session, refunds: Sequence[Refund], draft_id: UUID) -> Iterator[GatewayEvent]:
    """What a session says happened, in causal order.

    A dispute is `failed` after the money came: no draft moves by that, and a person is asked to look (accepting the
    review says that the money is gone). It stands after `paid`, so that it never meets a draft that is not paid yet.
    """

    def event(
        kind: Kind,
        word: str,
        *,
        amount: Money | None = None,
        reason: DeclineCode | None = None,
        code: str | None = None,
    ) -> GatewayEvent:
        return GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{session.id}:{word}",
            draft_id=draft_id,
            transaction_reference_id=session.id,
            payment_reference=session.payment_id if session.paid else None,  # a try that failed is nobody's payment
            amount=amount,
            reason=reason,
            psp_code=code,
        )

    problem = session.payment.last_payment_error if session.payment else None
    code = problem.word if problem else None
    if session.paid:
        yield event(Kind.PAID, "paid", amount=session.amount)
        yield from _given_back(refunds, draft_id, session.payment_id)
        if session.payment and session.payment.disputed:
            yield event(Kind.FAILED, "disputed", code="disputed")
    elif session.status == "expired":
        yield event(Kind.FAILED, "expired", reason=DeclineCode.EXPIRED)
    elif session.dead:
        reason = problem.reason if problem else DeclineCode.UNKNOWN
        yield event(Kind.FAILED, "async_payment_failed", reason=reason, code=code)
    elif session.status == "open" and problem:
        yield event(Kind.DECLINED, f"declined:{code}", reason=problem.reason, code=code)


def _given_back(refunds: Sequence[Refund], draft_id: UUID, payment_id: str | None) -> Iterator[GatewayEvent]:
    """What became of each refund that has ended, each with the total as it stands now.

    One that is pending is not given back yet. Oldest first, and those that came to nothing last.
    """
    total = _total(refunds)
    ended = [one for one in refunds if one.status == "succeeded"]
    ended += [one for one in refunds if one.status in FAILED_REFUNDS and total is not None]
    for refund in ended:
        yield GatewayEvent(
            kind=Kind.REFUNDED if refund.status == "succeeded" else Kind.REFUND_FAILED,
            gateway=NAME,
            event_id=f"{refund.id}:{refund.status}",
            draft_id=draft_id,
            payment_reference=payment_id,
            amount=total,
            refund_id=refund.refund_id,
            psp_code=refund.failure_reason[:64] if refund.failure_reason else None,
        )


def _total(refunds: Sequence[Refund]) -> Money | None:
    """What is given back; None where it is in more than one currency, so that nobody counts it."""
    currencies = {refund.currency for refund in refunds}
    if len(currencies) != 1:
        return None
    return money_of(sum(refund.amount for refund in refunds if refund.status == "succeeded"), currencies.pop())
