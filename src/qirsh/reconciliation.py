"""Reconciliation: PSPs are asked until their books and ours agree, whether or not it is time to ask."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import msgspec
import structlog

from qirsh.capture import Collector
from qirsh.clock import Clock
from qirsh.draft import UNPAID, GatewayEvent, Kind, PaymentDraft, State, Verdict
from qirsh.errors import DraftNotFound, GatewayError
from qirsh.gateways.base import Lookup, Standing, deadline
from qirsh.outcomes import outcomes_of
from qirsh.refunds import Refunder
from qirsh.registration import PSP_SECONDS, Registrar, explains, is_unmeasured
from qirsh.store.inbox import Unmatched
from qirsh.store.refunds import Refund, RefundState
from qirsh.store.rows import Row
from qirsh.store.store import Store

AT_A_TIME: Final = 10
"""Drafts asked about at one PSP at a time."""
AHEAD: Final = 200
"""Drafts begun before the first of them is done."""
FAILED_FOR: Final = timedelta(days=7)
"""How long after its end a failed draft is asked about: late money completes it."""

FOLDED: Final = "folded in"
WOULD_FOLD: Final = "would be folded in"
FOR_A_PERSON: Final = "a person must decide"
LATER: Final = "asked again later"
NOT_EXAMINED: Final = "not examined"
"""For a reason of ours, which the log names."""

_log = structlog.get_logger("qirsh.reconciliation")

_COMPARED: Final = ("state", "reason", "refunded_minor", "payment_reference", "transaction_reference_id")


class Difference(NamedTuple):
    """Something that our books and a PSP's tell differently, and what was done about it."""

    draft_id: UUID | None
    """None: money of which no draft of ours is known."""
    gateway: str
    field: str
    ours: str
    theirs: str
    done: str

    @property
    def stays(self) -> bool:
        """Whether it differs still."""
        return self.done != FOLDED


class Reconciler:
    """Compares drafts with their PSPs' books. What it hears is folded like every other look-up."""

    def __init__(
        self, store: Store, registrar: Registrar, collector: Collector, refunder: Refunder, clock: Clock
    ) -> None:
        """Ask through the registrar's gateways."""
        self._store = store
        self._registrar = registrar
        self._collector = collector
        self._refunder = refunder
        self._clock = clock

    async def reconcile(self, draft_id: UUID) -> Row:
        """Ask about one draft now, capture what is approved, and return its row as it then stands.

        Raises:
            DraftNotFound: there is none.
            GatewayError: the PSP did not say, or whether a capture moved money is not known.
        """
        row = await self._store.drafts.get(draft_id)
        if row is None:
            raise DraftNotFound
        row = await self._registrar.look_up(row)
        return await self._collector.capture(row) if row.draft.capture_due else row

    async def unsettled(self, paid_since: datetime | None) -> list[UUID]:
        """The drafts that `differences` is for: what is not ended for good, and what was paid since."""
        return await self._store.listings.unsettled(paid_since, FAILED_FOR)

    async def without_draft(self) -> list[Difference]:
        """What PSPs told of payments that no draft is known for, longer ago than a draft may take to appear."""
        waiting = await self._store.inbox.waiting()
        return [
            Difference(one.event.draft_id, one.event.gateway, "draft", "none", _named(one.event), _wanted(one))
            for one in waiting
        ]

    async def differences(self, draft_ids: Sequence[UUID], *, dry_run: bool) -> AsyncIterator[list[Difference]]:
        """What differed, for each of these drafts as it is done. A dry run folds, sends and captures nothing.

        A draft that cannot be examined is told by its id, and keeps nobody from examining the others.
        """
        at_a_time: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_A_TIME))

        async def examined(draft_id: UUID) -> list[Difference]:
            gateway = "–"
            try:
                gateway = (await self._row(draft_id)).draft.gateway
                async with at_a_time[gateway]:
                    return await self._examined(draft_id, dry_run=dry_run)
            except Exception as error:  # noqa: BLE001  whatever it was, the others are examined
                name = type(error).__name__
                _log.error("not_reconciled", draft_id=str(draft_id), error=name)
                return [Difference(draft_id, gateway, "answer", "–", name, NOT_EXAMINED)]

        for start in range(0, len(draft_ids), AHEAD):
            tasks = [asyncio.create_task(examined(draft_id)) for draft_id in draft_ids[start : start + AHEAD]]
            try:
                for done in asyncio.as_completed(tasks):
                    yield await done
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _examined(self, draft_id: UUID, *, dry_run: bool) -> list[Difference]:
        before = await self._row(draft_id)
        refund = await self._store.refunds.find_in_flight(self._store.pool, draft_id)
        try:
            found = await self._registrar.books(before.draft)
            surprises = _surprises(await self._registrar.undecided(before.draft, found), refund)
            after = _foreseen(before.draft, surprises) if dry_run else await self._settled(before, found)
        except GatewayError as error:
            after = before.draft if dry_run else (await self._row(draft_id)).draft
            unanswered = _difference(before.draft, "answer", before.draft.state, error.code, LATER)
            return [*_moved(before.draft, after, FOLDED), unanswered]
        refund_after = refund if dry_run or refund is None else await self._store.refunds.get(refund.id)
        return [
            *_moved(before.draft, after, WOULD_FOLD if dry_run else FOLDED),
            *_contradictions(before.draft, surprises, _given_back(before.draft, _surprises(found, refund), refund)),
            *_left(after, found),
            *_refunding(before.draft, refund, refund_after),
        ]

    async def _settled(self, row: Row, found: Lookup) -> PaymentDraft:
        """Fold what the PSP said, and finish what that leaves to do: a registration, a capture, a refund."""
        row = (await self._registrar.told(row, found)).row
        draft = row.draft
        if draft.state is State.PENDING and draft.in_doubt and draft.expires_at > self._clock.now():
            claim = uuid4()
            with deadline(PSP_SECONDS):  # begun before the claim, as for a request
                claimed = await self._store.drafts.claim_again(draft.id, row.version, claim)
                row = row if claimed is None else await self._registrar.register(claimed, claim)
        if row.draft.capture_due:
            row = await self._collector.capture(row)
        for _ in range(2):  # sent, and found out about where the answer to that was lost
            refund = await self._store.refunds.find_in_flight(self._store.pool, draft.id)
            if refund is not None and refund.state is not RefundState.REVIEW:
                await self._refunder.advance(refund)
        return (await self._row(draft.id)).draft

    async def _row(self, draft_id: UUID) -> Row:
        row = await self._store.drafts.get(draft_id)
        assert row is not None, "drafts are never deleted"
        return row


