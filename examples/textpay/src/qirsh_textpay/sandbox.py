"""The fake TextPay, as the package's docstring describes it, beside the fakes of the sandbox. Knows nothing of Qirsh.

A developer reads the texted codes and plays the payer at /textpay/phone; a test reads them at
/textpay/texts?merchant_reference=…. Some phones have a wallet with a fate: 01000000002 holds too little money,
01000000003 has none, and the operator of 01000000004 takes its time, until the control plane's `release`.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from qirsh_sandbox.deliveries import Sealed
from qirsh_sandbox.page_parts import CANCEL, DECLINE, EXPIRE, Due, Place
from qirsh_sandbox.pages import Text
from qirsh_sandbox.psp import (
    Act,
    CannotActError,
    Kind,
    LedgerRow,
    PayerCommand,
    Route,
    UnknownReferenceError,
    World,
    folded,
    json_answer,
)
from qirsh_sandbox.store import Table
from qirsh_sandbox.till import Till, Waiting
from qirsh_textpay.sandbox_book import CHARGE_SECONDS, Book, Charge, error, refused

REMEMBERED_SECONDS: Final = 86_400.0
TEXTS_SHOWN: Final = 20
TITLE: Final = "TextPay"
PHONE: Final = "/textpay/phone"

_PHONE: Final = Text("The payer's phone", "هاتف الدافع")
_ABOUT: Final = Text(
    "Texted codes, the newest first: type one into the shop's page, or do here what the payer does in TextPay's app. "
    "01000000002 holds too little, 01000000003 has no wallet, 01000000004 takes its time.",
    "الرموز المرسلة، الأحدث أولًا: اكتب الرمز في صفحة المتجر، أو افعل هنا ما يفعله الدافع في تطبيق TextPay. المحفظة "
    "01000000002 رصيدها قليل، و01000000003 بلا محفظة، و01000000004 تتأخر.",
)
_APPROVE: Final = Text("Approve in the app", "وافق في التطبيق")
_WALLET: Final = Text("Wallet with a texted code", "محفظة برمز مرسل")

_Body = TypeVar("_Body", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What TextPay's dashboard would show, under the names of the payment server's configuration."""

    api_key: str = field(default="sandbox_textpay_api_key", repr=False)
    webhook_secret: str = field(default="sandbox_textpay_webhook_secret", repr=False)
    live: bool = False


