"""What the payer does at Fawry when a test asks, and the ledger of what came of it."""

from collections.abc import Sequence

from .fawry_book import Book
from .fawry_records import Order
from .psp import Act, CannotActError, LedgerRow, PayerCommand, Refused, State, UnknownReferenceError, folded


def ledger(book: Book) -> list[LedgerRow]:
    """Return one row per merchant reference."""
    cases: dict[str, list[Order]] = {}
    for order in book.all():
        cases.setdefault(folded(order.merchant_number), []).append(order)
    return [_row(reference, orders) for reference, orders in cases.items()]


def act(book: Book, command: PayerCommand) -> None:
    """Do something with the newest order under this reference.

    Raises:
        UnknownReferenceError: there is no such order.
        CannotActError: not with this order in its present state.
    """
    order = _order(book, command)
    if command.act == "refund":
        _refund(book, order, command.amount_minor)
    else:
        settle(book, order, command.act)


def settle(book: Book, order: Order, act: Act) -> Order:
    """Do to an order what its payer does, at the till, on the page or by the control plane.

    Raises:
        CannotActError: not with this order in its present state.
    """
    match act:
        case "pay":
            return book.pay(order)
        case "decline":
            return book.decline(order)
        case "cancel":
            return book.cancel(order)
        case "expire":
            return book.expire(order)
        case other:
            raise CannotActError(f"Fawry knows no {other}")


def _order(book: Book, command: PayerCommand) -> Order:
    wanted, reference = command.transaction_reference_id, command.merchant_reference
    orders = book.family(reference) if reference else []
    if wanted is not None:
        orders = [order for order in orders if order.number == wanted]
    elif folded(reference) != reference:
        orders = [order for order in orders if order.merchant_number == reference]
    if not orders:
        raise UnknownReferenceError(reference)
    return orders[-1]


def _refund(book: Book, order: Order, amount_minor: int | None) -> None:
    """Give back all that is left, unless told how much."""
    amount = order.paid_minor - order.refunded_minor if amount_minor is None else amount_minor
    if amount < 1:
        raise CannotActError("there is nothing to refund")
    try:
        book.refund(order, amount)
    except Refused as refusal:
        raise CannotActError(f"{refusal.body['statusDescription']}") from refusal


def _row(reference: str, orders: Sequence[Order]) -> LedgerRow:
    """An order that the merchant ended before anybody paid it counts no more: no payer could pay it."""
    paid, refunded = sum(order.paid_minor for order in orders), sum(order.refunded_minor for order in orders)
    newest = orders[-1]
    return LedgerRow(
        psp="fawry",
        merchant_reference=reference,
        transaction_reference_id=newest.number,
        amount_minor=newest.amount_minor,
        currency="EGP",
        state=_state(orders, paid, refunded),
        registered=sum(not order.ended_by_merchant for order in orders),
        paid_minor=paid,
        refunded_minor=refunded,
    )


def _state(orders: Sequence[Order], paid: int, refunded: int) -> State:
    if paid:
        if refunded:
            return "refunded" if refunded == paid else "partially_refunded"
        return "paid"
    if any(order.is_open for order in orders):
        return "open"
    return {"EXPIRED": "expired", "CANCELED": "voided"}.get(orders[-1].status, "failed")  # type: ignore[return-value]
