"""The payment draft, the events that gateways report, and the one function that may move a draft.

`apply` is pure: no clock, no I/O. Its table is printed in ARCHITECTURE.md, and a test compares the two cell by cell.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

import msgspec

from qirsh.actions import PaymentAction
from qirsh.methods import Method
from qirsh.money import Money


class State(StrEnum):
    """Where a draft stands. The wire calls it `status`."""

    PENDING = "pending"
    """Written; no PSP is known to have registered it."""
    AWAITING_USER_ACTION = "awaiting_user_action"
    """A PSP registered it and the payer knows what to do."""
    COMPLETED = "completed"
    """The money came, in full. Fulfilled once."""
    FAILED = "failed"
    """Dead: refused, expired or never registered. Late money still completes it."""
    PARTIALLY_REFUNDED = "partially_refunded"
    """Some of the money went back."""
    REFUNDED = "refunded"
    """All of the money went back."""


class Kind(StrEnum):
    """What a gateway can report. Past tense: these are facts, not wishes."""

    REGISTERED = "registered"
    """The PSP knows the draft under a transaction reference."""
    APPROVED = "approved"
    """The payer agreed; the money waits for our capture."""
    DECLINED = "declined"
    """One try was refused; the reference can still be paid."""
    PAID = "paid"
    """The money moved to the merchant. Only an explicit success is this."""
    FAILED = "failed"
    """The reference is dead. Only an explicit end is this."""
    REFUNDED = "refunded"
    """Money went back; the amount is cumulative, and None where the PSP says that money went back and not how much."""
    REFUND_FAILED = "refund_failed"
    """A refund did not reach the payer, perhaps after it was told as done; the amount is what stays given back."""


_OF_MONEY: Final = frozenset({Kind.PAID, Kind.REFUND_FAILED})


class DeclineCode(StrEnum):
    """Why a try was refused, in words the payer's page can translate."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    CARD_DECLINED = "card_declined"
    EXPIRED_CARD = "expired_card"
    AUTHENTICATION_FAILED = "authentication_failed"
    WALLET_NOT_FOUND = "wallet_not_found"
    WRONG_PIN = "wrong_pin"
    LIMIT_EXCEEDED = "limit_exceeded"
    EXPIRED = "expired"
    NEVER_REGISTERED = "never_registered"
    CANCELLED_BY_PAYER = "cancelled_by_payer"
    FRAUD_SUSPECTED = "fraud_suspected"
    PROCESSING_ERROR = "processing_error"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    REPEATED = "repeated"
    STALE = "stale"
    CAPTURE = "capture"
    REVIEW = "review"


class Payer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who pays, as far as the shop told us. `phone` is the Egyptian national form, 01xxxxxxxxx."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


class DraftRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The validated request as kept in the row, with the product's name as the payer saw it.

    `amount` is the money as the shop wrote it, in canonical major units; the fingerprint is taken over these fields.
    """

    product_id: str
    amount: str
    method: Method
    currency: str | None = None
    quantity: int = 1
    order_reference: str | None = None
    payer: Payer = Payer()
    return_url: str | None = None
    locale: str | None = None
    product_name: str | None = None


class PaymentDraft(msgspec.Struct, frozen=True):
    """One deliberate try to collect one amount for one product through one gateway."""

    id: UUID
    gateway: str
    amount: Money
    request: DraftRequest
    created_at: datetime
    expires_at: datetime
    state: State = State.PENDING
    reason: str | None = None
    needs_review: bool = False
    refunded_minor: int = 0
    transaction_reference_id: str | None = None
    payment_reference: str | None = None
    hinted_payment_reference: str | None = None
    """A payment that something unproven named: a look-up asks about it, since a PSP may show only its newest try."""
    action: PaymentAction | None = None
    in_doubt: bool = False
    registration_attempt: int = 1
    capture_attempt: int = 1
    capture_due: bool = False


Resolution = Literal["accept", "dismiss"]


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person decided about an event that was under review."""

    resolution: Resolution
    review_reason: str
    """Why it was reviewed."""
    note: str = ""
    keeps_flag: bool = False
    """Something that was decided together with it raised the flag anew: this must not clear it."""


class GatewayEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact a gateway reports.

    A delivery finds its draft by `draft_id` where the PSP signs it, else by a signed reference. `amount` is required
    for `paid`; for `refunded` and `refund_failed` it is the total given back so far, refunds by others included.
    `hinted_draft_id` is not covered by the signature: it only tells which draft to look up when no other field finds
    one. `refund_id` is our own refund, where the PSP gives its id back to us. With a `decision` it was reviewed, and is
    folded once more as a person decided.
    """

    kind: Kind
    gateway: str
    event_id: str
    draft_id: UUID | None = None
    transaction_reference_id: str | None = None
    payment_reference: str | None = None
    amount: Money | None = None
    action: PaymentAction | None = None
    reason: DeclineCode | None = None
    psp_code: str | None = None
    hinted_draft_id: UUID | None = None
    refund_id: UUID | None = None
    decision: Decision | None = None

    def __post_init__(self) -> None:
        """A gateway that reports money without saying how much has a bug."""
        assert self.amount is not None or self.kind not in _OF_MONEY, f"{self.kind} needs an amount"
        assert self.transaction_reference_id or self.kind is not Kind.REGISTERED, "registered needs its reference"


class Outcome(msgspec.Struct, frozen=True):
    """What `apply` made of an event: the draft after it, the verdict, and, where a person must look, why."""

    draft: PaymentDraft
    verdict: Verdict
    review_reason: str | None = None


UNPAID: Final = frozenset({State.PENDING, State.AWAITING_USER_ACTION, State.FAILED})
"""The money has not come, as far as we know."""

REFERENCE_TAKEN: Final = "reference_of_another_draft"
"""The review of an event whose reference only the table knows to be another draft's."""
ORDER_PAID_TWICE: Final = "order_paid_twice"
"""The review of a payment for an order that another draft has paid: only the table knows of that, too."""

_ANOTHERS: Final = frozenset({"second_gateway", "second_reference", "paid_twice", "other_payment", REFERENCE_TAKEN})
"""Reviews of what is not the draft's own payment."""

MAX_CAPTURE_ATTEMPTS: Final = 5
"""Declined captures after which no approval is believed any more: the payer has had his tries, and a PSP that calls a
declined order still approved must not be asked for ever."""


class _Cell(StrEnum):
    """The words of the state table in ARCHITECTURE.md."""

    AWAITING = "awaiting"
    CAPTURE = "capture"
    STALE = "stale"
    COMPLETED = "completed"
    FAILED = "failed"
    REVIEW = "review"
    REPEATED = "repeated"
    REFUNDED = "refunded*"
    LOWERED = "lowered*"


def _row(words: str) -> Mapping[Kind, _Cell]:
    return MappingProxyType(dict(zip(Kind, map(_Cell, words.split()), strict=True)))


TABLE: Final[Mapping[State, Mapping[Kind, _Cell]]] = MappingProxyType(
    {
        # columns:                         registered approved declined paid      failed   refunded  refund_failed
        State.PENDING: _row("              awaiting   capture  stale    completed failed   review    stale"),
        State.AWAITING_USER_ACTION: _row(" repeated   capture  repeated completed failed   review    stale"),
        State.COMPLETED: _row("            stale      stale    stale    repeated  review   refunded* stale"),
        State.FAILED: _row("               stale      stale    stale    completed repeated review    stale"),
        State.PARTIALLY_REFUNDED: _row("   stale      stale    stale    stale     review   refunded* lowered*"),
        State.REFUNDED: _row("             stale      stale    stale    stale     review   repeated  lowered*"),
    }
)


