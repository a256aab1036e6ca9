"""The books of the fake Fawry: every rule about which payment may happen, and the notification that each step owes.

Each public method is one atomic step: what it changed and the notifications it owes are on disk together, or not at
all.
"""

from typing import Any, Final

import msgspec

from .deliveries import Sender
from .fawry_records import Order
from .fawry_shapes import failed, notification_body
from .psp import CannotActError, Refused, World, folded
from .store import Table

_NUMBER_BASE: Final = 900_000_000  # nine digits that begin with a nine, as in captures
_PAYMENT_BASE: Final = 100_000_000
_DUPLICATE: Final = 9999  # the real code is not published

DECLINED: Final = ("99901", "Declined by the issuer")
EXPIRED_CARD: Final = ("99954", "Expired card")
NO_FUNDS: Final = ("99951", "Insufficient funds")


class Book:
    """The orders of one merchant."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world = world
        self._sender = sender
        self._orders = Table(world.store, "fawry.order", Order)
        self._pages: Table[_Name] = Table(world.store, "fawry.page", _Name)
        self._numbers: Table[_Name] = Table(world.store, "fawry.number", _Name)
        world.clock.on_advance(self.expire_due)

    def register(self, draft: Order) -> Order:
        """Take a new order under a fresh number. A merchant's own reference is taken once, for ever.

        Raises:
            Refused: this reference was used.
        """
        with self._world.store.transaction():
            if self._orders.get(draft.merchant_number) is not None:
                raise Refused(200, failed("ChargeResponse", _DUPLICATE, "DUPLICATE_MERCHANT_REF_NUM"))
            number = self._world.store.next_id("fawry.number", _NUMBER_BASE)
            order = msgspec.structs.replace(draft, number=f"{number}", created_at=self._world.clock.now())
            self._put(order)
            self._numbers.put(_Name(merchant_number=order.merchant_number), key=order.number)
            if order.page:
                self._pages.put(_Name(merchant_number=order.merchant_number), key=order.page)
            self._owe(order, created=True)
        return order

    def order(self, merchant_number: str) -> Order | None:
        """Return the order with exactly this reference of the merchant's, as it stands now."""
        order = self._orders.get(merchant_number)
        return None if order is None else self._current(order)

    def by_number(self, number: str) -> Order | None:
        """Return the order with this number of Fawry's."""
        name = self._numbers.get(number)
        return None if name is None else self.order(name.merchant_number)

    def by_page(self, page: str) -> Order | None:
        """Return the order of a hosted page."""
        name = self._pages.get(page)
        return None if name is None else self.order(name.merchant_number)

    def family(self, merchant_number: str) -> list[Order]:
        """Return the orders of a reference and of its retries, oldest first."""
        return [self._current(order) for order in self._orders.children(folded(merchant_number))]

    def all(self) -> list[Order]:
        """Return every order, oldest first."""
        return [self._current(order) for order in self._orders.all()]

    def newest(self, limit: int) -> list[Order]:
        """Return the newest orders."""
        return [self._current(order) for order in self._orders.page(limit=limit, offset=0)]

    def expire_due(self) -> None:
        """End what nobody paid in time."""
        self.all()

    def pay(self, order: Order) -> Order:
        """Take the money."""
        self._refuse_unless_open(order)
        number = self._world.store.next_id("fawry.payment_number", _PAYMENT_BASE)
        now = self._world.clock.now()
        return self._changed(order, status="PAID", paid_at=now, payment_number=f"{number}", failure=None)

    def decline(self, order: Order, failure: tuple[str, str] = DECLINED) -> Order:
        """Refuse one try, which ends a direct charge and leaves a page open."""
        self._refuse_unless_open(order)
        if order.means == "reference":
            raise CannotActError("a reference is paid in cash or expires; it cannot be declined")
        return self._changed(order, status="FAILED", failure=failure)

    def expire(self, order: Order) -> Order:
        """End an order whose time is over."""
        self._refuse_unless_open(order)
        return self._changed(order, status="EXPIRED", expires_at=min(order.expires_at, self._world.clock.now()))

    def cancel(self, order: Order, *, by_merchant: bool = False) -> Order:
        """End an order that nobody paid."""
        self._refuse_unless_open(order)
        return self._changed(order, status="CANCELED", ended_by_merchant=by_merchant)

    def refund(self, order: Order, amount_minor: int) -> Order:
        """Give some of a payment back.

        Raises:
            Refused: 9954 where nothing was paid, 9935 where less is left.
        """
        if not order.paid_minor:
            raise Refused(200, failed("ResponseDataModel", 9954, "ORDER_NOT_PAID"))
        refunded = order.refunded_minor + amount_minor
        if refunded > order.paid_minor:
            raise Refused(200, failed("ResponseDataModel", 9935, "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"))
        status = "REFUNDED" if refunded == order.paid_minor else "PARTIAL_REFUNDED"
        return self._changed(order, status=status, refunded_minor=refunded)

    def _current(self, order: Order) -> Order:
        if order.is_open and order.expires_at <= self._world.clock.now():
            return self._changed(order, status="EXPIRED")
        return order

    def _refuse_unless_open(self, order: Order) -> None:
        if not order.is_open:
            raise CannotActError(f"the order is {order.status}")

    def _changed(self, order: Order, **changes: Any) -> Order:  # noqa: ANN401 - the fields of an order
        changed = msgspec.structs.replace(order, **changes)
        with self._world.store.transaction():
            self._put(changed)
            self._owe(changed)
        return changed

    def _owe(self, order: Order, *, created: bool = False) -> None:
        body = notification_body(order, created=created)
        self._world.deliveries.schedule(self._sender, folded(order.merchant_number), body)

    def _put(self, order: Order) -> None:
        self._orders.put(order, key=order.merchant_number, parent=folded(order.merchant_number))


class _Name(msgspec.Struct, kw_only=True):
    """Which order a page or a number of Fawry's belongs to."""

    merchant_number: str