def _surprises(found: Lookup, refund: Refund | None) -> Lookup:
    """What the PSP said, without a refund of a sum that it does not tell, which is ours where one was sent."""
    events = [event for event in found.events if not (explains(refund) and is_unmeasured(event))]
    return Lookup(found.standing, events)


def _foreseen(draft: PaymentDraft, found: Lookup) -> PaymentDraft:
    """The draft as it would be."""
    folded = outcomes_of(draft, found.events, source="lookup")
    return folded[-1][1].draft if folded else draft


def _moved(before: PaymentDraft, after: PaymentDraft, done: str) -> list[Difference]:
    """What the PSP's books changed in ours."""
    pairs = [(field, getattr(before, field), getattr(after, field)) for field in _COMPARED]
    return [_difference(before, field, ours, theirs, done) for field, ours, theirs in pairs if ours != theirs]


def _contradictions(draft: PaymentDraft, found: Lookup, total: int | None) -> list[Difference]:
    """What the PSP's books say that no fold may settle: they know no payment, less was given back, or a review."""
    differences = []
    if draft.state not in UNPAID and found.standing in {Standing.UNKNOWN, Standing.OPEN}:
        differences.append(_difference(draft, "state", draft.state, found.standing, FOR_A_PERSON))
    if total is not None and total < draft.refunded_minor:
        differences.append(_difference(draft, "refunded_minor", draft.refunded_minor, total, FOR_A_PERSON))
    unflagged = msgspec.structs.replace(draft, needs_review=False)
    for event, outcome in outcomes_of(unflagged, found.events, source="lookup"):
        if outcome.verdict is Verdict.REVIEW:
            reason = outcome.review_reason or ""
            differences.append(_difference(draft, reason, draft.state, _named(event), FOR_A_PERSON))
    return differences


def _given_back(draft: PaymentDraft, found: Lookup, refund: Refund | None) -> int | None:
    """The total that the PSP's books show as given back, in minor units; None: they do not tell, or may not yet.

    Books that show the draft's payment and no refund say that nothing went back, unless one of ours is under way.
    """
    kinds = {one.kind for one in found.events}
    if Kind.REFUND_FAILED in kinds:
        return None
    totals = [one.amount.amount_minor for one in found.events if one.kind is Kind.REFUNDED and one.amount is not None]
    if totals:
        return max(totals)
    shows_payment = any(
        one.kind is Kind.PAID and one.payment_reference == draft.payment_reference for one in found.events
    )
    return 0 if shows_payment and Kind.REFUNDED not in kinds and refund is None else None


def _left(after: PaymentDraft, found: Lookup) -> list[Difference]:
    """What is still to be done about a draft."""
    differences = []
    if after.state is State.PENDING and after.in_doubt:
        differences.append(_difference(after, "registration", "in doubt", found.standing, LATER))
    if (kept := _foreseen(after, found).refunded_minor) < after.refunded_minor:
        differences.append(_difference(after, "refunded_minor", after.refunded_minor, kept, LATER))
    if after.state is State.AWAITING_USER_ACTION and found.standing is Standing.UNKNOWN:
        differences.append(_difference(after, "state", after.state, found.standing, LATER))
    if after.capture_due:
        differences.append(_difference(after, "capture", "due", "approved", LATER))
    return differences


def _refunding(draft: PaymentDraft, before: Refund | None, after: Refund | None) -> list[Difference]:
    """A refund that was under way: one that the PSP has and works on differs in nothing."""
    if before is None or after is None:
        return []
    name = f"refund {before.id}"
    if after.state is RefundState.REVIEW:
        return [_difference(draft, name, before.state, after.error, FOR_A_PERSON)]
    if after.state is RefundState.REQUESTED or (after.state is RefundState.SENT and not after.accepted):
        return [_difference(draft, name, after.state, after.error, LATER)]
    return [_difference(draft, name, before.state, after.state, FOLDED)] if before.state is not after.state else []


def _difference(draft: PaymentDraft, field: str, ours: object, theirs: object, done: str) -> Difference:
    return Difference(draft.id, draft.gateway, field, _shown(ours), _shown(theirs), done)


def _named(event: GatewayEvent) -> str:
    """A fact, in a few words."""
    return event.kind if event.amount is None else f"{event.kind} {event.amount.major} {event.amount.currency}"


def _wanted(waiting: Unmatched) -> str:
    """What becomes of a fact without a draft: tried again, and after a week somebody must look."""
    return FOR_A_PERSON if waiting.old else LATER


def _shown(value: object) -> str:
    return "–" if value is None else str(value)
