"""PayPal's orders, captures and refunds: their shapes, and what a capture says happened.

https://developer.paypal.com/docs/api/orders/v2/ and https://developer.paypal.com/docs/api/payments/v2/.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from qirsh.actions import RedirectUrl
from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.money import InvalidAmountError, Money

NAME: Final = "paypal"

PAID: Final = frozenset({"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"})
"""Capture statuses in which the money came, whatever became of it later."""
DEAD: Final[Mapping[str, DeclineCode]] = MappingProxyType(
    {
        "DECLINED": DeclineCode.CARD_DECLINED,
        "DENIED": DeclineCode.CARD_DECLINED,
        "FAILED": DeclineCode.PROCESSING_ERROR,
    }
)
"""Capture statuses after which the order cannot be captured again. DENIED is the word of older lists."""

MAX_URL: Final = 2000
_ID: Final = "[A-Z0-9]{1,36}"
_UP: Final = re.compile(rf"/v2/(checkout/orders|payments/captures)/({_ID})\Z")

Id = Annotated[str, msgspec.Meta(pattern=rf"\A{_ID}\Z")]
"""PayPal's ids. They become parts of paths, so nothing else passes."""


class Link(msgspec.Struct):
    """Where to go next. Never called with our token: links name older hosts, and anyone's host would do."""

    href: str
    rel: str = ""


class Links(msgspec.Struct):
    """Where to go after a refusal."""

    links: list[Link] | None = None


class Amount(msgspec.Struct):
    """Money in PayPal's words."""

    currency_code: str
    value: str

    @property
    def money(self) -> Money:
        """The amount; one that equals no draft's where it is no money we know, so that it ends in review."""
        try:
            return Money.parse(self.value, self.currency_code)
        except InvalidAmountError:
            return Money(0, "EGP")


class _Reason(msgspec.Struct):
    reason: str | None = None


class _RelatedIds(msgspec.Struct):
    order_id: Id | None = None


class _Supplement(msgspec.Struct):
    related_ids: _RelatedIds | None = None


class _Breakdown(msgspec.Struct):
    total_refunded_amount: Amount | None = None


class Capture(msgspec.Struct):
    """Money taken, or tried to be taken, from a payer."""

    id: Id
    status: str = ""
    amount: Amount | None = None
    status_details: _Reason | None = None
    custom_id: str | None = None
    supplementary_data: _Supplement | None = None
    links: list[Link] | None = None

    def __post_init__(self) -> None:
        """Refuse money without an amount: a reader must not have to guess it."""
        if self.status in PAID and self.amount is None:
            raise ValueError("a paid capture has an amount")

    @property
    def order_id(self) -> str | None:
        """The order it belongs to. With intent AUTHORIZE the link points at an authorisation instead."""
        related = self.supplementary_data.related_ids if self.supplementary_data else None
        return (related.order_id if related else None) or up(self.links, "checkout/orders")


class Refund(msgspec.Struct):
    """Money given back, or taken back by a dispute."""

    id: Id
    status: str = ""
    amount: Amount | None = None
    custom_id: str | None = None
    seller_payable_breakdown: _Breakdown | None = None
    links: list[Link] | None = None

    @property
    def capture_id(self) -> str | None:
        """The capture it gives back from; nothing but the link tells."""
        return up(self.links, "payments/captures")

    @property
    def total(self) -> Money | None:
        """All that had gone back of its capture once it was done, by other refunds too; None where it is left out."""
        said = self.seller_payable_breakdown.total_refunded_amount if self.seller_payable_breakdown else None
        return said.money if said else None


class _Payments(msgspec.Struct):
    captures: list[Capture] | None = None
    refunds: list[Refund] | None = None


class _Unit(msgspec.Struct):
    custom_id: str | None = None
    payments: _Payments | None = None


class Order(msgspec.Struct):
    """What a payer is asked to approve, and what became of it."""

    id: Id
    status: str = ""
    purchase_units: list[_Unit] | None = None
    links: list[Link] | None = None

    @property
    def custom_id(self) -> str | None:
        """Our draft id, as we sent it."""
        return self.purchase_units[0].custom_id if self.purchase_units else None

    @property
    def captures(self) -> list[Capture]:
        """Every try to take the money, oldest first."""
        return [one for payments in self._payments for one in payments.captures or ()]

    @property
    def refunds(self) -> list[Refund]:
        """Every refund."""
        return [one for payments in self._payments for one in payments.refunds or ()]

    @property
    def _payments(self) -> list[_Payments]:
        return [unit.payments for unit in self.purchase_units or () if unit.payments]


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def read(kind: type[_Shape], answer: object) -> _Shape | None:
    """An object of an answer or a delivery; None where a field that we need is missing or not of its type."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        return None


def page(links: Sequence[Link] | None, rels: Sequence[str], base_url: str) -> RedirectUrl | None:
    """The page to send the payer to, by the first of these relations that has one fit to be shown.

    Https, or the origin we talk to ourselves, which is plain http in development.
    """
    own = urlsplit(base_url)
    for rel in rels:
        for link in links or ():
            try:
                parts = urlsplit(link.href)
            except ValueError:
                continue
            fit = (parts.scheme == "https" and parts.hostname) or parts[:2] == own[:2]
            if link.rel == rel and fit and len(link.href) <= MAX_URL and link.href.isprintable():
                return RedirectUrl(link.href, "redirect")
    return None


def up(links: Sequence[Link] | None, collection: str) -> str | None:
    """The id at the end of the link to the parent, when the parent is of this collection."""
    for link in links or ():
        if link.rel == "up" and (found := _UP.search(link.href)) and found[1] == collection:
            return found[2]
    return None


def told(capture: Capture, *, draft_id: UUID, order_id: str | None) -> Iterator[GatewayEvent]:
    """What a capture says happened to the payer's money; of what went back since, its refunds tell.

    One that is pending says nothing yet.
    """

    def event(kind: Kind, amount: Money | None = None) -> GatewayEvent:
        dead = kind is Kind.FAILED
        return GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{capture.id}:{capture.status}",
            draft_id=draft_id,
            transaction_reference_id=order_id or capture.order_id,
            payment_reference=None if dead else capture.id,  # a declined capture is nobody's payment
            amount=amount,
            reason=DEAD[capture.status] if dead else None,
            psp_code=code_of(capture),
        )

    if capture.status in PAID:
        assert capture.amount is not None, "checked when it was read"
        yield event(Kind.PAID, capture.amount.money)
    elif capture.status in DEAD:
        yield event(Kind.FAILED)


def code_of(capture: Capture) -> str | None:
    """PayPal's own word for why a capture stands as it does."""
    reason = capture.status_details.reason if capture.status_details else None
    return reason[:64] if reason else None
