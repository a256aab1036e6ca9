"""Fawry's hosted card page, and a page of the sandbox's own where references are paid and prompts confirmed.

The payment id in the address is the authority, as at Fawry. A declined card leaves the page open; after a payment the
browser goes to the merchant's return address with a signed query. What the other buttons do is `settle` in
fawry_payer.py, as for the control plane.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from .fawry_book import DECLINED, EXPIRED_CARD, NO_FUNDS, Book
from .fawry_config import FawryConfig
from .fawry_payer import settle
from .fawry_records import Means, Order
from .fawry_shapes import money, return_fields
from .page_parts import (
    CANCEL,
    CARD_NUMBER,
    CVV,
    DECLINE,
    DECLINE_TRY,
    EXPIRE,
    EXPIRY,
    PAY,
    Due,
    button,
    card,
    error_line,
    facts,
    field,
    fields,
    form,
    named_items,
    only_here,
    owed,
    what_pays,
)
from .pages import Text, language_of, notice, page, see_other
from .psp import Act, CannotActError, Refused, Route, UnknownReferenceError
from .till import LISTED, Till, Waiting

PLUGIN: Final = "/atfawry/plugin"
REFERENCES: Final = "/__sandbox/fawry"
TITLE: Final = "Fawry"
TILL: Final = Text("The till and the phone", "الخزينة والهاتف")

_CARD_TITLE: Final = Text("Card payment", "الدفع بالبطاقة")
_FEE: Final = Text("Fawry's fee, made up by the sandbox", "رسوم فوري، من وضع البيئة التجريبية")
_METHODS: Final[dict[Means, Text]] = {
    "reference": Text("Reference to pay in cash", "رقم مرجعي للدفع نقدًا"),
    "qr": Text("QR code for a wallet", "رمز QR لمحفظة"),
    "prompt": Text("Prompt on the phone", "طلب على الهاتف"),
    "page": Text("Card", "بطاقة"),
}
_PAYS: Final[dict[Means, Text]] = {
    "reference": Text("Pay at the shop", "ادفع في المتجر"),
    "qr": Text("Scan and pay", "امسح وادفع"),
    "prompt": Text("Confirm on the phone", "أكّد على الهاتف"),
}
_CASH: Final = Text("Cash cannot be declined.", "الدفع النقدي لا يُرفض.")
_PAYING: Final = Text(
    "4242424242424242 and 5436031030606378 pay, with 05/29 and 123.",
    "تدفع 4242424242424242 و5436031030606378 مع 05/29 و123.",
)
_REFUSED: Final = Text(
    "4263970000005262 has expired, 4222000006724235 has no money, 5078096700053444 is rejected. Every other card "
    "declines, and so does another CVV or expiry.",
    "4263970000005262 منتهية، و4222000006724235 بلا رصيد، و5078096700053444 مرفوضة. كل بطاقة أخرى تُرفض، وكذلك رمز "
    "تحقق أو تاريخ آخر.",
)
_ABOUT: Final = (
    Text(
        "What a payer does at a shop or in a wallet, for every reference, QR code and prompt that waits.",
        "ما يفعله الدافع في متجر أو في محفظة، لكل رقم مرجعي ورمز QR وطلب ينتظر الدفع.",
    ),
    Text(
        "The wallet 01000000002 declines, and 01000000003 never answers.",
        "المحفظة 01000000002 ترفض، والمحفظة 01000000003 لا ترد أبدًا.",
    ),
)
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


class Pages:
    """The handlers of the pages."""

    def __init__(self, config: FawryConfig, book: Book) -> None:
        self._config = config
        self._book = book
        self._till = Till(TITLE, REFERENCES, TILL, _ABOUT, self._waiting, self._named, self._settle)

    def routes(self) -> list[Route]:
        """Return the pages' paths. No fault hits them: a payer reloads."""
        return [
            Route("GET", PLUGIN, self._card_form),
            Route("POST", PLUGIN, self._card_try),
            *self._till.routes(),
        ]

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer, newest first."""
        return [_due(order) for order in self._book.newest(limit) if order.is_open]

    async def _card_form(self, request: web.Request) -> web.Response:
        try:
            return _card_page(request, self._open_order(request))
        except Refused as refusal:
            return notice(request, _CARD_TITLE, refusal.detail, psp=TITLE, status=refusal.status)

    async def _card_try(self, request: web.Request) -> web.Response:
        posted = _texts(await request.post())
        try:
            order = self._open_order(request)
        except Refused as refusal:
            return notice(request, _CARD_TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        match posted.get("action"):
            case "cancel" | "expire" as act:
                order = settle(self._book, order, act)
            case action:
                failure = DECLINED if action != "pay" else _failure(posted)
                if failure is not None:
                    declined = self._book.decline(order, failure)
                    return _card_page(request, declined, error=f"{failure[1]} ({failure[0]}).")
                order = settle(self._book, order, "pay")
        query = urlencode(return_fields(order, self._config.security_key))
        return see_other(f"{order.return_url}{'&' if '?' in order.return_url else '?'}{query}")

    def _waiting(self) -> list[Waiting]:
        return [_at_the_till(order) for order in self._book.newest(LISTED) if order.is_open and order.means != "page"]

    def _named(self, number: str) -> Waiting | None:
        order = self._book.by_number(number)
        return None if order is None or order.means == "page" else _at_the_till(order)

    def _settle(self, number: str, act: Act) -> None:
        order = self._book.by_number(number)
        if order is None or order.means == "page":
            raise UnknownReferenceError(number)
        if act == "pay" and order.wallet == _SILENT_WALLET:
            return
        if act == "refund":
            raise CannotActError("money is given back in the dashboard")
        settle(self._book, order, "decline" if act == "pay" and order.wallet == _DECLINING_WALLET else act)

    def _open_order(self, request: web.Request) -> Order:
        order = self._book.by_page(request.query.get("payment-id", ""))
        if order is None:
            raise Refused(404, {"detail": "There is no such payment."})
        if not order.is_open:
            raise Refused(409, {"detail": f"This order is {order.status}."})
        return order


def _texts(posted: Mapping[str, str | bytearray | bytes | web.FileField]) -> dict[str, str]:
    return {name: value for name, value in posted.items() if isinstance(value, str)}


def _failure(posted: Mapping[str, str]) -> tuple[str, str] | None:
    """Return why the card is refused; None when it pays."""
    card_used = _CARDS.get(posted.get("card_number", "").replace(" ", "").replace("-", ""))
    if card_used is None:
        return DECLINED
    if card_used.failure is not None:
        return card_used.failure
    written = (posted.get("card_expiry", "").replace(" ", ""), posted.get("card_cvv", "").strip())
    return None if written == (card_used.expiry, card_used.cvv) else DECLINED


def _card_page(request: web.Request, order: Order, *, error: str = "") -> web.Response:
    language, due = language_of(request), _due(order)
    content = card(
        owed(language, due),
        error_line(language, error),
        what_pays(language, _PAYING),
        form(
            fields(
                field(language, CARD_NUMBER, "card_number", "4242 4242 4242 4242", 23),
                field(language, EXPIRY, "card_expiry", "05/29", 7, half=True),
                field(language, CVV, "card_cvv", "123", 4, half=True),
            ),
            button(language, "pay", PAY, amount=due.total, kind="primary"),
            button(language, "cancel", CANCEL),
            only_here(language, {"decline": DECLINE_TRY, "expire": EXPIRE}, _REFUSED),
        ),
        facts(language, due),
    )
    return page(request, _CARD_TITLE, content, psp=TITLE, status=400 if error else 200)


def _at_the_till(order: Order) -> Waiting:
    if not order.is_open:
        return Waiting(_due(order), order.status)
    if order.means == "reference":
        return Waiting(_due(order), order.status, _PAYS["reference"], {"cancel": CANCEL, "expire": EXPIRE}, (_CASH,))
    others = {"decline": DECLINE, "cancel": CANCEL, "expire": EXPIRE}
    return Waiting(_due(order), order.status, _PAYS[order.means], others)


def _due(order: Order) -> Due:
    method = _METHODS[order.means]
    if order.wallet:
        method = Text(f"{method.en}, {order.wallet}", f"{method.ar}، {order.wallet}")
    where = f"{PLUGIN}?{urlencode({'payment-id': order.page})}" if order.page else f"{REFERENCES}?number={order.number}"
    return Due(
        psp="fawry",
        product=named_items(order.items, "description") or named_items(order.items, "itemId"),
        reference=order.merchant_number,
        number=order.number,
        method=method,
        amount=money(order.amount_minor),
        page=where,
        created_at=order.created_at,
        fee=(_FEE, money(order.fee_minor)) if order.fee_minor else None,
        total=money(order.amount_minor + order.fee_minor),
    )
