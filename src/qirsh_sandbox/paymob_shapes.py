"""Paymob's wire shapes, field for field as in its published and captured samples, misspellings included."""

from typing import Any, Final, NamedTuple

from .clock import cairo_naive, utc_naive
from .paymob_records import Kind, Order, PaymentKey, Transaction
from .paymob_signing import make_token

_SIGNED_UP: Final = "2023-04-14T03:30:26.562808"
_WALLET_PAGE: Final = "/api/acceptance/wallet_other_test/wallet_template"


class Merchant(NamedTuple):
    """The account's own numbers. `user_id` is the `owner` of every transaction."""

    profile_id: int
    user_id: int
    token_secret: str


def auth_answer(merchant: Merchant, token: str) -> dict[str, Any]:
    """Shape the answer of `POST /api/auth/tokens`."""
    user = {
        "id": merchant.user_id,
        "username": "sandbox",
        "first_name": "Sandbox",
        "last_name": "Merchant",
        "email": "merchant@example.com",
        "phone": "+201000000000",
        "date_joined": _SIGNED_UP,
        "is_active": True,
    }
    profile = {**_merchant(merchant), "user": user, "active": True, "profile_type": "Merchant"}
    return {"profile": profile, "token": token}


def order_shape(order: Order, merchant: Merchant) -> dict[str, Any]:
    """Shape an order as `ecommerce/orders` answers it."""
    reference = make_token({"class": "Order", "order_id": order.id}, merchant.token_secret)
    url = f"{order.base_url}/standalone/?ref=i_{reference}"
    return {
        "id": order.id,
        "created_at": cairo_naive(order.created_at),
        "delivery_needed": order.delivery_needed,
        "merchant": _merchant(merchant),
        "collector": None,
        "amount_cents": order.amount_cents,
        "shipping_data": None,
        "currency": order.currency,
        "is_payment_locked": order.locked,
        "is_return": False,
        "is_cancel": False,
        "is_returned": False,
        "is_canceled": False,
        "merchant_order_id": order.merchant_order_id,
        "wallet_notification": None,
        "paid_amount_cents": order.paid_cents,
        "notify_user_with_email": False,
        "items": order.items,
        "order_url": url,
        "commission_fees": 0,
        "delivery_fees_cents": 0,
        "delivery_vat_cents": 0,
        "payment_method": "tbc",
        "merchant_staff_tag": None,
        "api_source": "OTHER",
        "data": [],
        "token": reference,
        "url": url,
    }


def transaction_shape(
    transaction: Transaction, order: Order, key: PaymentKey | None, merchant: Merchant
) -> dict[str, Any]:
    """Shape a transaction as every read, every answer of `pay` and every callback's `obj` has it."""
    child = transaction.parent_transaction is not None
    return {
        "id": transaction.id,
        "pending": transaction.pending,
        "amount_cents": transaction.amount_cents,
        "success": transaction.success,
        "is_auth": False,
        "is_capture": False,
        "is_standalone_payment": not child,
        "is_voided": transaction.is_voided,
        "is_refunded": transaction.is_refunded,
        "is_3d_secure": transaction.kind == "card" and not child,
        "integration_id": transaction.integration_id,
        "profile_id": merchant.profile_id,
        "has_parent_transaction": child,
        "order": _embedded_order(transaction, order, key, merchant),
        "created_at": cairo_naive(transaction.created_at),
        "transaction_processed_callback_responses": [],
        "currency": transaction.currency,
        "source_data": _source_data(transaction),
        "api_source": "IFRAME" if transaction.kind == "card" else "OTHER",
        "terminal_id": None,
        "merchant_commission": 0,
        "installment": None,
        "discount_details": [],
        "is_void": transaction.is_void,
        "is_refund": transaction.is_refund,
        "data": _DATA[transaction.kind](transaction, order, key, merchant),
        "is_hidden": False,
        "payment_key_claims": None if child or key is None else claims_shape(key, merchant),
        "error_occured": False,
        "is_live": False,
        "other_endpoint_reference": f"{transaction.id}" if transaction.kind == "wallet" else None,
        "refunded_amount_cents": transaction.refunded_amount_cents,
        "source_id": -1,
        "is_captured": False,
        "captured_amount": 0,
        "merchant_staff_tag": None,
        "updated_at": cairo_naive(transaction.updated_at),
        "is_settled": False,
        "bill_balanced": False,
        "is_bill": False,
        "owner": merchant.user_id,
        "parent_transaction": transaction.parent_transaction,
    }


def claims_shape(key: PaymentKey, merchant: Merchant) -> dict[str, Any]:
    """Shape what a payment key says: inside the token, and again as `payment_key_claims` of its transactions."""
    billing_data = {name: value for name, value in key.billing_data.items() if name != "shipping_method"}
    intention = {
        "next_payment_intention": key.intention_id,
        "notification_url": key.notification_url or None,
        "redirection_url": key.redirection_url or None,
    }
    return {
        "extra": key.extras,
        "user_id": merchant.user_id,
        "currency": key.currency,
        "order_id": key.order_id,
        "amount_cents": key.amount_cents,
        "billing_data": {**billing_data, "extra_description": "NA"},
        "integration_id": key.integration_id,
        "lock_order_when_paid": key.lock_order_when_paid,
        "single_payment_attempt": False,
        "exp": int(key.expires_at),
        **(intention if key.intention_id else {}),
    }


