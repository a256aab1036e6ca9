"""Money that goes back at the fake PayPal: every rule about it, and the webhook that each step owes.

As in the books, each public method is one atomic step. PayPal's documents say nothing of what a capture's status is
while a refund is pending, or after one failed: here only refunds that are done count.
"""

from typing import Final, Literal

import msgspec

from .paypal_answers import Once
from .paypal_book import Book
from .paypal_events import RefundEvent, fresh_id, refund_event
from .paypal_forms import RefundRequest
from .paypal_issues import issue
from .paypal_records import Capture, CaptureStatus, Order, Refund
from .psp import CannotActError, World

_REFUND_SECONDS: Final = 180 * 86_400  # documented: how long a payment can be given back


class Refunds:
    """The refunds of one merchant."""

    def __init__(self, book: Book, world: World) -> None:
        self._book = book
        self._world = world

    def make(self, capture_id: str, request: RefundRequest, once: Once) -> tuple[Refund, bool]:
        """Give a capture back, or a part of it; the second value tells that this id did it already."""
        done = self._book.answers.first(once)
        if done is not None:
            first = self._book.refunds.get(done.target)
            assert first is not None, "it was written with its request's id"
            return first, True
        capture = self._refundable(capture_id, request)
        amount = capture.left_minor if request.amount_minor is None else request.amount_minor
        if amount > capture.left_minor:
            raise issue("REFUND_AMOUNT_EXCEEDED", api="payments")
        with self._world.store.transaction():
            self._book.answers.use("refund", request.invoice_id, capture.id)
            refund = self._begin(capture, amount, request)
            if capture.slow_refunds:
                self._owe(refund, "PAYMENT.REFUND.PENDING")
            else:
                refund = self._complete(refund, "PAYMENT.CAPTURE.REFUNDED")
            self._book.answers.remember(once, refund.id)
        return refund, False

    def reverse(self, capture: Capture) -> None:
        """Take all that is left from the merchant, as after a dispute that he lost."""
        request = RefundRequest(None, None, None, None, "Payment reversed")
        with self._world.store.transaction():
            self._complete(self._begin(capture, capture.left_minor, request), "PAYMENT.CAPTURE.REVERSED")

    def slow_down(self, capture: Capture) -> None:
        """Let the refunds of a capture be pending from now on, as those that PayPal pays by eCheck."""
        self._book.put_capture(msgspec.structs.replace(capture, slow_refunds=True))

    def end(self, order: Order, status: Literal["COMPLETED", "FAILED"]) -> None:
        """Decide about the refunds of an order that are pending; without any, the newest that is done may still fail.

        Raises:
            CannotActError: there is no such refund.
        """
        made = self._book.story(order).refunds
        chosen = [refund for refund in made if refund.status == "PENDING"]
        if not chosen and status == "FAILED":
            chosen = [refund for refund in made if refund.status == "COMPLETED"][-1:]
        if not chosen:
            raise CannotActError("no capture of this order is under review, and no refund of it can end so")
        with self._world.store.transaction():
            for refund in chosen:
                if status == "COMPLETED":
                    self._complete(refund, "PAYMENT.CAPTURE.REFUNDED")
                else:
                    self._fail(refund)

    def _refundable(self, capture_id: str, request: RefundRequest) -> Capture:
        capture = self._book.captures.get(capture_id)
        reason = None
        if capture is None:
            raise issue("INVALID_RESOURCE_ID", api="payments")
        if capture.status == "PENDING":
            reason = "PENDING_CAPTURE"
        elif not capture.is_paid:
            reason = "REFUND_NOT_ALLOWED"
        elif not capture.left_minor:
            reason = "CAPTURE_FULLY_REFUNDED"
        elif request.currency not in {None, capture.currency}:
            reason = "REFUND_CAPTURE_CURRENCY_MISMATCH"
        elif capture.created_at + _REFUND_SECONDS <= self._world.clock.now():
            reason = "REFUND_TIME_LIMIT_EXCEEDED"
        elif self._book.answers.is_used("refund", request.invoice_id):
            reason = "DUPLICATE_INVOICE_ID"
        if reason is not None:
            raise issue(reason, api="payments")
        return capture

    def _begin(self, capture: Capture, amount: int, request: RefundRequest) -> Refund:
        """Set the money aside."""
        self._move(capture, waiting=amount)
        refund = Refund(
            id=fresh_id(),
            capture_id=capture.id,
            amount_minor=amount,
            currency=capture.currency,
            total_refunded_minor=capture.refunded_minor,
            created_at=self._world.clock.now(),
            custom_id=request.custom_id or capture.custom_id,
            invoice_id=request.invoice_id or capture.invoice_id,
            note_to_payer=request.note_to_payer,
            status="PENDING",
        )
        self._put(refund)
        return refund

    def _complete(self, refund: Refund, event: RefundEvent) -> Refund:
        capture = self._capture(refund)
        self._move(capture, waiting=-refund.amount_minor, refunded=refund.amount_minor)
        total = capture.refunded_minor + refund.amount_minor
        now = self._world.clock.now()
        done = msgspec.structs.replace(refund, status="COMPLETED", total_refunded_minor=total, ended_at=now)
        self._put(done)
        self._owe(done, event)
        return done

    def _fail(self, refund: Refund) -> None:
        """Leave the money with the merchant, or give it back to him."""
        amount = refund.amount_minor
        if refund.status == "PENDING":
            self._move(self._capture(refund), waiting=-amount)
        else:
            self._move(self._capture(refund), refunded=-amount)
        failed = msgspec.structs.replace(refund, status="FAILED", ended_at=self._world.clock.now())
        self._put(failed)
        self._owe(failed, "PAYMENT.REFUND.FAILED")

    def _move(self, capture: Capture, *, waiting: int = 0, refunded: int = 0) -> None:
        total = capture.refunded_minor + refunded
        status: CaptureStatus = "REFUNDED" if total == capture.amount_minor else "PARTIALLY_REFUNDED"
        self._book.put_capture(
            msgspec.structs.replace(
                capture,
                waiting_minor=capture.waiting_minor + waiting,
                refunded_minor=total,
                status=status if total else "COMPLETED",
                updated_at=self._world.clock.now(),
            )
        )

    def _capture(self, refund: Refund) -> Capture:
        capture = self._book.captures.get(refund.capture_id)
        assert capture is not None, "refunds are made of captures that exist"
        return capture

    def _put(self, refund: Refund) -> None:
        self._book.refunds.put(refund, key=refund.id, parent=refund.capture_id)

    def _owe(self, refund: Refund, event: RefundEvent) -> None:
        order = self._book.order(self._capture(refund).order_id)
        self._book.owe(order, refund_event(refund, event, order.base_url, self._world.clock.now()))
