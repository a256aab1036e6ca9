"""Fawry (Egypt): numbers to pay in cash, wallets by QR code or by a prompt on the phone, and cards, in piastres.

https://developer.fawrystaging.com: reference number, mobile wallet, hosted checkout, status V2, refund, notifications.

Fawry honours no idempotency key. What keeps a registration single is that it takes a merchantRefNum once: our draft id.
So a repeat asks for the order of the first try, and goes on from it where nothing of the lost answer is needed.
"""

from collections.abc import Sequence
from typing import Final

from qirsh.actions import MobilePrompt, PaymentAction, QrCode, RedirectUrl, ReferenceCode
from qirsh.draft import GatewayEvent, Kind, PaymentDraft
from qirsh.errors import GatewayOutcomeUnknown, GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import (
    Delivery,
    Hint,
    Lookup,
    Profile,
    RefundOrder,
    Registration,
    SignaturePlace,
    Standing,
    Surroundings,
)
from qirsh.gateways.fawry.account import Account, Charge
from qirsh.gateways.fawry.bodies import PROMPTS
from qirsh.gateways.fawry.codes import is_definite
from qirsh.gateways.fawry.credentials import Credentials
from qirsh.gateways.fawry.notifications import read_notification
from qirsh.gateways.fawry.orders import CANCELLED, NAME, Order, standing_of, told
from qirsh.methods import METHODS, Method
from qirsh.money import Money

BILLER: Final = "Fawry"
MOST_REFERENCES: Final = 5
"""How often a lost QR code or page is replaced: each try waits for a deadline or a sweep, so a draft has ended by
then."""
LOST_WITH_THE_ANSWER: Final = frozenset({Method.WALLET_QR, Method.CARD})
"""Methods whose action is nowhere but in the answer. A reference number and a prompt follow from the order itself."""

PROFILE: Final = Profile(
    name=NAME,
    methods=frozenset({Method.FAWRY, Method.WALLET_QR, Method.MOBILE_WALLET, Method.VODAFONE_CASH, Method.CARD}),
    currencies=frozenset({"EGP"}),
    signature_place=SignaturePlace("body", "messageSignature"),
    found_by="merchant_reference",
    partial_refunds=True,
)