def apply(draft: PaymentDraft, event: GatewayEvent) -> Outcome:  # noqa: C901, PLR0911  a case for each word of the table
    """Fold one event into a draft. Total: every state meets every kind, and nothing else moves a draft."""
    if event.decision is not None:
        return _decided(draft, event, event.decision)
    if _is_taken_back(draft, event):
        return Outcome(draft, Verdict.STALE)
    if contradiction := _contradiction(draft, event):
        return _review(draft, contradiction, event)
    match TABLE[draft.state][event.kind]:
        case _Cell.AWAITING:
            return Outcome(_awaiting(draft, event), Verdict.APPLIED)
        case _Cell.COMPLETED:
            return Outcome(_completed(draft, event), Verdict.APPLIED)
        case _Cell.FAILED:
            reason = event.reason or DeclineCode.UNKNOWN
            ended = msgspec.structs.replace(draft, state=State.FAILED, reason=reason, capture_due=False)
            return Outcome(_with_reference(ended, event), Verdict.APPLIED)
        case _Cell.REFUNDED:
            return _refunded(draft, event)
        case _Cell.LOWERED:
            return _lowered(draft, event)
        case _Cell.CAPTURE:
            return _approved(draft)
        case _Cell.REVIEW:
            return _review(draft, f"{event.kind}_when_{draft.state}", event)
        case _Cell.REPEATED:
            return Outcome(_with_reference(_repeated(draft, event), event), Verdict.REPEATED)
        case _Cell.STALE:
            return Outcome(_uncaptured(_with_reference(draft, event), event), Verdict.STALE)


def _decided(draft: PaymentDraft, event: GatewayEvent, decision: Decision) -> Outcome:
    """A person has looked: the flag goes, and what was accepted counts."""
    after = _accepted(draft, event, decision.review_reason) if decision.resolution == "accept" else draft
    flagged = decision.keeps_flag and draft.needs_review
    return Outcome(msgspec.structs.replace(after, needs_review=flagged), Verdict.APPLIED)


def _accepted(draft: PaymentDraft, event: GatewayEvent, review_reason: str) -> PaymentDraft:
    """Believe a reviewed event about the draft's own payment; another's is given back in the PSP's dashboard."""
    if {review_reason, _contradiction(draft, event)} & _ANOTHERS:
        return draft
    match event.kind:
        case Kind.PAID if draft.state in UNPAID and _is_money(event.amount, draft.amount.currency):
            return _completed(draft, event)
        case Kind.FAILED if draft.state not in UNPAID:
            # What went back of it before is gone as well, and stays counted.
            reason = event.reason or DeclineCode.UNKNOWN
            return msgspec.structs.replace(_with_payment(draft, event), state=State.FAILED, reason=reason)
        case Kind.REFUNDED if event.amount is not None and event.amount.currency == draft.amount.currency:
            # A sum of another currency, or one that the PSP does not tell, is not counted: nobody knows how much it is.
            total = min(max(event.amount.amount_minor, draft.refunded_minor), draft.amount.amount_minor)
            after = msgspec.structs.replace(_with_payment(draft, event), reason=None, capture_due=False)
            return _given_back(after, total) if total else draft
        case _:
            return draft


def _is_money(amount: Money | None, currency: str) -> bool:
    """Whether this much was paid in the currency that was asked for. A sum that nobody could read is none."""
    return amount is not None and amount.currency == currency and amount.amount_minor > 0


def _is_taken_back(draft: PaymentDraft, event: GatewayEvent) -> bool:
    """Whether this is about a payment that a person accepted as gone: its PSP goes on telling that it once came.

    Only then does a failed draft know a payment.
    """
    gone = draft.state is State.FAILED and draft.payment_reference is not None
    return gone and event.gateway == draft.gateway and event.payment_reference in {None, draft.payment_reference}


def _contradiction(draft: PaymentDraft, event: GatewayEvent) -> str | None:
    """Why this event cannot be about this draft as its row knows it, whatever the state; None when it can."""
    if event.gateway != draft.gateway:
        return "second_gateway"
    other_payment = (
        draft.payment_reference is not None
        and event.payment_reference is not None
        and event.payment_reference != draft.payment_reference
    )
    known, told = draft.transaction_reference_id, event.transaction_reference_id
    other_reference = known is not None and told is not None and told != known
    match event.kind:
        case Kind.REGISTERED | Kind.APPROVED | Kind.DECLINED | Kind.FAILED if other_reference:
            return "second_reference"
        case Kind.PAID:
            if other_payment:
                return "paid_twice"
            return "amount_mismatch" if event.amount != draft.amount else None
        case Kind.REFUNDED | Kind.REFUND_FAILED:
            if other_payment:
                return "other_payment"
            if event.amount is None:
                return None if draft.refunded_minor else "refunded_unknown_amount"
            if event.amount.currency != draft.amount.currency:
                return "amount_mismatch"
            return "refunded_too_much" if event.amount > draft.amount else None
        case Kind.FAILED:
            return "other_payment" if other_payment else None
        case _:
            return None


