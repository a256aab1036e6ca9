"""Answers: a draft's row as the wire shows it."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from qirsh.actions import data_of, tag_of
from qirsh.api.answer import Answer, json_answer
from qirsh.api.problems import RETRY_SECONDS
from qirsh.draft import State
from qirsh.money import Money
from qirsh.payments import Initiated
from qirsh.store.fulfilments import Fulfilment
from qirsh.store.refunds import Refund
from qirsh.store.rows import Row

ActionTag = Literal["redirect_url", "qr_code", "reference_code", "otp_token", "mobile_prompt"]


class Received(msgspec.Struct):
    """The answer to a webhook: it is stored, or was before."""

    received: bool = True


class InitiatedBody(msgspec.Struct):
    """The answer to initiate. No action: the PSP's answer is not known yet (202), or the payment ended before it."""

    paymentDraftId: str  # noqa: N815  the wire's name, as all below
    paymentAction: ActionTag | None  # noqa: N815
    actionData: dict[str, Any] | None  # noqa: N815
    expiresAt: str  # noqa: N815


class StatusBody(msgspec.Struct):
    """The answer to status; the action and its end only while it waits for the payer."""

    paymentDraftId: str  # noqa: N815
    status: State
    reason: str | None
    amount: str
    currency: str
    refunded: str
    updatedAt: str  # noqa: N815
    paymentAction: ActionTag | UnsetType = UNSET  # noqa: N815
    actionData: dict[str, Any] | UnsetType = UNSET  # noqa: N815
    expiresAt: str | UnsetType = UNSET  # noqa: N815


RECEIVED: Final = json_answer(HTTPStatus.OK, msgspec.json.encode(Received()))
"""A webhook is stored."""

_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_CACHE: Final = (b"cache-control", b"no-cache")
_REPLAYED: Final = (b"idempotent-replayed", b"true")
_RETRY_AFTER: Final = (b"retry-after", b"%d" % RETRY_SECONDS)


def initiated(answer: Initiated) -> Answer:
    """201 with the action, or 202 while the PSP's answer is not known."""
    draft = answer.row.draft
    tag, data = (None, None) if draft.action is None else (tag_of(draft.action), data_of(draft.action))
    body = InitiatedBody(str(draft.id), cast("ActionTag | None", tag), data, _instant(draft.expires_at))
    waits = draft.state is State.PENDING
    headers = [_NO_STORE]
    if answer.replayed:
        headers.append(_REPLAYED)
    if waits:
        headers.append(_RETRY_AFTER)
    return json_answer(HTTPStatus.ACCEPTED if waits else HTTPStatus.CREATED, msgspec.json.encode(body), *headers)


def replayed(answer: Answer) -> Answer:
    """A first answer, once more."""
    return Answer(answer.status, (*answer.headers, _REPLAYED), answer.body)


def status_body(row: Row) -> bytes:
    """What GET status shows of a draft."""
    draft = row.draft
    body = StatusBody(
        paymentDraftId=str(draft.id),
        status=draft.state,
        reason=draft.reason,
        amount=draft.amount.major,
        currency=draft.amount.currency,
        refunded=Money(draft.refunded_minor, draft.amount.currency).major,
        updatedAt=_instant(row.updated_at),
    )
    if draft.state is State.AWAITING_USER_ACTION:
        assert draft.action is not None, "a constraint of the table"
        body.paymentAction = cast("ActionTag", tag_of(draft.action))
        body.actionData = data_of(draft.action)
        body.expiresAt = _instant(draft.expires_at)
    return msgspec.json.encode(body)


def refund_body(refund: Refund, currency: str) -> dict[str, object]:
    """A refund as it stands."""
    amount = Money(refund.amount_minor, currency).major
    return {"refundId": str(refund.id), "status": refund.state, "amount": amount}


def fulfilment_body(fulfilment: Fulfilment) -> dict[str, object]:
    """An announcement as it stands. `nextTryAt` is null where nothing is tried by itself."""
    return {
        "fulfilmentId": str(fulfilment.id),
        "type": fulfilment.kind,
        "status": fulfilment.state,
        "attempts": fulfilment.attempts,
        "error": fulfilment.last_error,
        "duplicate_of": None if fulfilment.duplicate_of is None else str(fulfilment.duplicate_of),
        "createdAt": _instant(fulfilment.created_at),
        "deliveredAt": None if fulfilment.delivered_at is None else _instant(fulfilment.delivered_at),
        "nextTryAt": None if fulfilment.next_check_at is None else _instant(fulfilment.next_check_at),
    }


def operator_view(
    row: Row,
    journal: Sequence[Mapping[str, Any]],
    refunds: Sequence[Refund],
    fulfilments: Sequence[Fulfilment],
) -> dict[str, object]:
    """Everything a person needs to judge a payment. The payer's data stays in the row."""
    return {
        **operator_summary(row),
        "refunds": [
            {
                **refund_body(refund, row.draft.amount.currency),
                "reason": refund.reason,
                "error": refund.error,
                "createdAt": _instant(refund.created_at),
                "updatedAt": _instant(refund.updated_at),
            }
            for refund in refunds
        ],
        "fulfilments": [fulfilment_body(one) for one in fulfilments],
        "journal": [
            {**entry, "at": _instant(entry["at"]), "event": msgspec.json.decode(entry["event"])} for entry in journal
        ],
    }


def operator_summary(row: Row) -> dict[str, object]:
    """A payment in a list."""
    draft = row.draft
    return {
        **msgspec.json.decode(status_body(row)),
        "product_id": draft.request.product_id,
        "quantity": draft.request.quantity,
        "order_reference": draft.request.order_reference,
        "payment_method": draft.request.method,
        "gateway": draft.gateway,
        "transaction_reference_id": draft.transaction_reference_id,
        "payment_reference": draft.payment_reference,
        "needs_review": draft.needs_review,
        "in_doubt": draft.in_doubt,
        "createdAt": _instant(draft.created_at),
    }


def delivery_summary(delivery: Mapping[str, Any]) -> dict[str, object]:
    """A webhook delivery in a list."""
    draft_id = delivery["draft_id"]
    return {
        "id": str(delivery["id"]),
        "receivedAt": _instant(delivery["received_at"]),
        "gateway": delivery["gateway"],
        "event_id": delivery["event_id"],
        "paymentDraftId": None if draft_id is None else str(draft_id),
        "verdict": delivery["verdict"],
        "bytes": delivery["bytes"],
    }


def delivery_view(delivery: Mapping[str, Any]) -> dict[str, object]:
    """A webhook delivery as it came: a body that is no text is shown in base64."""
    body: bytes = delivery["body"]
    try:
        encoding, shown = "text", body.decode()
    except UnicodeDecodeError:
        encoding, shown = "base64", b64encode(body).decode()
    return {
        **delivery_summary({**delivery, "bytes": len(body)}),
        "headers": msgspec.json.decode(delivery["headers"]),
        "query": msgspec.json.decode(delivery["query"]),
        "encoding": encoding,
        "body": shown,
    }


def etag_of(body: bytes) -> str:
    """A strong validator over every visible field."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def status(body: bytes, *, known: bool) -> Answer:
    """200, or 304 when the caller knows it already."""
    etag = (b"etag", etag_of(body).encode())
    if known:
        return Answer(HTTPStatus.NOT_MODIFIED, (etag, _NO_CACHE), b"")
    return json_answer(HTTPStatus.OK, body, etag, _NO_CACHE)


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
