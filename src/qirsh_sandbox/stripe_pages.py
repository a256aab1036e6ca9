"""Stripe's hosted page: the payer pays with a card, a wallet or a slow way, or goes back to the merchant.

The session's id in the address is the only authority, as at Stripe. The test cards are those that Stripe publishes:
https://docs.stripe.com/testing.
"""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Final

from aiohttp import web

from .pages import error_line, notice, page, see_other
from .psp import Refused, Route
from .stripe_book import Book
from .stripe_money import text
from .stripe_records import Session, Way
from .stripe_shapes import PAGE

_TITLE: Final = "Pay with Stripe"
_CARDS: Final[Mapping[str, Way]] = {
    "4242424242424242": Way(),
    "4000000000000002": Way(last4="0002", decline="generic_decline"),
    "4000000000009995": Way(last4="9995", decline="insufficient_funds"),
    "4000000000009987": Way(last4="9987", decline="lost_card"),
    "4000000000009979": Way(last4="9979", decline="stolen_card"),
    "4000000000000069": Way(last4="0069", decline="expired_card"),
    "4000000000000127": Way(last4="0127", decline="incorrect_cvc"),
    "4000000000000119": Way(last4="0119", decline="processing_error"),
    "4000000000000259": Way(last4="0259", disputed=True),
    "4000000000007726": Way(last4="7726", refunds="wait"),
    "4000000000005126": Way(last4="5126", refunds="fail_later"),
}
_BUTTONS: Final[Mapping[str, Way]] = {
    "apple_pay": Way(wallet="apple_pay"),
    "google_pay": Way(wallet="google_pay"),
    "decline": Way(last4="0002", decline="generic_decline"),
    "later": Way(slow=True),
}
_FORM: Final = Template("""
<p>$name, <strong>$amount</strong></p>
$error
<form method="post" autocomplete="off">
<label>Card number <input name="card_number" inputmode="numeric" maxlength="23" value="$number"></label>
<button name="action" value="pay">Pay</button>
<button name="action" value="apple_pay">Apple Pay</button>
<button name="action" value="google_pay">Google Pay</button>
<button name="action" value="cancel">Back to the shop</button>
<p class="hint">Simulator only:</p>
<button name="action" value="decline">Decline this try</button>
<button name="action" value="later">Pay by bank transfer (money comes later)</button>
<button name="action" value="expire">Let the session expire</button>
</form>
<p class="hint">Stripe's test cards: 4242 4242 4242 4242 pays; $declining decline; …0259 is disputed; refunds of …7726
wait, and those of …5126 fail later.</p>
""")
_WAITING: Final = """
<p>The payment is on its way; Stripe waits for the money.</p>
<form method="post" autocomplete="off">
<p class="hint">Simulator only:</p>
<button name="action" value="succeed">The money comes</button>
<button name="action" value="fail">The payment fails</button>
</form>
"""


class Pages:
    """The handlers of the hosted page."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", f"{PAGE}{{id}}", self._show), Route("POST", f"{PAGE}{{id}}", self._decide)]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            session = self._session(request)
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)
        return page(_TITLE, _WAITING) if session.status == "complete" else _form(session)

    async def _decide(self, request: web.Request) -> web.Response:
        form = await request.post()
        action, number = f"{form.get('action', '')}", f"{form.get('card_number', '')}".replace(" ", "")
        try:
            session = self._session(request)
            if session.status == "complete":
                return self._end(session, action)
            match action:
                case "cancel":
                    return _back(session, session.said.get("cancel_url"), "The payment was cancelled.")
                case "expire":
                    self._book.expire(session)
                    return notice(_TITLE, "This session has expired.", status=200)
            way = _CARDS.get(number) if action == "pay" else _BUTTONS.get(action)
            if way is None:
                return _form(session, error="This is no test card." if action == "pay" else "There is no such button.")
            session = self._book.pay(session.id, way)
        except Refused as refusal:
            return notice(_TITLE, refusal.detail, status=refusal.status)
        if session.status == "open":
            return _form(session, error="The card was declined. Try another one.", status=402)
        return _back(session, session.said.get("success_url"), "The payment is done.")

    def _end(self, session: Session, action: str) -> web.Response:
        if action not in {"succeed", "fail"}:
            raise Refused(400, {"detail": "There is no such button."})
        self._book.end_slow_payment(session, succeeded=action == "succeed")
        return notice(_TITLE, "It is decided: the shop hears of it.", status=200)

    def _session(self, request: web.Request) -> Session:
        """Return a session that the payer can still do something with."""
        session = self._book.session(request.match_info["id"])
        if session.status == "expired":
            raise Refused(404, {"detail": "This session has expired."})
        payment = self._book.payments.get(session.payment_id or "")
        if session.status == "complete" and (payment is None or payment.status != "processing"):
            raise Refused(409, {"detail": "This session is over."})
        return session


def _form(session: Session, *, error: str = "", status: int = 400) -> web.Response:
    declining = ", ".join(f"…{way.last4} ({way.decline})" for way in _CARDS.values() if way.decline)
    content = _FORM.substitute(
        name=escape(f"{session.line['quantity']} × {session.line['name']}"),
        amount=escape(text(session.amount, session.currency)),
        number="4242424242424242",
        error=error_line(error),
        declining=declining,
    )
    return page(_TITLE, content, status=status if error else 200)


def _back(session: Session, address: str | None, sentence: str) -> web.Response:
    """Send the browser to the merchant, with the session's id where the address asks for it."""
    if not address:
        return notice(_TITLE, sentence, status=200)
    return see_other(address.replace("{CHECKOUT_SESSION_ID}", session.id))
