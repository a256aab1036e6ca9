"""The operator's books: lists of payments, asking a PSP about one, and deciding what is under review."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, TypeVar
from uuid import UUID

from litestar import Response, get, post
from litestar.params import Parameter, QueryParameter

from qirsh.api import answers, described
from qirsh.api.operation import operation
from qirsh.api.operator import KEYED, PAGE, Plain, json_response, operator_only, shown
from qirsh.api.refunds import ReviewFields
from qirsh.api.requests import read_fields
from qirsh.api.routes import draft_id_of
from qirsh.draft import State
from qirsh.errors import (
    BodyTooLarge,
    DraftNotFound,
    FieldError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayUnavailable,
    InvalidRequest,
    NothingToReview,
    OperatorKeyRequired,
    UnsupportedContentType,
)
from qirsh.store.listings import DraftFilter

MAX_TEXT: Final = 200

T = TypeVar("T")


@get(
    "/api/payments",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.PaymentsPage, "Newest first, those after `after`."),
        **described.refusals(OperatorKeyRequired),
    },
    security=KEYED,
    tags=["operator"],
)
async def list_payments(  # noqa: PLR0913  one argument for each filter, or OpenAPI would not name it
    request: Plain,
    *,
    in_state: Annotated[str | None, QueryParameter(name="state", description="in this state")] = None,
    gateway: Annotated[str | None, Parameter(description="at this gateway")] = None,
    needs_review: Annotated[str | None, Parameter(description="true or false")] = None,
    order_reference: Annotated[str | None, Parameter(description="of this order of the shop")] = None,
    created_since: Annotated[
        str | None, Parameter(description="begun then or later, ISO 8601; UTC unless said")
    ] = None,
    created_until: Annotated[str | None, Parameter(description="begun before then")] = None,
    after: Annotated[str | None, Parameter(description="`next` of the page before")] = None,
) -> Response[bytes]:
    """A page of payments, newest first; `next` continues it."""
    query = Query()
    wanted = DraftFilter(
        state=query.read("state", in_state, State, f"one of {', '.join(State)}"),
        gateway=query.text("gateway", gateway),
        needs_review=query.read(
            "needs_review", needs_review, {"true": True, "false": False}.__getitem__, "true or false"
        ),
        order_reference=query.text("order_reference", order_reference),
        created_since=query.read("created_since", created_since, instant, "a time: 2026-01-31T12:00:00Z"),
        created_until=query.read("created_until", created_until, instant, "a time: 2026-01-31T12:00:00Z"),
    )
    page_after = query.read("after", after, UUID, "the `next` of a page")
    query.refuse_what_is_wrong()
    rows = await request.app.state.services.store.listings.drafts(wanted, page_after, PAGE)
    following = str(rows[-1].draft.id) if len(rows) == PAGE else None
    return json_response({"payments": [answers.operator_summary(row) for row in rows], "next": following})


@post(
    "/api/payments/{draft_id:str}/reconcile",
    guards=[operator_only],
    status_code=HTTPStatus.OK,
    responses={
        HTTPStatus.OK: described.body(described.PaymentView, "As it stands now that the PSP was asked."),
        **described.refusals(
            *(OperatorKeyRequired, DraftNotFound),
            *(GatewayUnavailable, GatewayMisconfigured, GatewayOutcomeUnknown),
            no_such_path=True,
        ),
    },
    security=KEYED,
    tags=["operator"],
)
async def reconcile(request: Plain, draft_id: str) -> Response[bytes]:
    """Ask the PSP about a payment now, take what is approved, and show it as it then stands."""
    services = request.app.state.services
    return await shown(services.store, await services.payments.reconciler.reconcile(draft_id_of(draft_id)))


@post(
    "/api/payments/{draft_id:str}/review",
    guards=[operator_only],
    status_code=HTTPStatus.OK,
    operation_class=operation(ReviewFields),
    responses={
        HTTPStatus.OK: described.body(described.PaymentView, "As it stands once that is decided."),
        **described.refusals(
            *(OperatorKeyRequired, DraftNotFound, NothingToReview, BodyTooLarge, UnsupportedContentType),
            no_such_path=True,
        ),
    },
    security=KEYED,
    tags=["operator"],
)
async def review(request: Plain, draft_id: str) -> Response[bytes]:
    """Decide all that is under review of a payment, and show it as it then stands: both answers clear the flag."""
    fields = read_fields(request.content_type[0], await request.body(), ReviewFields)
    services = request.app.state.services
    row = await services.payments.reviews.decide(draft_id_of(draft_id), fields.resolution, fields.note)
    return await shown(services.store, row)


BOOKS_ROUTES: Final = (list_payments, reconcile, review)


class Query:
    """Reads the parameters of a query, and names every bad one in one answer."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._errors: list[FieldError] = []

    def read(self, name: str, given: str | None, reader: Callable[[str], T], wanted: str) -> T | None:
        """A parameter by this reader; None when it is not given, or bad."""
        if given is None:
            return None
        try:
            return reader(given)
        except (ValueError, KeyError, OverflowError):
            self._errors.append(FieldError(f"?{name}", f"must be {wanted}"))
            return None

    def text(self, name: str, given: str | None) -> str | None:
        """A parameter of any text; PostgreSQL takes no NUL."""
        return self.read(name, given, _text, f"text of at most {MAX_TEXT} characters")

    def refuse_what_is_wrong(self) -> None:
        """Once all are read.

        Raises:
            InvalidRequest: some were bad.
        """
        if self._errors:
            raise InvalidRequest(errors=self._errors)


def instant(text: str) -> datetime:
    """A time with its zone, which is UTC unless it says so."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _text(given: str) -> str:
    if "\0" in given or len(given) > MAX_TEXT:
        raise ValueError(given)
    return given
