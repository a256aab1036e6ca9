"""Fawry's hosted card page, and a page of the sandbox's own where references are paid and prompts confirmed.

The payment id in the address is the authority, as at Fawry. A declined card leaves the page open; after a payment the
browser goes to the merchant's return address with a signed query.
"""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Final, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from .fawry_book import DECLINED, EXPIRED_CARD, NO_FUNDS, Book
from .fawry_config import FawryConfig
from .fawry_records import Order
from .fawry_shapes import money, return_fields
from .pages import error_line, notice, page, see_other
from .psp import CannotActError, Refused, Route

PLUGIN: Final = "/atfawry/plugin"
REFERENCES: Final = "/__sandbox/fawry"

_TITLE: Final = "Fawry card payment"
_LISTED: Final = 50
_DECLINING_WALLET: Final = "01000000002"  # this one and the next are the sandbox's own; Fawry publishes none
_SILENT_WALLET: Final = "01000000003"


class _Card(NamedTuple):
    expiry: str
    cvv: str
    failure: tuple[str, str] | None = None


_CARDS: Final = {  # published by Fawry for its staging
    **dict.fromkeys(("4242424242424242", "5436031030606378", "5078036246600381"), _Card("05/29", "123")),
    "5078086700053445": _Card("01/39", "100"),
    **dict.fromkeys(("4508750015741019", "5123450000000008"), _Card("01/39", "123")),
    **dict.fromkeys(("4263970000005262", "5425230000004415", "5078036242783546"), _Card("", "", EXPIRED_CARD)),
    **dict.fromkeys(("4222000006724235", "5114610000004778", "5078036231985581"), _Card("", "", NO_FUNDS)),
    "5078096700053444": _Card("", "", DECLINED),
}
_CARD_FORM: Final = Template("""
<p>Order $order, <strong>$amount</strong></p>
$error
<form method="post" autocomplete="off">
<label>Card number <input name="card_number" inputmode="numeric" maxlength="23" value="4242 4242 4242 4242"></label>
<label>Expiry (MM/YY) <input name="card_expiry" inputmode="numeric" maxlength="7" value="05/29"></label>
<label>CVV <input name="card_cvv" inputmode="numeric" maxlength="4" value="123"></label>
<button name="action" value="pay">Pay</button>
<button name="action" value="decline">Decline this try</button>
<button name="action" value="cancel">Cancel</button>
<button name="action" value="expire">Let it expire</button>
</form>
<p class="hint">Fawry's test cards: 4242424242424242 and 5436031030606378 pay with 05/29 and 123; 4263970000005262 has
expired, 4222000006724235 has no money, 5078096700053444 is rejected.</p>
<p class="hint">Simulator only: every other card number declines, and so does another CVV or expiry.</p>
""")
_ROW: Final = Template("""
<h2>$number</h2>
<p>$what, <strong>$amount</strong>: $status</p>
<form method="post" autocomplete="off">
<input type="hidden" name="number" value="$number">
$buttons
</form>
""")
_BUTTON: Final = Template('<button name="action" value="$act">$label</button>')
_LABELS: Final = {
    "reference": {"pay": "Pay at the shop", "expire": "Let it expire"},
    "qr": {"pay": "Scan and pay", "decline": "Decline", "expire": "Let it expire"},
    "prompt": {"pay": "Confirm on the phone", "decline": "Decline", "expire": "Let it expire"},
    "page": {},
}
_WHAT: Final = {"reference": "reference to pay in cash", "qr": "QR code", "prompt": "prompt on the phone"}


