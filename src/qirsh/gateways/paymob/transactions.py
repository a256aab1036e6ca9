"""Paymob's transaction object: its signature, its shape, and what it says happened.

https://developers.paymob.com/egypt: "Transaction webhooks", "HMAC calculation".
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.gateways.references import draft_id_of
from qirsh.money import InvalidAmountError, Money

NAME: Final = "paymob"

TRANSACTION_FIELDS: Final = (
    *("amount_cents", "created_at", "currency", "error_occured", "has_parent_transaction", "id", "integration_id"),
    *("is_3d_secure", "is_auth", "is_capture", "is_refunded", "is_standalone_payment", "is_voided", "order.id"),
    *("owner", "pending", "source_data.pan", "source_data.sub_type", "source_data.type", "success"),
)
"""What a TRANSACTION callback signs, in order, joined without separators. `error_occured` is Paymob's spelling."""

SIGNED_FIELDS: Final = MappingProxyType(
    {
        "TRANSACTION": TRANSACTION_FIELDS,
        "TOKEN": ("card_subtype", "created_at", "email", "id", "masked_pan", "merchant_id", "order_id", "token"),
        "DELIVERY_STATUS": ("order_id", "order_delivery_status", "merchant_id", "merchant_name", "updated_at"),
    }
)

DECLINES: Final = MappingProxyType(
    {
        "INSUFFICIENT_FUNDS": DeclineCode.INSUFFICIENT_FUNDS,
        "5": DeclineCode.INSUFFICIENT_FUNDS,
        "6051": DeclineCode.INSUFFICIENT_FUNDS,
        "DECLINED": DeclineCode.CARD_DECLINED,
        "2": DeclineCode.CARD_DECLINED,
        "B": DeclineCode.CARD_DECLINED,
        "BLOCKED": DeclineCode.CARD_DECLINED,
        "7": DeclineCode.EXPIRED_CARD,
        "AUTHENTICATION_FAILED": DeclineCode.AUTHENTICATION_FAILED,
        "F": DeclineCode.AUTHENTICATION_FAILED,
        "637": DeclineCode.WRONG_PIN,
        "11": DeclineCode.FRAUD_SUSPECTED,
    }
)
"""`txn_response_code` to ours. Unsigned, so it may explain a decline and decides nothing."""

# A split could push digits of the amount into the date; no date of ours starts other than with a year.
_CREATED_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")


_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_INTEGERS: Final = ("amount_cents", "id", "integration_id", "order.id")
_BOOLEANS: Final = (
    *("error_occured", "has_parent_transaction", "is_3d_secure", "is_auth", "is_capture", "is_refunded"),
    *("is_standalone_payment", "is_voided", "pending", "success"),
)


class Callback(msgspec.Struct):
    """A callback's envelope; `obj` is read only after its signature."""

    type: str
    obj: dict[str, Any]


class _Order(msgspec.Struct):
    id: int
    merchant_order_id: str | None = None


class _Source(msgspec.Struct):
    type: str | None = None


class Transaction(msgspec.Struct):
    """One try to move money, or the child of one that gives it back. Amounts in minor units."""

    id: int
    amount_cents: int
    currency: str
    success: bool
    pending: bool
    order: _Order
    integration_id: int
    owner: Any = None
    is_auth: bool = False
    is_voided: bool = False
    is_refunded: bool = False
    has_parent_transaction: bool = False
    parent_transaction: int | None = None
    refunded_amount_cents: int | None = None
    error_occured: Any = False
    source_data: _Source | None = None
    redirect_url: Any = None
    data: Any = None

    @property
    def source_type(self) -> str | None:
        """card, wallet, aggregator or cash_present."""
        return self.source_data.type if self.source_data else None

    @property
    def details(self) -> Mapping[str, Any]:
        """The processor's block, unsigned and of many shapes."""
        return self.data if isinstance(self.data, dict) else {}

    @property
    def bill_expired(self) -> bool:
        """A kiosk bill that nobody paid in time is voided without ever having succeeded."""
        return self.is_voided and not self.success and not self.pending and self.source_type == "aggregator"

    @property
    def paid(self) -> bool:
        """Money moved to the merchant, whatever became of it later. An authorisation alone has moved none."""
        return self.success and not self.pending and not self.is_auth and not self.has_parent_transaction

    @property
    def bill_reference(self) -> str | None:
        """The number that a payer quotes at a kiosk."""
        number = str(self.details.get("bill_reference", ""))
        return number if number.isascii() and number.isdecimal() else None

    @property
    def decline(self) -> DeclineCode:
        """Why it was refused, as far as Paymob says."""
        return DECLINES.get(str(self.details.get("txn_response_code", "")), DeclineCode.UNKNOWN)

    @property
    def is_fact(self) -> bool:
        """Whether what is signed says all there is to say.

        Children, refunds and voids are not facts: their amounts, and what they are children of, are unsigned.
        """
        given_back = self.is_refunded or (self.is_voided and not self.bill_expired)
        return not (self.has_parent_transaction or given_back or (self.success and self.is_auth))


