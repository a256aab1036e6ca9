"""Paymob's Unified Checkout: the payer of an intention picks a method, and pays by it.

The client secret in the address is the authority, as at Paymob.
"""

from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from .config import PaymobConfig
from .page_parts import button, card, error_line, facts, field, fields, form, hints, link, owed
from .pages import Text, language_of, notice, page, say, see_other
from .paymob_book import Book
from .paymob_dues import CHECKOUT, KIOSK, METHODS, TITLE, money, order_due
from .paymob_pages import Pages, texts
from .paymob_pay import pay_at_kiosk, pay_by_wallet
from .paymob_records import Kind, PaymentKey
from .psp import Refused, Route

_TITLE: Final = Text("Checkout", "إتمام الدفع")
_CHOOSE: Final = Text("Choose how to pay:", "اختر طريقة الدفع:")
_WALLET_NUMBER: Final = Text("Wallet number", "رقم المحفظة")
_NO_NUMBER: Final = Text("This is not a mobile number.", "هذا ليس رقم هاتف محمول.")
_TO_THE_WALLET: Final = Text("Go on to the wallet", "المتابعة إلى المحفظة")
_GET_NUMBER: Final = Text("Get the number to pay with", "احصل على رقم الدفع")
_QUOTE: Final = Text(
    "Quote this number at an Aman or Masary kiosk, and pay there:", "اذكر هذا الرقم في كشك أمان أو مصاري وادفع هناك:"
)
_TO_THE_KIOSK: Final = Text("Go to the sandbox's kiosk", "اذهب إلى كشك البيئة التجريبية")
_ANOTHER: Final = Text(
    "The next page has the buttons that decline, cancel and let it expire.",
    "في الصفحة التالية أزرار الرفض والإلغاء وانتهاء المهلة.",
)


class Checkout:
    """The handlers of the checkout page."""

    def __init__(self, config: PaymobConfig, book: Book, pages: Pages) -> None:
        self._config = config
        self._book = book
        self._pages = pages

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", CHECKOUT, self._show), Route("POST", CHECKOUT, self._pay)]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            keys = self._keys(request)
            if len(keys) > 1:
                return self._choices(request, keys)
            return self._form(request, keys[0])
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)

    async def _pay(self, request: web.Request) -> web.Response:
        posted = texts(await request.post())
        try:
            keys = self._keys(request)
            if len(keys) > 1:
                return self._choices(request, keys)
            key = keys[0]
            match self._book.kind_of(key.integration_id):
                case "card":
                    return self._pages.card_try(request, key.token, posted)
                case "wallet":
                    return self._begin_wallet(request, key, posted.get("wallet", "").strip())
                case _:
                    return self._bill(request, key, self._waiting_bill(key) or pay_at_kiosk(self._book, key.token))
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)

    def _keys(self, request: web.Request) -> list[PaymentKey]:
        """Return the intention's keys, or the one whose integration the payer picked."""
        intention = self._book.intentions.get(request.query.get("clientSecret", ""))
        if intention is None or request.query.get("publicKey") != self._config.public_key:
            raise Refused(404, {"detail": "There is no such checkout."})
        keys = self._book.keys_of(intention)
        picked = request.query.get("integration")
        return [key for key in keys if f"{key.integration_id}" == picked] or keys

    def _choices(self, request: web.Request, keys: list[PaymentKey]) -> web.Response:
        language, due = language_of(request), order_due(self._book.order(keys[0].order_id), "card", "")
        links = [
            link(
                language, f"{CHECKOUT}?{urlencode({**request.query, 'integration': key.integration_id})}", METHODS[kind]
            )
            for key in keys
            if (kind := self._book.kind_of(key.integration_id))
        ]
        content = card(owed(language, due), f"<p>{say(language, _CHOOSE)}</p>", *links)
        return page(request, _TITLE, content, psp=TITLE)

    def _form(self, request: web.Request, key: PaymentKey, *, error: Text | str = "") -> web.Response:
        kind: Kind = self._book.kind_of(key.integration_id) or "card"
        if kind == "card":
            return self._pages.card_form(request, key.token)
        if kind == "aggregator" and (bill := self._waiting_bill(key)):
            return self._bill(request, key, bill)
        language, due = language_of(request), order_due(self._book.usable(key.token, kind)[0], kind, "")
        if kind == "aggregator":
            asked = form(button(language, "pay", _GET_NUMBER, kind="primary"))
        else:
            number = field(language, _WALLET_NUMBER, "wallet", "01010101010", 11)
            asked = form(
                fields(number), button(language, "pay", _TO_THE_WALLET, kind="primary"), hints(language, _ANOTHER)
            )
        content = card(owed(language, due), error_line(language, error), asked, facts(language, due))
        return page(request, _TITLE, content, psp=TITLE, status=400 if error else 200)

    def _begin_wallet(self, request: web.Request, key: PaymentKey, number: str) -> web.Response:
        try:
            begun = pay_by_wallet(self._book, key.token, number)
        except Refused as refusal:
            if "source" in refusal.body:
                return self._form(request, key, error=_NO_NUMBER)
            raise
        return see_other(begun["redirect_url"])

    def _waiting_bill(self, key: PaymentKey) -> dict[str, Any] | None:
        """Return the bill that waits already: a payer who comes back is shown the same number."""
        bills = [each for each in self._book.transactions.children(f"{key.order_id}") if each.kind == "aggregator"]
        return self._book.shape(bills[-1]) if bills and bills[-1].pending else None

    def _bill(self, request: web.Request, key: PaymentKey, bill: dict[str, Any]) -> web.Response:
        language, number = language_of(request), f"{bill['data']['bill_reference']}"
        due = order_due(self._book.order(key.order_id), "aggregator", "")
        due = due._replace(amount=money(bill["amount_cents"], bill["currency"]))
        content = card(
            owed(language, due),
            f"<p>{say(language, _QUOTE)}</p>",
            f'<p class="number"><bdi dir="ltr">{number}</bdi></p>',
            link(language, f"{KIOSK}?number={number}", _TO_THE_KIOSK),
            facts(language, due),
        )
        return page(request, _TITLE, content, psp=TITLE)
