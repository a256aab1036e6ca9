"""Stripe (Checkout Sessions): the payer pays a session on Stripe's page, and Stripe takes the money at once.

https://docs.stripe.com/api/checkout/sessions, https://docs.stripe.com/api/refunds and https://docs.stripe.com/webhooks.

What keeps a registration single is the Idempotency-Key, which Stripe honours for a day at least; a session is found
again by our draft id in its metadata. Apple Pay and Google Pay are on the same page, where browser and account allow.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from qirsh.actions import RedirectUrl
from qirsh.draft import GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayError,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
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
from qirsh.gateways.stripe.account import Account, ListTooLongError
from qirsh.gateways.stripe.credentials import Credentials
from qirsh.gateways.stripe.currencies import CURRENCIES, is_taken
from qirsh.gateways.stripe.forms import NAME, refund_form, session_form
from qirsh.gateways.stripe.objects import FAILED_REFUNDS, Refund, Session, told
from qirsh.gateways.stripe.refusals import is_kept
from qirsh.gateways.stripe.webhooks import SIGNATURE_HEADER, read_event, verify
from qirsh.methods import Method
from qirsh.money import Money

CLOCK_MARGIN: Final = timedelta(minutes=5)
"""How far our clock may be ahead of Stripe's before a session of ours would be searched too late."""
MAX_URL: Final = 4096

PROFILE: Final = Profile(
    name=NAME,
    methods=frozenset({Method.CARD, Method.APPLE_PAY, Method.GOOGLE_PAY}),
    currencies=CURRENCIES,
    signature_place=SignaturePlace("header", SIGNATURE_HEADER),
    found_by="merchant_reference",
    takes=is_taken,
    # https://docs.stripe.com/api/idempotent_requests: keys may be forgotten once they are 24 hours old.
    idempotent_for=MappingProxyType({"register": timedelta(hours=24), "refund": timedelta(hours=24)}),
    partial_refunds=True,
)


