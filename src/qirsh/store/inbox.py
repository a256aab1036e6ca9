"""The inbox: deliveries as they came, what was heard before, and facts that wait for their draft."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from qirsh.clock import Clock
from qirsh.draft import GatewayEvent
from qirsh.gateways.base import Delivery
from qirsh.store.connection import Connection, Pool, Sender, new_id
from qirsh.store.rows import event_of, event_text, text
from qirsh.store.sql import SQL

UNMATCHED: Final = (timedelta(seconds=2), timedelta(seconds=30), timedelta(minutes=5))
"""When a fact without a draft is tried again: an initiate about to commit, a recovered one, a slow look-up."""

UNMATCHED_FLAGGED_AFTER: Final = timedelta(days=7)
"""A week without a draft is somebody else's payment, or a bug."""


_KEPT_HEADERS: Final = frozenset({"content-type", "user-agent", "date"})


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A fact that waits for its draft."""

    event: GatewayEvent
    attempts: int
    version: int
    old: bool


class Heard(msgspec.Struct, frozen=True):
    """An event that was delivered, and the delivery as it came."""

    gateway: str
    event_id: str | None
    delivery: Delivery | None = None
    keep_body: bool = True
    """A body is kept once: whoever holds one valid signature, as every payer does, could fill the disk with repeats."""

    def kept(self) -> tuple[bytes, str, str]:
        """Body, headers and query as they are kept. Of the headers only those that say nothing secret.

        What a PSP signs with stands in headers of its own name or in the one that its gateway names, and is needed to
        verify the delivery once more.
        """
        assert self.delivery is not None
        own, named = f"{self.gateway}-", self.delivery.signature_header
        named = None if named == "authorization" else named  # a password is no signature, and is not kept
        headers = {
            name: value
            for name, value in self.delivery.headers.items()
            if name in _KEPT_HEADERS or name.startswith(own) or name == named
        }
        body = self.delivery.body if self.keep_body else b""
        return body, text(headers), text(dict(self.delivery.query))


class Inbox:
    """The tables webhook_events, webhook_deliveries and unmatched_events."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def remember(self, sender: Sender, gateway: str, event_id: str) -> bool:
        """Whether a delivered event is heard for the first time."""
        return bool(await sender.fetchval(SQL["remember_event"], gateway, event_id))

    async def record_delivery(self, sender: Sender, heard: Heard, *, draft_id: UUID | None, verdict: str) -> None:
        """Keep an authentic delivery as it came."""
        await sender.execute(
            SQL["record_delivery"],
            new_id(),
            self._clock.offset,
            heard.gateway,
            heard.event_id,
            draft_id,
            verdict,
            *heard.kept(),
        )

    async def keep_unmatched(self, connection: Connection, event: GatewayEvent) -> None:
        """Keep a fact until its draft appears, and look up the draft that it hints at."""
        await connection.execute(
            SQL["keep_unmatched"],
            new_id(),
            event.gateway,
            event.event_id,
            event_text(event),
            self._clock.offset,
            UNMATCHED[0],
        )
        if event.hinted_draft_id is not None:
            await connection.execute(
                SQL["stage_lookup_of_open"], event.hinted_draft_id, self._clock.offset, event.gateway
            )

    async def unmatched(self, unmatched_id: UUID) -> Unmatched | None:
        """A waiting fact; `old` once it has waited so long that somebody should know."""
        record = await self._pool.fetchrow(
            SQL["unmatched_by_id"], unmatched_id, self._clock.offset, UNMATCHED_FLAGGED_AFTER
        )
        return None if record is None else _unmatched(record)

    async def waiting(self) -> list[Unmatched]:
        """Facts that have waited for their draft longer than one may take to appear, oldest first."""
        records = await self._pool.fetch(
            SQL["unmatched_waiting"], self._clock.offset, UNMATCHED_FLAGGED_AFTER, len(UNMATCHED)
        )
        return [_unmatched(record) for record in records]

    async def forget_unmatched(self, unmatched_id: UUID) -> None:
        """The fact found its draft."""
        await self._pool.execute(SQL["forget_unmatched"], unmatched_id)

    async def reschedule_unmatched(
        self, unmatched_id: UUID, version: int, check_in: timedelta, *, flagged: bool
    ) -> None:
        """Try the fact again later."""
        await self._pool.execute(
            SQL["reschedule_unmatched"], unmatched_id, version, self._clock.offset, check_in, flagged
        )


def _unmatched(record: asyncpg.Record) -> Unmatched:
    return Unmatched(event_of(record["fact"]), record["attempts"], record["version"], record["old"])
