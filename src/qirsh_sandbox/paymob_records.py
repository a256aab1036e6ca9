"""What the fake Paymob remembers: orders, payment keys, intentions, transactions. Shapes are in paymob_shapes.py."""

from typing import Any, Final, Literal, NamedTuple

import msgspec

Kind = Literal["card", "wallet", "aggregator"]  # Paymob's own words, as in `source_data.type`; aggregator is a kiosk

RefundPlan = Literal["done", "wait", "fail"]  # how the refunds of a payment end from now on


class Order(msgspec.Struct, kw_only=True):
    """One order. `locked` once it was paid with a key that says `lock_order_when_paid`."""

    id: int
    merchant_order_id: str | None
    amount_cents: int
    currency: str
    created_at: float
    base_url: str
    items: list[Any]
    delivery_needed: bool = False
    paid_cents: int = 0
    locked: bool = False


class PaymentKey(msgspec.Struct, kw_only=True):
    """The right to try to pay one order with one integration, until it expires."""

    token: str
    order_id: int
    integration_id: int
    amount_cents: int
    currency: str
    billing_data: dict[str, str]
    lock_order_when_paid: bool
    created_at: float
    expires_at: float
    # Only a key that an intention made has the rest; the two addresses stand in for the integration's callbacks.
    intention_id: str = ""
    notification_url: str = ""
    redirection_url: str = ""
    extras: dict[str, Any] = {}


class Intention(msgspec.Struct, kw_only=True):
    """One intention: an order, and a payment key for each method that its payer may pick."""

    id: str
    client_secret: str
    order_id: int
    tokens: list[str]
    created_at: float


class Transaction(msgspec.Struct, kw_only=True):
    """One try to pay, or the refund or void of one, which then names its parent."""

    id: int
    order_id: int
    kind: Kind
    payment_token: str
    integration_id: int
    amount_cents: int
    currency: str
    created_at: float
    updated_at: float
    pan: str
    sub_type: str
    message: str
    txn_response_code: str
    acq_response_code: str = ""
    pending: bool = True
    success: bool = False
    is_voided: bool = False
    is_refunded: bool = False
    refunded_amount_cents: int = 0
    is_void: bool = False
    is_refund: bool = False
    parent_transaction: int | None = None
    refunds: RefundPlan = "done"

    @property
    def is_payment(self) -> bool:
        """Whether this took the payer's money, whatever became of it later."""
        return self.success and self.parent_transaction is None

    @property
    def returned_cents(self) -> int:
        """How much of it went back."""
        return self.amount_cents if self.is_voided and self.success else self.refunded_amount_cents


class Outcome(NamedTuple):
    """How a try ended, in Paymob's words."""

    success: bool
    message: str
    txn_response_code: str
    acq_response_code: str = ""


APPROVED: Final = Outcome(success=True, message="Approved", txn_response_code="APPROVED", acq_response_code="00")
DECLINED: Final = Outcome(success=False, message="Declined", txn_response_code="DECLINED", acq_response_code="05")
EXPIRED_CARD: Final = Outcome(
    success=False, message="Expired Card", txn_response_code="EXPIRED_CARD", acq_response_code="54"
)
WALLET_PAID: Final = Outcome(
    success=True, message="Transaction has been completed successfully.", txn_response_code="200"
)
# Paymob publishes no texts for the outcomes below: these are the sandbox's own.
WALLET_DECLINED: Final = Outcome(success=False, message="Transaction declined by the wallet", txn_response_code="6051")
WALLET_WRONG_PIN: Final = Outcome(success=False, message="Wrong MPIN", txn_response_code="55")
WALLET_WRONG_OTP: Final = Outcome(success=False, message="Wrong OTP", txn_response_code="637")
CANCELLED: Final = Outcome(success=False, message="Transaction cancelled by payer", txn_response_code="CANCELLED")
KIOSK_PAID: Final = Outcome(success=True, message="Approved", txn_response_code="00")