def wallet_page_url(transaction: Transaction, order: Order, merchant: Merchant) -> str:
    """Return where the payer confirms a wallet payment with MPIN and OTP."""
    claims = {"class": "Transaction", "sub_type": "wallet", "transaction_pk": transaction.id}
    return f"{order.base_url}{_WALLET_PAGE}?token={make_token(claims, merchant.token_secret)}"


def _merchant(merchant: Merchant) -> dict[str, Any]:
    return {
        "id": merchant.profile_id,
        "created_at": _SIGNED_UP,
        "phones": ["+201000000000"],
        "company_emails": ["merchant@example.com"],
        "company_name": "Sandbox Merchant",
        "state": "",
        "country": "EGY",
        "city": "Cairo",
        "postal_code": "",
        "street": "",
    }


def _embedded_order(
    transaction: Transaction, order: Order, key: PaymentKey | None, merchant: Merchant
) -> dict[str, Any]:
    shape = order_shape(order, merchant)
    del shape["token"], shape["url"]
    shape["data"] = {}
    if transaction.kind == "wallet":
        shape["paid_amount_cents"] = 0  # captured from Paymob: a paid wallet's callback says 0 all the same
    if key is not None:
        shape["shipping_data"] = {
            **key.billing_data,
            "id": order.id + 1,
            "extra_description": "",
            "shipping_method": "UNK",
            "order_id": order.id,
            "order": order.id,
        }
    return shape


def _source_data(transaction: Transaction) -> dict[str, Any]:
    source = {"type": transaction.kind, "pan": transaction.pan, "sub_type": transaction.sub_type}
    if transaction.kind == "card":
        return {**source, "tenure": None}
    return {**source, "owner_name": None, "phone_number": transaction.pan} if transaction.kind == "wallet" else source


def _card_data(transaction: Transaction, order: Order, _key: PaymentKey | None, _merchant: Merchant) -> dict[str, Any]:
    major = _major(transaction.amount_cents)
    status = "REFUNDED" if transaction.is_refund else "CAPTURED" if transaction.success else "FAILED"
    action = "REFUND" if transaction.is_refund else "VOID_PAYMENT" if transaction.is_void else "PAYMENT"
    return {
        "gateway_integration_pk": transaction.integration_id,
        "klass": "MigsPayment",
        "created_at": utc_naive(transaction.created_at),
        "amount": transaction.amount_cents,
        "currency": transaction.currency,
        "migs_order": {"amount": major, "currency": transaction.currency, "id": f"{order.id}", "status": status},
        "merchant": "TESTMERCH_C_25P",
        "migs_result": "SUCCESS" if transaction.success else "FAILURE",
        "migs_transaction": {"amount": major, "id": f"{transaction.id}", "type": action},
        "txn_response_code": transaction.txn_response_code,
        "acq_response_code": transaction.acq_response_code,
        "message": transaction.message,
        "merchant_txn_ref": f"{transaction.id}",
        "order_info": f"{order.id}",
        "card_type": transaction.sub_type.upper(),
        "card_num": f"xxxxxxxxxxxx{transaction.pan}",
        "secure_hash": "",
        "avs_result_code": "",
        "avs_acq_response_code": transaction.acq_response_code,
        "captured_amount": major if transaction.success else 0,
        "authorised_amount": major if transaction.success else 0,
        "refunded_amount": _major(transaction.refunded_amount_cents),
        "acs_eci": "02",
    }


def _wallet_data(transaction: Transaction, order: Order, key: PaymentKey | None, merchant: Merchant) -> dict[str, Any]:
    return {
        "uig_txn_id": f"{transaction.id}",
        "method": 0,
        "amount": transaction.amount_cents,
        "upg_qrcode_ref": f"{transaction.id}",
        "created_at": utc_naive(transaction.created_at),
        "mpg_txn_id": f"{transaction.id}",
        "order_info": key.billing_data["email"] if key else "",
        "currency": transaction.currency,
        "upg_txn_id": None,
        "wallet_issuer": "VODAFONE",
        "klass": "WalletPayment",
        "token": "",
        "message": transaction.message,
        "txn_response_code": transaction.txn_response_code,
        "mer_txn_ref": f"{transaction.integration_id}_{transaction.id:032x}",
        "redirect_url": wallet_page_url(transaction, order, merchant),
        "wallet_msisdn": transaction.pan,
        "gateway_source": "",
        "gateway_integration_pk": transaction.integration_id,
    }


def _kiosk_data(
    transaction: Transaction, _order: Order, _key: PaymentKey | None, _merchant: Merchant
) -> dict[str, Any]:
    return {
        "klass": "CAGGPayment",
        "bill_reference": transaction.id,
        "due_amount": transaction.amount_cents,
        "message": transaction.message,
        "txn_response_code": transaction.txn_response_code,
        "otp": "",
        "paid_through": "AMAN" if transaction.success else "",
        "biller": None,
        "ref": None,
        "rrn": None,
        "amount": None,
        "from_user": None,
        "cashout_amount": None,
        "agg_terminal": None,
        "gateway_integration_pk": transaction.integration_id,
    }


def _major(cents: int) -> float:
    """Return major units, which only the card processor's block speaks; whole ones are printed as integers."""
    return cents // 100 if cents % 100 == 0 else cents / 100


_DATA: Final[dict[Kind, Any]] = {"card": _card_data, "wallet": _wallet_data, "aggregator": _kiosk_data}
