"""The books of the fake TextPay: every rule about its charges, and the webhook that each step owes."""

import secrets
from typing import Any, Final, Literal

import msgspec

from qirsh_sandbox.deliveries import Sender
from qirsh_sandbox.psp import LedgerRow, Refused, State, World
from qirsh_sandbox.store import Table

CHARGE_SECONDS: Final = 600.0
MAX_WRONG: Final = 8
POOR, NO_WALLET, SLOW = "01000000002", "01000000003", "01000000004"
ENDS: Final[dict[str, State]] = {"locked": "failed", "expired": "expired", "cancelled": "failed"}

Status = Literal["awaiting_code", "processing", "paid", "locked", "expired", "cancelled"]


class Refund(msgspec.Struct, frozen=True):
    """Money that went back; the reference is the merchant's."""

    id: str
    amount: int
    reference: str


class Charge(msgspec.Struct, frozen=True):
    """A charge, with the code that only the payer's phone is told."""

    id: str
    merchant_reference: str
    amount: int
    phone: str
    description: str
    otp_token: str
    code: str
    expires_at: float
    status: Status = "awaiting_code"
    declines: tuple[str, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def refunded(self) -> int:
        """What went back in all."""
        return sum(refund.amount for refund in self.refunds)

    @property
    def text(self) -> str:
        """What the phone is sent."""
        pounds, piastres = divmod(self.amount, 100)
        return f"{self.code} is your code to pay EGP {pounds}.{piastres:02} for {self.description or 'your order'}."


class Book:
    """The charges of one merchant. What a step changes and the webhook it owes are on disk together."""

    def __init__(self, world: World, sender: Sender, *, live: bool) -> None:
        self._world = world
        self._sender = sender
        self._live = live
        self.charges = Table(world.store, "textpay.charge", Charge)

    def of(self, merchant_reference: str) -> list[Charge]:
        """Return the charge of a reference as it stands now, or nothing."""
        return [self._as_of_now(charge) for charge in self.charges.children(merchant_reference)]

    def newest(self, limit: int) -> list[Charge]:
        """Return the newest charges as they stand now."""
        return [self._as_of_now(charge) for charge in self.charges.page(limit=limit, offset=0)]

    def named(self, charge_id: str) -> Charge:
        """Return a charge as it stands now.

        Raises:
            Refused: there is none.
        """
        charge = self.charges.get(charge_id)
        if charge is None:
            raise refused("no_such_charge", 404)
        return self._as_of_now(charge)

    def register(self, reference: str, amount: int, phone: str, description: str) -> Charge:
        """Take a charge and text its code."""
        if self.charges.children(reference):
            raise refused("reference_taken")
        if phone == NO_WALLET:
            raise refused("no_wallet")
        return self._put(
            Charge(
                id=fresh("ch"),
                merchant_reference=reference,
                amount=amount,
                phone=phone,
                description=description,
                otp_token=fresh("ot"),
                code=f"{secrets.randbelow(10**6):06}",
                expires_at=self._world.clock.now() + CHARGE_SECONDS,
            )
        )

    def confirm(self, charge: Charge, otp_token: str, code: str) -> Charge | str:
        """Try a code: the charge after it, or the word of the refusal, which leaves its traces too."""
        if charge.status != "awaiting_code":
            return f"charge_{charge.status}" if charge.status in ENDS else "not_awaiting"
        if (otp_token, code) != (charge.otp_token, charge.code):
            declined = self.decline(charge, "wrong_code")
            if declined.declines.count("wrong_code") < MAX_WRONG:
                return "wrong_code"
            self.end(declined, "locked")
            return "charge_locked"
        if charge.phone == POOR:
            self.decline(charge, "insufficient_funds")
            return "insufficient_funds"
        return self._put(charge, status="processing") if charge.phone == SLOW else self.pay(charge)

    def pay(self, charge: Charge) -> Charge:
        """Move the money."""
        return self._told("charge.paid", charge, status="paid")

    def decline(self, charge: Charge, word: str) -> Charge:
        """Refuse one try."""
        return self._told("charge.declined", charge, declines=(*charge.declines, word))

    def end(self, charge: Charge, status: Status) -> Charge:
        """Let nobody pay it any more."""
        return self._told("charge.ended", charge, status=status)

    def refund(self, charge: Charge, amount: int, reference: str) -> Charge:
        """Give money back."""
        if charge.status != "paid":
            raise refused("not_paid")
        if amount > charge.amount - charge.refunded:
            raise refused("refund_too_much")
        return self._told("charge.refunded", charge, refunds=(*charge.refunds, Refund(fresh("re"), amount, reference)))

    def shape(self, charge: Charge) -> dict[str, Any]:
        """Return the charge as the API shows it; the code stays between TextPay and the phone."""
        shown = ("id", "merchant_reference", "amount", "status", "otp_token", "declines", "refunds")
        return {
            **{name: msgspec.to_builtins(getattr(charge, name)) for name in shown},
            "live": self._live,
            "currency": "EGP",
            "code_length": len(charge.code),
        }

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened: a reference is one charge."""
        return [_row(self._as_of_now(charge)) for charge in self.charges.all()]

    def _as_of_now(self, charge: Charge) -> Charge:
        over = charge.status == "awaiting_code" and charge.expires_at <= self._world.clock.now()
        return msgspec.structs.replace(charge, status="expired") if over else charge

    def _put(self, charge: Charge, **changes: object) -> Charge:
        after = msgspec.structs.replace(charge, **changes)
        self.charges.put(after, key=after.id, parent=after.merchant_reference)
        return after

    def _told(self, kind: str, charge: Charge, **changes: object) -> Charge:
        """Change a charge, and owe the webhook about it."""
        with self._world.store.transaction():
            after = self._put(charge, **changes)
            event = {"id": fresh("ev"), "type": kind, "live": self._live, "charge": self.shape(after)}
            self._world.deliveries.schedule(self._sender, after.merchant_reference, msgspec.json.encode(event))
        return after


def fresh(prefix: str) -> str:
    """Return an id that nobody had before."""
    return f"{prefix}_{secrets.token_hex(12)}"


def refused(word: str, status: int = 422) -> Refused:
    """Return TextPay's refusal, to be raised."""
    return Refused(status, error(word))


def error(word: str) -> dict[str, Any]:
    """Return the body of a refusal."""
    return {"error": {"code": word, "message": word.replace("_", " ")}}


def _row(charge: Charge) -> LedgerRow:
    paid = charge.amount if charge.status == "paid" else 0
    state: State = ENDS.get(charge.status, "open")
    if paid:
        state = "partially_refunded" if charge.refunded else "paid"
        state = "refunded" if charge.refunded == paid else state
    return LedgerRow(
        psp="textpay",
        merchant_reference=charge.merchant_reference,
        transaction_reference_id=charge.id,
        amount_minor=charge.amount,
        currency="EGP",
        state=state,
        registered=1,
        paid_minor=paid,
        refunded_minor=charge.refunded,
    )
