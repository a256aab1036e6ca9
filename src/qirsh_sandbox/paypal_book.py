"""The books of the fake PayPal: every rule about which money may move, and the webhook that each step owes.

Each public method is one atomic step: what it changed, its answer under the request's id, and the webhooks it owes are
on disk together, or not at all.
"""

from typing import Final, Literal

import msgspec

from .deliveries import Sender
from .paypal_answers import Answers, Once
from .paypal_events import (
    CaptureEvent,
    approval_reversed_event,
    approved_event,
    capture_event,
    fresh_account,
    fresh_id,
    refund_event,
)
from .paypal_forms import OrderRequest, RefundRequest
from .paypal_issues import issue
from .paypal_records import Capture, CaptureStatus, Order, Plan, Refund
from .paypal_shapes import Account, Story, buyer_link
from .psp import Refused, World, folded
from .store import Table

_APPROVAL_SECONDS: Final = 3 * 3600  # documented: three hours to approve, and three more to capture
_REFUND_SECONDS: Final = 180 * 86_400  # documented: how long a payment can be given back

_ENDS: Final[dict[Plan, tuple[CaptureStatus, CaptureEvent]]] = {
    "pay": ("COMPLETED", "COMPLETED"),
    "review": ("PENDING", "PENDING"),
    "deny": ("DECLINED", "DECLINED"),
}


