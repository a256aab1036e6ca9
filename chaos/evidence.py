"""What is known when a run is over: the PSPs' books, our rows, and what the shop and its pages heard."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from chaos.listener import Heard
from chaos.psps import LedgerRow
from chaos.shop import Sale
from chaos.system import System

T = TypeVar("T", bound=msgspec.Struct)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A row of payment_drafts, as far as a promise speaks of it."""

    id: str
    idempotency_key: str
    state: str
    gateway: str
    amount_minor: int
    currency: str
    refunded_minor: int = 0
    order_reference: str | None = None
    needs_review: bool = False
    in_doubt: bool = False
    capture_due: bool = False
    claimed: bool = False
    overdue: bool = False
    """Its time has come, and nobody does anything about it."""
    told_minor: int | None = None
    """The amount in the news that completed it."""
    review_reasons: Sequence[str] = ()
    """What its journal says that a person should look at."""


class Fulfilment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of fulfilments."""

    id: str
    draft_id: str
    kind: str
    state: str
    duplicate_of: str | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A row of refunds."""

    id: str
    draft_id: str
    idempotency_key: str
    state: str
    amount_minor: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    sales: Sequence[Sale]
    ledger: Sequence[LedgerRow]
    drafts: Sequence[Draft]
    fulfilments: Sequence[Fulfilment] = ()
    refunds: Sequence[Refund] = ()
    heard: Sequence[Heard] = ()
    waiting: Sequence[str] = ()
    """Deliveries that still wait for a draft."""
    said: Mapping[str, str] = {}
    """What our own commands complained of, by their names; nothing where they found nothing."""


DRAFTS: Final = """
  SELECT id::text, idempotency_key, state, gateway, amount_minor, currency, refunded_minor, order_reference,
    needs_review, in_doubt, capture_due, claimed_by IS NOT NULL AS claimed,
    coalesce(next_check_at < now() + $1 - interval '2 minutes', false) AS overdue,
    (SELECT coalesce(array_agg(DISTINCT e.review_reason), '{}') FROM payment_events e
      WHERE e.draft_id = d.id AND e.review_reason IS NOT NULL) AS review_reasons,
    (SELECT max((e.event->'amount'->>'amount_minor')::bigint) FROM payment_events e
      WHERE e.draft_id = d.id AND e.verdict = 'applied' AND e.event->>'kind' = 'paid'
        AND e.event->'decision'->>'resolution' IS DISTINCT FROM 'dismiss') AS told_minor
  FROM payment_drafts d
"""
FULFILMENTS: Final = "SELECT id::text, draft_id::text, kind, state, duplicate_of::text FROM fulfilments"
REFUNDS: Final = "SELECT id::text, draft_id::text, idempotency_key, state, amount_minor FROM refunds"
WAITING: Final = "SELECT gateway || ' ' || event_id FROM unmatched_events"


async def gathered(system: System, sales: Sequence[Sale]) -> Evidence:
    """Read everything, as it stands now."""
    offset = system.psps.offset
    async with system.connected() as connection:
        return Evidence(
            sales=sales,
            ledger=await system.psps.ledger(),
            drafts=_structs(await connection.fetch(DRAFTS, offset), Draft),
            fulfilments=_structs(await connection.fetch(FULFILMENTS), Fulfilment),
            refunds=_structs(await connection.fetch(REFUNDS), Refund),
            heard=tuple(system.listener.heard),
            waiting=[record[0] for record in await connection.fetch(WAITING)],
        )


def as_flagged(evidence: Evidence, before: Evidence) -> Evidence:
    """The same, with the flags as they were before people decided: what was put up for review counts as that."""
    flagged = {draft.id for draft in before.drafts if draft.needs_review}
    drafts = [msgspec.structs.replace(draft, needs_review=draft.id in flagged) for draft in evidence.drafts]
    return msgspec.structs.replace(evidence, drafts=drafts)


async def completed(system: System, draft_ids: Sequence[str]) -> dict[str, datetime]:
    """When each of these drafts completed, those that did."""
    async with system.connected() as connection:
        records = await connection.fetch(
            "SELECT draft_id::text, min(at) AS at FROM payment_events"
            " WHERE draft_id = ANY ($1) AND verdict = 'applied' AND event->>'kind' = 'paid' GROUP BY draft_id",
            [UUID(one) for one in draft_ids],
        )
    return {record["draft_id"]: record["at"] for record in records}


def _structs(records: Sequence[asyncpg.Record], kind: type[T]) -> list[T]:
    return [kind(**dict(record)) for record in records]
