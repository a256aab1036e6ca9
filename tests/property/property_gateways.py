"""Three gateways over PSPs in memory: each kind that the core must tell apart, with what its PSP can and cannot do.

`alpha` takes no keys, finds an order by our reference, signs its own order id alone, and tells a refund only as a total
(as Paymob does). `beta` finds an order by its own id alone, honours keys, and captures (PayPal). `gamma` finds by our
reference, honours keys, cancels, and tells of refunds by name (Stripe).
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from property_psp import Books, Fate, Letters, Order, Progress, Returned, Script

from qirsh.actions import RedirectUrl
from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft
from qirsh.errors import GatewayOutcomeUnknown, GatewayRejected
from qirsh.gateways.base import Delivery, Hint, Lookup, Profile, RefundOrder, Registration, SignaturePlace, Standing
from qirsh.methods import Method
from qirsh.money import Money

KEY_LIFE: Final = timedelta(minutes=30)
"""Shorter than a draft lives, so that a repeat can come too late for its key."""
REFUND_KEY_LIFE: Final = timedelta(hours=24)


class Scripted:
    """A gateway whose PSP is in memory: finds by our reference, takes no keys, and gives money back at once."""

    def __init__(self, books: Books, script: Script, letters: Letters) -> None:
        """Talk to these books, as the script lets us."""
        self.books = books
        self._script = script
        self._letters = letters

    @property
    def profile(self) -> Profile:
        """Facts for the core."""
        return _profile(self.books.name, "merchant_reference", shows_refunds=True)

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Make an order; where one may be there already, ask first."""
        fate = await self._script.begin()
        order = self.books.of_draft(draft.id) if draft.in_doubt and self._finds_by_reference else None
        if order is None:
            order = self.books.open(draft.id, draft.amount, key if self._is_keyed else None)
        await self._script.end(fate, draft.id)
        if not self.books.is_payable(order):
            raise GatewayOutcomeUnknown("It is no longer open: it will be looked up.")
        return Registration(order.id, RedirectUrl(f"https://psp.example/{order.id}", "redirect"))

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Read the books."""
        fate = await self._script.begin()
        order = self._found(draft)
        found = Lookup(Standing.UNKNOWN) if order is None else Lookup(self._standing(order), list(self.told(order)))
        await self._script.end(fate, draft.id)
        return found

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Give money back, once a key where keys are honoured, else each time."""
        fate = await self._script.begin()
        known = self._found(order.draft)
        if known is None or known.payment_id is None:
            raise GatewayRejected(psp_code="no_such_payment")
        done = self.books.refund_of_key(known, key, REFUND_KEY_LIFE) if self._is_keyed else None
        if done is None and order.amount_minor > known.left:
            raise GatewayRejected(psp_code="too_much")
        slow = fate is Fate.SLOW
        if done is None:
            # Without names, the total tells of it as soon as it is accepted.
            progress = Progress.PENDING if slow and self._is_keyed else Progress.DONE
            done = self.books.give_back(known, order.amount_minor, order.id, progress)
            self._post_refund(known, done)
        await self._script.end(fate, order.draft.id)
        return () if slow else self._answered(order, known, done)

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """All that arrives here is signed."""
        return self._letters.read(delivery)

    async def aclose(self) -> None:
        """Nothing is open."""

    # What the payer and the dashboard do, and what is posted of it.

    def pay(self, order: Order) -> None:
        """The payer pays."""
        self.books.pay(order)
        self._post(order, Kind.PAID)

    def decline(self, order: Order) -> None:
        """A try of the payer's is refused."""
        order.tries, order.declined, order.busy = order.tries + 1, True, False
        self._post(order, Kind.DECLINED)

    def end(self, order: Order) -> None:
        """The payer gives up, and the order is dead."""
        order.ended, order.approved, order.busy = True, False, False
        self._post(order, Kind.FAILED)

    def refund_in_dashboard(self, order: Order, amount_minor: int) -> None:
        """Somebody gives money back without us."""
        self._post_refund(order, self.books.give_back(order, amount_minor, None, Progress.DONE))

    def told(self, order: Order) -> Iterator[GatewayEvent]:
        """What the books say of an order, in causal order."""
        if order.payment_id is not None:
            yield self.event(order, Kind.PAID)
            if order.given_back:
                yield self.event(order, Kind.REFUNDED)
        elif order.ended:
            yield self.event(order, Kind.FAILED)
        elif order.declined:
            yield self.event(order, Kind.DECLINED)

    def event(self, order: Order, kind: Kind, refund: Returned | None = None) -> GatewayEvent:
        """One fact about an order as it is in the books."""
        amounts = {Kind.PAID: order.amount.amount_minor, Kind.REFUNDED: order.given_back}
        amount = amounts.get(kind, order.given_back if kind is Kind.REFUND_FAILED else None)
        return GatewayEvent(
            kind=kind,
            gateway=self.books.name,
            event_id=f"{order.id}:{kind}:{order.tries}:{order.given_back}:{refund.id if refund else ''}",
            draft_id=order.draft_id,
            transaction_reference_id=order.id,
            payment_reference=order.payment_id,
            amount=None if amount is None else Money(amount, order.amount.currency),
            reason=DeclineCode.CANCELLED_BY_PAYER if kind is Kind.FAILED else None,
            refund_id=refund.ours if refund else None,
        )

    def posted(self, order: Order, kind: Kind, refund: Returned | None = None) -> GatewayEvent | Hint:
        """What a webhook says: here only the order id is signed."""
        fact = self.event(order, kind, refund)
        if kind is Kind.REFUNDED:
            return self.hint(order, fact.event_id)
        return GatewayEvent(
            kind=kind,
            gateway=fact.gateway,
            event_id=fact.event_id,
            transaction_reference_id=order.id,
            payment_reference=order.payment_id,
            amount=fact.amount,
            hinted_draft_id=order.draft_id,
        )

    def hint(self, order: Order, event_id: str) -> Hint:
        """Something unsigned about an order."""
        return Hint(
            gateway=self.books.name, event_id=event_id, draft_id=order.draft_id, transaction_reference_id=order.id
        )

    _finds_by_reference = True
    _is_keyed = False

    def _found(self, draft: PaymentDraft) -> Order | None:
        if draft.transaction_reference_id is None and self._finds_by_reference:
            return self.books.of_draft(draft.id)
        return self.books.by_id(draft.transaction_reference_id)

    def _standing(self, order: Order) -> Standing:
        if order.busy:
            return Standing.IN_PROGRESS
        return Standing.OPEN if self.books.is_payable(order) else Standing.CLOSED

    def _answered(self, order: RefundOrder, known: Order, done: Returned) -> Sequence[GatewayEvent]:
        if done.progress is Progress.PENDING:
            return ()
        kind = Kind.REFUNDED if done.progress is Progress.DONE else Kind.REFUND_FAILED
        return (self.event(known, kind, done),) if self._is_keyed else (_counted(order, known, self.books.name),)

    def _post(self, order: Order, kind: Kind) -> None:
        self.books.post(self.posted(order, kind), may_be_lost=True)

    def _post_refund(self, order: Order, refund: Returned) -> None:
        # Nobody asks about a payment that has ended, so only this tells of what the dashboard gave back.
        if refund.progress is Progress.DONE:
            self.books.post(self.posted(order, Kind.REFUNDED, refund), may_be_lost=False)