def is_canonical(obj: Mapping[str, Any]) -> bool:
    """Whether every signed field is there in its own type.

    The signature runs over the fields' texts without separators, so a field left out and its text moved into a
    neighbour would be signed as well: a forged "not an authorisation", say.
    """
    texts = (_at(obj, name) for name in ("source_data.pan", "source_data.sub_type", "source_data.type"))
    return (
        all(type(_at(obj, name)) is bool for name in _BOOLEANS)
        and all(type(_at(obj, name)) is int for name in _INTEGERS)
        and type(_at(obj, "owner")) in {int, type(None)}  # unnamed is nobody's, so it makes a hint at most
        and all(text is None or type(text) is str for text in texts)
        and _CREATED_AT.match(str(_at(obj, "created_at"))) is not None
        and _CURRENCY.fullmatch(str(_at(obj, "currency"))) is not None
    )


def read_transaction(answer: object) -> Transaction | None:
    """A transaction from an answer or a callback; None where a field is missing or not of its type."""
    try:
        return msgspec.convert(answer, Transaction)
    except msgspec.ValidationError:
        return None


def read_pay_answer(answer: object) -> Transaction | None:
    """The transaction in an answer of `pay`; None where it cannot be read.

    Captures show the usual object; Paymob's page on kiosk payments prints booleans as text and the order as a bare
    number (https://docs.paymob.com/docs/kiosk-payments). Nothing is signed here, so both are read.
    """
    if isinstance(answer, dict) and not isinstance(answer.get("order"), dict):
        answer = {**answer, "order": {"id": answer.get("order")}}
    try:
        return msgspec.convert(answer, Transaction, strict=False)
    except msgspec.ValidationError:
        return None


def told(transaction: Transaction) -> Iterator[GatewayEvent]:
    """What a transaction says happened, in causal order. A child says nothing itself: its parent carries the sums."""
    if transaction.has_parent_transaction or transaction.pending:
        return
    if transaction.paid:
        yield _event(transaction, Kind.PAID, amount=_money(transaction, transaction.amount_cents))
        if transaction.is_refunded or transaction.is_voided:
            back = transaction.amount_cents if transaction.is_voided else transaction.refunded_amount_cents
            # Without a sum it is still a fact that some went back; how much, a person must find out.
            yield _event(transaction, Kind.REFUNDED, amount=_money(transaction, back) if back else None)
    elif transaction.bill_expired:
        yield _event(transaction, Kind.FAILED, reason=DeclineCode.EXPIRED)
    elif not transaction.success:
        yield _event(transaction, Kind.DECLINED, reason=transaction.decline)


def is_signed(fields: Mapping[str, str] | None, secret: str, signature: str) -> bool:
    """HMAC-SHA512 in lower-case hex over the fields' texts, compared in constant time."""
    if fields is None:
        return False
    expected = hmac.new(secret.encode(), "".join(fields.values()).encode(), hashlib.sha512).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def signed_texts(callback: Callback) -> Mapping[str, str] | None:
    """The signed fields of a callback as Paymob writes them into the signature; None for a type we do not know."""
    names = SIGNED_FIELDS.get(callback.type)
    if names is None:
        return None
    texts = {name: _text(_at(callback.obj, name)) for name in names}
    return None if None in texts.values() else {name: text or "" for name, text in texts.items()}


def signed_texts_of_query(query: Mapping[str, str]) -> Mapping[str, str]:
    """The same fields as the browser's redirect carries them: `order` for `order.id`, dots in the nested names."""
    return {name: query.get("order" if name == "order.id" else name, "") for name in TRANSACTION_FIELDS}


def _event(
    transaction: Transaction, kind: Kind, *, amount: Money | None = None, reason: DeclineCode | None = None
) -> GatewayEvent:
    code = transaction.details.get("txn_response_code")
    return GatewayEvent(
        kind=kind,
        gateway=NAME,
        event_id=f"{transaction.id}:{transaction.pending}:{transaction.success}",
        transaction_reference_id=str(transaction.order.id),
        payment_reference=str(transaction.id) if kind in {Kind.PAID, Kind.REFUNDED} else None,
        amount=amount,
        reason=reason,
        psp_code=None if code is None else str(code)[:64],
        hinted_draft_id=draft_id_of(transaction.order.merchant_order_id),
    )


def _money(transaction: Transaction, amount_cents: int) -> Money:
    try:
        return Money(amount_cents, transaction.currency)
    except InvalidAmountError:
        # Not our currency or no sane sum: an amount that equals no draft's, so that it ends in review.
        return Money(0, "EGP")


def _at(obj: Mapping[str, Any], dotted: str) -> object:
    value: object = obj
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str | None:
    """How Paymob writes a value: booleans in lower case, null as nothing. None for what it never signs."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return value
        case _:
            return None