class Pages:
    """The handlers of the pages."""

    def __init__(self, config: FawryConfig, book: Book) -> None:
        self._config = config
        self._book = book

    def routes(self) -> list[Route]:
        """Return the pages' paths. No fault hits them: a payer reloads."""
        return [
            Route("GET", PLUGIN, self._card_form),
            Route("POST", PLUGIN, self._card_try),
            Route("GET", REFERENCES, self._references),
            Route("POST", REFERENCES, self._settle),
        ]

    async def _card_form(self, request: web.Request) -> web.Response:
        try:
            return _card_page(self._open_order(request))
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)

    async def _card_try(self, request: web.Request) -> web.Response:
        form = _texts(await request.post())
        try:
            order = self._open_order(request)
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)
        match form.get("action"):
            case "cancel":
                order = self._book.cancel(order)
            case "expire":
                order = self._book.expire(order)
            case _:
                if (failure := _failure(form)) is not None:
                    return _card_page(self._book.decline(order, failure), error=f"{failure[1]} ({failure[0]}).")
                order = self._book.pay(order)
        query = urlencode(return_fields(order, self._config.security_key))
        return see_other(f"{order.return_url}{'&' if '?' in order.return_url else '?'}{query}")

    async def _references(self, request: web.Request) -> web.Response:
        return self._listed(request.query.get("number"))

    async def _settle(self, request: web.Request) -> web.Response:
        form = _texts(await request.post())
        order, action = self._book.by_number(form.get("number", "")), form.get("action", "")
        if order is None or action not in _LABELS[order.means]:
            return notice("Fawry references", "There is no such reference.", status=404)
        try:
            _settled(self._book, order, action)
        except CannotActError as error:
            return self._listed(None, error=f"{error}.", status=409)
        return see_other(REFERENCES)

    def _listed(self, number: str | None, *, error: str = "", status: int = 200) -> web.Response:
        orders = [order for order in self._book.newest(_LISTED) if order.is_open and order.means != "page"]
        if number:
            found = self._book.by_number(number)
            orders = [found] if found is not None and found.means != "page" else []
        rows = "".join(_row(order) for order in orders) or "<p>Nothing waits for a payer.</p>"
        hint = (
            '<p class="hint">Simulator only: what a payer does at a shop or in a wallet. The wallet 01000000002 '
            "declines, and 01000000003 never answers.</p>"
        )
        return page("Fawry references", f"{error_line(error)}{rows}{hint}", status=status)

    def _open_order(self, request: web.Request) -> Order:
        order = self._book.by_page(request.query.get("payment-id", ""))
        if order is None:
            raise Refused(404, {"detail": "There is no such payment."})
        if not order.is_open:
            raise Refused(409, {"detail": f"This order is {order.status}."})
        return order


def _texts(form: Mapping[str, str | bytearray | bytes | web.FileField]) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _settled(book: Book, order: Order, action: str) -> None:
    if action == "pay" and order.wallet == _SILENT_WALLET:
        return
    if action == "decline" or (action == "pay" and order.wallet == _DECLINING_WALLET):
        book.decline(order)
    elif action == "expire":
        book.expire(order)
    else:
        book.pay(order)


def _failure(form: dict[str, str]) -> tuple[str, str] | None:
    """Return why the card is refused; None when it pays."""
    card = _CARDS.get(form.get("card_number", "").replace(" ", "").replace("-", ""))
    if form.get("action") != "pay" or card is None:
        return DECLINED
    if card.failure is not None:
        return card.failure
    right = (form.get("card_expiry", "").replace(" ", ""), form.get("card_cvv", "").strip()) == (card.expiry, card.cvv)
    return None if right else DECLINED


def _card_page(order: Order, *, error: str = "") -> web.Response:
    content = _CARD_FORM.substitute(
        order=escape(order.number), amount=escape(money(order.amount_minor + order.fee_minor)), error=error_line(error)
    )
    return page(_TITLE, content, status=400 if error else 200)


def _row(order: Order) -> str:
    labels = _LABELS[order.means] if order.is_open else {}
    wallet = f", wallet {order.wallet}" if order.wallet else ""
    return _ROW.substitute(
        number=escape(order.number),
        what=escape(f"{_WHAT[order.means]}{wallet}"),
        amount=escape(money(order.amount_minor + order.fee_minor)),
        status=escape(order.status),
        buttons="".join(_BUTTON.substitute(act=name, label=label) for name, label in labels.items()),
    )
