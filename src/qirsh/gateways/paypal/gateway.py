"""PayPal (Orders v2): the payer approves an order at PayPal, and the money moves when we capture it.

https://developer.paypal.com/docs/api/orders/v2/, https://developer.paypal.com/docs/api/payments/v2/ and
https://developer.paypal.com/api/rest/webhooks/.

What keeps a registration single is PayPal-Request-Id, which PayPal honours for six hours; an order is found again only
by PayPal's own id.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from qirsh.actions import RedirectUrl
from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
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
from qirsh.gateways.paypal.account import Account, Credentials, is_gone
from qirsh.gateways.paypal.certificates import (
    LIVE_NAME,
    SANDBOX_NAME,
    Certificates,
    CertificateSource,
    HttpCertificates,
    origin_of,
)
from qirsh.gateways.paypal.issues import CAPTURE_ENDS, CAPTURE_LIVES, CaptureAnswer, reason_of, refund_advice
from qirsh.gateways.paypal.orders import DEAD, NAME, PAID, Capture, Links, Order, Refund, page, read, told
from qirsh.gateways.paypal.refunds import DONE, answered, given_back
from qirsh.gateways.paypal.requests import CURRENCIES, is_taken, order_request, refund_request
from qirsh.gateways.paypal.webhooks import SIGNATURE_HEADER, read_event, verify
from qirsh.methods import Method

IDEMPOTENT_FOR: Final = MappingProxyType(
    {"register": timedelta(hours=6), "capture": timedelta(hours=6), "refund": timedelta(days=45)}
)
"""https://developer.paypal.com/api/rest/reference/idempotency/."""
OPEN: Final = frozenset({"CREATED", "SAVED", "PAYER_ACTION_REQUIRED"})
"""Order statuses in which the payer may still approve."""


PROFILE: Final = Profile(
    name=NAME,
    methods=frozenset({Method.PAYPAL}),
    currencies=CURRENCIES,
    signature_place=SignaturePlace("header", SIGNATURE_HEADER),
    found_by="own_id",
    takes=is_taken,
    idempotent_for=IDEMPOTENT_FOR,
    partial_refunds=True,
)


class PayPal:
    """The orders of one PayPal merchant account."""

    def __init__(
        self, credentials: Credentials, surroundings: Surroundings, *, certificates: CertificateSource | None = None
    ) -> None:
        """Sell through this account, and believe webhooks by the certificates that its trust file leads to.

        Raises:
            GatewayMisconfigured: a key cannot be used; the message names it.
        """
        _refuse_plain_http(credentials.cert_hosts, dev=surroundings.dev)
        self._account = Account(credentials, surroundings.now, dev=surroundings.dev)
        self._base_url = credentials.base_url
        self._public_url = surroundings.public_url.rstrip("/")
        self._webhook_id = credentials.webhook_id
        try:
            self._certificates = Certificates(
                certificates or HttpCertificates(),
                origins=credentials.cert_hosts,
                trust_file=credentials.trust_file,
                name=_certificate_name(credentials.base_url, dev=surroundings.dev),
                now=surroundings.now,
            )
        except ValueError as error:
            raise GatewayMisconfigured(f"paypal.trust_file: {error}.") from None

    @property
    def profile(self) -> Profile:
        """PayPal's currencies, EGP not among them; a delivery is signed by a header."""
        return PROFILE

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Create the order and hand out the page where the payer approves it.

        https://developer.paypal.com/docs/api/orders/v2/#orders_create. The link is `payer-action` where the request
        names a payment source, as ours does, and `approve` in the older form of the answer.
        """
        order = await self._account.create_order(order_request(draft, self._public_url), key)
        approve = page(order.links, ("payer-action", "approve"), self._base_url)
        if approve is not None:
            return Registration(order.id, approve)
        if order.status in OPEN:
            raise GatewayProtocolError("PayPal's order came without a page to approve it.")
        raise GatewayOutcomeUnknown("PayPal has the order and it has moved on: it will be looked up.")

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:
        """Take the money of an approved order: https://developer.paypal.com/docs/api/orders/v2/#orders_capture.

        No event means that nothing is decided: not approved yet, or under PayPal's review.
        """
        order_id = draft.transaction_reference_id
        if order_id is None:
            raise GatewayUnavailable("No order of this draft is known: nothing was sent.")
        try:
            order = await self._account.capture_order(order_id, key)
        except GatewayRejected as error:
            return await self._refused(draft, order_id, error)
        if not order.captures:
            return await self._result(draft, order_id)
        return _told(order.captures, order, draft)

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Give money back: https://developer.paypal.com/docs/api/payments/v2/#captures_refund.

        No event means that PayPal has it and is not done, as with an eCheck.

        Raises:
            GatewayRejected: PayPal did not take it, or it was not sent; the message says what to do.
        """
        capture_id, body = order.draft.payment_reference, refund_request(order)
        if capture_id is None:
            raise GatewayRejected("No PayPal payment of this draft is known: refund it in PayPal's dashboard.")
        try:
            refund = await self._account.refund_capture(capture_id, body, key)
        except GatewayRejected as error:
            refused = GatewayRejected(refund_advice(error.psp_code), reason=error.reason, psp_code=error.psp_code)
            refused.answer = error.answer
            raise refused from None
        if refund.status == DONE and refund.total is None:
            refund = await self._whole(refund)
        return answered(refund, order)

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask for the order, and for the capture we know: https://developer.paypal.com/docs/api/orders/v2/#orders_get.

        PayPal finds an order by its own id only, and forgets those that nobody paid some hours after their life.
        """
        order_id = draft.transaction_reference_id
        if order_id is None:
            return Lookup(Standing.UNKNOWN)
        order = await self._account.order(order_id)
        captures = order.captures if order else []
        if draft.payment_reference and (known := await self._account.capture(draft.payment_reference)):
            # The capture's own page is never older than what the order says of it.
            captures = [*(one for one in captures if one.id != known.id), known]
        return Lookup(_standing(order, captures), _story(order, captures, draft))

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Verify by PayPal's certificate, then read: https://developer.paypal.com/api/rest/webhooks/rest/.

        Raises:
            GatewayUnavailable: the certificate could not be fetched; PayPal delivers again.
        """
        await verify(delivery, self._webhook_id, self._certificates)
        return read_event(delivery.body)

    async def aclose(self) -> None:
        """Close the connections to PayPal."""
        await self._account.aclose()
        await self._certificates.aclose()

    async def _whole(self, refund: Refund) -> Refund:
        """A refund with its total, where an answer left it out: ours alone may have been counted already."""
        try:
            return await self._account.refund(refund.id) or refund
        except GatewayError:
            raise GatewayOutcomeUnknown("PayPal made the refund and does not show it: it is asked again.") from None

    async def _refused(self, draft: PaymentDraft, order_id: str, error: GatewayRejected) -> Sequence[GatewayEvent]:
        """What a refused capture means. One that we do not know is raised again: it is looked into, not believed."""
        issue = error.psp_code or ""
        if is_gone(error):
            return [_said(draft, Kind.FAILED, issue, DeclineCode.EXPIRED)]
        if issue in CAPTURE_ENDS:
            return [_said(draft, Kind.FAILED, issue, reason_of(issue))]
        linked = read(Links, error.answer.body) if error.answer else None
        next_page = page(linked.links if linked else None, ("redirect", "payer-action", "approve"), self._base_url)
        match CAPTURE_LIVES.get(issue):
            case CaptureAnswer.NOT_YET:
                return []
            case CaptureAnswer.ASK:
                return await self._result(draft, order_id)
            case CaptureAnswer.ANOTHER_WAY:
                kind = Kind.DECLINED if next_page else Kind.FAILED
                return [_said(draft, kind, issue, reason_of(issue), next_page)]
            case CaptureAnswer.BACK_TO_PAYPAL:
                return [_said(draft, Kind.DECLINED, issue, reason_of(issue), next_page)]
            case None:
                raise error

    async def _result(self, draft: PaymentDraft, order_id: str) -> Sequence[GatewayEvent]:
        """What became of a capture whose answer did not say: what the order shows."""
        order = await self._account.order(order_id)
        if order is None:
            raise GatewayOutcomeUnknown("PayPal says that the order was captured and does not show it.")
        return _told(order.captures, order, draft)


