"""What the payer does at Paymob, at a page or when a test asks, and the ledger of what came of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from .clock import Clock
from .paymob_book import Book
from .paymob_records import (
    APPROVED,
    CANCELLED,
    DECLINED,
    KIOSK_PAID,
    WALLET_DECLINED,
    WALLET_PAID,
    Order,
    Outcome,
    PaymentKey,
    Transaction,
)
from .paymob_returns import Returns, payment_of
from .psp import Act, CannotActError, LedgerRow, PayerCommand, Refused, State, UnknownReferenceError, folded

_CARD = {"pan": "2346", "sub_type": "MasterCard"}  # the payer's card: the first of Paymob's published ones
_CARD_TRIES: Final[Mapping[Act, Outcome]] = {"pay": APPROVED, "decline": DECLINED, "cancel": CANCELLED}
_WALLET_TRIES: Final[Mapping[Act, Outcome]] = {"pay": WALLET_PAID, "decline": WALLET_DECLINED, "cancel": CANCELLED}


class _Case(NamedTuple):
    """All that belongs to one merchant reference, each list oldest first."""

    orders: list[Order]
    keys: list[PaymentKey]
    transactions: list[Transaction]

    @property
    def order(self) -> Order:
        """The order that was made payable last, else the newest."""
        by_id = {order.id: order for order in self.orders}
        return by_id[self.keys[-1].order_id] if self.keys else self.orders[-1]


def ledger(book: Book, clock: Clock) -> list[LedgerRow]:
    """Return one row per merchant reference; an order without one has a row of its own."""
    keys, transactions = defaultdict(list), defaultdict(list)
    for key in book.keys.all():
        keys[key.order_id].append(key)
    for transaction in book.transactions.all():
        transactions[transaction.order_id].append(transaction)
    cases: dict[str | int, _Case] = {}
    for order in book.orders.all():
        name = order.id if order.merchant_order_id is None else folded(order.merchant_order_id)
        case = cases.setdefault(name, _Case([], [], []))
        case.orders.append(order)
        case.keys.extend(keys[order.id])
        case.transactions.extend(transactions[order.id])
    for case in cases.values():
        case.keys.sort(key=lambda key: key.created_at)
    return [_row(None if isinstance(name, int) else name, case, clock.now()) for name, case in cases.items()]


def act(book: Book, returns: Returns, clock: Clock, command: PayerCommand) -> None:
    """Do what the payer does with the order that was made payable last under this reference.

    The last three are Paymob's own: its refunds of a payment wait from now on, are done, or fail.

    Raises:
        UnknownReferenceError: there is no such order.
        CannotActError: not with this order in its present state.
    """
    case = _case(book, command)
    order = case.order
    keys = [key for key in case.keys if key.order_id == order.id]
    transactions = [transaction for transaction in case.transactions if transaction.order_id == order.id]
    waiting = next((each for each in reversed(transactions) if each.pending and each.parent_transaction is None), None)
    try:
        match command.act:
            case "refund":
                _refund(returns, payment_of(book, returns, order.id), command.amount_minor)
            case "review":
                returns.plan(payment_of(book, returns, order.id), "wait")
            case "release" | "deny":
                _end_refunds(book, returns, transactions, order, done=command.act == "release")
            case "expire":
                is_bill = waiting is not None and waiting.kind == "aggregator"
                expire(book, clock, order, waiting if is_bill else None)
            case "pay" | "decline" | "cancel" as tried:
                _try(book, keys, waiting, tried)
            case other:
                raise CannotActError(f"Paymob knows no {other}")
    except Refused as refusal:
        raise CannotActError(refusal.detail) from refusal


def try_card(book: Book, token: str, act: Act) -> Transaction:
    """Make one try with a payment key, as a payer who fills in a card that pays, one that declines, or gives up.

    Raises:
        Refused: the key cannot be used.
    """
    _, key = book.usable(token, "card")
    return book.try_card(key, _CARD_TRIES[act], **_CARD)


def settle(book: Book, waiting: Transaction, act: Act) -> Transaction:
    """End a wallet payment or a kiosk bill that waits.

    Raises:
        Refused: it has ended, or its key cannot be used any more.
        CannotActError: a kiosk bill is paid, and nothing else.
    """
    if waiting.kind != "aggregator":
        book.usable(waiting.payment_token, waiting.kind)
        return book.settle(waiting, _WALLET_TRIES[act])
    if act != "pay":
        raise CannotActError("a kiosk bill is paid or expires; it cannot be declined or cancelled")
    return book.settle(waiting, KIOSK_PAID)


def expire(book: Book, clock: Clock, order: Order, bill: Transaction | None = None) -> None:
    """Let the bill expire, which Paymob reports, or the order's keys, which it does not.

    Raises:
        CannotActError: there is nothing left to expire.
    """
    if bill is not None:
        book.expire_bill(bill)
        return
    live = [key for key in book.keys.children(f"{order.id}") if key.expires_at > clock.now()]
    if order.paid_cents or not live:
        raise CannotActError("nothing is left to expire")
    for key in live:
        book.put_key(msgspec.structs.replace(key, expires_at=clock.now()))


def _case(book: Book, command: PayerCommand) -> _Case:
    """Gather the orders of a reference: of exactly this one when it has a retry suffix, else of it and its retries."""
    wanted, reference = command.transaction_reference_id, command.merchant_reference
    orders = book.orders.children(folded(reference)) if reference else []
    if wanted is not None:
        orders = [order for order in orders if f"{order.id}" == wanted]
    elif folded(reference) != reference:
        orders = [order for order in orders if order.merchant_order_id == reference]
    if not orders:
        raise UnknownReferenceError(reference)
    keys = [key for order in orders for key in book.keys.children(f"{order.id}")]
    keys.sort(key=lambda key: key.created_at)
    return _Case(orders, keys, [each for order in orders for each in book.transactions.children(f"{order.id}")])


def _try(book: Book, keys: Sequence[PaymentKey], waiting: Transaction | None, act: Act) -> None:
    """End the payment that waits, or make a try in the card page with the newest key."""
    if waiting is not None:
        settle(book, waiting, act)
    elif keys:
        cards = [key for key in keys if book.kind_of(key.integration_id) == "card"]
        try_card(book, (cards or keys)[-1].token, act)
    else:
        raise CannotActError("the order has no payment key: a payer cannot reach it")


def _refund(returns: Returns, payment: Transaction, amount_minor: int | None) -> None:
    """Refund a payment, all of what is left unless told."""
    amount = returns.left_cents(payment) if amount_minor is None else amount_minor
    if amount < 1:
        raise CannotActError("amount_minor must be at least 1")
    returns.refund(payment.id, amount)


def _end_refunds(
    book: Book, returns: Returns, transactions: Iterable[Transaction], order: Order, *, done: bool
) -> None:
    """End the refunds that wait; where none does, the next ones are done at once, or fail at once."""
    payments = [each for each in transactions if each.is_payment]
    ended = [returns.end_waiting(each, success=done) for each in payments]
    if not any(ended):
        returns.plan(payment_of(book, returns, order.id), "done" if done else "fail")


def _row(reference: str | None, case: _Case, now: float) -> LedgerRow:
    order = case.order
    payments = [transaction for transaction in case.transactions if transaction.is_payment]
    paid = sum(payment.amount_cents for payment in payments)
    refunded = sum(payment.returned_cents for payment in payments)
    return LedgerRow(
        psp="paymob",
        merchant_reference=reference,
        transaction_reference_id=f"{order.id}",
        amount_minor=order.amount_cents,
        currency=order.currency,
        state=_state(case, paid, refunded, now),
        registered=len({key.order_id for key in case.keys}),
        paid_minor=paid,
        refunded_minor=refunded,
    )


def _state(case: _Case, paid: int, refunded: int, now: float) -> State:
    if paid and refunded:
        if all(transaction.is_voided for transaction in case.transactions if transaction.is_payment):
            return "voided"
        return "refunded" if refunded == paid else "partially_refunded"
    if paid:
        return "paid"
    bills = [transaction for transaction in case.transactions if transaction.kind == "aggregator"]
    payable = any(bill.pending for bill in bills) if bills else any(key.expires_at > now for key in case.keys)
    return "expired" if case.keys and not payable else "open"
