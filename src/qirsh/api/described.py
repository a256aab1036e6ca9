"""What OpenAPI says of answers, which our own code writes: their bodies, and the problems that a route may answer."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from msgspec import UNSET, UnsetType

from qirsh.api.answers import StatusBody
from qirsh.api.problems import PROBLEM_TYPE
from qirsh.draft import DeclineCode, State, Verdict
from qirsh.errors import InvalidRequest, PaymentError, Retry
from qirsh.methods import Method
from qirsh.store.listings import DeliveryVerdict
from qirsh.store.refunds import RefundState


class FieldProblem(msgspec.Struct):
    """One bad field: where it stands in the body, and what it must be."""

    pointer: str
    detail: str


class Problem(msgspec.Struct):
    """An error, as in RFC 9457. `code` never changes its meaning; the members after `retry` come with some codes."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry: Retry
    errors: list[FieldProblem] | UnsetType = UNSET
    reason: DeclineCode | UnsetType = UNSET
    paymentDraftId: str | UnsetType = UNSET  # noqa: N815  the wire's name, as all below
    tries_left: int | UnsetType = UNSET


class Label(msgspec.Struct):
    """A payment method's name, as a payer reads it."""

    en: str
    ar: str


class Offer(msgspec.Struct):
    """One way to pay a product; `fields` are those of the initiate's body that it needs."""

    payment_method: Method
    label: Label
    currency: str
    amount: str
    fields: list[Literal["payer.phone"]]


class Offers(msgspec.Struct):
    """What the payer can choose for a product, in order."""

    product_id: str
    name: dict[str, str]
    methods: list[Offer]


class ProductBody(msgspec.Struct):
    """A product; its prices in major units by currency."""

    id: str
    name: dict[str, str]
    prices: dict[str, str]
    purchasable: bool


class ProductsPage(msgspec.Struct):
    """A page of products; `next`, where there are more, is the `after` of the following one."""

    products: list[ProductBody]
    next: str | None


class RefundBody(msgspec.Struct):
    """A refund as it stands; the amount in major units."""

    refundId: str  # noqa: N815
    status: RefundState
    amount: str


class RefundView(RefundBody):
    """A refund as the operator sees it beside its payment."""

    reason: str
    error: str | None
    createdAt: str  # noqa: N815
    updatedAt: str  # noqa: N815


class FulfilmentView(msgspec.Struct):
    """An announcement to the shop, as it stands."""

    fulfilmentId: str  # noqa: N815
    type: Literal["payment.completed", "payment.refunded"]
    status: Literal["due", "delivered", "dead"]
    attempts: int
    error: str | None
    duplicate_of: str | None
    createdAt: str  # noqa: N815
    deliveredAt: str | None  # noqa: N815
    nextTryAt: str | None  # noqa: N815


class JournalEntry(msgspec.Struct):
    """One fact that was folded into a draft, and what became of it."""

    at: str
    source: str
    event: dict[str, Any]
    verdict: Verdict
    review_reason: str | None
    state: State


class PaymentSummary(StatusBody, kw_only=True):
    """A payment in a list."""

    product_id: str
    quantity: int
    order_reference: str | None
    payment_method: Method
    gateway: str
    transaction_reference_id: str | None
    payment_reference: str | None
    needs_review: bool
    in_doubt: bool
    createdAt: str  # noqa: N815


class PaymentsPage(msgspec.Struct):
    """A page of payments; `next`, where there are more, is the `after` of the following one."""

    payments: list[PaymentSummary]
    next: str | None


class PaymentView(PaymentSummary, kw_only=True):
    """Everything a person needs to judge a payment; the payer's data stays in the row."""

    refunds: list[RefundView]
    fulfilments: list[FulfilmentView]
    journal: list[JournalEntry]


class DeliverySummary(msgspec.Struct, kw_only=True):
    """A webhook delivery in a list."""

    id: str
    receivedAt: str  # noqa: N815
    gateway: str
    event_id: str | None
    paymentDraftId: str | None  # noqa: N815
    verdict: DeliveryVerdict
    bytes: int


class DeliveriesPage(msgspec.Struct):
    """A page of deliveries; `next`, where there are more, is the `after` of the following one."""

    deliveries: list[DeliverySummary]
    next: str | None


class DeliveryView(DeliverySummary, kw_only=True):
    """A webhook delivery as it came; of its headers those that are needed to verify it once more."""

    headers: dict[str, str]
    query: dict[str, str]
    encoding: Literal["text", "base64"]
    body: str


class Replayed(msgspec.Struct):
    """What became of each fact in a delivery that was taken once more."""

    verdicts: list[DeliveryVerdict]


def body(container: type[msgspec.Struct], description: str) -> ResponseSpec:
    """A body in JSON."""
    return ResponseSpec(container, description=description, generate_examples=False)


def refusals(*errors: type[PaymentError], no_such_path: bool = False) -> dict[int, ResponseSpec]:
    """The problems that a route may answer, by status: those of its verb, of its parameters and of a lost database.

    `no_such_path`: a parameter in its path may make the path another one, which leads nowhere. A route without errors
    of its own reads nothing, so it has nothing to call invalid.
    """
    own: tuple[type[PaymentError], ...] = (InvalidRequest, *errors) if errors else ()
    sentences: dict[int, list[str]] = {}
    for error in own:
        sentences.setdefault(error.status, []).append(f"`{error.code}`: {(error.__doc__ or '').partition(chr(10))[0]}")
    told = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE}
    told |= {HTTPStatus.BAD_REQUEST} if errors else set()
    told |= {HTTPStatus.NOT_FOUND} if no_such_path else set()
    for status in told:
        sentences.setdefault(status, []).append(_OF_NO_ERROR_CLASS[status])
    return {status: _problem(" ".join(of_it)) for status, of_it in sorted(sentences.items())}


_OF_NO_ERROR_CLASS: Final[Mapping[int, str]] = {
    HTTPStatus.BAD_REQUEST: "`bad_request`: a parameter is missing or cannot be read.",
    HTTPStatus.NOT_FOUND: "`not_found`: nothing has this path.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "`internal_error`: a bug of ours; the same key finds what the request began.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`store_unavailable`: the database is away; nothing was lost.",
}


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(Problem, description=description, media_type=PROBLEM_TYPE, generate_examples=False)
