"""What Paymob's answer to a refund says happened: https://developers.paymob.com/egypt "Refund"."""

from collections.abc import Sequence
from typing import Final

import msgspec

from qirsh.draft import GatewayEvent, Kind
from qirsh.errors import GatewayProtocolError, GatewayRejected
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.paymob.transactions import NAME, Transaction
from qirsh.money import Money

_TOO_MUCH: Final = b"maximum refund"
_NOT_FOUND: Final = "404"


def answered(child: Transaction | None, order: RefundOrder) -> Sequence[GatewayEvent]:
    """What the new transaction says; a pending one says nothing yet.

    `success` is the refund's only on a child of the payment: on the payment itself it would be the payment's own.

    Raises:
        GatewayProtocolError: it is not this refund, or contradicts itself. The payment's total will tell.
    """
    if child is None or not _is_of(order, child):
        raise GatewayProtocolError("Paymob's answer to the refund could not be read.")
    if child.pending:
        return ()
    if child.success and child.error_occured:
        raise GatewayProtocolError("Paymob calls the refund done and failed at once.")
    draft = order.draft
    kind, total = (Kind.REFUNDED, order.total_minor) if child.success else (Kind.REFUND_FAILED, draft.refunded_minor)
    code = child.details.get("txn_response_code")
    return (
        GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{child.id}:{child.pending}:{child.success}",
            draft_id=draft.id,
            transaction_reference_id=draft.transaction_reference_id,
            payment_reference=draft.payment_reference,
            amount=Money(total, draft.amount.currency),
            psp_code=None if code is None else str(code)[:64],
            refund_id=order.id,
        ),
    )


def explained(error: GatewayRejected) -> GatewayRejected:
    """The refusal with what to do about it. Paymob gives no codes, and its words are not repeated: they are a body."""
    body = msgspec.json.encode(error.answer.body).lower() if error.answer else b""
    if _TOO_MUCH in body:
        advice = "Paymob has less than that left: reconcile the draft, then refund what is left."
    elif error.psp_code == _NOT_FOUND:
        advice = "Paymob knows no such payment: check that paymob.api_key is of the account that took it."
    else:
        advice = "Paymob refused the refund: look at the payment in Paymob's dashboard, and refund it there."
    refused = GatewayRejected(advice, reason=error.reason, psp_code=error.psp_code)
    refused.answer = error.answer
    return refused


def _is_of(order: RefundOrder, child: Transaction) -> bool:
    """Whether a transaction is the refund that was asked for, as far as it says."""
    parent = None if child.parent_transaction is None else str(child.parent_transaction)
    return (
        child.has_parent_transaction
        and parent in {order.draft.payment_reference, None}
        and child.amount_cents == order.amount_minor
    )
