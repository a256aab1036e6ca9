"""What the fake PayPal remembers. The wire shapes are in paypal_shapes.py."""

from typing import Any, Literal

import msgspec

OrderStatus = Literal["CREATED", "PAYER_ACTION_REQUIRED", "APPROVED", "COMPLETED"]
CaptureStatus = Literal["COMPLETED", "PENDING", "DECLINED", "PARTIALLY_REFUNDED", "REFUNDED"]
RefundStatus = Literal["COMPLETED", "PENDING", "FAILED"]
Plan = Literal["pay", "decline", "review", "deny"]  # how the capture that follows an approval will end
Operation = Literal["create", "capture", "refund"]


class Unit(msgspec.Struct, kw_only=True):
    """One purchase unit. `said` is what the merchant sent of it besides the amount, and is given back as it came."""

    reference_id: str
    amount_minor: int
    currency: str
    breakdown: dict[str, Any] | None
    said: dict[str, Any]

    @property
    def custom_id(self) -> str | None:
        """The merchant's own reference."""
        return self.said.get("custom_id")

    @property
    def invoice_id(self) -> str | None:
        """The merchant's number, which PayPal takes for one payment only."""
        return self.said.get("invoice_id")


class Order(msgspec.Struct, kw_only=True):
    """One order. `wallet_form` tells the form with `payment_source` from the old one, whose answers differ."""

    id: str
    intent: str
    status: OrderStatus
    wallet_form: bool
    units: list[Unit]
    base_url: str
    created_at: float
    updated_at: float
    expires_at: float
    return_url: str | None = None
    cancel_url: str | None = None
    ships: bool = True
    plan: Plan = "pay"

    @property
    def custom_id(self) -> str | None:
        """The merchant's reference of the whole order: that of its first unit."""
        return self.units[0].custom_id

    @property
    def currency(self) -> str:
        """The currency of every unit."""
        return self.units[0].currency

    @property
    def amount_minor(self) -> int:
        """All that the payer is asked for."""
        return sum(unit.amount_minor for unit in self.units)


class Capture(msgspec.Struct, kw_only=True):
    """The money of one purchase unit. Only COMPLETED and what follows it is money that moved."""

    id: str
    order_id: str
    unit: int
    amount_minor: int
    currency: str
    status: CaptureStatus
    custom_id: str | None
    invoice_id: str | None
    created_at: float
    updated_at: float
    refunded_minor: int = 0
    waiting_minor: int = 0  # in refunds that are pending
    slow_refunds: bool = False  # whether refunds from now on are pending first

    @property
    def is_paid(self) -> bool:
        """Whether the merchant got the money, whatever became of it later."""
        return self.status in {"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"}

    @property
    def left_minor(self) -> int:
        """How much of it can still be given back."""
        return self.amount_minor - self.refunded_minor - self.waiting_minor if self.is_paid else 0


class Refund(msgspec.Struct, kw_only=True):
    """Money that goes back. `total_refunded_minor` is the capture's sum when this refund was done, itself included."""

    id: str
    capture_id: str
    amount_minor: int
    currency: str
    total_refunded_minor: int
    created_at: float
    ended_at: float | None = None
    custom_id: str | None = None
    invoice_id: str | None = None
    note_to_payer: str | None = None
    status: RefundStatus = "COMPLETED"


class Done(msgspec.Struct, kw_only=True):
    """The first answer to a PayPal-Request-Id: what was made, or the issue that the payment was declined with."""

    target: str
    issue: str | None
    at: float


class Token(msgspec.Struct, kw_only=True):
    """An access token of one pair of credentials."""

    value: str
    credentials: str
    issued_at: float
    expires_at: float


class Invoice(msgspec.Struct, kw_only=True):
    """An invoice id that was used up, and by what."""

    used_by: str