def _approved(draft: PaymentDraft) -> Outcome:
    if draft.capture_attempt > MAX_CAPTURE_ATTEMPTS:
        return Outcome(draft, Verdict.STALE)
    return Outcome(msgspec.structs.replace(draft, capture_due=True), Verdict.CAPTURE)


def _review(draft: PaymentDraft, reason: str, event: GatewayEvent) -> Outcome:
    """Nothing moves. But money that did move, if not as it should have, is not captured a second time."""
    due = draft.capture_due and event.kind is not Kind.PAID
    return Outcome(msgspec.structs.replace(draft, needs_review=True, capture_due=due), Verdict.REVIEW, reason)


def _awaiting(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    return msgspec.structs.replace(
        draft,
        state=State.AWAITING_USER_ACTION,
        transaction_reference_id=event.transaction_reference_id,
        action=event.action,
        in_doubt=False,
    )


def _completed(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    draft = _with_reference(draft, event)
    return msgspec.structs.replace(
        draft,
        state=State.COMPLETED,
        reason=None,
        payment_reference=event.payment_reference or draft.payment_reference,
        capture_due=False,
    )


def _refunded(draft: PaymentDraft, event: GatewayEvent) -> Outcome:
    """Refunds are cumulative: an equal or lower total was heard before, and so was one without an amount."""
    assert event.kind is Kind.REFUNDED
    if event.amount is None or event.amount.amount_minor <= draft.refunded_minor:
        return Outcome(draft, Verdict.REPEATED)
    return Outcome(_given_back(_with_payment(draft, event), event.amount.amount_minor), Verdict.APPLIED)


def _lowered(draft: PaymentDraft, event: GatewayEvent) -> Outcome:
    """Money that did not reach the payer: a person must find it another way there."""
    assert event.kind is Kind.REFUND_FAILED
    assert event.amount is not None
    if event.amount.amount_minor >= draft.refunded_minor:
        return Outcome(draft, Verdict.STALE)
    after = _given_back(draft, event.amount.amount_minor)
    return Outcome(msgspec.structs.replace(after, needs_review=True), Verdict.APPLIED)


def _given_back(draft: PaymentDraft, total_minor: int) -> PaymentDraft:
    if not total_minor:
        state = State.COMPLETED
    else:
        state = State.REFUNDED if total_minor == draft.amount.amount_minor else State.PARTIALLY_REFUNDED
    return msgspec.structs.replace(draft, state=state, refunded_minor=total_minor)


def _with_payment(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    return msgspec.structs.replace(draft, payment_reference=draft.payment_reference or event.payment_reference)


def _repeated(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    """A declined try moves no state, but may come with the address of the next try."""
    if event.kind is Kind.DECLINED:
        draft = msgspec.structs.replace(
            draft, action=event.action or draft.action, reason=event.reason or DeclineCode.UNKNOWN
        )
    return _uncaptured(draft, event)


def _uncaptured(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    """A capture that was definitely declined: the payer must approve again, and that capture has a key of its own."""
    if event.kind is Kind.DECLINED and draft.capture_due:
        return msgspec.structs.replace(draft, capture_due=False, capture_attempt=draft.capture_attempt + 1)
    return draft


def _with_reference(draft: PaymentDraft, event: GatewayEvent) -> PaymentDraft:
    """Remember where the PSP has it, even when the event moves nothing: late money can only be matched by it."""
    if draft.transaction_reference_id is None and event.transaction_reference_id is not None:
        return msgspec.structs.replace(draft, transaction_reference_id=event.transaction_reference_id)
    return draft
