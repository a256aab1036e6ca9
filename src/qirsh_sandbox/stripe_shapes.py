"""Stripe's wire shapes, with every field that its OpenAPI file requires and those that clients read.

https://docs.stripe.com/api/checkout/sessions/object, /payment_intents/object, /charges/object, /refunds/object and
/disputes/object.
"""

from collections.abc import Iterable
from typing import Any, Final

from .stripe_records import Charge, Dispute, Payment, Refund, Session

PAGE: Final = "/c/pay/"

_ADDRESS: Final = {
    **dict.fromkeys(("city", "line1", "line2", "postal_code", "state")),
    "country": "US",
}
_DISPUTE_SECONDS: Final = 14 * 86_400


def session_shape(session: Session, *, livemode: bool) -> dict[str, Any]:
    """Shape a Checkout Session."""
    said, is_open = session.said, session.status == "open"
    email = said.get("customer_email")
    known = session.status == "complete"
    details: dict[str, Any] = {
        "address": _ADDRESS,
        "email": email or "payer@example.com",
        "name": "John Doe",
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    return {
        "id": session.id,
        "object": "checkout.session",
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": session.amount,
        "amount_total": session.amount,
        "automatic_tax": {"enabled": False, "status": None},
        "billing_address_collection": None,
        "cancel_url": said.get("cancel_url"),
        "client_reference_id": said.get("client_reference_id"),
        "consent": None,
        "consent_collection": None,
        "created": int(session.created_at),
        "currency": session.currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {"shipping_address": None, "submit": None},
        "customer": None,
        "customer_creation": "if_required",
        "customer_details": details if known else None,
        "customer_email": email,
        "expires_at": session.expires_at,
        "invoice": None,
        "invoice_creation": None,
        "livemode": livemode,
        "locale": said.get("locale"),
        "metadata": session.metadata,
        "mode": "payment",
        "payment_intent": session.payment_id,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "paid" if session.paid else "unpaid",
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": session.status,
        "submit_type": None,
        "subscription": None,
        "success_url": said.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{session.base_url}{PAGE}{session.id}" if is_open else None,
    }


def payment_shape(payment: Payment, *, livemode: bool) -> dict[str, Any]:
    """Shape a PaymentIntent."""
    return {
        "id": payment.id,
        "object": "payment_intent",
        "amount": payment.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": payment.amount if payment.status == "succeeded" else 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{payment.id}_secret_sandbox",
        "confirmation_method": "automatic",
        "created": int(payment.created_at),
        "currency": payment.currency,
        "customer": None,
        "description": payment.description,
        "last_payment_error": payment.error,
        "latest_charge": payment.charge_id,
        "livemode": livemode,
        "metadata": payment.metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": f"pm_{payment.id[3:]}" if payment.status == "succeeded" else None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": payment.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def charge_shape(charge: Charge, *, livemode: bool) -> dict[str, Any]:
    """Shape a charge. Its refunds are shown where they are asked for."""
    succeeded, decline = charge.status == "succeeded", charge.way.decline
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount if succeeded else 0,
        "amount_refunded": charge.refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": f"txn_{charge.id[3:]}" if succeeded else None,
        "billing_details": {"address": _ADDRESS, "email": None, "name": "John Doe", "phone": None},
        "calculated_statement_descriptor": "SANDBOX",
        "captured": succeeded,
        "created": int(charge.created_at),
        "currency": charge.currency,
        "customer": None,
        "description": None,
        "disputed": charge.disputed,
        "failure_balance_transaction": None,
        "failure_code": "card_declined" if charge.status == "failed" else None,
        "failure_message": "Your card was declined." if charge.status == "failed" else None,
        "fraud_details": {},
        "livemode": livemode,
        "metadata": charge.metadata,
        "on_behalf_of": None,
        "outcome": {
            "network_status": "declined_by_network" if decline else "approved_by_network",
            "reason": decline,
            "risk_level": "normal",
            "seller_message": "The bank returned a decline." if decline else "Payment complete.",
            "type": "issuer_declined" if decline else "authorized",
        },
        "paid": succeeded,
        "payment_intent": charge.payment_id,
        "payment_method": f"pm_{charge.payment_id[3:]}",
        "payment_method_details": _way_shape(charge),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": succeeded and not charge.left,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": charge.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def refund_shape(refund: Refund) -> dict[str, Any]:
    """Shape a refund."""
    shape = {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": None if refund.status == "pending" else f"txn_{refund.id[3:]}",
        "charge": refund.charge_id,
        "created": int(refund.created_at),
        "currency": refund.currency,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": refund.metadata,
        "payment_intent": refund.payment_id,
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": refund.status,
        "transfer_reversal": None,
    }
    if refund.status == "failed":
        shape["failure_reason"] = "expired_or_canceled_card"
    if refund.status == "pending":
        shape["pending_reason"] = "processing"
    return shape


def dispute_shape(dispute: Dispute, *, livemode: bool) -> dict[str, Any]:
    """Shape a dispute. Its metadata is its own, so it carries nothing of the merchant's."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge_id,
        "created": int(dispute.created_at),
        "currency": dispute.currency,
        "evidence": {},
        "evidence_details": {
            "due_by": int(dispute.created_at) + _DISPUTE_SECONDS,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": livemode,
        "metadata": {},
        "payment_intent": dispute.payment_id,
        "reason": "fraudulent",
        "status": "needs_response",
    }


def items_shape(session: Session, *, livemode: bool) -> dict[str, Any]:
    """Shape the line items of a session: the first, which says what is sold."""
    line, name = session.line, session.id[3:]
    price = {
        "id": f"price_{name}",
        "object": "price",
        "active": False,
        "billing_scheme": "per_unit",
        "created": int(session.created_at),
        "currency": session.currency,
        "livemode": livemode,
        "metadata": {},
        "product": f"prod_{name}",
        "recurring": None,
        "type": "one_time",
        "unit_amount": line["unit_amount"],
        "unit_amount_decimal": str(line["unit_amount"]),
    }
    total = line["unit_amount"] * line["quantity"]
    item = {
        "id": f"li_{name}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": session.currency,
        "description": line["name"],
        "price": price,
        "quantity": line["quantity"],
    }
    return list_shape([item], f"/v1/checkout/sessions/{session.id}/line_items", has_more=False)


def list_shape(data: Iterable[dict[str, Any]], url: str, *, has_more: bool) -> dict[str, Any]:
    """Shape a page of a list."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def _way_shape(charge: Charge) -> dict[str, Any]:
    if charge.way.slow:
        return {"type": "customer_balance", "customer_balance": {}}
    wallet = charge.way.wallet
    shown: dict[str, Any] | None = (
        None if wallet is None else {wallet: {}, "dynamic_last4": charge.way.last4, "type": wallet}
    )
    card = {
        "brand": "visa",
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2039,
        "fingerprint": f"sandbox{charge.way.last4}",
        "funding": "credit",
        "installments": None,
        "last4": charge.way.last4,
        "mandate": None,
        "network": "visa",
        "network_token": None,
        "three_d_secure": None,
        "wallet": shown,
    }
    return {"type": "card", "card": card}