class Book:
    """Orders, captures and refunds of one merchant."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world = world
        self._sender = sender
        store = world.store
        self.orders = Table(store, "paypal.order", Order)
        self.captures = Table(store, "paypal.capture", Capture)
        self.refunds = Table(store, "paypal.refund", Refund)
        self._answers = Answers(store, world.clock)
        self.account = Account(
            merchant_id=store.fact("paypal.merchant_id", fresh_account()),
            payer_id=store.fact("paypal.payer_id", fresh_account()),
        )

    def register(self, request: OrderRequest, once: Once, base_url: str) -> tuple[Order, bool]:
        """Take a new order; the second value tells that this id had one already."""
        done = self._answers.first(once)
        if done is not None:
            return self.order(done.target), True
        now = self._world.clock.now()
        order = Order(
            id=fresh_id(),
            intent=request.intent,
            status="PAYER_ACTION_REQUIRED" if request.wallet_form else "CREATED",
            wallet_form=request.wallet_form,
            units=request.units,
            base_url=base_url,
            created_at=now,
            updated_at=now,
            expires_at=now + _APPROVAL_SECONDS,
            return_url=request.return_url,
            cancel_url=request.cancel_url,
            ships=request.ships,
        )
        self._refuse_used_invoices(order)
        with self._world.store.transaction():
            self._put_order(order)
            self._answers.remember(once, order.id)
        return order, False

    def approve(self, order_id: str, plan: Plan) -> Order:
        """Let the payer approve; the capture will then end as planned. No money moves."""
        order = self.live(order_id)
        if order.status == "COMPLETED":
            raise issue("ORDER_ALREADY_CAPTURED")
        now = self._world.clock.now()
        approved = msgspec.structs.replace(
            order, status="APPROVED", plan=plan, updated_at=now, expires_at=now + _APPROVAL_SECONDS
        )
        with self._world.store.transaction():
            self._put_order(approved)
            self._owe(approved, approved_event(approved, self.account, now))
        return approved

    def capture(self, order_id: str, once: Once) -> tuple[Story, bool]:
        """Move the money of an approved order; the second value tells that this id did it already."""
        done = self._answers.first(once)
        if done is not None:
            story = self.story(self.order(done.target))
            if done.issue is not None:
                raise self._declined(story.order, done.issue)
            return story, True
        order = self.live(order_id)
        if order.intent != "CAPTURE":
            raise issue("ACTION_DOES_NOT_MATCH_INTENT")
        if order.status == "COMPLETED":
            raise issue("ORDER_ALREADY_CAPTURED")
        if order.status != "APPROVED":
            raise issue("ORDER_NOT_APPROVED")
        self._refuse_used_invoices(order)
        declined = "INSTRUMENT_DECLINED" if order.plan == "decline" else None
        with self._world.store.transaction():
            order = self._send_payer_back(order) if declined else self._settle(order)
            self._answers.remember(once, order.id, declined)
        if declined is not None:
            raise self._declined(order, declined)
        return self.story(order), False

    def end_review(self, order: Order, status: Literal["COMPLETED", "DECLINED"]) -> None:
        """Decide about the captures that are pending."""
        waiting = [capture for capture in self.captures.children(order.id) if capture.status == "PENDING"]
        now = self._world.clock.now()
        with self._world.store.transaction():
            for capture in waiting:
                ended = msgspec.structs.replace(capture, status=status, updated_at=now)
                self._put_capture(ended)
                kind: CaptureEvent = "COMPLETED" if status == "COMPLETED" else "DENIED"
                self._owe(order, capture_event(ended, kind, order.base_url, now))

    def refund(self, capture_id: str, request: RefundRequest, once: Once) -> tuple[Refund, bool]:
        """Give a capture back, or a part of it; the second value tells that this id did it already."""
        done = self._answers.first(once)
        if done is not None:
            first = self.refunds.get(done.target)
            assert first is not None, "it was written with its request's id"
            return first, True
        capture = self._refundable(capture_id, request)
        amount = capture.left_minor if request.amount_minor is None else request.amount_minor
        if amount > capture.left_minor:
            raise issue("REFUND_AMOUNT_EXCEEDED", api="payments")
        with self._world.store.transaction():
            self._answers.use("refund", request.invoice_id, capture.id)
            refund = self._give_back(capture, amount, request, "REFUNDED")
            self._answers.remember(once, refund.id)
        return refund, False

    def reverse(self, capture: Capture) -> None:
        """Take all that is left from the merchant, as after a dispute that he lost."""
        request = RefundRequest(None, None, None, None, "Payment reversed")
        with self._world.store.transaction():
            self._give_back(capture, capture.left_minor, request, "REVERSED")

    def expire(self, order: Order) -> None:
        """End the life of an order now. Of an approved one PayPal tells; it forgets the others silently."""
        now = self._world.clock.now()
        with self._world.store.transaction():
            self._put_order(msgspec.structs.replace(order, expires_at=now))
            if order.status == "APPROVED":
                self._owe(order, approval_reversed_event(order, now))

    def is_live(self, order: Order) -> bool:
        """Whether PayPal still knows the order."""
        return order.status == "COMPLETED" or order.expires_at > self._world.clock.now()

    def live(self, order_id: str) -> Order:
        """Return an order that has not expired.

        Raises:
            Refused: 404, as for one that never was.
        """
        order = self.orders.get(order_id)
        if order is None or not self.is_live(order):
            raise issue("INVALID_RESOURCE_ID")
        return order

    def order(self, order_id: str) -> Order:
        """Return an order that some other record names."""
        order = self.orders.get(order_id)
        assert order is not None, "records are made for orders that exist"
        return order

    def story(self, order: Order) -> Story:
        """Return an order with what became of it."""
        captures = self.captures.children(order.id)
        return Story(order, captures, [each for capture in captures for each in self.refunds.children(capture.id)])

    def _settle(self, order: Order) -> Order:
        now = self._world.clock.now()
        status, event = _ENDS[order.plan]
        order = msgspec.structs.replace(order, status="COMPLETED", updated_at=now)
        self._put_order(order)
        for number, unit in enumerate(order.units):
            capture = Capture(
                id=fresh_id(),
                order_id=order.id,
                unit=number,
                amount_minor=unit.amount_minor,
                currency=unit.currency,
                status=status,
                custom_id=unit.custom_id,
                invoice_id=unit.invoice_id,
                created_at=now,
                updated_at=now,
            )
            self._put_capture(capture)
            if status != "DECLINED":
                self._answers.use("payment", unit.invoice_id, order.id)
            self._owe(order, capture_event(capture, event, order.base_url, now))
        return order

    def _send_payer_back(self, order: Order) -> Order:
        """Take the approval back: the payer has to choose another way to pay, and to approve that."""
        status: Literal["PAYER_ACTION_REQUIRED", "CREATED"] = (
            "PAYER_ACTION_REQUIRED" if order.wallet_form else "CREATED"
        )
        order = msgspec.structs.replace(order, status=status, plan="pay", updated_at=self._world.clock.now())
        self._put_order(order)
        return order

    def _declined(self, order: Order, name: str) -> Refused:
        return issue(name, more=[buyer_link(order, "redirect")])

    def _refundable(self, capture_id: str, request: RefundRequest) -> Capture:
        capture = self.captures.get(capture_id)
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
        elif self._answers.is_used("refund", request.invoice_id):
            reason = "DUPLICATE_INVOICE_ID"
        if reason is not None:
            raise issue(reason, api="payments")
        return capture

    def _give_back(
        self, capture: Capture, amount: int, request: RefundRequest, kind: Literal["REFUNDED", "REVERSED"]
    ) -> Refund:
        now, order = self._world.clock.now(), self.order(capture.order_id)
        total = capture.refunded_minor + amount
        status: CaptureStatus = "REFUNDED" if total == capture.amount_minor else "PARTIALLY_REFUNDED"
        self._put_capture(msgspec.structs.replace(capture, refunded_minor=total, status=status, updated_at=now))
        refund = Refund(
            id=fresh_id(),
            capture_id=capture.id,
            amount_minor=amount,
            currency=capture.currency,
            total_refunded_minor=total,
            created_at=now,
            custom_id=request.custom_id or capture.custom_id,
            invoice_id=request.invoice_id or capture.invoice_id,
            note_to_payer=request.note_to_payer,
        )
        self.refunds.put(refund, key=refund.id, parent=capture.id)
        self._owe(order, refund_event(refund, kind, order.base_url, now))
        return refund

    def _refuse_used_invoices(self, order: Order) -> None:
        if any(self._answers.is_used("payment", unit.invoice_id) for unit in order.units):
            raise issue("DUPLICATE_INVOICE_ID")

    def _owe(self, order: Order, body: bytes) -> None:
        reference = None if order.custom_id is None else folded(order.custom_id)
        self._world.deliveries.schedule(self._sender, reference, body)

    def _put_order(self, order: Order) -> None:
        self.orders.put(order, key=order.id, parent=folded(order.custom_id or ""))

    def _put_capture(self, capture: Capture) -> None:
        self.captures.put(capture, key=capture.id, parent=capture.order_id)
