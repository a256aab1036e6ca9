"""Money that goes back at the fake Paymob: refunds and voids, each a child of its payment, with callbacks for both.

As in the books, each public method is one atomic step. Paymob publishes no refund that waits or fails: that the
payment's own sum counts only what is done is the sandbox's choice.
"""

from http import HTTPStatus
from typing import Final

import msgspec

from .clock import cairo_date
from .paymob_book import Book
from .paymob_records import APPROVED, DECLINED, Outcome, RefundPlan, Transaction
from .psp import CannotActError, Refused, World

_TRANSACTION_BASE: Final = 192_000_000  # as the payments' ids
_WAITING: Final = Outcome(success=False, message="Refund is being processed", txn_response_code="PENDING")


class Returns:
    """The refunds and voids of one merchant."""

    def __init__(self, book: Book, world: World) -> None:
        self._book = book
        self._world = world

    def refund(self, transaction_id: int, amount_cents: int) -> Transaction:
        """Give some of a payment back: a child of it, and its own flags."""
        parent = self._returnable(transaction_id)
        if parent.kind == "aggregator":
            raise Refused(400, {"message": "Kiosk payments cannot be refunded"})
        left = self.left_cents(parent)
        if amount_cents > left:
            limit = f"Maximum Refund Amount is {parent.currency} {left / 100}"
            text = f"Requested Refund Amount is greater than the maximum refund amount permissible. {limit}"
            raise Refused(400, {"message": text})
        outcome = {"done": APPROVED, "wait": _WAITING, "fail": DECLINED}[parent.refunds]
        with self._world.store.transaction():
            child = self._child(parent, amount_cents, outcome, pending=parent.refunds == "wait", is_refund=True)
            if not child.pending:
                self._end(child, outcome)
        return child

    def void(self, transaction_id: int) -> Transaction:
        """Take a card payment back on the day it was made."""
        parent = self._returnable(transaction_id)
        if parent.kind != "card":
            raise Refused(400, {"message": "Only card payments can be voided"})
        if parent.is_refunded or self.left_cents(parent) < parent.amount_cents:
            raise Refused(400, {"message": "A refunded transaction cannot be voided"})
        if cairo_date(parent.created_at) != cairo_date(self._world.clock.now()):
            raise Refused(400, {"message": "A transaction can be voided on its own business day only"})
        with self._world.store.transaction():
            child = self._child(parent, parent.amount_cents, APPROVED, pending=False, is_refund=False)
            self._book.owe_callback(child)
            self._tell(msgspec.structs.replace(parent, is_voided=True))
        return child

    def left_cents(self, payment: Transaction) -> int:
        """How much of a payment can still be given back, with what waits to be set aside."""
        return payment.amount_cents - payment.returned_cents - sum(one.amount_cents for one in self._waiting(payment))

    def plan(self, payment: Transaction, plan: RefundPlan) -> None:
        """Say how the refunds of a payment end from now on."""
        self._book.put_transaction(msgspec.structs.replace(payment, refunds=plan))

    def end_waiting(self, payment: Transaction, *, success: bool) -> bool:
        """Decide about the refunds of a payment that wait; whether there were any."""
        waiting = self._waiting(payment)
        with self._world.store.transaction():
            for child in waiting:
                self._end(child, APPROVED if success else DECLINED)
        return bool(waiting)

    def _returnable(self, transaction_id: int) -> Transaction:
        transaction = self._book.transactions.get(f"{transaction_id}")
        if transaction is None:
            raise Refused(HTTPStatus.NOT_FOUND, {"detail": "Not found."})
        if not transaction.is_payment or transaction.is_voided:
            raise Refused(400, {"message": "This transaction has nothing to give back"})
        return transaction

    def _child(
        self, parent: Transaction, amount_cents: int, outcome: Outcome, *, pending: bool, is_refund: bool
    ) -> Transaction:
        now = self._world.clock.now()
        child = msgspec.structs.replace(
            parent,
            id=self._world.store.next_id("paymob.transaction_id", _TRANSACTION_BASE),
            amount_cents=amount_cents,
            created_at=now,
            updated_at=now,
            is_voided=False,
            is_refunded=False,
            refunded_amount_cents=0,
            is_void=not is_refund,
            is_refund=is_refund,
            parent_transaction=parent.id,
            pending=pending,
            **outcome._asdict(),
        )
        self._book.put_transaction(child)
        return child

    def _end(self, child: Transaction, outcome: Outcome) -> None:
        """Tell how a refund ended, and of the payment when money went back."""
        child = msgspec.structs.replace(child, pending=False, updated_at=self._world.clock.now(), **outcome._asdict())
        self._book.put_transaction(child)
        self._book.owe_callback(child)
        if outcome.success:
            parent = self._book.transactions.get(f"{child.parent_transaction}")
            assert parent is not None, "a child is made of a payment that exists"
            total = parent.refunded_amount_cents + child.amount_cents
            self._tell(msgspec.structs.replace(parent, is_refunded=True, refunded_amount_cents=total))

    def _tell(self, parent: Transaction) -> None:
        parent = msgspec.structs.replace(parent, updated_at=self._world.clock.now())
        self._book.put_transaction(parent)
        self._book.owe_callback(parent)

    def _waiting(self, payment: Transaction) -> list[Transaction]:
        family = self._book.transactions.children(f"{payment.order_id}")
        return [one for one in family if one.parent_transaction == payment.id and one.pending]


def payment_of(book: Book, returns: Returns, order_id: int) -> Transaction:
    """Return the newest payment of an order that has something left to give back.

    Raises:
        CannotActError: there is none.
    """
    for transaction in reversed(book.transactions.children(f"{order_id}")):
        if transaction.is_payment and returns.left_cents(transaction):
            return transaction
    raise CannotActError("there is no payment to refund")
