"""The one door: every fact about a draft, whoever brought it, is folded into its row here, under the row's lock."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import asyncpg
import msgspec
import structlog

from qirsh.draft import GatewayEvent, Kind, Outcome, PaymentDraft, State, Verdict, apply
from qirsh.gateways.base import Delivery, Hint
from qirsh.metrics import FOLDS
from qirsh.store.connection import Connection
from qirsh.store.drafts import Keep, Source
from qirsh.store.rows import Row
from qirsh.store.store import Store

_UNPAID: Final = frozenset({State.PENDING, State.AWAITING_USER_ACTION, State.FAILED})

FIRST_LOOKUP: Final = timedelta(minutes=2)
"""A payer at a page has usually paid by then; whose webhook got lost is found."""
NOW: Final = timedelta(0)

_log = structlog.get_logger("qirsh.fold")


class Changes(Protocol):
    """Whom to tell after a commit. Hints only: who misses one re-reads the row by itself."""

    def draft(self, draft_id: UUID) -> None:
        """Wake those who wait for this draft."""
        ...

    def due(self) -> None:
        """Wake the workers: a row is due at once."""
        ...


@dataclass(frozen=True, slots=True)
class _Result:
    """What one transaction did: the verdict, the row after it, and who should hear of it."""

    verdict: str
    row: Row | None
    changed: bool = False
    due: bool = False
    heard_before: bool = False


class Fold:
    """Folds facts into drafts. One transaction each: lock the draft, apply, write it with its journal."""

    def __init__(self, store: Store, changes: Changes) -> None:
        """Write to the store, and tell of what changed."""
        self._store = store
        self._changes = changes

    async def __call__(
        self,
        draft_id: UUID,
        events: Sequence[GatewayEvent],
        *,
        source: Source,
        release: UUID | None = None,
        check_in: timedelta | Keep = "keep",
        capture_attempt: int | None = None,
        if_version: int | None = None,
    ) -> Row:
        """Fold events in their order, in one pass, and return the row after them.

        `release` lets go of that claim in the same transaction. `check_in` says when to look again where the events
        themselves do not. With `if_version`, nothing is folded into a row that has moved since: what was decided
        about it then, such as that it expired, may not be true any more. With `capture_attempt`, a decline of an
        earlier attempt than the row's is dropped: two workers may hear the same refusal, and the second must not
        void an approval that came between.
        """

        async def attempt(connection: Connection, *, taken: bool) -> _Result:
            row = await self._store.drafts.lock_by_id(connection, draft_id)
            assert row is not None, "drafts are never deleted"
            if if_version not in {None, row.version}:
                return _Result(Verdict.STALE, row)
            if capture_attempt not in {None, row.draft.capture_attempt}:
                current = [event for event in events if event.kind is not Kind.DECLINED]
            else:
                current = list(events)
            return await self._fold(
                connection, row, current, source=source, release=release, check_in=check_in, taken=taken
            )

        result = await self._committed(attempt)
        assert result.row is not None
        return result.row

    async def deliver(self, fact: GatewayEvent | Hint, delivery: Delivery) -> str:
        """Fold what a delivery says, or keep it until its draft appears; the delivery is kept with the verdict."""

        async def attempt(connection: Connection, *, taken: bool) -> _Result:
            row = await self._store.drafts.lock(connection, fact)
            result = await self._heard(connection, row, fact, taken=taken)
            await self._store.inbox.record_delivery(
                connection,
                delivery,
                gateway=fact.gateway,
                event_id=fact.event_id,
                draft_id=row.draft.id if row else None,
                verdict=result.verdict,
                keep_body=not result.heard_before,
            )
            return result

        return (await self._committed(attempt)).verdict

    async def join(self, unmatched_id: UUID, event: GatewayEvent) -> bool:
        """Fold a fact that has waited for its draft; False when there is still none."""

        async def attempt(connection: Connection, *, taken: bool) -> _Result:
            row = await self._store.drafts.lock(connection, event)
            if row is None:
                return _Result("unmatched", None)
            result = await self._heard(connection, row, event, taken=taken)
            await self._store.inbox.forget_unmatched(connection, unmatched_id)
            return result

        return (await self._committed(attempt)).row is not None

    async def _committed(self, attempt: Callable[..., Awaitable[_Result]]) -> _Result:
        """Run one transaction, again where the database refuses it, and tell of it once it is committed."""

        async def once(*, taken: bool) -> _Result:
            async with self._store.transaction() as connection:
                return await attempt(connection, taken=taken)

        try:
            result = await self._store.retrying(lambda: once(taken=False))
        except asyncpg.UniqueViolationError:
            # A reference that another draft holds: one PSP payment completes one draft, so this is for a person.
            result = await self._store.retrying(lambda: once(taken=True))
        if result.changed and result.row is not None:
            self._changes.draft(result.row.draft.id)
        if result.due:
            self._changes.due()
        return result

    async def _heard(
        self, connection: Connection, row: Row | None, fact: GatewayEvent | Hint, *, taken: bool
    ) -> _Result:
        """A delivered fact: unmatched, heard before, a hint to look up, or an event to fold."""
        if row is None:
            if isinstance(fact, GatewayEvent):
                await self._store.inbox.keep_unmatched(connection, fact)
            return _Result("unmatched", None, due=True)
        if not await self._store.inbox.remember(connection, fact.gateway, fact.event_id):
            return _Result(Verdict.REPEATED, row, heard_before=True)
        if isinstance(fact, Hint):
            await self._store.drafts.stage_lookup(connection, row.draft.id, fact.payment_reference)
            return _Result("lookup", row, due=True)
        return await self._fold(connection, row, [fact], source="webhook", taken=taken)

    async def _fold(
        self,
        connection: Connection,
        row: Row,
        events: Sequence[GatewayEvent],
        *,
        source: Source,
        release: UUID | None = None,
        check_in: timedelta | Keep = "keep",
        taken: bool,
    ) -> _Result:
        folded = _outcomes(row.draft, events, source=source, taken=taken)
        if not folded:
            return _Result(Verdict.REPEATED, row)
        after = folded[-1][1].draft
        # Not only the last state: one look-up may find the payment and a refund of it.
        completes = row.draft.state in _UNPAID and any(outcome.draft.state is State.COMPLETED for _, outcome in folded)
        due = _check_in(row.draft, folded, source, check_in)
        saved = await self._store.drafts.save(
            connection,
            folded,
            source=source,
            release=release,
            check_in=due,
            fulfil=completes,
            changed=after != row.draft,
        )
        for event, outcome in folded:
            FOLDS.labels(event.kind, source, outcome.verdict).inc()
            _log.info(
                "folded",
                draft_id=str(after.id),
                kind=event.kind,
                source=source,
                verdict=outcome.verdict,
                review_reason=outcome.review_reason,
                state=outcome.draft.state,
            )
        return _Result(folded[-1][1].verdict, saved, changed=after != row.draft, due=completes or due == NOW)


def _outcomes(
    draft: PaymentDraft, events: Sequence[GatewayEvent], *, source: Source, taken: bool
) -> list[tuple[GatewayEvent, Outcome]]:
    folded = []
    for event in events:
        if taken:
            outcome = Outcome(
                msgspec.structs.replace(draft, needs_review=True, capture_due=False),
                Verdict.REVIEW,
                "reference_of_another_draft",
            )
        else:
            outcome = apply(draft, event)
        # A look-up tells the whole story each time; what it says again would only fill the journal.
        if source != "lookup" or outcome.draft != draft or outcome.verdict is Verdict.APPLIED:
            folded.append((event, outcome))
        draft = outcome.draft
    return folded


def _check_in(
    before: PaymentDraft, folded: Sequence[tuple[GatewayEvent, Outcome]], source: Source, check_in: timedelta | Keep
) -> timedelta | Keep | None:
    """When to ask the PSP about the draft after these events; None: never by itself."""
    after = folded[-1][1].draft
    if any(outcome.verdict is Verdict.REVIEW for _, outcome in folded) and source not in {"lookup", "capture"}:
        return NOW  # doubt is settled by asking; a doubt that asking raised waits for the operator
    if after.capture_due and not before.capture_due:
        return NOW
    if check_in != "keep":
        return check_in
    if before.capture_due and not after.capture_due and after.state is before.state:
        return FIRST_LOOKUP  # declined: the payer is on the way back to the PSP
    if after.state is before.state:
        return "keep"
    return FIRST_LOOKUP if after.state is State.AWAITING_USER_ACTION else None
