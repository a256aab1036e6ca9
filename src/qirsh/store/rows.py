"""Between the columns of a row and the objects of the core."""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from qirsh.actions import PaymentAction
from qirsh.catalog import Product
from qirsh.draft import DraftRequest, GatewayEvent, PaymentDraft, State, Verdict
from qirsh.money import Money

_REQUEST: Final = msgspec.json.Decoder(DraftRequest)
_ACTION: Final[msgspec.json.Decoder[PaymentAction]] = msgspec.json.Decoder(PaymentAction)
_NAMES: Final = msgspec.json.Decoder(dict[str, str])
_PRICES: Final = msgspec.json.Decoder(dict[str, int])
_EVENT: Final = msgspec.json.Decoder(GatewayEvent)


class Row(msgspec.Struct, frozen=True):
    """A draft with what only the store and its callers need of its row."""

    draft: PaymentDraft
    idempotency_key: str
    fingerprint: bytes
    claimed_by: UUID | None
    version: int
    attempts: int
    updated_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """One event in a draft's journal: what became of it, and the draft's state after it."""

    event: GatewayEvent
    verdict: Verdict
    review_reason: str | None
    state: State


def row_of(record: asyncpg.Record) -> Row:
    """A row of payment_drafts."""
    draft = PaymentDraft(
        id=record["id"],
        gateway=record["gateway"],
        amount=Money(record["amount_minor"], record["currency"]),
        request=_REQUEST.decode(record["request"]),
        created_at=record["created_at"],
        expires_at=record["expires_at"],
        state=State(record["state"]),
        reason=record["reason"],
        needs_review=record["needs_review"],
        refunded_minor=record["refunded_minor"],
        transaction_reference_id=record["transaction_reference_id"],
        payment_reference=record["payment_reference"],
        hinted_payment_reference=record["hinted_payment_reference"],
        action=action_of(record["action"]),
        in_doubt=record["in_doubt"],
        registration_attempt=record["registration_attempt"],
        capture_attempt=record["capture_attempt"],
        capture_due=record["capture_due"],
    )
    return Row(
        draft,
        idempotency_key=record["idempotency_key"],
        fingerprint=record["fingerprint"],
        claimed_by=record["claimed_by"],
        version=record["version"],
        attempts=record["attempts"],
        updated_at=record["updated_at"],
    )


def product_of(product_id: str, name: str, prices: str, *, purchasable: bool) -> Product:
    """A row of products."""
    return Product(product_id, _NAMES.decode(name), _PRICES.decode(prices), purchasable)


def action_of(stored: str | None) -> PaymentAction | None:
    """An action as it is stored."""
    return None if stored is None else _ACTION.decode(stored)


def event_text(event: GatewayEvent) -> str:
    """An event as the journal and the waiting room keep it."""
    return text(event)


def event_of(stored: str) -> GatewayEvent:
    """An event as it was kept."""
    return _EVENT.decode(stored)


def entries_of(stored: str) -> list[Entry] | None:
    """A journal as one JSON array; None when an entry is none that we ever wrote."""
    try:
        return msgspec.json.decode(stored, type=list[Entry])
    except (msgspec.ValidationError, AssertionError):
        return None


def text(value: object) -> str:
    """JSON for a jsonb column, which takes no NUL: one that somebody put into a query becomes U+FFFD."""
    encoded = msgspec.json.encode(value).decode()
    return msgspec.json.encode(_without_nul(value)).decode() if "\\u0000" in encoded else encoded


def _without_nul(value: object) -> object:
    plain = msgspec.to_builtins(value)
    if isinstance(plain, str):
        return plain.replace("\0", "\ufffd")
    if isinstance(plain, dict):
        return {str(_without_nul(name)): _without_nul(one) for name, one in plain.items()}
    return [_without_nul(one) for one in plain] if isinstance(plain, list) else plain
