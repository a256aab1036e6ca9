"""What events make of a draft, one after another: which of them are written down, and what is left when they are."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from qirsh.draft import (
    ORDER_PAID_TWICE,
    REFERENCE_TAKEN,
    UNPAID,
    GatewayEvent,
    Kind,
    Outcome,
    PaymentDraft,
    State,
    Verdict,
    apply,
)
from qirsh.store.drafts import Source

Clash = Literal["reference", "order"]
"""What another draft has already: a reference of the event's, or the order that this one pays. Only the table knows."""

_CLASHES: Final[Mapping[str | None, Clash]] = MappingProxyType(
    {REFERENCE_TAKEN: "reference", ORDER_PAID_TWICE: "order"}
)


def outcomes_of(
    draft: PaymentDraft, events: Sequence[GatewayEvent], *, source: Source, clash: Clash | None = None
) -> list[tuple[GatewayEvent, Outcome]]:
    """What events make of a draft, one after another: those that are to be written. Nothing is written here."""
    folded = []
    raised = False
    for told in events:
        event = _keeping_the_flag(told) if raised else told
        outcome = apply_clashing(draft, event, clash)
        raised = raised or (event.decision is not None and outcome.review_reason is not None)
        # A look-up tells the whole story each time; what it says again would only fill the journal.
        if source == "lookup" and (_is_known(draft, event) or _is_nothing_new(draft, outcome)):
            continue
        folded.append((event, outcome))
        draft = outcome.draft
    return folded


def _keeping_the_flag(event: GatewayEvent) -> GatewayEvent:
    """A decision that follows one by which the draft came under review again: nobody has looked at that yet."""
    if event.decision is None:
        return event
    return msgspec.structs.replace(event, decision=msgspec.structs.replace(event.decision, keeps_flag=True))


def apply_clashing(draft: PaymentDraft, event: GatewayEvent, clash: Clash | None) -> Outcome:
    """`apply`, with what only the table knows: that another draft has the event's reference, or paid for the order."""
    if clash == "reference":
        flagged = msgspec.structs.replace(draft, needs_review=True, capture_due=False)
        return Outcome(flagged, Verdict.REVIEW, REFERENCE_TAKEN)
    outcome = apply(draft, event)
    if clash == "order" and draft.state in UNPAID and outcome.draft.state is State.COMPLETED:
        # The money came, so it counts; what the payer meant by paying twice is for a person.
        flagged = msgspec.structs.replace(outcome.draft, needs_review=True)
        return Outcome(flagged, outcome.verdict, ORDER_PAID_TWICE)
    return outcome


def clash_of(review_reason: str | None) -> Clash | None:
    """The clash that the journal tells of by this reason."""
    return _CLASHES.get(review_reason)


def _is_known(draft: PaymentDraft, event: GatewayEvent) -> bool:
    """Whether this is the payment that completed the draft: if its amount is another, a person has accepted it."""
    is_own = event.payment_reference is not None and event.payment_reference == draft.payment_reference
    return event.kind is Kind.PAID and is_own and draft.state not in UNPAID and event.amount != draft.amount


def _is_nothing_new(draft: PaymentDraft, outcome: Outcome) -> bool:
    return outcome.draft == draft and outcome.verdict is not Verdict.APPLIED