class Fawry:
    """One Fawry merchant account.

    A direct charge is known by Fawry's number. A hosted checkout is known by our reference, since Fawry gives no number
    before it is paid; the number that a refund needs is the payment reference in both.
    """

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Sell through this account.

        Raises:
            GatewayMisconfigured: a key cannot be used; the message names it.
        """
        self._account = Account(credentials, surroundings)
        self._security_key = credentials.security_key

    @property
    def profile(self) -> Profile:
        """EGP only; a notification carries its signature in the body."""
        return PROFILE

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  Fawry takes no key
        """Charge, or open the hosted checkout, under our draft id.

        https://developer.fawrystaging.com: "Create payment by reference number", "Mobile wallet", "Hosted checkout".
        """
        if draft.in_doubt:
            return await self._go_on(draft)
        return await self._open(draft, str(draft.id))

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask for the order, and for those that were replaced by it: https://developer.fawrystaging.com, "Status V2".

        Money is money wherever it came; but the end of an order that was replaced is not the draft's.
        """
        orders = await self._orders(draft)
        if not orders:
            return Lookup(Standing.UNKNOWN)
        *replaced, (reference, current) = orders
        hosted = draft.request.method is Method.CARD
        events = [
            event
            for _, order in replaced
            for event in told(order, draft_id=draft.id, hosted=hosted)
            if event.kind in {Kind.PAID, Kind.REFUNDED}
        ]
        if _is_cancelled_by_us(draft, current):
            return Lookup(Standing.CLOSED if events else Standing.UNKNOWN, events)
        known = reference if hosted else current.reference
        events += told(current, draft_id=draft.id, hosted=hosted, transaction_reference_id=known)
        return Lookup(Standing.CLOSED if replaced and events else standing_of(current, hosted=hosted), events)

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:  # noqa: ARG002  no key either
        """Give back all or some of a paid order: https://developer.fawrystaging.com, "Refund".

        Raises:
            GatewayRejected: too much, not paid or not found; `psp_code` is Fawry's.
            GatewayOutcomeUnknown: the answer was lost; nothing may be sent again before a person has looked.
        """
        draft = order.draft
        if draft.payment_reference is None:
            raise GatewayUnavailable("No payment of this draft is known: nothing was sent.")
        amount = Money(order.amount_minor, draft.amount.currency)
        await self._account.refund(draft.payment_reference, amount, order.reason)
        return [
            GatewayEvent(
                kind=Kind.REFUNDED,
                gateway=NAME,
                event_id=f"refund:{order.id}",
                draft_id=draft.id,
                payment_reference=draft.payment_reference,
                amount=Money(order.total_minor, draft.amount.currency),
                refund_id=order.id,
            )
        ]

    async def cancel(self, draft: PaymentDraft) -> None:
        """End what can still be paid: https://developer.fawrystaging.com, "Cancel payment"."""
        hosted = draft.request.method is Method.CARD
        for _, order in await self._orders(draft):
            if standing_of(order, hosted=hosted) is Standing.OPEN:
                await self._account.cancel(order.reference)

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Read a notification V2: https://developer.fawrystaging.com, "Server notification V2"."""
        return read_notification(delivery.body, self._security_key.get_secret_value())

    async def aclose(self) -> None:
        """Close the connections to Fawry."""
        await self._account.aclose()

    async def _open(self, draft: PaymentDraft, reference: str) -> Registration:
        """Make the draft payable under this reference."""
        if draft.request.method is Method.CARD:
            return Registration(reference, RedirectUrl(await self._account.open_page(draft, reference), "redirect"))
        charge = await self._account.charge(draft, reference)
        number = str(charge.reference_number or "")
        if not number:
            raise GatewayProtocolError("Fawry's reference number could not be read.")
        return Registration(number, _action(draft, number, charge))

    async def _go_on(self, draft: PaymentDraft) -> Registration:
        """Finish what an earlier call may have begun: never a second prompt, and never a second payable order.

        A reference that Fawry does not know is used again, since Fawry takes it once. One that waits is handed out
        where it can be. A QR code that was lost is not, nor is a page: that order is ended, and once Fawry says so the
        draft goes on as `<id>~2`. A page that Fawry will not open again under a reference it does not show was told to
        nobody but us, so nobody can pay it, and the next reference may be opened.
        """
        for reference in _references(draft):
            order = await self._account.order(reference)
            if order is None:
                try:
                    return await self._open(draft, reference)
                except GatewayRejected as error:
                    if is_definite(error):
                        raise
                    if draft.request.method is Method.CARD:
                        continue
                    raise GatewayOutcomeUnknown("Fawry refused the repeat: it may have the first try.") from error
            is_open = standing_of(order, hosted=draft.request.method is Method.CARD) is Standing.OPEN
            if is_open and draft.request.method not in LOST_WITH_THE_ANSWER:
                return Registration(order.reference, _action(draft, order.reference))
            if is_open:
                await self._account.cancel(order.reference)
                order = await self._account.order(reference)
            if order is None or not _is_cancelled_by_us(draft, order):
                break
        raise GatewayOutcomeUnknown("Fawry has an order that is not waiting any more: it will be looked up.")

    async def _orders(self, draft: PaymentDraft) -> list[tuple[str, Order]]:
        """The orders of a draft with our references, oldest first; the last is the one that counts."""
        known, hosted = draft.transaction_reference_id, draft.request.method is Method.CARD
        found: list[tuple[str, Order]] = []
        for reference in [known] if known and hosted else _references(draft):
            order = await self._account.order(reference)
            if order is None:
                break
            found.append((reference, order))
            if order.reference == known:
                break
        return found


def _references(draft: PaymentDraft) -> list[str]:
    """Our draft id, and what follows it where a lost answer cannot be had again."""
    first = str(draft.id)
    if draft.request.method not in LOST_WITH_THE_ANSWER:
        return [first]
    return [first, *(f"{first}~{number}" for number in range(2, MOST_REFERENCES + 1))]


def _is_cancelled_by_us(draft: PaymentDraft, order: Order) -> bool:
    """Whether this order was ended to be replaced: nobody else knows of one that was never handed out."""
    unknown = draft.transaction_reference_id is None
    return unknown and order.status in CANCELLED and draft.request.method in LOST_WITH_THE_ANSWER


def _action(draft: PaymentDraft, number: str, charge: Charge | None = None) -> PaymentAction:
    """What the payer must do with a direct charge."""
    method = draft.request.method
    if method is Method.WALLET_QR:
        image = (charge.wallet_qr or "") if charge else ""
        if not image.startswith("data:image/"):
            raise GatewayProtocolError("Fawry's QR code could not be read.")
        return QrCode(image=image)
    if method in PROMPTS:
        return MobilePrompt(phone=_masked(draft.request.payer.phone or ""), wallet=METHODS[method].label_en)
    return ReferenceCode(code=number, biller=BILLER, amount=draft.amount.major)


def _masked(phone: str) -> str:
    """Enough to know one's own number by: 0101****010."""
    return f"{phone[:4]}****{phone[-3:]}"
