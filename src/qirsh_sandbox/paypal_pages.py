"""PayPal's hosted page: the payer approves or cancels, and the browser goes back to the merchant.

The order's id in the address is the only authority, as at PayPal. An approval moves no money: the merchant captures.
What the buttons do is in paypal_payer.py, as for the control plane.
"""

from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from .page_parts import CANCEL, EXPIRE, Due, button, card, facts, form, hints, link, only_here, owed
from .pages import Text, language_of, notice, page, see_other
from .paypal_book import Book
from .paypal_money import text
from .paypal_payer import approve, expire
from .paypal_records import Order
from .paypal_shapes import BUYER_PAGE
from .psp import Act, Refused, Route

TITLE: Final = "PayPal"

_TITLE: Final = Text("Pay with PayPal", "الدفع عبر PayPal")
_APPROVALS: Final[dict[str, Act]] = {"approve": "pay", "decline": "decline", "review": "review"}
_APPROVE: Final = Text("Approve and pay", "وافق وادفع")
_DECLINES: Final = Text("Approve, but the card will decline", "وافق، لكن البطاقة سترفض")
_REVIEW: Final = Text("Approve, payment goes under review (pending)", "وافق، والدفع يذهب إلى المراجعة (معلق)")
_MOVES_NOTHING: Final = Text(
    "Approving moves no money yet: the shop has to capture the order within three hours.",
    "الموافقة لا تحرك أموالًا بعد: على المتجر أن يحصّل الطلب خلال ثلاث ساعات.",
)
_PAYPAL_ACCOUNT: Final = Text("PayPal account", "حساب PayPal")
_NO_BUTTON: Final = Text("There is no such button.", "لا يوجد هذا الزر.")
_CANCELLED: Final = Text("The payment was cancelled.", "أُلغي الدفع.")
_APPROVED: Final = Text("The payment is approved.", "تمت الموافقة على الدفع.")
_NOWHERE: Final = Text("No return address is set, so the way ends here.", "لا يوجد عنوان للعودة، فينتهي الطريق هنا.")
_OVER: Final = Text(
    "The order has expired. PayPal tells only of an approved one, so the shop notices the others by itself.",
    "انتهت مهلة الطلب. لا تُعلم PayPal إلا بطلب تمت الموافقة عليه، فيلاحظ المتجر غيره بنفسه.",
)
_BACK: Final = Text("Back to the shop", "العودة إلى المتجر")


class Pages:
    """The handlers of the hosted page."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", BUYER_PAGE, self._show), Route("POST", BUYER_PAGE, self._decide)]

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer's approval, newest first."""
        newest = self._book.orders.page(limit=limit, offset=0)
        return [
            _due(order)
            for order in newest
            if order.status not in {"APPROVED", "COMPLETED"} and self._book.is_live(order)
        ]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            order = self._open_order(request)
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        language, due = language_of(request), _due(order)
        content = card(
            owed(language, due),
            form(
                button(language, "approve", _APPROVE, amount=due.amount, kind="primary"),
                button(language, "cancel", CANCEL),
                hints(language, _MOVES_NOTHING),
                only_here(language, {"decline": _DECLINES, "review": _REVIEW, "expire": EXPIRE}),
            ),
            facts(language, due),
        )
        return page(request, _TITLE, content, psp=TITLE)

    async def _decide(self, request: web.Request) -> web.Response:
        action = f"{(await request.post()).get('action', '')}"
        try:
            order = self._open_order(request)
            if action == "cancel":
                return _back(request, order.cancel_url, {"token": order.id}, _CANCELLED)
            if action == "expire":
                expire(self._book, order)
                return self._expired(request, order)
            act = _APPROVALS.get(action)
            if act is None:
                return notice(request, _TITLE, _NO_BUTTON, psp=TITLE, status=400)
            # A second click finds the order approved: it goes the same way, and nothing is told twice.
            if order.status != "APPROVED":
                approve(self._book, order, act)
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        query = {"token": order.id, "PayerID": self._book.account.payer_id}
        return _back(request, order.return_url, query, _APPROVED)

    def _expired(self, request: web.Request, order: Order) -> web.Response:
        language, back = language_of(request), order.cancel_url
        more = link(language, _with_query(back, {"token": order.id}), _BACK) if back else ""
        return notice(request, _TITLE, _OVER, psp=TITLE, more=more, status=200)

    def _open_order(self, request: web.Request) -> Order:
        order = self._book.orders.get(request.query.get("token", ""))
        if order is None:
            raise Refused(404, {"detail": "There is no such order."})
        if not self._book.is_live(order):
            raise Refused(404, {"detail": "This order has expired."})
        if order.status == "COMPLETED":
            raise Refused(409, {"detail": "This order is captured already."})
        return order


def _due(order: Order) -> Due:
    return Due(
        psp="paypal",
        product=", ".join(unit.said["description"] for unit in order.units if unit.said.get("description")),
        reference=order.custom_id or "",
        number=order.id,
        method=_PAYPAL_ACCOUNT,
        amount=f"{order.currency} {text(order.amount_minor, order.currency)}",
        page=f"{BUYER_PAGE}?token={order.id}",
        created_at=order.created_at,
    )


def _back(request: web.Request, address: str | None, query: dict[str, str], sentence: Text) -> web.Response:
    """Send the browser to the merchant."""
    if address is None:
        return notice(request, _TITLE, sentence, psp=TITLE, more=hints(language_of(request), _NOWHERE), status=200)
    return see_other(_with_query(address, query))


def _with_query(address: str, query: dict[str, str]) -> str:
    """Return the merchant's address, whose own query stays in front."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(query))))))
