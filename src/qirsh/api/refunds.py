"""POST /api/payments/{id}/refunds: the operator gives money back."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, post
from msgspec import Meta

from qirsh.api import described
from qirsh.api.answers import refund_body
from qirsh.api.operation import KEY_HEADER, operation
from qirsh.api.operator import KEYED, Plain, json_response, operator_only
from qirsh.api.requests import read_fields, read_key
from qirsh.api.routes import draft_id_of
from qirsh.errors import (
    BodyTooLarge,
    DraftNotFound,
    FieldError,
    IdempotencyConflict,
    InvalidRequest,
    OperatorKeyRequired,
    RefundInFlight,
    RefundNotAllowed,
    RefundUndecided,
    UnsupportedContentType,
)

MAX_REASON: Final = 255


class RefundFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body. Without an amount, all that is left goes back; major units, as text."""

    amount: Annotated[str, Meta(max_length=20, description='major units: "10.00"')] | None = None
    reason: Annotated[str, Meta(max_length=MAX_REASON, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")] = ""


@post(
    "/api/payments/{draft_id:str}/refunds",
    guards=[operator_only],
    status_code=HTTPStatus.ACCEPTED,
    operation_class=operation(RefundFields, optional=True, headers=[KEY_HEADER]),
    responses={
        HTTPStatus.ACCEPTED: described.body(described.RefundBody, "Written down: it will be sent."),
        **described.refusals(
            *(OperatorKeyRequired, DraftNotFound, RefundNotAllowed, RefundInFlight, RefundUndecided),
            *(IdempotencyConflict, BodyTooLarge, UnsupportedContentType),
            no_such_path=True,
        ),
    },
    security=KEYED,
    tags=["operator"],
)
async def request_refund(request: Plain, draft_id: str) -> Response[bytes]:
    """Give money back: written down and answered at once, then sent. The same Idempotency-Key is the same refund."""
    errors: list[FieldError] = []
    key = read_key(None, request.headers.getall("idempotency-key", []), errors)
    if errors:
        raise InvalidRequest(errors=errors)
    body = await request.body()
    fields = read_fields(request.content_type[0], body, RefundFields) if body else RefundFields()
    refunder = request.app.state.services.payments.refunder
    refund, draft = await refunder.request(draft_id_of(draft_id), fields.amount, fields.reason, key=key)
    return json_response(refund_body(refund, draft.amount.currency), HTTPStatus.ACCEPTED)


class ReviewFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a decision about what is under review: `accept`: it counts; `dismiss`: it does not."""

    resolution: Literal["accept", "dismiss"]
    note: Annotated[str, Meta(max_length=MAX_REASON, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")] = ""


@post(
    "/api/payments/{draft_id:str}/refunds/{refund_id:str}/review",
    guards=[operator_only],
    status_code=HTTPStatus.OK,
    operation_class=operation(ReviewFields),
    responses={
        HTTPStatus.OK: described.body(described.RefundBody, "As it was decided."),
        **described.refusals(
            *(OperatorKeyRequired, DraftNotFound, RefundNotAllowed, BodyTooLarge, UnsupportedContentType),
            no_such_path=True,
        ),
    },
    security=KEYED,
    tags=["operator"],
)
async def review_refund(request: Plain, draft_id: str, refund_id: str) -> Response[bytes]:
    """Decide a refund that Qirsh could not: accepted, where the PSP's dashboard shows it, or dismissed."""
    fields = read_fields(request.content_type[0], await request.body(), ReviewFields)
    refund, draft = await request.app.state.services.payments.refunder.decide(
        draft_id_of(draft_id), draft_id_of(refund_id), done=fields.resolution == "accept", note=fields.note
    )
    return json_response(refund_body(refund, draft.amount.currency))


REFUND_ROUTES: Final = (request_refund, review_refund)