class Keyed(Scripted):
    """A PSP that honours keys, signs our draft id, and tells of refunds by name, also of those that come to nothing."""

    _is_keyed = True

    def finish_refund(self, order: Order, refund: Returned) -> None:
        """The money of a refund that was accepted goes back."""
        refund.progress = Progress.DONE
        self._post_refund(order, refund)

    def fail_refund(self, order: Order, refund: Returned) -> None:
        """The money of a refund comes back to the merchant."""
        refund.progress = Progress.FAILED
        self.books.post(self.hint(order, f"{refund.id}:failed"), may_be_lost=False)

    def told(self, order: Order) -> Iterator[GatewayEvent]:
        """One event a refund, each with the total as it stands now; those that failed last."""
        if order.payment_id is None:
            yield from super().told(order)
            return
        yield self.event(order, Kind.PAID)
        for kind, progress in ((Kind.REFUNDED, Progress.DONE), (Kind.REFUND_FAILED, Progress.FAILED)):
            for refund in order.refunds:
                if refund.progress is progress:
                    yield self.event(order, kind, refund)

    def posted(self, order: Order, kind: Kind, refund: Returned | None = None) -> GatewayEvent | Hint:
        """The draft id is signed, and the total of a refund."""
        return self.event(order, kind, refund)


class Cancelling(Keyed):
    """A PSP whose open orders can be ended."""

    @property
    def profile(self) -> Profile:
        """Facts for the core."""
        return _profile(self.books.name, "merchant_reference", register=KEY_LIFE, refund=REFUND_KEY_LIFE)

    async def cancel(self, draft: PaymentDraft) -> None:
        """End an open order."""
        fate = await self._script.begin()
        order = self._found(draft)
        if order is not None and self.books.is_payable(order):
            order.ended = True
        await self._script.end(fate, draft.id)


