"""What Paymob is told of a draft: request bodies, each a pure function of the row and of where this server is reached.

https://developers.paymob.com/egypt: order registration, payment key, create intention, refund.
"""

from typing import Any, Final

from qirsh.draft import PaymentDraft
from qirsh.errors import GatewayRejected
from qirsh.gateways.base import RefundOrder
from qirsh.methods import Method

LONGEST_NAME: Final = 50
LONGEST_DESCRIPTION: Final = 255

KEY_SECONDS: Final = 3600
"""The longest life of a payment key that every source agrees on. A kiosk draft lives two days, yet asks for no more:
its key is used once, in the next call, and the bill that comes of it keeps its own time. A longer life that Paymob
refused would end the method; a bill that ended with its key would be told, as every expired bill is."""


def order_body(draft: PaymentDraft, reference: str) -> dict[str, Any]:
    """An order under our reference, for the accept flow."""
    request, name = draft.request, _product_name(draft)
    return {
        "delivery_needed": False,
        "amount_cents": str(draft.amount.amount_minor),
        "currency": draft.amount.currency,
        "merchant_order_id": reference,
        "items": [
            {
                "name": name[:LONGEST_NAME],
                "amount_cents": str(draft.amount.amount_minor // request.quantity),
                "description": name[:LONGEST_DESCRIPTION],
                "quantity": str(request.quantity),
            }
        ],
    }


def payment_key_body(draft: PaymentDraft, order_id: str, integration_id: int) -> dict[str, Any]:
    """The right to pay an order with one integration."""
    return {
        "amount_cents": str(draft.amount.amount_minor),
        "expiration": min(_life_seconds(draft), KEY_SECONDS),
        "order_id": order_id,
        "billing_data": _billing_data(draft),
        "currency": draft.amount.currency,
        "integration_id": integration_id,
        "lock_order_when_paid": True,
    }


def intention_body(draft: PaymentDraft, reference: str, integration_id: int, public_url: str) -> dict[str, Any]:
    """An order, its payment key and its checkout page in one, for the intention flow.

    Paymob's sums leave quantities out or in, depending on the page; one item of everything is right for both.
    """
    name, quantity = _product_name(draft), draft.request.quantity
    titled = name if quantity == 1 else f"{quantity} × {name}"
    body: dict[str, Any] = {
        "amount": draft.amount.amount_minor,
        "currency": draft.amount.currency,
        "payment_methods": [integration_id],
        "items": [
            {
                "name": titled[:LONGEST_NAME],
                "amount": draft.amount.amount_minor,
                "description": titled[:LONGEST_DESCRIPTION],
                "quantity": 1,
            }
        ],
        "billing_data": _billing_data(draft),
        "extras": {"paymentDraftId": str(draft.id)},
        "special_reference": reference,
        "expiration": _life_seconds(draft),  # an intention may live for 36 days
        "notification_url": f"{public_url}/api/payments/webhook-handler/paymob",
    }
    if draft.request.method is not Method.KIOSK:  # cards and wallets alone have a browser to send back
        body["redirection_url"] = f"{public_url}/api/payments/return/paymob"
    return body


def pay_body(draft: PaymentDraft, payment_token: str) -> dict[str, Any]:
    """A payment by wallet or by kiosk bill; the payment token is its authority."""
    if draft.request.method is Method.KIOSK:
        return {"source": {"identifier": "AGGREGATOR", "subtype": "AGGREGATOR"}, "payment_token": payment_token}
    return {"source": {"identifier": draft.request.payer.phone, "subtype": "WALLET"}, "payment_token": payment_token}


def refund_body(order: RefundOrder) -> dict[str, Any]:
    """Money back from the transaction that was paid.

    Raises:
        GatewayRejected: no transaction of Paymob's is known as the payment.
    """
    payment = order.draft.payment_reference or ""
    if not (payment.isascii() and payment.isdecimal()):
        raise GatewayRejected("No Paymob payment of this draft is known: refund it in Paymob's dashboard.")
    return {"transaction_id": int(payment), "amount_cents": order.amount_minor}


def _product_name(draft: PaymentDraft) -> str:
    return draft.request.product_name or draft.request.product_id


def _life_seconds(draft: PaymentDraft) -> int:
    return int((draft.expires_at - draft.created_at).total_seconds())


def _billing_data(draft: PaymentDraft) -> dict[str, str]:
    """All thirteen fields are mandatory. Paymob wants a name, an e-mail and a phone; the rest may be "NA"."""
    payer = draft.request.payer
    first, _, last = " ".join((payer.name or "NA").split()).partition(" ")
    empty = ["apartment", "floor", "street", "building", "shipping_method", "postal_code", "city", "country", "state"]
    return {
        **dict.fromkeys(empty, "NA"),
        "first_name": first[:LONGEST_NAME],
        "last_name": (last or "NA")[:LONGEST_NAME],
        # example.com can belong to nobody (RFC 2606), so no stranger is written to.
        "email": payer.email or "payer@example.com",
        "phone_number": f"+2{payer.phone}" if payer.phone else "+201000000000",
    }
