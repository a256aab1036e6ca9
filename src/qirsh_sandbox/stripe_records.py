"""What the fake Stripe remembers. The wire shapes are in stripe_shapes.py. Amounts as Stripe counts them."""

from typing import Any, Literal

import msgspec

SessionStatus = Literal["open", "complete", "expired"]
PaymentStatus = Literal["requires_payment_method", "processing", "succeeded", "canceled"]
RefundStatus = Literal["pending", "succeeded", "failed"]
RefundPlan = Literal["succeed", "wait", "fail_later"]  # how refunds of a charge go, decided by the card
Wallet = Literal["apple_pay", "google_pay"]


class Way(msgspec.Struct, kw_only=True, frozen=True):
    """How the payer tries to pay: a card, perhaps in a wallet, or a slow way whose money comes later."""

    last4: str = "4242"
    wallet: Wallet | None = None
    slow: bool = False
    decline: str | None = None
    """The decline code, or the error's code where Stripe has none."""
    refunds: RefundPlan = "succeed"
    disputed: bool = False


class Session(msgspec.Struct, kw_only=True):
    """One Checkout Session. `said` is what the merchant sent and is given back as it came."""

    id: str
    created_at: float
    expires_at: int
    amount: int
    currency: str
    line: dict[str, Any]
    base_url: str
    said: dict[str, Any]
    payment_metadata: dict[str, str]
    metadata: dict[str, str]
    status: SessionStatus = "open"
    paid: bool = False
    payment_id: str | None = None

    @property
    def reference(self) -> str | None:
        """The merchant's own reference."""
        return self.said.get("client_reference_id") or self.metadata.get("draft_id")


class Payment(msgspec.Struct, kw_only=True):
    """A PaymentIntent: every try to pay one session."""

    id: str
    session_id: str
    amount: int
    currency: str
    created_at: float
    metadata: dict[str, str]
    description: str | None = None
    status: PaymentStatus = "requires_payment_method"
    error: dict[str, Any] | None = None
    charge_id: str | None = None


class Charge(msgspec.Struct, kw_only=True):
    """One try to take money. Only a succeeded one moved any."""

    id: str
    payment_id: str
    amount: int
    currency: str
    created_at: float
    metadata: dict[str, str]
    way: Way
    status: Literal["succeeded", "pending", "failed"]
    refunded: int = 0
    disputed: bool = False

    @property
    def left(self) -> int:
        """How much of it can still be given back; a refund that is pending is no longer there."""
        return self.amount - self.refunded if self.status == "succeeded" else 0


class Refund(msgspec.Struct, kw_only=True):
    """Money on its way back."""

    id: str
    charge_id: str
    payment_id: str
    amount: int
    currency: str
    created_at: float
    metadata: dict[str, str]
    reason: str | None
    status: RefundStatus


class Dispute(msgspec.Struct, kw_only=True):
    """A payer's bank asks for the money of a charge."""

    id: str
    charge_id: str
    payment_id: str
    amount: int
    currency: str
    created_at: float


class Event(msgspec.Struct, kw_only=True):
    """A webhook's body, kept to be read again."""

    id: str
    kind: str
    created_at: float
    body: dict[str, Any]


class Kept(msgspec.Struct, kw_only=True):
    """The first answer to an Idempotency-Key, and what it was asked."""

    fingerprint: str
    key: str
    request_id: str
    status: int
    body: dict[str, Any]
    at: float
