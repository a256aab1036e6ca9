"""The books of the fake PayPal: every rule about which money may come, and the webhook that each step owes.

What goes back of it is in paypal_refunds.py.

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
)
from .paypal_forms import OrderRequest
from .paypal_issues import issue
from .paypal_records import Capture, CaptureStatus, Order, Plan, Refund
from .paypal_shapes import Account, Story, buyer_link
from .psp import Refused, World, folded
from .store import Table

_APPROVAL_SECONDS: Final = 3 * 3600  # documented: three hours to approve, and three more to capture

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
        self.answers = Answers(store, world.clock)
        self.account = Account(
            merchant_id=store.fact("paypal.merchant_id", fresh_account()),
            payer_id=store.fact("paypal.payer_id", fresh_account()),
        )

    def register(self, request: OrderRequest, once: Once, base_url: str) -> tuple[Order, bool]:
        """Take a new order; the second value tells that this id had one already."""
        done = self.answers.first(once)
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
            self.answers.remember(once, order.id)
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
            self.owe(approved, approved_event(approved, self.account, now))
        return approved

    def capture(self, order_id: str, once: Once) -> tuple[Story, bool]:
        """Move the money of an approved order; the second value tells that this id did it already."""
        done = self.answers.first(once)
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
            self.answers.remember(once, order.id, declined)
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
                self.put_capture(ended)
                kind: CaptureEvent = "COMPLETED" if status == "COMPLETED" else "DENIED"
                self.owe(order, capture_event(ended, kind, order.base_url, now))

    def expire(self, order: Order) -> None:
        """End the life of an order now. Of an approved one PayPal tells; it forgets the others silently."""
        now = self._world.clock.now()
        with self._world.store.transaction():
            self._put_order(msgspec.structs.replace(order, expires_at=now))
            if order.status == "APPROVED":
                self.owe(order, approval_reversed_event(order, now))

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

    def put_capture(self, capture: Capture) -> None:
        """Write a capture."""
        self.captures.put(capture, key=capture.id, parent=capture.order_id)

    def owe(self, order: Order, body: bytes) -> None:
        """Send a webhook about an order, once what it tells is on disk."""
        reference = None if order.custom_id is None else folded(order.custom_id)
        self._world.deliveries.schedule(self._sender, reference, body)

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
            self.put_capture(capture)
            if status != "DECLINED":
                self.answers.use("payment", unit.invoice_id, order.id)
            self.owe(order, capture_event(capture, event, order.base_url, now))
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

    def _refuse_used_invoices(self, order: Order) -> None:
        if any(self.answers.is_used("payment", unit.invoice_id) for unit in order.units):
            raise issue("DUPLICATE_INVOICE_ID")

    def _put_order(self, order: Order) -> None:
        self.orders.put(order, key=order.id, parent=folded(order.custom_id or ""))
