"""What PayPal's refunds say happened: the one that was just asked for, and all of a payment's.

https://developer.paypal.com/docs/api/payments/v2/#captures_refund and
https://developer.paypal.com/docs/api/payments/v2/#refunds_get.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from qirsh.draft import GatewayEvent, Kind
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.paypal.orders import NAME, PAID, Capture, Refund
from qirsh.gateways.references import draft_id_of
from qirsh.money import Money

DONE: Final = "COMPLETED"
PENDING: Final = "PENDING"
FAILED: Final = frozenset({"FAILED", "CANCELLED"})
"""Refund statuses after which the money is the merchant's, perhaps again."""


def answered(refund: Refund, order: RefundOrder) -> Sequence[GatewayEvent]:
    """What the answer to a refund says. A pending one, or a word that we do not know, says nothing yet."""
    draft = order.draft
    if refund.status == DONE:
        kind, total = Kind.REFUNDED, refund.total or Money(order.total_minor, draft.amount.currency)
    elif refund.status in FAILED:
        kind, total = Kind.REFUND_FAILED, Money(draft.refunded_minor, draft.amount.currency)
    else:
        return ()
    return (
        GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{refund.id}:{refund.status}",
            draft_id=draft.id,
            transaction_reference_id=draft.transaction_reference_id,
            payment_reference=draft.payment_reference,
            amount=total,
            psp_code=refund.status if kind is Kind.REFUND_FAILED else None,
            refund_id=order.id,
        ),
    )


def given_back(
    capture: Capture, refunds: Sequence[Refund], *, draft_id: UUID, order_id: str | None
) -> Iterator[GatewayEvent]:
    """What went back of a capture, and what did not: one event a refund, each with the total as it stands now.

    Who refunds in PayPal's dashboard gives no id, and PayPal then shows the capture's own, our draft's.
    """
    if capture.status not in PAID:
        return

    def event(kind: Kind, refund: Refund | None) -> GatewayEvent:
        named = draft_id_of(refund.custom_id) if refund else None
        return GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{refund.id}:{refund.status}" if refund else f"{capture.id}:{capture.status}",
            draft_id=draft_id,
            transaction_reference_id=order_id or capture.order_id,
            payment_reference=capture.id,
            amount=total,
            psp_code=refund.status if refund and kind is Kind.REFUND_FAILED else None,
            refund_id=None if named == draft_id else named,
        )

    of_it = [refund for refund in refunds if refund.capture_id in {capture.id, None}]
    total = _total(capture, of_it)
    if total is None or total.amount_minor:
        done = [refund for refund in of_it if refund.status == DONE]
        for refund in done or (None,):
            yield event(Kind.REFUNDED, refund)
    if total is not None:
        for refund in of_it:
            if refund.status in FAILED:
                yield event(Kind.REFUND_FAILED, refund)


def _total(capture: Capture, refunds: Sequence[Refund]) -> Money | None:
    """All that went back of a capture; None where PayPal says that some did, and nothing that it shows says how much.

    An order that PayPal has forgotten shows no refunds, and a capture names none of them.
    """
    assert capture.amount is not None, "checked when it was read"
    whole = capture.amount.money
    if capture.status == "REFUNDED":
        return whole
    parts = [refund.amount.money if refund.amount else None for refund in refunds if refund.status == DONE]
    known = [part.amount_minor for part in parts if part is not None and part.currency == whole.currency]
    waiting = any(refund.status == PENDING for refund in refunds)
    silent = capture.status == "PARTIALLY_REFUNDED" and not parts and not waiting
    return None if silent or len(known) < len(parts) else Money(sum(known), whole.currency)