class Stripe:
    """The Checkout Sessions of one Stripe account."""

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Sell through this account, and believe webhooks signed with any of its secrets.

        Raises:
            GatewayMisconfigured: a key cannot be used; the message names it.
        """
        self._account = Account(credentials, dev=surroundings.dev)
        self._credentials = credentials
        self._public_url = surroundings.public_url.rstrip("/")
        self._now = surroundings.now

    @property
    def profile(self) -> Profile:
        """Cards and the wallets that carry them, in Stripe's currencies; a delivery is signed by a header."""
        return PROFILE

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Create the Checkout Session and hand out its page: https://docs.stripe.com/api/checkout/sessions/create.

        In doubt, Stripe is asked first. Where the key goes on answering with an error of Stripe's own and no session
        of the draft is there, a second key is used: whatever the first may have left, its page was never handed out.
        """
        form = session_form(draft, self._public_url)
        if draft.in_doubt and (found := await self._found_early(draft)):
            return self._handed_out(found)
        try:
            session = await self._account.create_session(form, key)
        except GatewayOutcomeUnknown as error:
            if not (draft.in_doubt and is_kept(error)):
                raise
            found = await self._found(draft)
            session = found or await self._account.create_session(form, f"{key}-2")
        return self._handed_out(session)

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask for the session, by its id where we know it, and for the refunds of its payment.

        https://docs.stripe.com/api/checkout/sessions/retrieve, https://docs.stripe.com/api/refunds/list.
        """
        if draft.transaction_reference_id is None:
            session = await self._found(draft)
        else:
            session = await self._account.session(draft.transaction_reference_id)
        if session is None:
            return Lookup(Standing.UNKNOWN)
        paid = session.payment_id if session.paid else None
        refunds = await self._account.refunds_of(paid) if paid else ()
        return Lookup(session.standing, list(told(session, refunds, draft.id)))

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Give money back: https://docs.stripe.com/api/refunds/create.

        Where the key goes on answering with an error of Stripe's own, the refunds of the payment say what became of
        it; no other key is ever used, since money could go back twice.
        """
        payment_id = order.draft.payment_reference
        if payment_id is None:
            raise GatewayUnavailable("No payment of this draft is known: nothing was sent.")
        try:
            refund = await self._account.create_refund(refund_form(order, payment_id), key)
        except GatewayOutcomeUnknown as error:
            found = await self._refunded(order, payment_id) if is_kept(error) else None
            if found is None:
                raise
            refund = found
        return _outcome(order, refund, payment_id)

    async def cancel(self, draft: PaymentDraft) -> None:
        """Expire the session: https://docs.stripe.com/api/checkout/sessions/expire. One that is over is left alone."""
        session_id = draft.transaction_reference_id
        if session_id is None:
            found = await self._found(draft)
            session_id = found.id if found else None
        if session_id is None:
            return
        try:
            await self._account.expire_session(session_id)
        except GatewayRejected:
            return

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Verify by the endpoint's secrets, then read: https://docs.stripe.com/webhooks/signature."""
        secrets = [secret.get_secret_value() for secret in self._credentials.webhook_secrets]
        verify(delivery, secrets, (delivery.received_at or self._now()).timestamp())
        return read_event(delivery.body, livemode=self._credentials.livemode)

    async def aclose(self) -> None:
        """Close the connections to Stripe."""
        await self._account.aclose()

    async def _found_early(self, draft: PaymentDraft) -> Session | None:
        """As `_found`; where a shop sells too much for that, the key answers: it is younger than Stripe's memory."""
        try:
            return await self._listed(draft)
        except ListTooLongError:
            return None

    async def _found(self, draft: PaymentDraft) -> Session | None:
        """The draft's session.

        Raises:
            GatewayUnavailable: also where a shop sells so much that it cannot be said to be missing.
        """
        try:
            return await self._listed(draft)
        except ListTooLongError:
            raise GatewayUnavailable("Stripe's list is too long to be sure of: it is asked again later.") from None

    async def _listed(self, draft: PaymentDraft) -> Session | None:
        """The draft's session among those since it was made: the one that got furthest, since one page was shown."""
        since, until = draft.created_at - CLOCK_MARGIN, draft.expires_at + CLOCK_MARGIN
        sessions = await self._account.sessions_of(draft.id, since, until)
        return min(sessions, key=_progress, default=None)

    async def _refunded(self, order: RefundOrder, payment_id: str) -> Refund | None:
        """The refund of an order in Stripe's list; None where it is not there or the list cannot be had."""
        try:
            listed = await self._account.refunds_of(payment_id)
        except GatewayError:
            return None  # the doubt about the refund stays, whatever became of the question
        return next((one for one in listed if one.refund_id == order.id), None)

    def _handed_out(self, session: Session) -> Registration:
        """The page of a session, where it can still be paid: https, or the origin we talk to in development."""
        if session.status != "open":
            raise GatewayOutcomeUnknown("Stripe has a session that is no longer open: it will be looked up.")
        try:
            parts = urlsplit(session.url or "")
        except ValueError:
            raise GatewayProtocolError("Stripe's session came without a page to pay it.") from None
        own = urlsplit(self._credentials.base_url)
        fit = (parts.scheme == "https" and parts.hostname) or parts[:2] == own[:2]
        if not session.url or not fit or len(session.url) > MAX_URL or not session.url.isprintable():
            raise GatewayProtocolError("Stripe's session came without a page to pay it.")
        return Registration(session.id, RedirectUrl(session.url, "redirect"))


def _progress(session: Session) -> int:
    stages = (session.paid, session.standing is Standing.IN_PROGRESS, session.standing is Standing.OPEN)
    return next((place for place, reached in enumerate(stages) if reached), len(stages))


def _outcome(order: RefundOrder, refund: Refund, payment_id: str) -> Sequence[GatewayEvent]:
    """What the answer to a refund says. One that is pending has not been given back, and look-ups will tell."""
    if refund.status == "succeeded":
        kind, total_minor = Kind.REFUNDED, order.total_minor
    elif refund.status in FAILED_REFUNDS:
        kind, total_minor = Kind.REFUND_FAILED, order.draft.refunded_minor
    else:
        return ()
    return (
        GatewayEvent(
            kind=kind,
            gateway=NAME,
            event_id=f"{refund.id}:{refund.status}",
            draft_id=order.draft.id,
            payment_reference=payment_id,
            amount=Money(total_minor, order.draft.amount.currency),
            refund_id=order.id,
            psp_code=refund.failure_reason[:64] if refund.failure_reason else None,
        ),
    )
