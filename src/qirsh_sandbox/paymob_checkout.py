"""Paymob's Unified Checkout: the payer of an intention picks a method, and pays by it.

The client secret in the address is the authority, as at Paymob.
"""

from html import escape
from string import Template
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from .config import PaymobConfig
from .pages import error_line, notice, page, see_other
from .paymob_book import Book
from .paymob_pages import Pages, money, texts
from .paymob_pay import pay_at_kiosk, pay_by_wallet
from .paymob_records import Kind, PaymentKey
from .psp import Refused, Route

PATH: Final = "/unifiedcheckout/"

_TITLE: Final = "Checkout"
_LABELS: Final[dict[Kind, str]] = {"card": "Card", "wallet": "Mobile wallet", "aggregator": "Kiosk (Aman, Masary)"}
_CHOICE: Final = Template('<p><a href="$path?$query">$label</a></p>')
_WALLET: Final = Template("""
<p>Order $order, <strong>$amount</strong></p>
$error
<form method="post" autocomplete="off">
<label>Wallet number <input name="wallet" inputmode="tel" maxlength="11" value="01010101010"></label>
<button name="action" value="pay">Go on to the wallet</button>
</form>
""")
_KIOSK: Final = Template("""
<p>Order $order, <strong>$amount</strong></p>
<form method="post"><button name="action" value="pay">Get the number to pay with</button></form>
""")
_BILL: Final = Template("""
<p>Quote this number at an Aman or Masary kiosk and pay <strong>$amount</strong>:</p>
<p><strong><code>$reference</code></strong></p>
""")


class Checkout:
    """The handlers of the checkout page."""

    def __init__(self, config: PaymobConfig, book: Book, pages: Pages) -> None:
        self._config = config
        self._book = book
        self._pages = pages

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", PATH, self._show), Route("POST", PATH, self._pay)]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            keys = self._keys(request)
            if len(keys) > 1:
                return self._choices(request, keys)
            return self._form(keys[0])
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)

    async def _pay(self, request: web.Request) -> web.Response:
        form = texts(await request.post())
        try:
            keys = self._keys(request)
            if len(keys) > 1:
                return self._choices(request, keys)
            key = keys[0]
            match self._book.kind_of(key.integration_id):
                case "card":
                    return self._pages.try_card(request, key.token, form)
                case "wallet":
                    return self._begin_wallet(key, form.get("wallet", "").strip())
                case _:
                    return self._bill(self._waiting_bill(key) or pay_at_kiosk(self._book, key.token))
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)

    def _keys(self, request: web.Request) -> list[PaymentKey]:
        """Return the intention's keys, or the one whose integration the payer picked."""
        intention = self._book.intentions.get(request.query.get("clientSecret", ""))
        if intention is None or request.query.get("publicKey") != self._config.public_key:
            raise Refused(404, {"detail": "There is no such checkout."})
        keys = self._book.keys_of(intention)
        picked = request.query.get("integration")
        return [key for key in keys if f"{key.integration_id}" == picked] or keys

    def _choices(self, request: web.Request, keys: list[PaymentKey]) -> web.Response:
        order = self._book.order(keys[0].order_id)
        links = [
            _CHOICE.substitute(
                path=PATH,
                query=escape(urlencode({**request.query, "integration": key.integration_id})),
                label=escape(_LABELS[kind]),
            )
            for key in keys
            if (kind := self._book.kind_of(key.integration_id))
        ]
        amount = escape(money(order.amount_cents, order.currency))
        return page(_TITLE, f"<p>Order {order.id}, <strong>{amount}</strong></p>{''.join(links)}")

    def _form(self, key: PaymentKey, *, error: str = "") -> web.Response:
        kind = self._book.kind_of(key.integration_id)
        if kind == "card":
            return self._pages.card_form(key.token)
        if kind == "aggregator" and (bill := self._waiting_bill(key)):
            return self._bill(bill)
        order, _ = self._book.usable(key.token, kind or "card")
        amount = escape(money(order.amount_cents, order.currency))
        if kind == "aggregator":
            return page(_TITLE, _KIOSK.substitute(order=order.id, amount=amount))
        content = _WALLET.substitute(order=order.id, amount=amount, error=error_line(error))
        return page(_TITLE, content, status=400 if error else 200)

    def _begin_wallet(self, key: PaymentKey, number: str) -> web.Response:
        try:
            begun = pay_by_wallet(self._book, key.token, number)
        except Refused as refusal:
            if "source" in refusal.body:
                return self._form(key, error="This is not a mobile number.")
            raise
        return see_other(begun["redirect_url"])

    def _waiting_bill(self, key: PaymentKey) -> dict[str, Any] | None:
        """Return the bill that waits already: a payer who comes back is shown the same number."""
        bills = [each for each in self._book.transactions.children(f"{key.order_id}") if each.kind == "aggregator"]
        return self._book.shape(bills[-1]) if bills and bills[-1].pending else None

    def _bill(self, bill: dict[str, Any]) -> web.Response:
        amount = escape(money(bill["amount_cents"], bill["currency"]))
        return page(_TITLE, _BILL.substitute(reference=bill["data"]["bill_reference"], amount=amount))
