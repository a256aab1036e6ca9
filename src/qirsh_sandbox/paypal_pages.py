"""PayPal's hosted page: the payer approves or cancels, and the browser goes back to the merchant.

The order's id in the address is the only authority, as at PayPal. An approval moves no money: the merchant captures.
"""

from html import escape
from string import Template
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from .pages import notice, page, see_other
from .paypal_book import Book
from .paypal_money import text
from .paypal_records import Order, Plan
from .paypal_shapes import BUYER_PAGE
from .psp import Refused, Route

_TITLE: Final = "Pay with PayPal"
_PLANS: Final[dict[str, Plan]] = {"approve": "pay", "decline": "decline", "review": "review"}
_FORM: Final = Template("""
<p>Order $order, <strong>$amount</strong></p>
$description
<form method="post" autocomplete="off">
<button name="action" value="approve">Approve and pay</button>
<button name="action" value="cancel">Cancel</button>
<p class="hint">Simulator only:</p>
<button name="action" value="decline">Approve, but the card will decline</button>
<button name="action" value="review">Approve, payment goes under review (pending)</button>
</form>
<p class="hint">Approving moves no money yet: the shop has to capture the order within three hours.</p>
""")


class Pages:
    """The handlers of the hosted page."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", BUYER_PAGE, self._show), Route("POST", BUYER_PAGE, self._decide)]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            order = self._open_order(request)
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)
        lines = [unit.said["description"] for unit in order.units if unit.said.get("description")]
        content = _FORM.substitute(
            order=order.id,
            amount=escape(f"{order.currency} {text(order.amount_minor, order.currency)}"),
            description="".join(f"<p>{escape(line)}</p>" for line in lines),
        )
        return page(_TITLE, content)

    async def _decide(self, request: web.Request) -> web.Response:
        action = (await request.post()).get("action")
        try:
            order = self._open_order(request)
            if action == "cancel":
                return _back(order.cancel_url, {"token": order.id}, "The payment was cancelled.")
            plan = _PLANS.get(action) if isinstance(action, str) else None
            if plan is None:
                return notice(_TITLE, "There is no such button.", status=400)
            # A second click finds the order approved: it goes the same way, and nothing is told twice.
            if order.status != "APPROVED":
                self._book.approve(order.id, plan)
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)
        query = {"token": order.id, "PayerID": self._book.account.payer_id}
        return _back(order.return_url, query, "The payment is approved.")

    def _open_order(self, request: web.Request) -> Order:
        order = self._book.orders.get(request.query.get("token", ""))
        if order is None:
            raise Refused(404, {"detail": "There is no such order."})
        if not self._book.is_live(order):
            raise Refused(404, {"detail": "This order has expired."})
        if order.status == "COMPLETED":
            raise Refused(409, {"detail": "This order is captured already."})
        return order


def _back(address: str | None, query: dict[str, str], sentence: str) -> web.Response:
    """Send the browser to the merchant, whose own query stays in front."""
    if address is None:
        return page(_TITLE, f"<p>{escape(sentence)}</p><p>No return address is set, so the way ends here.</p>")
    parts = urlsplit(address)
    return see_other(urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(query)))))))
