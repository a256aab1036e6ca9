"""The operator sees what PSPs delivered, and takes a delivery once more."""

from http import HTTPStatus
from typing import Annotated, Any, Final, get_args
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import Parameter

from qirsh.api import answers, described
from qirsh.api.books import Query
from qirsh.api.operator import KEYED, PAGE, Plain, json_response, operator_only
from qirsh.errors import (
    DeliveryNotFound,
    DeliveryNotKept,
    OperatorKeyRequired,
    WebhookMalformed,
    WebhookNotAuthentic,
)
from qirsh.gateways.base import Delivery
from qirsh.store.listings import DeliveryFilter, DeliveryVerdict

_VERDICTS: Final = get_args(DeliveryVerdict)


@get(
    "/api/webhook-deliveries",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.DeliveriesPage, "Newest first, those after `after`."),
        **described.refusals(OperatorKeyRequired),
    },
    security=KEYED,
    tags=["operator"],
)
async def list_deliveries(
    request: Plain,
    draft: Annotated[str | None, Parameter(description="about this payment")] = None,
    gateway: Annotated[str | None, Parameter(description="from this gateway's PSP")] = None,
    verdict: Annotated[str | None, Parameter(description="what became of it")] = None,
    after: Annotated[str | None, Parameter(description="`next` of the page before")] = None,
) -> Response[bytes]:
    """A page of authentic webhook deliveries, newest first; `next` continues it."""
    query = Query()
    wanted = DeliveryFilter(
        draft_id=query.read("draft", draft, UUID, "a paymentDraftId"),
        gateway=query.text("gateway", gateway),
        verdict=query.read("verdict", verdict, _verdict, f"one of {', '.join(_VERDICTS)}"),
    )
    page_after = query.read("after", after, UUID, "the `next` of a page")
    query.refuse_what_is_wrong()
    page = await request.app.state.services.store.listings.deliveries(wanted, page_after, PAGE)
    following = str(page[-1]["id"]) if len(page) == PAGE else None
    return json_response({"deliveries": [answers.delivery_summary(one) for one in page], "next": following})


@get(
    "/api/webhook-deliveries/{delivery_id:str}",
    guards=[operator_only],
    responses={
        HTTPStatus.OK: described.body(described.DeliveryView, "As it came."),
        **described.refusals(OperatorKeyRequired, DeliveryNotFound, no_such_path=True),
    },
    security=KEYED,
    tags=["operator"],
)
async def delivery(request: Plain, delivery_id: str) -> Response[bytes]:
    """A delivery with its body, which may hold a payer's data."""
    return json_response(answers.delivery_view(await _found(request, delivery_id)))


@post(
    "/api/webhook-deliveries/{delivery_id:str}/replay",
    guards=[operator_only],
    status_code=HTTPStatus.OK,
    responses={
        HTTPStatus.OK: described.body(described.Replayed, "Verified once more, and taken."),
        **described.refusals(
            *(OperatorKeyRequired, DeliveryNotFound, DeliveryNotKept),
            *(WebhookMalformed, WebhookNotAuthentic),
            no_such_path=True,
        ),
    },
    security=KEYED,
    tags=["operator"],
)
async def replay(request: Plain, delivery_id: str) -> Response[bytes]:
    """Take a delivery as if it came once more: verified, and folded where it was not heard before."""
    found = await _found(request, delivery_id)
    if not found["body"]:
        raise DeliveryNotKept
    headers, query = msgspec.json.decode(found["headers"]), msgspec.json.decode(found["query"])
    again = Delivery(found["body"], headers, query, received_at=found["received_at"])
    verdicts = await request.app.state.services.payments.receive(again, found["gateway"])
    return json_response({"verdicts": verdicts})


DELIVERY_ROUTES: Final = (list_deliveries, delivery, replay)


async def _found(request: Plain, delivery_id: str) -> dict[str, Any]:
    try:
        wanted = UUID(delivery_id)
    except ValueError:
        raise DeliveryNotFound from None
    found: dict[str, Any] | None = await request.app.state.services.store.listings.delivery(wanted)
    if found is None:
        raise DeliveryNotFound
    return found


def _verdict(text: str) -> str:
    if text not in _VERDICTS:
        raise ValueError(text)
    return text
