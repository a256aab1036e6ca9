"""What the payer does at PayPal, on its page or when a test asks, what PayPal decides, and the ledger of both."""

from collections.abc import Sequence
from typing import Final

from .paypal_answers import Once
from .paypal_book import Book
from .paypal_forms import RefundRequest
from .paypal_money import step
from .paypal_records import Capture, Order, Plan
from .paypal_refunds import Refunds
from .psp import Act, CannotActError, LedgerRow, PayerCommand, Refused, State, UnknownReferenceError, folded

_PLANS: Final[dict[Act, Plan]] = {"pay": "pay", "decline": "decline", "review": "review", "deny": "deny"}


def ledger(book: Book) -> list[LedgerRow]:
    """Return one row per merchant reference; an order without one has a row of its own."""
    cases: dict[tuple[str | None, str], list[Order]] = {}
    for order in book.orders.all():
        name = (None, order.id) if order.custom_id is None else (folded(order.custom_id), "")
        cases.setdefault(name, []).append(order)
    return [_row(book, reference, orders) for (reference, _), orders in cases.items()]


def act(book: Book, refunds: Refunds, command: PayerCommand) -> None:
    """Do something with the newest order under this reference.

    Raises:
        UnknownReferenceError: there is no such order.
        CannotActError: not with this order in its present state.
    """
    order = _order(book, command)
    captures = book.captures.children(order.id)
    under_review = any(capture.status == "PENDING" for capture in captures)
    try:
        match command.act:
            case "release" | "deny" if under_review:
                book.end_review(order, "COMPLETED" if command.act == "release" else "DECLINED")
            case "release":
                refunds.end(order, "COMPLETED")
            case "deny" if captures:
                refunds.end(order, "FAILED")
            case "review" if any(capture.left_minor for capture in captures):
                refunds.slow_down(_capture_to_return(captures))
            case "refund":
                _refund(refunds, captures, command.amount_minor)
            case "reverse":
                refunds.reverse(_capture_to_return(captures))
            case "cancel":
                _refuse_unless_open(book, order)
            case "expire":
                expire(book, order)
            case approval:
                approve(book, order, approval)
    except Refused as refusal:
        raise CannotActError(refusal.detail) from refusal


def approve(book: Book, order: Order, act: Act) -> None:
    """Let the payer approve; the act says how the capture will end.

    Raises:
        CannotActError: the order is approved, captured or over.
        Refused: PayPal knows it no more.
    """
    _refuse_unless_open(book, order)
    book.approve(order.id, _PLANS[act])


def expire(book: Book, order: Order) -> None:
    """End the life of an order that is not captured.

    Raises:
        CannotActError: it is captured, or over already.
    """
    _refuse_if_over(book, order)
    book.expire(order)


def _order(book: Book, command: PayerCommand) -> Order:
    reference, wanted = command.merchant_reference, command.transaction_reference_id
    orders = book.orders.children(folded(reference)) if reference else []
    if wanted is not None:
        orders = [order for order in orders if order.id == wanted]
    elif folded(reference) != reference:
        orders = [order for order in orders if order.custom_id == reference]
    if not orders:
        raise UnknownReferenceError(reference)
    return orders[-1]


def _refuse_if_over(book: Book, order: Order) -> None:
    if order.status == "COMPLETED":
        raise CannotActError("the order is captured")
    if not book.is_live(order):
        raise CannotActError("the order has expired")


def _refuse_unless_open(book: Book, order: Order) -> None:
    _refuse_if_over(book, order)
    if order.status == "APPROVED":
        raise CannotActError("the order is approved already and waits for its capture")


def _capture_to_return(captures: Sequence[Capture]) -> Capture:
    capture = next((capture for capture in reversed(captures) if capture.left_minor), None)
    if capture is None:
        raise CannotActError("there is no payment to refund")
    return capture


def _refund(refunds: Refunds, captures: Sequence[Capture], amount_minor: int | None) -> None:
    """Refund the newest payment that has something left, all of what is left unless told."""
    capture = _capture_to_return(captures)
    if amount_minor is not None and (amount_minor < 1 or amount_minor % step(capture.currency)):
        raise CannotActError(f"amount_minor must be a multiple of {step(capture.currency)}, and more than nothing")
    request = RefundRequest(capture.currency, amount_minor, None, None, None)
    refunds.make(capture.id, request, Once("refund", capture.id, None))


def _row(book: Book, reference: str | None, orders: Sequence[Order]) -> LedgerRow:
    captures = [capture for order in orders for capture in book.captures.children(order.id)]
    paid = sum(capture.amount_minor for capture in captures if capture.is_paid)
    refunded = sum(capture.refunded_minor for capture in captures)
    newest = orders[-1]
    return LedgerRow(
        psp="paypal",
        merchant_reference=reference,
        transaction_reference_id=newest.id,
        amount_minor=newest.amount_minor,
        currency=newest.currency,
        state=_state(book, orders, captures, paid, refunded),
        registered=len(orders),
        paid_minor=paid,
        refunded_minor=refunded,
    )


def _state(book: Book, orders: Sequence[Order], captures: Sequence[Capture], paid: int, refunded: int) -> State:
    if paid:
        if refunded:
            return "refunded" if refunded == paid else "partially_refunded"
        return "paid"
    waits = any(capture.status == "PENDING" for capture in captures)
    if waits or any(order.status != "COMPLETED" and book.is_live(order) for order in orders):
        return "open"
    return "failed" if captures else "expired"
