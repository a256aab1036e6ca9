"""Paymob's hosted pages: the card form of the iframe, and the wallet's page that asks MPIN and OTP.

The payment token in the address is the authority, as at Paymob. After each try the browser goes to the merchant's
transaction response callback with a signed query, declined tries included. What the buttons beside "pay" do is in
paymob_payer.py, as for the control plane.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from .clock import Clock
from .config import PaymobConfig
from .page_parts import (
    CANCEL,
    CARD_NUMBER,
    CVV,
    DECLINE_TRY,
    EXPIRE,
    EXPIRY,
    PAY,
    button,
    card,
    error_line,
    facts,
    field,
    fields,
    form,
    only_here,
    owed,
    table,
    what_pays,
)
from .pages import Text, language_of, notice, page, see_other
from .paymob_book import Book
from .paymob_dues import TITLE, order_due, transaction_due
from .paymob_payer import expire, settle, try_card
from .paymob_records import (
    APPROVED,
    DECLINED,
    EXPIRED_CARD,
    WALLET_WRONG_OTP,
    WALLET_WRONG_PIN,
    Order,
    Outcome,
    Transaction,
)
from .paymob_signing import read_token, redirect_query
from .psp import CannotActError, Refused, Route

IFRAME: Final = "/api/acceptance/iframes/{iframe_id}"
WALLET: Final = "/api/acceptance/wallet_other_test/wallet_template"
POST_PAY: Final = "/api/acceptance/post_pay"

_TEST_CARDS: Final = ("5123456789012346", "5123450000000008", "4111111111111111")  # published by Paymob
_TEST_EXPIRY: Final = (1, 2039)
_TEST_CVV: Final = "123"
_TEST_PIN: Final = "123456"  # MPIN and OTP alike
_DECLINING_WALLET: Final = "01000000002"  # this one and the next are the sandbox's own; Paymob publishes none
_SILENT_WALLET: Final = "01000000003"
_PAN_LENGTHS: Final = range(13, 20)  # ISO/IEC 7812 numbers in use

_CARD_TITLE: Final = Text("Card payment", "الدفع بالبطاقة")
_WALLET_TITLE: Final = Text("Mobile wallet", "محفظة الهاتف")
_RESULT_TITLE: Final = Text("Payment result", "نتيجة الدفع")
_NAME: Final = Text("Name on card", "الاسم على البطاقة")
_MPIN: Final = Text("MPIN", "الرقم السري MPIN")
_OTP: Final = Text("OTP", "الرمز المؤقت OTP")
_CONFIRM: Final = Text("Confirm", "أكّد")
_PAYING_CARDS: Final = Text("5123456789012346 pays, with 01/39 and 123.", "تدفع 5123456789012346 مع 01/39 و123.")
_OTHER_CARDS: Final = Text(
    "5123450000000008 and 4111111111111111 pay too. Every other number declines, and so does another CVV or expiry.",
    "تدفع أيضًا 5123450000000008 و4111111111111111. كل رقم بطاقة آخر يُرفض، وكذلك رمز تحقق أو تاريخ آخر.",
)
_PAYING_WALLET: Final = Text(
    "MPIN 123456 and OTP 123456 pay, for 01010101010 and every other number.",
    "يدفع MPIN 123456 مع OTP 123456 من 01010101010 ومن كل رقم آخر.",
)
_OTHER_WALLETS: Final = Text(
    "Another MPIN or OTP declines; wallet 01000000002 declines; wallet 01000000003 stays pending.",
    "غير ذلك من MPIN أو OTP يُرفض، والمحفظة 01000000002 ترفض، والمحفظة 01000000003 تبقى معلقة.",
)
_NO_IFRAME: Final = Text("There is no such iframe.", "لا يوجد هذا الإطار.")
_NO_NUMBER: Final = Text("This is not a card number.", "هذا ليس رقم بطاقة.")
_OVER: Final = Text(
    "The time to pay is over. Paymob tells nobody, so the shop notices when its own time is over.",
    "انتهت مهلة الدفع. لا تخبر Paymob أحدًا، فيلاحظ المتجر ذلك عندما تنتهي مهلته هو.",
)
_NOWHERE: Final = Text(
    "No return address is set, so the result is shown here.", "لا يوجد عنوان للعودة، فتظهر النتيجة هنا."
)


class Pages:
    """The handlers of the hosted pages."""

    def __init__(self, config: PaymobConfig, book: Book, clock: Clock, returns: str) -> None:
        self._config = config
        self._book = book
        self._clock = clock
        self._returns = f"{returns}/paymob" if returns else ""

    def routes(self) -> list[Route]:
        """Return the pages' paths. No fault hits them: a payer reloads."""
        return [
            Route("GET", IFRAME, self._card_form),
            Route("POST", IFRAME, self._card_try),
            Route("GET", WALLET, self._wallet_form),
            Route("POST", WALLET, self._wallet_confirm),
            Route("GET", POST_PAY, self._post_pay),
        ]

    async def _card_form(self, request: web.Request) -> web.Response:
        if request.match_info["iframe_id"] != f"{self._config.iframe_id}":
            return notice(request, _CARD_TITLE, _NO_IFRAME, psp=TITLE, status=404)
        return self.card_form(request, request.query.get("payment_token", ""))

    async def _card_try(self, request: web.Request) -> web.Response:
        if request.match_info["iframe_id"] != f"{self._config.iframe_id}":
            return notice(request, _CARD_TITLE, _NO_IFRAME, psp=TITLE, status=404)
        return self.card_try(request, request.query.get("payment_token", ""), texts(await request.post()))

    def card_form(
        self, request: web.Request, token: str, *, number: str = _TEST_CARDS[0], error: Text | str = ""
    ) -> web.Response:
        """Return the card form of a payment key; it posts to the address that it is shown at."""
        try:
            order, _ = self._book.usable(token, "card")
        except Refused as refusal:
            return notice(request, _CARD_TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        language, due = language_of(request), order_due(order, "card", "")
        content = card(
            owed(language, due),
            error_line(language, error),
            what_pays(language, _PAYING_CARDS),
            form(
                fields(
                    field(language, CARD_NUMBER, "card_number", number, 23),
                    field(language, EXPIRY, "card_expiry", "01/39", 7, half=True),
                    field(language, CVV, "card_cvv", "123", 4, half=True),
                    field(language, _NAME, "card_name", "Test Account", 60),
                ),
                button(language, "pay", PAY, amount=due.amount, kind="primary"),
                button(language, "cancel", CANCEL),
                only_here(language, {"decline": DECLINE_TRY, "expire": EXPIRE}, _OTHER_CARDS),
            ),
            facts(language, due),
        )
        return page(request, _CARD_TITLE, content, psp=TITLE, status=400 if error else 200)

    def card_try(self, request: web.Request, token: str, posted: Mapping[str, str]) -> web.Response:
        """Do what a card form asked for, and send the browser back to the merchant."""
        try:
            match posted.get("action"):
                case "decline" | "cancel" as act:
                    return self._go_back(request, try_card(self._book, token, act))
                case "expire":
                    return self._expired(request, _CARD_TITLE, self._book.usable(token, "card")[0])
            number = posted.get("card_number", "").replace(" ", "").replace("-", "")
            if not _is_card_number(number):
                return self.card_form(request, token, number=number, error=_NO_NUMBER)
            _, key = self._book.usable(token, "card")
            sub_type = "Visa" if number.startswith("4") else "MasterCard"
            tried = self._book.try_card(key, _card_outcome(posted, number), pan=number[-4:], sub_type=sub_type)
        except Refused as refusal:
            return notice(request, _CARD_TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        return self._go_back(request, tried)

    async def _wallet_form(self, request: web.Request) -> web.Response:
        try:
            waiting = self._waiting_wallet(request)
        except Refused as refusal:
            return notice(request, _WALLET_TITLE, refusal.detail, psp=TITLE, status=refusal.status)
        language = language_of(request)
        due = transaction_due(waiting, self._book.order(waiting.order_id), "")
        content = card(
            owed(language, due),
            what_pays(language, _PAYING_WALLET),
            form(
                fields(
                    field(language, _MPIN, "mpin", "123456", 6, half=True),
                    field(language, _OTP, "otp", "123456", 6, half=True),
                ),
                button(language, "pay", _CONFIRM, amount=due.amount, kind="primary"),
                button(language, "cancel", CANCEL),
                only_here(language, {"decline": DECLINE_TRY, "expire": EXPIRE}, _OTHER_WALLETS),
            ),
            facts(language, due),
        )
        return page(request, _WALLET_TITLE, content, psp=TITLE)

    async def _wallet_confirm(self, request: web.Request) -> web.Response:
        posted = texts(await request.post())
        try:
            waiting = self._waiting_wallet(request)
            match posted.get("action"):
                case "decline" | "cancel" as act:
                    return self._go_back(request, settle(self._book, waiting, act))
                case "expire":
                    return self._expired(request, _WALLET_TITLE, self._book.order(waiting.order_id))
            refusal = _wallet_refusal(posted)
            if refusal is not None and waiting.pan != _SILENT_WALLET:
                waiting = self._book.settle(waiting, refusal)
            elif waiting.pan != _SILENT_WALLET:
                waiting = settle(self._book, waiting, "decline" if waiting.pan == _DECLINING_WALLET else "pay")
        except Refused as error:
            return notice(request, _WALLET_TITLE, error.detail, psp=TITLE, status=error.status)
        return self._go_back(request, waiting)

    async def _post_pay(self, request: web.Request) -> web.Response:
        rows = {name: value for name, value in request.query.items() if name != "lang"}
        return notice(request, _RESULT_TITLE, _NOWHERE, psp=TITLE, more=table(rows), status=200)

    def _expired(self, request: web.Request, title: Text, order: Order) -> web.Response:
        try:
            expire(self._book, self._clock, order)
        except CannotActError as error:
            return notice(request, title, f"{error}.", psp=TITLE, status=409)
        return notice(request, title, _OVER, psp=TITLE, status=200)

    def _waiting_wallet(self, request: web.Request) -> Transaction:
        """Return the payment that this page's token names, when its payer may still confirm it."""
        claims = read_token(request.query.get("token", ""), self._book.merchant.token_secret) or {}
        transaction = self._book.transactions.get(f"{claims.get('transaction_pk', '')}")
        if transaction is None or transaction.kind != "wallet":
            raise Refused(404, {"detail": "There is no such payment."})
        if not transaction.pending:
            raise Refused(409, {"detail": "This payment has ended already."})
        self._book.usable(transaction.payment_token, "wallet")
        return transaction

    def _go_back(self, request: web.Request, transaction: Transaction) -> web.Response:
        query = urlencode(redirect_query(self._book.shape(transaction), self._config.hmac_secret))
        key = self._book.key_of(transaction.id)
        address = (key and key.redirection_url) or self._returns or f"{request.scheme}://{request.host}{POST_PAY}"
        return see_other(f"{address}{'&' if '?' in address else '?'}{query}")


def _card_outcome(posted: Mapping[str, str], number: str) -> Outcome:
    if posted.get("action") != "pay" or number not in _TEST_CARDS or posted.get("card_cvv", "").strip() != _TEST_CVV:
        return DECLINED
    month, _, year = posted.get("card_expiry", "").replace(" ", "").partition("/")
    if not (month.isdecimal() and year.isdecimal()) or (int(month), 2000 + int(year) % 100) != _TEST_EXPIRY:
        return EXPIRED_CARD
    return APPROVED


def _wallet_refusal(posted: Mapping[str, str]) -> Outcome | None:
    """Return what is wrong with the MPIN or the OTP."""
    if posted.get("mpin") != _TEST_PIN:
        return WALLET_WRONG_PIN
    return WALLET_WRONG_OTP if posted.get("otp") != _TEST_PIN else None


def _is_card_number(number: str) -> bool:
    """Tell whether the digits end in their Luhn check digit."""
    if not (number.isascii() and number.isdecimal()) or len(number) not in _PAN_LENGTHS:
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def texts(posted: Mapping[str, str | bytearray | bytes | web.FileField]) -> dict[str, str]:
    """Return a form's texts; an uploaded file has no place in these forms."""
    return {name: value for name, value in posted.items() if isinstance(value, str)}