def _standing(order: Order | None, captures: Sequence[Capture]) -> Standing:
    """A pending capture is under PayPal's review, and a status that we do not know proves no end."""
    if captures:
        ended = all(capture.status in PAID or capture.status in DEAD for capture in captures)
        return Standing.CLOSED if ended else Standing.IN_PROGRESS
    if order is None or order.status == "VOIDED":
        return Standing.CLOSED
    return Standing.OPEN if order.status in OPEN else Standing.IN_PROGRESS


def _story(order: Order | None, captures: Sequence[Capture], draft: PaymentDraft) -> list[GatewayEvent]:
    """What happened, in causal order. An order that is gone tells nothing: time ends its draft, not we."""
    if captures:
        return _told(captures, order, draft)
    match order.status if order else None:
        case "APPROVED":
            return [_said(draft, Kind.APPROVED, "approved")]
        case "VOIDED":
            return [_said(draft, Kind.FAILED, "voided", DeclineCode.EXPIRED)]
        case _:
            return []


def _told(captures: Sequence[Capture], order: Order | None, draft: PaymentDraft) -> list[GatewayEvent]:
    refunds, order_id = order.refunds if order else [], draft.transaction_reference_id
    return [
        event
        for capture in captures
        for event in (
            *told(capture, draft_id=draft.id, order_id=order_id),
            *given_back(capture, refunds, draft_id=draft.id, order_id=order_id),
        )
    ]


def _said(
    draft: PaymentDraft,
    kind: Kind,
    word: str,
    reason: DeclineCode | None = None,
    action: RedirectUrl | None = None,
) -> GatewayEvent:
    """What an answer says of the whole order. `word` is PayPal's."""
    return GatewayEvent(
        kind=kind,
        gateway=NAME,
        event_id=f"{draft.transaction_reference_id}:{draft.capture_attempt}:{word}",
        draft_id=draft.id,
        transaction_reference_id=draft.transaction_reference_id,
        action=action,
        reason=reason,
        psp_code=word,
    )


def _certificate_name(base_url: str, *, dev: bool) -> str:
    """Whose signature counts: test and live never pass for each other."""
    host = urlsplit(base_url).hostname or ""
    live = host in {"api-m.paypal.com", "api.paypal.com"}
    return SANDBOX_NAME if host.endswith(".sandbox.paypal.com") or (dev and not live) else LIVE_NAME


def _refuse_plain_http(cert_hosts: Sequence[str], *, dev: bool) -> None:
    """Trust travels over https; in development plain http reaches the sandbox."""
    for url in cert_hosts:
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise GatewayMisconfigured(f"paypal.cert_hosts: {error}.") from None
        if not dev and not origin.startswith("https://"):
            raise GatewayMisconfigured(f"paypal.cert_hosts: {url} is plain http, which only `qirsh dev` may use.")
