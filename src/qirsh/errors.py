"""Errors, a tree by who must act. Each class carries its wire code, HTTP status and whether to retry, as data.

PaymentError
├── CallerError      the shop changes its request
├── GatewayError     the PSP must act, or we must ask
└── WebhookError     the sender is not who it says

A message never holds a secret, an expected signature, a card number or a PSP's raw body.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal
from uuid import UUID

Retry = Literal["never", "same_key", "after_lookup"]


class PaymentError(Exception):
    """The payment server could not do what was asked."""

    code: ClassVar[str]
    status: ClassVar[int]
    retry: ClassVar[Retry]
    members: Mapping[str, object] = MappingProxyType({})
    """What else the problem tells, by its name on the wire."""

    def __init__(self, detail: str = "", *, retry_after_seconds: int | None = None) -> None:
        """Say what happened and what to do; without `detail` the class's own sentence speaks."""
        self.detail = detail or (self.__doc__ or "").partition("\n")[0]
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.detail)


class CallerError(PaymentError):
    """The shop must change its request."""

    retry: ClassVar[Retry] = "never"


class FieldError:
    """One bad field: a JSON pointer into the request body, and a sentence on what it must be."""

    __slots__ = ("detail", "pointer")

    def __init__(self, pointer: str, detail: str) -> None:
        self.pointer = pointer
        self.detail = detail


class InvalidRequest(CallerError):
    """The request is not valid; `errors` names every bad field."""

    code = "invalid_request"
    status = 400

    def __init__(self, detail: str = "", *, errors: list[FieldError] | None = None) -> None:
        """Collect every bad field, so that one answer is enough to mend the request."""
        super().__init__(detail)
        self.errors = errors or []


class UnsupportedContentType(CallerError):
    """The body must be sent as application/json."""

    code = "unsupported_content_type"
    status = 415


class BodyTooLarge(CallerError):
    """The body is larger than this endpoint reads."""

    code = "body_too_large"
    status = 413


class ProductNotFound(CallerError):
    """No product has this id."""

    code = "product_not_found"
    status = 404


class ProductNotPurchasable(CallerError):
    """The product is not for sale now."""

    code = "product_not_purchasable"
    status = 409


class PriceMismatch(CallerError):
    """product_amount is not the catalogue's price × quantity: reload the product and show the payer its price."""

    code = "price_mismatch"
    status = 409


class MethodNotSupported(CallerError):
    """No configured gateway takes this payment method in this currency."""

    code = "method_not_supported"
    status = 422


class IdempotencyConflict(CallerError):
    """This idempotency key belongs to another request: send a new key with a changed request."""

    code = "idempotency_conflict"
    status = 422


class RequestInProgress(CallerError):
    """A request with this idempotency key is still running: ask again with the same key."""

    code = "request_in_progress"
    status = 409
    retry = "same_key"


class TooManyRequests(CallerError):
    """Too many new payments from one address or for one phone: send the same again, with the same key, later."""

    code = "too_many_requests"
    status = 429
    retry = "same_key"


class DraftNotFound(CallerError):
    """No payment draft has this id."""

    code = "draft_not_found"
    status = 404


class RefundNotAllowed(CallerError):
    """This cannot be given back: `detail` says why."""

    code = "refund_not_allowed"
    status = 409


class RefundInFlight(CallerError):
    """Another refund of this payment has not ended: ask again once it has."""

    code = "refund_in_flight"
    status = 409
    retry = "same_key"


class RefundUndecided(CallerError):
    """An earlier refund of this payment must be decided first: look into the PSP's dashboard, and post its review."""

    code = "refund_undecided"
    status = 409


class NothingToReview(CallerError):
    """Nothing of this payment is under review: read it again."""

    code = "nothing_to_review"
    status = 409


class DeliveryNotFound(CallerError):
    """No webhook delivery has this id."""

    code = "delivery_not_found"
    status = 404


class DeliveryNotKept(CallerError):
    """The body of this delivery was not kept: it repeated another, or says nothing to Qirsh."""

    code = "delivery_not_kept"
    status = 409


class CodeNotAwaited(CallerError):
    """No code is awaited for this payment and token: read its status."""

    code = "code_not_awaited"
    status = 409


class CodeRefused(CallerError):
    """The code is wrong: let the payer type it again, `tries_left` times."""

    code = "code_refused"
    status = 422

    def __init__(self, detail: str = "", *, tries_left: int = 0) -> None:
        """Say how often another may be tried."""
        super().__init__(detail)
        self.members = {"tries_left": tries_left}


class CodeTriesUsed(CallerError):
    """All tries at the code are used: unless its status is completed, start a new payment, with a new key."""

    code = "code_tries_used"
    status = 409


class FulfilmentNotFound(CallerError):
    """No announcement has this id: a payment shows its own."""

    code = "fulfilment_not_found"
    status = 404


class OperatorKeyRequired(CallerError):
    """This endpoint needs the operator key as a bearer token."""

    code = "operator_key_required"
    status = 401


class PspAnswer:
    """What a PSP said when it did not say yes. Kept out of every repr, since bodies hold payers' data."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = body


class GatewayError(PaymentError):
    """The PSP must act, or we must ask it."""

    answer: PspAnswer | None = None


class GatewayRejected(GatewayError):
    """The PSP refused the payment: offer another payment method, with a new idempotency key."""

    code = "gateway_rejected"
    status = 402
    retry = "never"

    def __init__(
        self,
        detail: str = "",
        *,
        reason: str = "unknown",
        psp_code: str | None = None,
        draft_id: UUID | None = None,
        replayed: bool = False,
    ) -> None:
        """`reason` is a `DeclineCode`; `psp_code` is the PSP's own word; the rest is known once a draft holds it."""
        super().__init__(detail)
        self.reason = reason
        self.psp_code = psp_code
        self.draft_id = draft_id
        self.replayed = replayed


class GatewayUnavailable(GatewayError):
    """The PSP could not be reached and nothing was sent: try again with the same key."""

    code = "gateway_unavailable"
    status = 503
    retry = "same_key"


class GatewayMisconfigured(GatewayError):
    """The PSP refused our credentials: the operator must check them."""

    code = "gateway_misconfigured"
    status = 503
    retry = "same_key"


class GatewayOutcomeUnknown(GatewayError):
    """The PSP was asked and its answer is not known: it will be looked up, never guessed."""

    code = "gateway_outcome_unknown"
    status = 504
    retry = "after_lookup"


class GatewayProtocolError(GatewayOutcomeUnknown):
    """The PSP's answer could not be read."""

    code = "gateway_protocol_error"
    status = 502


class WebhookError(PaymentError):
    """The sender is not who it says, or says nothing readable."""

    retry = "never"


class WebhookNotAuthentic(WebhookError):
    """The delivery carries no valid signature."""

    code = "webhook_not_authentic"
    status = 401


class WebhookMalformed(WebhookError):
    """The delivery cannot be parsed."""

    code = "webhook_malformed"
    status = 400
