"""What waits for a payer at Paymob: in words for its pages, as a list, and at the kiosk's till.

A kiosk bill has no page at Paymob. The till is the sandbox's own, and does what the control plane does.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode, urlsplit

from .clock import Clock
from .config import PaymobConfig
from .page_parts import EXPIRE, Due, named_items
from .pages import Text
from .paymob_book import Book
from .paymob_payer import expire, settle
from .paymob_records import Kind, Order, PaymentKey, Transaction
from .paymob_shapes import wallet_page_url
from .psp import Act, CannotActError, UnknownReferenceError
from .till import LISTED, Till, Waiting

KIOSK: Final = "/__sandbox/paymob"
CHECKOUT: Final = "/unifiedcheckout/"
TITLE: Final = "Paymob"
TILL: Final = Text("The kiosk", "الكشك")

METHODS: Final[dict[Kind, Text]] = {
    "card": Text("Card", "بطاقة"),
    "wallet": Text("Mobile wallet", "محفظة الهاتف"),
    "aggregator": Text("Kiosk (Aman, Masary)", "كشك (أمان، مصاري)"),
}
_PAY: Final = Text("Pay at the kiosk", "ادفع في الكشك")
_CASH: Final = Text(
    "A kiosk bill is paid or expires: Paymob lets nobody decline or cancel it.",
    "فاتورة الكشك تُدفع أو تنتهي مهلتها: لا تتيح Paymob رفضها أو إلغاءها.",
)
_ABOUT: Final = Text(
    "What a payer does at an Aman or Masary kiosk, for every bill that waits.",
    "ما يفعله الدافع في كشك أمان أو مصاري، لكل فاتورة تنتظر الدفع.",
)
_SEARCHED: Final = 500  # the newest transactions; older bills are found by their number


class Dues:
    """The open payments of one merchant."""

    def __init__(self, config: PaymobConfig, book: Book, clock: Clock) -> None:
        self._config = config
        self._book = book
        self._clock = clock
        self.till = Till(TITLE, KIOSK, TILL, (_ABOUT,), self._bills, self._bill, self._settle)

    def newest(self, limit: int) -> list[Due]:
        """Return what waits for a payer, newest first."""
        orders = self._book.orders.page(limit=limit, offset=0)
        return [due for order in orders if not order.paid_cents for due in self._of(order)]

    def _of(self, order: Order) -> Iterator[Due]:
        """Return the payments that have begun and wait, and else the page where one can begin."""
        begun = [one for one in self._book.transactions.children(f"{order.id}") if one.pending]
        live = [key for key in self._book.keys.children(f"{order.id}") if key.expires_at > self._clock.now()]
        tokens = {key.token for key in live}
        for one in begun:
            if one.kind == "aggregator":
                yield transaction_due(one, order, f"{KIOSK}?number={one.id}")
            elif one.payment_token in tokens:
                address = urlsplit(wallet_page_url(one, order, self._book.merchant))
                yield transaction_due(one, order, f"{address.path}?{address.query}")
        payable = [key for key in live if key.intention_id or self._book.kind_of(key.integration_id) == "card"]
        if payable and not begun:
            yield order_due(order, self._book.kind_of(payable[-1].integration_id) or "card", self._page(payable[-1]))

    def _page(self, key: PaymentKey) -> str:
        if not key.intention_id:
            query = urlencode({"payment_token": key.token})
            return f"/api/acceptance/iframes/{self._config.iframe_id}?{query}"
        (intention,) = self._book.intentions.children(f"{key.order_id}")
        query = urlencode({"publicKey": self._config.public_key, "clientSecret": intention.client_secret})
        return f"{CHECKOUT}?{query}"

    def _bills(self) -> list[Waiting]:
        newest = self._book.transactions.page(limit=_SEARCHED, offset=0)
        bills = [one for one in newest if one.kind == "aggregator" and one.pending]
        return [self._at_the_kiosk(bill) for bill in bills[:LISTED]]

    def _bill(self, number: str) -> Waiting | None:
        bill = self._book.transactions.get(number)
        return None if bill is None or bill.kind != "aggregator" else self._at_the_kiosk(bill)

    def _at_the_kiosk(self, bill: Transaction) -> Waiting:
        due = transaction_due(bill, self._book.order(bill.order_id), f"{KIOSK}?number={bill.id}")
        if bill.pending:
            return Waiting(due, "PENDING", _PAY, {"expire": EXPIRE}, (_CASH,))
        return Waiting(due, "PAID" if bill.success else "EXPIRED")

    def _settle(self, number: str, act: Act) -> None:
        bill = self._book.transactions.get(number)
        if bill is None or bill.kind != "aggregator":
            raise UnknownReferenceError(number)
        if not bill.pending:
            raise CannotActError("this bill has ended already")
        if act == "expire":
            expire(self._book, self._clock, self._book.order(bill.order_id), bill)
        else:
            settle(self._book, bill, act)


def order_due(order: Order, kind: Kind, page: str) -> Due:
    """Say what an order asks for."""
    return Due(
        psp="paymob",
        product=named_items(order.items, "name"),
        reference=order.merchant_order_id or "",
        number=f"{order.id}",
        method=METHODS[kind],
        amount=money(order.amount_cents, order.currency),
        page=page,
        created_at=order.created_at,
    )


def transaction_due(transaction: Transaction, order: Order, page: str) -> Due:
    """Say what a payment that waits asks for; the number is that which its payer quotes."""
    method = METHODS[transaction.kind]
    if transaction.pan:
        method = Text(f"{method.en}, {transaction.pan}", f"{method.ar}، {transaction.pan}")
    number = f"{transaction.id if transaction.kind == 'aggregator' else order.id}"
    return order_due(order, transaction.kind, page)._replace(
        method=method, number=number, amount=money(transaction.amount_cents, transaction.currency)
    )


def money(cents: int, currency: str) -> str:
    """Write an amount as the payer reads it."""
    return f"{currency} {cents // 100}.{cents % 100:02}"
