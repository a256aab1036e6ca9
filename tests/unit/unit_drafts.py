"""Drafts and events as the unit tests need them: each state with the ids that a row in that state has."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from qirsh.actions import RedirectUrl
from qirsh.draft import DeclineCode, DraftRequest, GatewayEvent, Kind, PaymentDraft, State
from qirsh.methods import Method
from qirsh.money import Money

WHOLE: Final = Money(30_000, "EGP")
PART: Final = Money(10_000, "EGP")
ORDER: Final = "order-1"
"""The transaction reference of every registered draft here."""
PAYMENT: Final = "payment-1"
"""The payment reference of every paid draft here."""
PAGE: Final = RedirectUrl("https://psp.example/pay/1", "redirect")
NEXT_PAGE: Final = RedirectUrl("https://psp.example/pay/2", "redirect")

_REGISTERED: Final = {"transaction_reference_id": ORDER, "action": PAGE}
_PAID: Final = {**_REGISTERED, "payment_reference": PAYMENT}
_FIELDS: Final = MappingProxyType(
    {
        State.PENDING: {},
        State.AWAITING_USER_ACTION: _REGISTERED,
        State.COMPLETED: _PAID,
        State.FAILED: {**_REGISTERED, "reason": DeclineCode.EXPIRED},
        State.PARTIALLY_REFUNDED: {**_PAID, "refunded_minor": PART.amount_minor},
        State.REFUNDED: {**_PAID, "refunded_minor": WHOLE.amount_minor},
    }
)

_NEW: Final = PaymentDraft(
    id=UUID("01990000-0000-7000-8000-000000000001"),
    gateway="paymob",
    amount=WHOLE,
    request=DraftRequest(product_id="tshirt", amount="300", method=Method.CARD),
    created_at=datetime(2025, 1, 1, 12, tzinfo=UTC),
    expires_at=datetime(2025, 1, 1, 13, tzinfo=UTC),
)


def draft_in(state: State, **changes: Any) -> PaymentDraft:
    """A draft in this state with the ids that such a row has, but for the changes."""
    return msgspec.structs.replace(_NEW, state=state, **{**_FIELDS[state], **changes})


def event_of(kind: Kind, **changes: Any) -> GatewayEvent:
    """An event that agrees with every draft here, but for the changes."""
    fields: dict[str, Any] = {"gateway": "paymob", "event_id": f"event-{kind}"}
    match kind:
        case Kind.REGISTERED:
            fields |= {"transaction_reference_id": ORDER, "action": NEXT_PAGE}
        case Kind.DECLINED:
            fields |= {"reason": DeclineCode.CARD_DECLINED, "action": NEXT_PAGE}
        case Kind.FAILED:
            fields |= {"reason": DeclineCode.CANCELLED_BY_PAYER}
        case Kind.PAID:
            fields |= {"payment_reference": PAYMENT, "amount": WHOLE}
        case Kind.REFUNDED | Kind.REFUND_FAILED:
            fields |= {"payment_reference": PAYMENT, "amount": PART}
        case Kind.APPROVED:
            pass
    return GatewayEvent(kind=kind, **{**fields, **changes})
