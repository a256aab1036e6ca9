"""What the fake Fawry remembers: its orders. Shapes are in fawry_shapes.py."""

from typing import Any, Final, Literal

import msgspec

Means = Literal["reference", "qr", "prompt", "page"]
Status = Literal["UNPAID", "PAID", "EXPIRED", "CANCELED", "FAILED", "REFUNDED", "PARTIAL_REFUNDED"]

METHODS: Final[dict[Means, str]] = {
    "reference": "PAYATFAWRY",
    "qr": "Mobile Wallet",
    "prompt": "Mobile Wallet",
    "page": "CARD",
}
"""How Fawry calls the method when it tells of an order: not always as it was asked."""
FEES: Final[dict[Means, int]] = {"reference": 100, "qr": 0, "prompt": 0, "page": 100}
"""What the payer pays on top, in piastres: the amounts are the sandbox's own."""


class Order(msgspec.Struct, kw_only=True):
    """One order. `number` is Fawry's own, `merchant_number` the merchant's; amounts in piastres, without the fee."""

    number: str
    merchant_number: str
    means: Means
    amount_minor: int
    items: list[Any]
    created_at: float
    expires_at: float
    status: Status = "UNPAID"
    webhook: str = ""
    return_url: str = ""
    page: str = ""
    base_url: str = ""
    wallet: str = ""
    customer: dict[str, str] = {}
    paid_at: float | None = None
    payment_number: str = ""
    refunded_minor: int = 0
    failure: tuple[str, str] | None = None
    ended_by_merchant: bool = False

    @property
    def paid_minor(self) -> int:
        """The money that came, whatever became of it later."""
        return self.amount_minor if self.paid_at is not None else 0

    @property
    def fee_minor(self) -> int:
        """What the payer pays on top."""
        return FEES[self.means]

    @property
    def is_open(self) -> bool:
        """Whether it waits for its payer; a declined card may be followed by another on the same page."""
        return self.status == "UNPAID" or (self.status == "FAILED" and self.means == "page")
