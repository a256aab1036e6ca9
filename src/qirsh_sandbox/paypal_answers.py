"""The first answers to `PayPal-Request-Id`s, and the invoice ids that are used up: what PayPal does only once."""

from typing import Final, Literal, NamedTuple

from .clock import Clock
from .paypal_records import Done, Invoice, Operation
from .store import Store, Table

_ORDER_SECONDS: Final = 6 * 3600  # documented: how long an id is kept
_REFUND_SECONDS: Final = 45 * 86_400


class Once(NamedTuple):
    """What a PayPal-Request-Id stands for: one operation on one resource. Without an id, every call is a new one."""

    operation: Operation
    resource: str
    request_id: str | None

    @property
    def key(self) -> str:
        """The id under which the answer is kept."""
        return f"{self.operation}:{self.resource}:{self.request_id}"


class Answers:
    """The memory of one merchant's ids."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._clock = clock
        self._done = Table(store, "paypal.done", Done)
        self._invoices = Table(store, "paypal.invoice", Invoice)

    def first(self, once: Once) -> Done | None:
        """Return the first answer to this id, while PayPal keeps it. The body is not compared: the first one counts."""
        if once.request_id is None:
            return None
        done = self._done.get(once.key)
        life = _REFUND_SECONDS if once.operation == "refund" else _ORDER_SECONDS
        return done if done is not None and done.at + life > self._clock.now() else None

    def remember(self, once: Once, target: str, declined: str | None = None) -> None:
        """Keep the answer. A refusal that tried nothing is not kept: the same id may succeed later."""
        if once.request_id is not None:
            self._done.put(Done(target=target, issue=declined, at=self._clock.now()), key=once.key)

    def is_used(self, kind: Literal["payment", "refund"], invoice_id: str | None) -> bool:
        """Whether this invoice id went through once already."""
        return invoice_id is not None and self._invoices.get(f"{kind}:{invoice_id}") is not None

    def use(self, kind: Literal["payment", "refund"], invoice_id: str | None, used_by: str) -> None:
        """Use an invoice id up."""
        if invoice_id is not None:
            self._invoices.put(Invoice(used_by=used_by), key=f"{kind}:{invoice_id}")
