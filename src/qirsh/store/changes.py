"""Hints between processes over NOTIFY: which drafts changed, and that something is due. Losing one costs seconds."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from qirsh.store.connection import AWAY, Pool
from qirsh.store.drafts import Drafts
from qirsh.store.rows import Row
from qirsh.store.sql import SQL

DRAFTS_CHANNEL: Final = "qirsh_drafts"
DUE_CHANNEL: Final = "qirsh_due"
IDS_A_MESSAGE: Final = 200
"""A NOTIFY carries under 8,000 bytes; an id and its comma are 37."""
REREAD_SECONDS: Final = 5.0
"""Waiters re-read by themselves this often, since a hint may be lost."""
DRAFTS_A_READ: Final = 500
"""So that ten thousand waiting clients hold nobody up for longer than some milliseconds."""
RECONNECT_SECONDS: Final = 0.5
GATHER_SECONDS: Final = 0.02
"""What is said within this becomes one NOTIFY: each is a commit that waits for the disk, and nobody sees 20 ms."""

_log = structlog.get_logger("qirsh.changes")


class Publisher:
    """Tells other processes, after commits. What many requests say at once becomes one message."""

    def __init__(self, pool: Pool) -> None:
        """Send over the pool; inside a transaction that matters a NOTIFY would serialise the commits."""
        self._pool = pool
        self._drafts: set[UUID] = set()
        self._is_due = False
        self._wake = asyncio.Event()

    def draft(self, draft_id: UUID) -> None:
        """This draft changed."""
        self._drafts.add(draft_id)
        self._wake.set()

    def due(self) -> None:
        """Some row is due at once."""
        self._is_due = True
        self._wake.set()

    async def run(self) -> None:
        """Send what is said, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            ids, self._drafts = [str(draft_id) for draft_id in self._drafts], set()
            is_due, self._is_due = self._is_due, False
            try:
                for start in range(0, len(ids), IDS_A_MESSAGE):
                    message = ",".join(ids[start : start + IDS_A_MESSAGE])
                    await self._pool.execute(SQL["notify"], DRAFTS_CHANNEL, message)
                if is_due:
                    await self._pool.execute(SQL["notify"], DUE_CHANNEL, "")
            except (*AWAY, asyncpg.PostgresError) as error:
                _log.warning("hint_lost", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)


class Waiter:
    """One client that waits for one draft."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.version = -1
        """Of the newest row this client knows."""
        self._heard = asyncio.Event()
        self._row: Row | None = None

    def knows(self, row: Row) -> None:
        """The client has read this row by itself, and needs only newer ones."""
        self.version = max(self.version, row.version)

    def tell(self, row: Row) -> None:
        """This is how the draft stands."""
        if row.version > self.version:
            self.version = row.version
            self._row = row
            self._heard.set()

    async def next(self) -> Row:
        """The draft as it stood when last heard of, as soon as something is heard."""
        await self._heard.wait()
        self._heard.clear()
        assert self._row is not None
        return self._row


class Watch:
    """Wakes waiting clients. One connection listens for the whole process, however many wait."""

    def __init__(self, database_url: str, drafts: Drafts, on_due: Callable[[], None] | None = None) -> None:
        """Read changed drafts, many at a time; `on_due` is called when a row is due at once."""
        self._database_url = database_url
        self._drafts = drafts
        self._on_due = on_due
        self._waiting: dict[UUID, set[Waiter]] = {}
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()

    @contextmanager
    def waiting(self, draft_id: UUID) -> Iterator[Waiter]:
        """Hear of a draft from now on: enter before reading it, so that no change falls between."""
        waiter = Waiter()
        waiters = self._waiting.setdefault(draft_id, set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(draft_id, None)

    async def run(self) -> None:
        """Listen and read, until cancelled; after a reconnect everything waited for is read again."""
        reading = asyncio.create_task(self._read_for_ever())
        try:
            while True:
                with suppress(*AWAY, asyncpg.PostgresError):
                    await self._listen_until_lost()
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            reading.cancel()

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        connection = await asyncpg.connect(self._database_url, server_settings={"application_name": "qirsh-listen"})
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(DRAFTS_CHANNEL, self._heard_drafts)
            await connection.add_listener(DUE_CHANNEL, self._heard_due)
            self._changed.update(self._waiting)
            self._wake.set()
            await lost.wait()
        finally:
            with suppress(Exception):
                await connection.close(timeout=1)

    def _heard_drafts(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if not self._waiting:
            return
        heard = {UUID(draft_id) for draft_id in str(payload).split(",")}
        if mine := heard & self._waiting.keys():
            self._changed.update(mine)
            self._wake.set()

    def _heard_due(self, _connection: object, _pid: int, _channel: str, _payload: object) -> None:
        if self._on_due is not None:
            self._on_due()

    async def _read_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        read_all_at = loop.time() + REREAD_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(read_all_at):
                    await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            if loop.time() >= read_all_at:
                read_all_at = loop.time() + REREAD_SECONDS
                changed.update(self._waiting)
            try:
                await self._read(list(changed))
            except (*AWAY, asyncpg.PostgresError) as error:
                _log.warning("reread_failed", error=type(error).__name__)

    async def _read(self, draft_ids: Sequence[UUID]) -> None:
        """Tell of the drafts that have moved since those who wait for them read them."""
        for start in range(0, len(draft_ids), DRAFTS_A_READ):
            versions = {
                draft_id: min(waiter.version for waiter in waiters)
                for draft_id in draft_ids[start : start + DRAFTS_A_READ]
                if (waiters := self._waiting.get(draft_id))
            }
            for row in await self._drafts.get_moved(versions):
                for waiter in tuple(self._waiting.get(row.draft.id, ())):
                    waiter.tell(row)