class TextPay:
    """One merchant's TextPay."""

    name = "textpay"
    title = TITLE
    places: Sequence[Place] = (Place(_PHONE, PHONE),)

    def __init__(self, account: Account, world: World) -> None:
        self._account = account
        self._world = world
        self._book = Book(world, self, live=account.live)
        self._answers = Table(world.store, "textpay.answer", _Answer)
        self._till = Till(TITLE, PHONE, _PHONE, (_ABOUT,), self._texted, self._named, self._do)

    def routes(self) -> Sequence[Route]:
        """Return the data plane, where confirming is what captures, and the payers' phones, which no fault hits."""
        return [
            Route("POST", "/textpay/v1/charges", self._register, "register"),
            Route("GET", "/textpay/v1/charges", self._find, "lookup"),
            Route("POST", "/textpay/v1/charges/{id}/confirm", self._confirm, "capture"),
            Route("POST", "/textpay/v1/charges/{id}/refunds", self._refund, "refund"),
            Route("GET", "/textpay/texts", self._texts),
            *self._till.routes(),
        ]

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened."""
        return self._book.ledger()

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer."""
        return [_due(charge) for charge in self._book.newest(limit) if charge.status in {"awaiting_code", "processing"}]

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does in TextPay's own app, or the merchant in its dashboard (`refund`)."""
        found = self._book.of(folded(command.merchant_reference))
        if not found:
            raise UnknownReferenceError(command.merchant_reference)
        charge = found[-1]
        match command.act, charge.status:
            case ("pay", "awaiting_code" | "processing") | ("release", "processing"):
                self._book.pay(charge)
            case "decline", "awaiting_code":
                self._book.decline(charge, "insufficient_funds")
            case "cancel", "awaiting_code":
                self._book.end(charge, "cancelled")
            case "expire", "awaiting_code":
                self._book.end(charge, "expired")
            case "refund", "paid":
                self._refund_in_the_dashboard(charge, command.amount_minor)
            case act, status:
                raise CannotActError(f"TextPay cannot {act} a charge that is {status}")

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign a webhook with the time of this attempt."""
        signed_at = str(int(self._world.clock.now()))
        secret = "another secret" if corrupt else self._account.webhook_secret
        signature = hmac.new(secret.encode(), signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "TextPay-Signature": f"t={signed_at},v1={signature}"}
        return Sealed(self._world.webhook(self.name), headers)

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the event with a piastre more."""
        event = msgspec.json.decode(body)
        event["charge"]["amount"] += 1
        return msgspec.json.encode(event)

    async def _register(self, request: web.Request) -> web.Response:
        wanted = await self._read(request, _Wanted)
        if (first := self._first(request)) is not None:
            return first
        with self._world.store.transaction():
            made = self._book.register(wanted.merchant_reference, wanted.amount, wanted.phone, wanted.description)
            return self._answered(request, 201, self._book.shape(made))

    async def _find(self, request: web.Request) -> web.Response:
        self._let_in(request)
        found = self._book.of(request.query.get("merchant_reference", ""))
        return json_answer({"charges": [self._book.shape(charge) for charge in found]})

    async def _confirm(self, request: web.Request) -> web.Response:
        tried = await self._read(request, _Tried)
        if (first := self._first(request)) is not None:
            return first
        with self._world.store.transaction():
            after = self._book.confirm(self._book.named(request.match_info["id"]), tried.otp_token, tried.code)
            if isinstance(after, str):
                return self._answered(request, 422, error(after))
            return self._answered(request, 200, self._book.shape(after))

    async def _refund(self, request: web.Request) -> web.Response:
        wanted = await self._read(request, _GivenBack)
        if (first := self._first(request)) is not None:
            return first
        with self._world.store.transaction():
            after = self._book.refund(self._book.named(request.match_info["id"]), wanted.amount, wanted.reference)
            return self._answered(request, 201, self._book.shape(after))

    async def _texts(self, request: web.Request) -> web.Response:
        found = self._book.of(request.query.get("merchant_reference", ""))
        return json_answer([{"phone": charge.phone, "code": charge.code, "text": charge.text} for charge in found])

    def _texted(self) -> list[Waiting]:
        return [self._on_the_phone(charge) for charge in self._book.newest(TEXTS_SHOWN)]

    def _named(self, charge_id: str) -> Waiting | None:
        found = self._book.charges.get(charge_id)
        return None if found is None else self._on_the_phone(self._book.named(found.id))

    def _on_the_phone(self, charge: Charge) -> Waiting:
        due, text = _due(charge), f"{charge.phone}: {charge.text}"
        match charge.status:
            case "awaiting_code":
                others = {"decline": DECLINE, "cancel": CANCEL, "expire": EXPIRE}
                return Waiting(due, charge.status, _APPROVE, others, message=text)
            case "processing":
                return Waiting(due, charge.status, _APPROVE, message=text)
            case over:
                return Waiting(due, over, message=text)

    def _do(self, charge_id: str, act: Act) -> None:
        charge = self._book.charges.get(charge_id)
        if charge is None or act == "refund":
            raise UnknownReferenceError(charge_id)
        self.act(PayerCommand(merchant_reference=charge.merchant_reference, act=act))

    def _refund_in_the_dashboard(self, charge: Charge, amount: int | None) -> None:
        left = charge.amount - charge.refunded
        if not 1 <= (wanted := left if amount is None else amount) <= left:
            raise CannotActError(f"of {left} that are left, {wanted} cannot be given back")
        self._book.refund(charge, wanted, "dashboard")

    async def _read(self, request: web.Request, shape: type[_Body]) -> _Body:
        self._let_in(request)
        if not request.headers.get("Idempotency-Key"):
            raise refused("key_missing", 400)
        try:
            return msgspec.json.decode(await request.read(), type=shape)
        except msgspec.DecodeError:
            raise refused("invalid_request", 400) from None

    def _let_in(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self._account.api_key}":
            raise refused("wrong_key", 401)

    def _first(self, request: web.Request) -> web.Response | None:
        """Return the answer that this key got already."""
        found = self._answers.get(_name_of(request))
        if found is None or found.until <= self._world.clock.now():
            return None
        return json_answer(found.body, found.status)

    def _answered(self, request: web.Request, status: int, body: dict[str, Any]) -> web.Response:
        """Answer, and remember the answer under the request's key, in the transaction of what was done."""
        answer = _Answer(status, body, self._world.clock.now() + REMEMBERED_SECONDS)
        self._answers.put(answer, key=_name_of(request))
        return json_answer(body, status)


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    merchant_reference: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    amount: Annotated[int, msgspec.Meta(ge=1)]
    currency: Literal["EGP"]
    phone: Annotated[str, msgspec.Meta(pattern=r"\A01[0-9]{9}\Z")]
    description: Annotated[str, msgspec.Meta(max_length=60)] = ""


class _Tried(msgspec.Struct, forbid_unknown_fields=True):
    otp_token: str
    code: str


class _GivenBack(msgspec.Struct, forbid_unknown_fields=True):
    amount: Annotated[int, msgspec.Meta(ge=1)]
    reference: str = ""
    reason: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What was answered under an Idempotency-Key."""

    status: int
    body: dict[str, Any]
    until: float


def _due(charge: Charge) -> Due:
    return Due(
        psp="textpay",
        product=charge.description,
        reference=charge.merchant_reference,
        number=charge.id,
        method=_WALLET,
        amount=f"EGP {charge.amount // 100}.{charge.amount % 100:02}",
        page=f"{PHONE}?number={charge.id}",
        created_at=charge.expires_at - CHARGE_SECONDS,
    )


def _name_of(request: web.Request) -> str:
    return f"{request.path}:{request.headers['Idempotency-Key']}"


SANDBOX: Final = Kind(Account, TextPay)
"""What the entry point in the group `qirsh.sandbox` names."""