class Capturing(Keyed):
    """A PSP where the payer's approval moves no money, and which finds an order by its own id alone."""

    _finds_by_reference = False

    @property
    def profile(self) -> Profile:
        """Facts for the core."""
        return _profile(self.books.name, "own_id", register=KEY_LIFE, capture=KEY_LIFE, refund=REFUND_KEY_LIFE)

    def pay(self, order: Order) -> None:
        """The payer approves; the money waits."""
        order.approved = True
        order.broke = order.busy = False
        self._post(order, Kind.APPROVED)

    def told(self, order: Order) -> Iterator[GatewayEvent]:
        """An approval too, as long as the order lives."""
        yield from super().told(order)
        if order.approved and self.books.is_payable(order):
            yield self.event(order, Kind.APPROVED)

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:
        """Take the money; the answer to a key is the same again."""
        fate = await self._script.begin()
        order = self.books.by_id(draft.transaction_reference_id)
        events: Sequence[GatewayEvent]
        if order is None or not (order.payment_id or order.approved or key in order.declined_keys):
            events = ()
        elif order.payment_id is None and (key in order.declined_keys or order.broke):
            order.declined_keys.add(key)
            order.approved = order.broke = False
            events = (self.event(order, Kind.DECLINED),)
        elif order.payment_id is None and not self.books.is_payable(order):
            events = (self.event(order, Kind.FAILED),)
        else:
            if order.payment_id is None:
                self.books.pay(order)
                self._post(order, Kind.PAID)
            events = (self.event(order, Kind.PAID),)
        await self._script.end(fate, draft.id)
        return events

    def decline(self, order: Order) -> None:
        """The payer approves, and the money will not be there when it is taken."""
        order.tries += 1
        order.approved = order.broke = True
        order.busy = False
        self._post(order, Kind.APPROVED)


AnyGateway = Scripted | Cancelling | Capturing


def _counted(order: RefundOrder, known: Order, name: str) -> GatewayEvent:
    """The answer of a PSP that says only that it is done: the total is what our row makes of it."""
    return GatewayEvent(
        kind=Kind.REFUNDED,
        gateway=name,
        event_id=f"{known.id}:answered:{order.id}",
        draft_id=order.draft.id,
        payment_reference=known.payment_id,
        amount=Money(order.total_minor, order.draft.amount.currency),
        refund_id=order.id,
    )


def _profile(name: str, found_by: str, *, shows_refunds: bool = False, **key_lives: timedelta) -> Profile:
    assert found_by in {"merchant_reference", "own_id"}
    return Profile(
        name=name,
        methods=frozenset(Method),
        currencies=frozenset({"EGP"}),
        signature_place=SignaturePlace("header", f"{name}-signature"),
        found_by="own_id" if found_by == "own_id" else "merchant_reference",
        idempotent_for=MappingProxyType(dict(key_lives)),
        partial_refunds=True,
        shows_refunds=shows_refunds,
    )
