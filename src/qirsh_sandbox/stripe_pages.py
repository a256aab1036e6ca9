"""Stripe's hosted page: the payer pays with a card, a wallet or a slow way, or goes back to the merchant.

The session's id in the address is the only authority, as at Stripe. The test cards are those that Stripe publishes:
https://docs.stripe.com/testing.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from .page_parts import (
    CARD_NUMBER,
    DECLINE_TRY,
    EXPIRE,
    PAY,
    Due,
    button,
    card,
    error_line,
    facts,
    field,
    fields,
    form,
    link,
    only_here,
    owed,
    what_pays,
)
from .pages import Text, language_of, notice, page, see_other
from .psp import Refused, Route
from .stripe_book import Book
from .stripe_money import text
from .stripe_payer import WAYS
from .stripe_records import Session, Way
from .stripe_shapes import PAGE

TITLE: Final = "Stripe"

_TITLE: Final = Text("Pay with Stripe", "الدفع عبر Stripe")
_GOOD_CARD: Final = "4242424242424242"
_CARDS: Final[Mapping[str, Way]] = {
    _GOOD_CARD: WAYS["pay"],
    "4000000000000002": WAYS["decline"],
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
    "decline": WAYS["decline"],
    "later": WAYS["review"],
}
_METHOD: Final = Text("Card, Apple Pay or Google Pay", "بطاقة أو Apple Pay أو Google Pay")
_PAYING: Final = Text("4242 4242 4242 4242 pays.", "تدفع 4242 4242 4242 4242.")
_DECLINING: Final = ", ".join(f"{way.last4} ({way.decline})" for way in _CARDS.values() if way.decline)
_OTHERS: Final = Text(
    f"Cards that begin with 4000 0000 0000 decline when they end in {_DECLINING}. One in 0259 is disputed; refunds of "
    "7726 wait, and those of 5126 fail later.",
    f"البطاقات التي تبدأ بـ 4000 0000 0000 تُرفض إذا انتهت بـ {_DECLINING}. ما ينتهي بـ 0259 يُعترض عليه، ورد أموال 7726 "
    "ينتظر، ورد أموال 5126 يفشل لاحقًا.",
)
_APPLE_PAY: Final = Text("Apple Pay", "Apple Pay")
_GOOGLE_PAY: Final = Text("Google Pay", "Google Pay")
_BACK: Final = Text("Back to the shop", "العودة إلى المتجر")
_LATER: Final = Text("Pay by bank transfer (money comes later)", "ادفع بتحويل بنكي (يصل المال لاحقًا)")
_ON_ITS_WAY: Final = Text(
    "The payment is on its way; Stripe waits for the money.", "الدفع في الطريق، وStripe تنتظر وصول المال."
)
_COMES: Final = Text("The money comes", "يصل المال")
_FAILS: Final = Text("The payment fails", "يفشل الدفع")
_OVER: Final = Text("This session has expired, and the shop hears of it.", "انتهت مهلة هذه الجلسة، ويعلم المتجر بذلك.")
_DECIDED: Final = Text("It is decided: the shop hears of it.", "تقرر الأمر: يعلم المتجر بذلك.")
_CANCELLED: Final = Text("The payment was cancelled.", "أُلغي الدفع.")
_DONE: Final = Text("The payment is done.", "تم الدفع.")
_DECLINED: Final = Text("The card was declined. Try another one.", "رُفضت البطاقة. جرّب بطاقة أخرى.")
_NO_TEST_CARD: Final = Text("This is no test card.", "هذه ليست بطاقة اختبار.")
_NO_BUTTON: Final = Text("There is no such button.", "لا يوجد هذا الزر.")


class Pages:
    """The handlers of the hosted page."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Return the page's paths. No fault hits them: a payer reloads."""
        return [Route("GET", f"{PAGE}{{id}}", self._show), Route("POST", f"{PAGE}{{id}}", self._decide)]

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer, newest first."""
        newest = [self._book.session(one.id) for one in self._book.sessions.page(limit=limit, offset=0)]
        return [_due(session) for session in newest if session.status == "open"]

    async def _show(self, request: web.Request) -> web.Response:
        try:
            session = self._session(request)
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        return _waiting(request) if session.status == "complete" else _form(request, session)

    async def _decide(self, request: web.Request) -> web.Response:
        posted = await request.post()
        action, number = f"{posted.get('action', '')}", f"{posted.get('card_number', '')}".replace(" ", "")
        try:
            session = self._session(request)
            if session.status == "complete":
                return self._end(request, session, action)
            match action:
                case "cancel":
                    return _back(request, session, session.said.get("cancel_url"), _CANCELLED)
                case "expire":
                    return self._expire(request, session)
            way = _CARDS.get(number) if action == "pay" else _BUTTONS.get(action)
            if way is None:
                return _form(request, session, error=_NO_TEST_CARD if action == "pay" else _NO_BUTTON)
            session = self._book.pay(session.id, way)
        except Refused as refusal:
            return notice(request, _TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        if session.status == "open":
            return _form(request, session, error=_DECLINED, status=402)
        return _back(request, session, session.said.get("success_url"), _DONE)

    def _expire(self, request: web.Request, session: Session) -> web.Response:
        self._book.expire(session)
        address = session.said.get("cancel_url")
        more = link(language_of(request), _filled(address, session), _BACK) if address else ""
        return notice(request, _TITLE, _OVER, psp=TITLE, more=more, status=200)

    def _end(self, request: web.Request, session: Session, action: str) -> web.Response:
        if action not in {"succeed", "fail"}:
            return notice(request, _TITLE, _NO_BUTTON, psp=TITLE, status=400)
        self._book.end_slow_payment(session, succeeded=action == "succeed")
        return notice(request, _TITLE, _DECIDED, psp=TITLE, status=200)

    def _session(self, request: web.Request) -> Session:
        """Return a session that the payer can still do something with."""
        session = self._book.session(request.match_info["id"])
        if session.status == "expired":
            raise Refused(404, {"detail": "This session has expired."})
        payment = self._book.payments.get(session.payment_id or "")
        if session.status == "complete" and (payment is None or payment.status != "processing"):
            raise Refused(409, {"detail": "This session is over."})
        return session


def _form(request: web.Request, session: Session, *, error: Text | str = "", status: int = 400) -> web.Response:
    language, due = language_of(request), _due(session)
    content = card(
        owed(language, due),
        error_line(language, error),
        what_pays(language, _PAYING),
        form(
            fields(field(language, CARD_NUMBER, "card_number", _GOOD_CARD, 23)),
            button(language, "pay", PAY, amount=due.amount, kind="primary"),
            f'<div class="pair">{button(language, "apple_pay", _APPLE_PAY)}'
            f"{button(language, 'google_pay', _GOOGLE_PAY)}</div>",
            button(language, "cancel", _BACK),
            only_here(language, {"decline": DECLINE_TRY, "expire": EXPIRE, "later": _LATER}, _OTHERS),
        ),
        facts(language, due),
    )
    return page(request, _TITLE, content, psp=TITLE, status=status if error else 200)


def _waiting(request: web.Request) -> web.Response:
    language = language_of(request)
    decided = form(only_here(language, {"succeed": _COMES, "fail": _FAILS}))
    return notice(request, _TITLE, _ON_ITS_WAY, psp=TITLE, more=decided, status=200)


def _due(session: Session) -> Due:
    name, quantity = f"{session.line['name']}", session.line["quantity"]
    return Due(
        psp="stripe",
        product=name if f"{quantity}" == "1" else f"{quantity} × {name}",
        reference=session.reference or "",
        number=session.id,
        method=_METHOD,
        amount=text(session.amount, session.currency),
        page=f"{PAGE}{session.id}",
        created_at=session.created_at,
    )


def _back(request: web.Request, session: Session, address: str | None, sentence: Text) -> web.Response:
    """Send the browser to the merchant."""
    if not address:
        return notice(request, _TITLE, sentence, psp=TITLE, status=200)
    return see_other(_filled(address, session))


def _filled(address: str, session: Session) -> str:
    """Return the merchant's address, with the session's id where it asks for it."""
    return address.replace("{CHECKOUT_SESSION_ID}", session.id)
