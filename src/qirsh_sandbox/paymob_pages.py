"""Paymob's hosted pages: the card form of the iframe, and the wallet's page that asks MPIN and OTP.

The payment token in the address is the authority, as at Paymob. After each try the browser goes to the merchant's
transaction response callback with a signed query, declined tries included.
"""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from .config import PaymobConfig
from .pages import error_line, notice, page, see_other
from .paymob_book import Book
from .paymob_records import (
    APPROVED,
    CANCELLED,
    DECLINED,
    EXPIRED_CARD,
    WALLET_DECLINED,
    WALLET_PAID,
    WALLET_WRONG_OTP,
    WALLET_WRONG_PIN,
    Outcome,
    Transaction,
)
from .paymob_signing import read_token, redirect_query
from .psp import Refused, Route

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

_CARD_FORM: Final = Template("""
<p>Order $order, <strong>$amount</strong></p>
$error
<form method="post" autocomplete="off">
<label>Card number <input name="card_number" inputmode="numeric" maxlength="23" value="$number"></label>
<label>Name on card <input name="card_name" maxlength="60" value="Test Account"></label>
<label>Expiry (MM/YY) <input name="card_expiry" inputmode="numeric" maxlength="7" value="01/39"></label>
<label>CVV <input name="card_cvv" inputmode="numeric" maxlength="4" value="123"></label>
<button name="action" value="pay">Pay</button>
<button name="action" value="decline">Decline this try</button>
</form>
<p class="hint">Paymob's test cards pay: 5123456789012346, 5123450000000008, 4111111111111111, each with 01/39 and
123.</p>
<p class="hint">Simulator only: every other card number declines, and so does another CVV or expiry.</p>
""")
_WALLET_FORM: Final = Template("""
<p>Order $order, <strong>$amount</strong>, wallet <strong>$wallet</strong></p>
<form method="post" autocomplete="off">
<label>MPIN <input name="mpin" inputmode="numeric" maxlength="6" value="123456"></label>
<label>OTP <input name="otp" inputmode="numeric" maxlength="6" value="123456"></label>
<button name="action" value="pay">Confirm</button>
<button name="action" value="cancel">Cancel</button>
</form>
<p class="hint">MPIN 123456 and OTP 123456 pay, for 01010101010 and every other number.</p>
<p class="hint">Simulator only: another MPIN or OTP declines; wallet 01000000002 declines; wallet 01000000003 stays
pending.</p>
""")


class Pages:
    """The handlers of the hosted pages."""

    def __init__(self, config: PaymobConfig, book: Book, returns: str) -> None:
        self._config = config
        self._book = book
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
            return notice("Card payment", "There is no such iframe.", status=404)
        return self.card_form(request.query.get("payment_token", ""))

    async def _card_try(self, request: web.Request) -> web.Response:
        if request.match_info["iframe_id"] != f"{self._config.iframe_id}":
            return notice("Card payment", "There is no such iframe.", status=404)
        return self.try_card(request, request.query.get("payment_token", ""), texts(await request.post()))

    def card_form(self, token: str, *, number: str = _TEST_CARDS[0], error: str = "") -> web.Response:
        """Return the card form of a payment key; it posts to the address that it is shown at."""
        try:
            order, _ = self._book.usable(token, "card")
        except Refused as refusal:
            return notice("Card payment", refusal.detail, status=refusal.status)
        content = _CARD_FORM.substitute(
            order=order.id,
            amount=escape(money(order.amount_cents, order.currency)),
            number=escape(number),
            error=error_line(error),
        )
        return page("Card payment", content, status=400 if error else 200)

    def try_card(self, request: web.Request, token: str, form: Mapping[str, str]) -> web.Response:
        """Make the try that a card form asked for, and send the browser back to the merchant."""
        number = form.get("card_number", "").replace(" ", "").replace("-", "")
        if not _is_card_number(number):
            return self.card_form(token, number=number, error="This is not a card number.")
        try:
            _, key = self._book.usable(token, "card")
            sub_type = "Visa" if number.startswith("4") else "MasterCard"
            transaction = self._book.try_card(key, _card_outcome(form, number), pan=number[-4:], sub_type=sub_type)
        except Refused as refusal:
            return notice("Card payment", refusal.detail, status=refusal.status)
        return self._go_back(request, transaction)

    async def _wallet_form(self, request: web.Request) -> web.Response:
        try:
            transaction = self._waiting_wallet(request)
        except Refused as refusal:
            return notice("Mobile wallet", refusal.detail, status=refusal.status)
        content = _WALLET_FORM.substitute(
            order=transaction.order_id,
            amount=escape(money(transaction.amount_cents, transaction.currency)),
            wallet=escape(transaction.pan),
        )
        return page("Mobile wallet", content)

    async def _wallet_confirm(self, request: web.Request) -> web.Response:
        form = texts(await request.post())
        try:
            transaction = self._waiting_wallet(request)
            outcome = _wallet_outcome(form, transaction.pan)
            if outcome is not None:
                transaction = self._book.settle(transaction, outcome)
        except Refused as refusal:
            return notice("Mobile wallet", refusal.detail, status=refusal.status)
        return self._go_back(request, transaction)

    async def _post_pay(self, request: web.Request) -> web.Response:
        rows = "".join(
            f"<li>{escape(name)}: <code>{escape(value)}</code></li>" for name, value in request.query.items()
        )
        return page("Payment result", f"<p>No return address is set, so the result is shown here.</p><ul>{rows}</ul>")

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


def _card_outcome(form: Mapping[str, str], number: str) -> Outcome:
    if form.get("action") != "pay" or number not in _TEST_CARDS or form.get("card_cvv", "").strip() != _TEST_CVV:
        return DECLINED
    month, _, year = form.get("card_expiry", "").replace(" ", "").partition("/")
    if not (month.isdecimal() and year.isdecimal()) or (int(month), 2000 + int(year) % 100) != _TEST_EXPIRY:
        return EXPIRED_CARD
    return APPROVED


def _wallet_outcome(form: Mapping[str, str], wallet: str) -> Outcome | None:
    """Return how the wallet answers; None when it never does."""
    if form.get("action") == "cancel":
        return CANCELLED
    if wallet == _SILENT_WALLET:
        return None
    if form.get("mpin") != _TEST_PIN:
        return WALLET_WRONG_PIN
    if form.get("otp") != _TEST_PIN:
        return WALLET_WRONG_OTP
    return WALLET_DECLINED if wallet == _DECLINING_WALLET else WALLET_PAID


def _is_card_number(number: str) -> bool:
    """Tell whether the digits end in their Luhn check digit."""
    if not (number.isascii() and number.isdecimal()) or len(number) not in _PAN_LENGTHS:
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def texts(form: Mapping[str, str | bytearray | bytes | web.FileField]) -> dict[str, str]:
    """Return a form's texts; an uploaded file has no place in these forms."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def money(cents: int, currency: str) -> str:
    """Write an amount as the payer reads it."""
    return f"{currency} {cents // 100}.{cents % 100:02}"
