"""The one door: every fact about a draft, whoever brought it, is folded into its row here.

A fact is applied to the row as it was read and written by one statement that writes nothing where the row has moved
since; then it is applied once more, under the row's lock. So one fact at a time moves a draft (ADR 0004, ADR 0016).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Protocol
from uuid import UUID

import asyncpg
import msgspec
import structlog

from qirsh.draft import UNPAID, GatewayEvent, Kind, Outcome, PaymentDraft, State, Verdict
from qirsh.gateways.base import Delivery, Hint
from qirsh.metrics import FOLDS
from qirsh.outcomes import Clash, outcomes_of
from qirsh.store.connection import Connection, Sender
from qirsh.store.drafts import Folded, Keep, Source
from qirsh.store.inbox import Heard
from qirsh.store.rows import Row
from qirsh.store.store import Store

FIRST_LOOKUP: Final = timedelta(minutes=2)
"""A payer at a page has usually paid by then; whose webhook got lost is found."""
NOW: Final = timedelta(0)
FOUND: Final = timedelta(seconds=15)
"""Whoever finds an approval by asking captures it at once, which takes less; should he die at it, a worker goes on."""

_REFUNDS: Final = frozenset({Kind.REFUNDED, Kind.REFUND_FAILED})
_CLASHES: Final[Mapping[str | None, Clash | None]] = MappingProxyType(
    {"webhook_events_pkey": None, "fulfilments_order": "order"}
)
"""Unique constraints that are not about a reference: the first is broken where two deliveries of one event met."""
_CLASHES_AT_ONCE: Final = 4
"""An event may meet each kind of clash once, and an order that was free a moment ago; the last try meets none."""

_log = structlog.get_logger("qirsh.fold")


class Changes(Protocol):
    """Whom to tell after a commit. Hints only: who misses one re-reads the row by itself."""

    def draft(self, draft_id: UUID) -> None:
        """Wake those who wait for this draft."""
        ...

    def due(self) -> None:
        """Wake the workers: a row is due at once."""
        ...


class _Result(msgspec.Struct, frozen=True):
    """What one try did: the verdict, the row after it, and who should hear of it."""

    verdict: str
    row: Row | None
    changed: bool = False
    due: bool = False
    heard_before: bool = False
    wrote: bool = True


class _News(msgspec.Struct, frozen=True):
    """Events to fold in one pass, and what is written with them."""

    events: Sequence[GatewayEvent]
    source: Source
    release: UUID | None = None
    check_in: timedelta | Keep = "keep"
    heard: Heard | None = None


class _Attempt(Protocol):
    """Folds into a row, in one statement or inside the transaction that holds its lock.

    None: the row moved since it was read, or the event was heard before.
    """

    async def __call__(self, sender: Sender, row: Row, /, *, clash: Clash | None) -> _Result | None: ...


class Fold:
    """Folds facts into drafts: apply, and write the draft with its journal."""

    def __init__(self, store: Store, changes: Changes) -> None:
        """Write to the store, and tell of what changed."""
        self._store = store
        self._changes = changes

    async def __call__(
        self,
        row: Row,
        events: Sequence[GatewayEvent],
        *,
        source: Source,
        release: UUID | None = None,
        check_in: timedelta | Keep = "keep",
        capture_attempt: int | None = None,
        unmoved: bool = False,
    ) -> Row:
        """Fold events in their order, in one pass, into the draft of a row that was read, and return its row after.

        `release` lets go of that claim in the same statement. `check_in` says when to look again where the events
        themselves do not. With `unmoved`, nothing is folded into a row that has moved since it was read: what was
        decided about it then, such as that it expired, may not be true any more. With `capture_attempt`, a decline of
        an earlier attempt than the row's is dropped: two workers may hear the same refusal, and the second must not
        void an approval that came between. A failed refund counts only for the row as it was read: told late, it would
        take back a refund that was made since.

        Where somebody else moved the draft meanwhile, the row that comes back is the draft as it stands, under the
        version that this caller knows of. What he then writes by that version is dropped, so that the other's word on
        when to ask again stands: a hint that came while the PSP was asked is not forgotten.
        """

        async def attempt(sender: Sender, current: Row, /, *, clash: Clash | None) -> _Result | None:
            moved = current.version != row.version
            if unmoved and moved:
                return _Result(Verdict.STALE, current, wrote=False)
            outdated = set[Kind]()
            if capture_attempt not in {None, current.draft.capture_attempt}:
                outdated.add(Kind.DECLINED)
            if moved:
                outdated.add(Kind.REFUND_FAILED)
            told = [event for event in events if event.kind not in outdated]
            return await self._fold(sender, current, _News(told, source, release, check_in), clash=clash)

        result = await self._committed(
            attempt, row, lambda connection: self._store.drafts.lock_by_id(connection, row.draft.id)
        )
        assert result.row is not None, "drafts are never deleted"
        known = row.version + result.wrote
        if result.row.version > known and any(event.kind in _REFUNDS for event in events):
            # What was heard of refunds may be older than what the draft counts by now.
            await self._store.drafts.stage_lookup_soon(row.draft.id, None)
            self._changes.due()
        return msgspec.structs.replace(result.row, version=known)

    async def decide(self, row: Row, events: Sequence[GatewayEvent]) -> Row | None:
        """Fold what a person decided about a row as it was read, and return it after; None: it has moved since."""
        news = _News(events, "operator")

        async def attempt(sender: Sender, current: Row, /, *, clash: Clash | None) -> _Result | None:
            return await self._fold(sender, current, news, clash=clash) if current.version == row.version else None

        result = await self._committed(
            attempt, row, lambda connection: self._store.drafts.lock_by_id(connection, row.draft.id)
        )
        return result.row if result.wrote else None

    async def deliver(self, fact: GatewayEvent | Hint, delivery: Delivery) -> str:
        """Fold what a delivery says, or keep it until its draft appears; the delivery is kept with the verdict."""
        inbox = self._store.inbox
        if isinstance(fact, Hint):
            result = await self._committed(self._hinted(fact, delivery), None, self._locks(fact))
        else:
            result = await self._hear(fact, delivery)
        if result.row is None:
            async with self._store.transaction() as connection:
                if isinstance(fact, GatewayEvent):
                    await inbox.keep_unmatched(connection, fact)
                await inbox.record_delivery(
                    connection, Heard(fact.gateway, fact.event_id, delivery), draft_id=None, verdict=result.verdict
                )
            self._changes.due()
        elif result.heard_before:
            repeated = Heard(fact.gateway, fact.event_id, delivery, keep_body=False)
            await inbox.record_delivery(
                self._store.pool, repeated, draft_id=result.row.draft.id, verdict=result.verdict
            )
        return result.verdict

    async def join(self, unmatched_id: UUID, event: GatewayEvent) -> bool:
        """Fold a fact that has waited for its draft; False when there is still none."""
        result = await self._hear(event, None)
        if result.row is None:
            return False
        await self._store.inbox.forget_unmatched(unmatched_id)
        return True

    async def _hear(self, event: GatewayEvent, delivery: Delivery | None) -> _Result:
        """Fold a delivered event, once however often it is delivered."""
        news = _News([event], "webhook", heard=Heard(event.gateway, event.event_id, delivery))

        async def attempt(sender: Sender, row: Row, /, *, clash: Clash | None) -> _Result | None:
            return await self._fold(sender, row, news, clash=clash)

        return await self._committed(attempt, await self._store.drafts.find_for(event), self._locks(event))

    def _hinted(self, hint: Hint, delivery: Delivery) -> _Attempt:
        """Ask the PSP about the draft of a hint, once however often it is delivered, and each time it is replayed."""

        async def attempt(sender: Sender, row: Row, /, *, clash: Clash | None) -> _Result | None:  # noqa: ARG001
            is_new = await self._store.inbox.remember(sender, hint.gateway, hint.event_id)
            if not is_new and delivery.received_at is None:
                return None
            await self._store.drafts.stage_lookup(sender, row.draft.id, hint.payment_reference)
            heard = Heard(hint.gateway, hint.event_id, delivery, keep_body=is_new)
            await self._store.inbox.record_delivery(sender, heard, draft_id=row.draft.id, verdict="lookup")
            return _Result("lookup", row, due=True)

        return attempt

    def _locks(self, fact: GatewayEvent | Hint) -> Callable[[Connection], Awaitable[Row | None]]:
        return lambda connection: self._store.drafts.lock_for(connection, fact)

    async def _committed(
        self, attempt: _Attempt, read: Row | None, lock: Callable[[Connection], Awaitable[Row | None]]
    ) -> _Result:
        """Fold into the row as it was read, else under its lock, and tell of it once it is committed."""
        result, clash = None, None
        if read is not None:
            try:
                result = await self._store.retrying(lambda: attempt(self._store.pool, read, clash=None))
            except asyncpg.UniqueViolationError as error:
                clash = _clash(error)
        if result is None or not result.wrote:  # what told nothing new about the row as read may about the row as it is
            result = await self._under_lock(attempt, lock, clash)
        if result.changed and result.row is not None:
            self._changes.draft(result.row.draft.id)
        if result.due:
            self._changes.due()
        return result

    async def _under_lock(
        self, attempt: _Attempt, lock: Callable[[Connection], Awaitable[Row | None]], clash: Clash | None
    ) -> _Result:
        """Lock the draft, fold, commit; again where the database refuses it."""

        async def once() -> _Result:
            async with self._store.transaction() as connection:
                row = await lock(connection)
                if row is None:
                    return _Result("unmatched", None)
                is_free = clash == "order" and await self._store.orders.vacate(connection, row.draft)
                # Nobody moves a locked row, so what writes nothing was heard before.
                result = await attempt(connection, row, clash=None if is_free else clash)
                return result or _Result(Verdict.REPEATED, row, heard_before=True, wrote=False)

        for _ in range(_CLASHES_AT_ONCE - 1):
            try:
                return await self._store.retrying(once)
            except asyncpg.UniqueViolationError as error:
                clash = _clash(error)
        return await self._store.retrying(once)

    async def _fold(self, sender: Sender, row: Row, news: _News, *, clash: Clash | None) -> _Result | None:
        source = news.source
        outcomes = outcomes_of(row.draft, news.events, source=source, clash=clash)
        if not outcomes:
            return _Result(Verdict.REPEATED, row, wrote=False)
        # Not only the last state: one look-up may find the payment and a refund of it.
        completes = row.draft.state in UNPAID and any(one.draft.state is State.COMPLETED for _, one in outcomes)
        due = _check_in(row.draft, outcomes, source, news.check_in)
        duplicate = completes and clash == "order"
        folded = Folded(row, outcomes, source, due, news.release, completes, duplicate, news.heard)
        saved = await self._store.drafts.save(sender, folded)
        if saved is None:
            return None
        for event, outcome in outcomes:
            FOLDS.labels(event.kind, source, outcome.verdict).inc()
            _log.info(
                "folded",
                draft_id=str(row.draft.id),
                kind=event.kind,
                source=source,
                verdict=outcome.verdict,
                review_reason=outcome.review_reason,
                state=outcome.draft.state,
            )
        return _Result(folded.verdict, saved, changed=folded.changed, due=completes or folded.refunds or due == NOW)


def _clash(error: asyncpg.UniqueViolationError) -> Clash | None:
    """What another draft has: one PSP payment completes one draft, and one draft pays for an order."""
    return _CLASHES.get(error.constraint_name, "reference")


def _check_in(
    before: PaymentDraft, folded: Sequence[tuple[GatewayEvent, Outcome]], source: Source, check_in: timedelta | Keep
) -> timedelta | Keep | None:
    """When to ask the PSP about the draft after these events; None: never by itself."""
    after = folded[-1][1].draft
    if any(outcome.verdict is Verdict.REVIEW for _, outcome in folded) and source not in {"lookup", "capture"}:
        return NOW  # doubt is settled by asking; a doubt that asking raised waits for the operator
    if after.capture_due and not before.capture_due:
        return FOUND if source == "lookup" else NOW
    if source == "webhook" and after.refunded_minor > before.refunded_minor:
        return NOW  # a delivery may be days old, and the refund may have failed since: the books tell
    if check_in != "keep":
        return check_in
    if before.capture_due and not after.capture_due and after.state is before.state:
        return FIRST_LOOKUP  # declined: the payer is on the way back to the PSP
    if after.state is before.state:
        return "keep"
    return FIRST_LOOKUP if after.state is State.AWAITING_USER_ACTION else None
