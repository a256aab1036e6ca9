"""Refunds: one row per request to give money back. Each verb is one statement, or part of the caller's transaction."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec

from qirsh.clock import Clock
from qirsh.draft import PaymentDraft
from qirsh.store.connection import Connection, Pool, Sender, new_id
from qirsh.store.sql import SQL


class RefundState(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"
    """Written; the PSP has not got it."""
    SENT = "sent"
    """The PSP may have it."""
    SUCCEEDED = "succeeded"
    """The money went back."""
    FAILED = "failed"
    """It did not, and nobody will try again by himself."""
    REVIEW = "review"
    """Whether it did cannot be told from here: a person must look at the PSP's dashboard."""


IN_FLIGHT = frozenset({RefundState.REQUESTED, RefundState.SENT, RefundState.REVIEW})
"""While a refund stands so, no other of its draft is begun."""


class Refund(msgspec.Struct, frozen=True):
    """A refund as its row stands. Amounts in minor units of the draft's currency."""

    id: UUID
    draft_id: UUID
    gateway: str
    fingerprint: bytes
    amount_minor: int
    reason: str
    state: RefundState
    refunded_before_minor: int | None
    sent_at: datetime | None
    accepted: bool
    error: str | None
    attempts: int
    version: int
    created_at: datetime
    updated_at: datetime


class Refunds:
    """The table refunds."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def find_by_key(self, sender: Sender, draft_id: UUID, key: str) -> Refund | None:
        """The refund that was requested under this key."""
        return _refund(await sender.fetchrow(SQL["refund_by_key"], draft_id, key))

    async def find_in_flight(self, sender: Sender, draft_id: UUID) -> Refund | None:
        """The one refund of a draft that has not ended."""
        return _refund(await sender.fetchrow(SQL["refund_in_flight"], draft_id))

    async def insert(
        self,
        connection: Connection,
        draft: PaymentDraft,
        *,
        key: str,
        fingerprint: bytes,
        amount_minor: int,
        reason: str,
    ) -> Refund:
        """Write a request; it is due at once."""
        values = (new_id(), draft.id, draft.gateway, key, fingerprint, amount_minor, reason, self._clock.offset)
        refund = _refund(await connection.fetchrow(SQL["insert_refund"], *values))
        assert refund is not None
        return refund

    async def of(self, draft_id: UUID) -> list[Refund]:
        """The refunds of a draft, oldest first."""
        return [
            found for record in await self._pool.fetch(SQL["refunds_of_draft"], draft_id) if (found := _refund(record))
        ]

    async def get(self, refund_id: UUID) -> Refund | None:
        """A refund by its id."""
        return _refund(await self._pool.fetchrow(SQL["refund_by_id"], refund_id))

    async def get_due(self, refund_id: UUID, version: int) -> Refund | None:
        """A refund that has not ended; None when it moved since `version`."""
        return _refund(await self._pool.fetchrow(SQL["due_refund"], refund_id, version))

    async def sent(self, refund: Refund, refunded_minor: int, check_in: timedelta) -> Refund | None:
        """Note that the PSP is about to be asked; None when somebody else does already."""
        values = (refund.id, refund.version, refunded_minor, self._clock.offset, check_in)
        return _refund(await self._pool.fetchrow(SQL["refund_sent"], *values))

    async def unsent(self, refund: Refund, retry_in: timedelta, error: str | None, attempts: int) -> None:
        """The PSP has not got it: ask anew in a while."""
        values = (refund.id, refund.version, self._clock.offset, retry_in, error, attempts)
        await self._pool.execute(SQL["refund_unsent"], *values)

    async def waits(
        self, refund: Refund, check_in: timedelta, error: str | None = None, *, accepted: bool = False
    ) -> None:
        """What became of it is not known yet. `accepted`: the PSP said that it has it."""
        values = (refund.id, refund.version, self._clock.offset, check_in, accepted, error)
        await self._pool.execute(SQL["refund_waits"], *values)

    async def ended(
        self,
        refund: Refund,
        state: Literal[RefundState.SUCCEEDED, RefundState.FAILED, RefundState.REVIEW],
        error: str | None = None,
    ) -> None:
        """Decide it, unless it has moved since it was read."""
        await self._pool.execute(
            SQL["refund_ended"], refund.id, refund.version, state, error and error[:200], self._clock.offset
        )

    async def told(
        self,
        refund_id: UUID,
        draft_id: UUID,
        state: Literal[RefundState.SUCCEEDED, RefundState.FAILED],
        error: str | None = None,
    ) -> bool:
        """The PSP said by name what became of this refund; whether that is news."""
        values = (refund_id, draft_id, state, error and error[:200], self._clock.offset)
        return bool(await self._pool.fetchval(SQL["refund_told"], *values))


def _refund(record: asyncpg.Record | None) -> Refund | None:
    if record is None:
        return None
    return Refund(
        id=record["id"],
        draft_id=record["draft_id"],
        gateway=record["gateway"],
        fingerprint=record["fingerprint"],
        amount_minor=record["amount_minor"],
        reason=record["reason"],
        state=RefundState(record["state"]),
        refunded_before_minor=record["refunded_before_minor"],
        sent_at=record["sent_at"],
        accepted=record["accepted"],
        error=record["error"],
        attempts=record["attempts"],
        version=record["version"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
    )
