"""Giving money back: requested by an operator, sent by durable work, and believed only when the PSP says so.

Between any two steps the process may die, so a refund is marked as sent before the PSP is asked. From then on it is
sent again only where the PSP honours its key, or where the PSP's books show that it was not done (ADR 0018).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final
from uuid import UUID

import structlog

from qirsh.clock import Clock
from qirsh.draft import GatewayEvent, PaymentDraft, State
from qirsh.errors import (
    DraftNotFound,
    FieldError,
    GatewayError,
    GatewayMisconfigured,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    RefundInFlight,
    RefundNotAllowed,
)
from qirsh.fold import Changes, Fold
from qirsh.gateways.base import Profile, RefundOrder, Standing, deadline
from qirsh.metrics import REFUNDS
from qirsh.money import InvalidAmountError, Money
from qirsh.registration import PSP_SECONDS, Registrar
from qirsh.store.refunds import Refund, RefundState
from qirsh.store.rows import Row
from qirsh.store.store import Store

UNDONE_AFTER: Final = timedelta(minutes=2)
"""How long the PSP's books must have shown no trace of a refund before it counts as not done."""
UNSENT_SCHEDULE: Final = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
"""After the PSP could not be asked; the last is repeated until it can."""
DOUBT_SCHEDULE: Final = (timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""After the PSP was asked and has not said what became of it; then daily."""
DAILY: Final = timedelta(days=1)
ANSWERED_WITHIN: Final = timedelta(days=1)
"""A PSP whose books have not told for so long whether it got a refund will not: a person must look."""
ACCEPTED_WITHIN: Final = timedelta(days=7)
"""The same for one that it said it has: banks take days."""

_REFUNDABLE: Final = frozenset({State.COMPLETED, State.PARTIALLY_REFUNDED})

_log = structlog.get_logger("qirsh.refunds")


class Refunder:
    """Requests refunds, sends them, and finds out what became of them."""

    def __init__(self, store: Store, fold: Fold, registrar: Registrar, clock: Clock, changes: Changes) -> None:
        """Refund through the registrar's gateways."""
        self._store = store
        self._fold = fold
        self._registrar = registrar
        self._clock = clock
        self._changes = changes

    async def request(
        self, draft_id: UUID, amount: str | None, reason: str, *, key: str
    ) -> tuple[Refund, PaymentDraft]:
        """Write down that money is to go back: `amount` in major units, or all that is left. A key is one refund.

        Raises:
            DraftNotFound, InvalidRequest, IdempotencyConflict: the request cannot be served.
            RefundInFlight: another refund of the draft has not ended.
            RefundNotAllowed: not paid, given back already, too much, or nothing that this PSP can give back.
        """
        fingerprint = hashlib.sha256(f"{amount}\n{reason}".encode()).digest()

        async def once() -> tuple[Refund, PaymentDraft]:
            async with self._store.transaction() as connection:
                row = await self._store.drafts.lock_by_id(connection, draft_id)
                if row is None:
                    raise DraftNotFound
                known = await self._store.refunds.find_by_key(connection, draft_id, key)
                if known is not None:
                    if known.fingerprint != fingerprint:
                        raise IdempotencyConflict
                    return known, row.draft
                if await self._store.refunds.find_in_flight(connection, draft_id):
                    raise RefundInFlight
                amount_minor = self._allowed(row.draft, amount)
                refund = await self._store.refunds.insert(
                    connection, row.draft, key=key, fingerprint=fingerprint, amount_minor=amount_minor, reason=reason
                )
                return refund, row.draft

        refund, draft = await self._store.retrying(once)
        if refund.state is RefundState.REQUESTED:
            self._changes.due()
        return refund, draft

    async def advance(self, refund: Refund) -> None:
        """Send a refund that was requested, or find out about one that was sent. Safe for any number of callers."""
        row = await self._store.drafts.get(refund.draft_id)
        assert row is not None, "a foreign key"
        # Begun before the row is marked, so that a worker that was frozen in between asks nobody any more.
        with deadline(PSP_SECONDS):
            if refund.state is RefundState.REQUESTED:
                await self._send(refund, row)
            else:
                await self._settle(refund, row)

    def _allowed(self, draft: PaymentDraft, amount: str | None) -> int:
        """How much may go back of a draft for this request."""
        profile = self._profile(draft)
        left = draft.amount.amount_minor - draft.refunded_minor
        if draft.state not in _REFUNDABLE:
            paid = "all of it was given back" if draft.state is State.REFUNDED else "it is not paid"
            raise RefundNotAllowed(f"Nothing can be given back of this payment: {paid}.")
        if profile is None:
            raise RefundNotAllowed(f"{draft.gateway} is not configured any more: restore its credentials.")
        if draft.request.method in profile.unrefundable or draft.payment_reference is None:
            raise RefundNotAllowed(
                f"{draft.gateway} cannot give back a payment by {draft.request.method}: return the money another way."
            )
        try:
            wanted = left if amount is None else Money.parse(amount, draft.amount.currency).amount_minor
        except InvalidAmountError as error:
            raise InvalidRequest(errors=[FieldError("#/amount", str(error))]) from None
        if not wanted:
            raise InvalidRequest(errors=[FieldError("#/amount", "must be more than zero")])
        if wanted > left:
            most = Money(left, draft.amount.currency).major
            raise RefundNotAllowed(f"At most {most} {draft.amount.currency} can still be given back.")
        if wanted < draft.amount.amount_minor and not profile.partial_refunds:
            raise RefundNotAllowed(f"{draft.gateway} gives back all of a payment or nothing.")
        return wanted

    def _profile(self, draft: PaymentDraft) -> Profile | None:
        try:
            return self._registrar.gateway(draft.gateway).profile
        except GatewayMisconfigured:
            return None

    async def _send(self, refund: Refund, row: Row) -> None:
        """Ask the PSP for a refund that it has not got."""
        refunds = self._store.refunds
        try:
            gateway = self._registrar.gateway(refund.gateway)
            if not _is_keyed(gateway.profile):
                # What it shows now is what a lost answer is compared with.
                row = await self._registrar.look_up(row)
            self._allowed(row.draft, Money(refund.amount_minor, row.draft.amount.currency).major)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await self._unsent(refund, error, refund.attempts)
            return
        except RefundNotAllowed as error:
            await self._failed(refund, error.code)
            return
        marked = await refunds.sent(refund, row.draft.refunded_minor, DOUBT_SCHEDULE[0])
        if marked is None:
            return  # another worker is at it
        try:
            await self._ask(marked, row)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await self._unsent(marked, error, refund.attempts)

    async def _ask(self, refund: Refund, row: Row) -> None:
        """Ask the PSP, with the refund's own key.

        Raises:
            GatewayUnavailable, GatewayMisconfigured: this call has done nothing; an earlier one may have.
        """
        gateway = self._registrar.gateway(refund.gateway)
        order = RefundOrder(refund.id, row.draft, refund.amount_minor, refund.reason)
        try:
            events = await gateway.refund(order, key=str(refund.id))
        except GatewayRejected as error:
            await self._failed(refund, error.psp_code or error.code)
            return
        except (GatewayUnavailable, GatewayMisconfigured):
            raise
        except GatewayError as error:
            _log.warning("refund_in_doubt", draft_id=str(refund.draft_id), refund_id=str(refund.id), code=error.code)
            await self._store.refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), error.code)
            return
        await self._believed(row, events)
        if not events:
            await self._store.refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), accepted=True)

    async def _settle(self, refund: Refund, row: Row) -> None:
        """Find out what became of a refund that was sent."""
        refunds = self._store.refunds
        try:
            standing, row = await self._registrar.asked(row)
            if await refunds.get_due(refund.id, refund.version) is None:
                return  # the PSP told of it by name, or another worker is at it
            profile = self._registrar.gateway(refund.gateway).profile
            match _next(refund, row.draft, standing, profile, self._clock.now()):
                case _Next.SUCCEEDED:
                    await refunds.ended(refund, RefundState.SUCCEEDED)
                    REFUNDS.labels(refund.gateway, RefundState.SUCCEEDED).inc()
                case _Next.REPEAT:
                    await self._ask(refund, row)
                case _Next.ANEW:
                    await refunds.unsent(refund, timedelta(0), "not_done", 0)
                    self._changes.due()
                case _Next.UNDECIDED:
                    await self._undecided(refund, refund.error or "no_answer")
                case _Next.WAIT:
                    await refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), refund.error)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), error.code)

    async def _believed(self, row: Row, events: Sequence[GatewayEvent]) -> None:
        """Take what the PSP said: the refunds it names, then the draft. Both are told again if we die in between."""
        await self._registrar.tell_refunds(row.draft.id, events)
        if events:
            await self._fold(row, events, source="refund")

    async def _unsent(self, refund: Refund, error: GatewayError, attempts: int) -> None:
        _log.warning("refund_not_sent", draft_id=str(refund.draft_id), refund_id=str(refund.id), code=error.code)
        await self._store.refunds.unsent(refund, _step(UNSENT_SCHEDULE, attempts), error.code, attempts + 1)

    async def _failed(self, refund: Refund, error: str) -> None:
        _log.warning("refund_failed", draft_id=str(refund.draft_id), refund_id=str(refund.id), code=error)
        await self._store.refunds.ended(refund, RefundState.FAILED, error)
        REFUNDS.labels(refund.gateway, RefundState.FAILED).inc()

    async def _undecided(self, refund: Refund, error: str) -> None:
        _log.error("refund_needs_review", draft_id=str(refund.draft_id), refund_id=str(refund.id), code=error)
        await self._store.refunds.ended(refund, RefundState.REVIEW, error)
        REFUNDS.labels(refund.gateway, RefundState.REVIEW).inc()


class _Next(Enum):
    """What to do about a refund that was sent and not told of."""

    SUCCEEDED = auto()
    REPEAT = auto()
    ANEW = auto()
    UNDECIDED = auto()
    WAIT = auto()


def _next(refund: Refund, draft: PaymentDraft, standing: Standing, profile: Profile, now: datetime) -> _Next:
    """Decide by what the PSP's books say now. Where they cannot tell, time alone never makes it done or not done."""
    assert refund.sent_at is not None
    assert refund.refunded_before_minor is not None
    asked_since = now - refund.sent_at
    given_back = draft.refunded_minor - refund.refunded_before_minor
    if _is_keyed(profile):
        if asked_since < profile.idempotent_for["refund"]:
            return _Next.REPEAT
    elif given_back >= refund.amount_minor:
        return _Next.SUCCEEDED
    elif profile.shows_refunds and not refund.accepted and standing is not Standing.IN_PROGRESS:
        if given_back:
            return _Next.UNDECIDED  # somebody gave back something else meanwhile: which is ours?
        if asked_since >= UNDONE_AFTER:
            return _Next.ANEW
    decided_within = ACCEPTED_WITHIN if refund.accepted else ANSWERED_WITHIN
    return _Next.UNDECIDED if asked_since >= decided_within else _Next.WAIT


def _is_keyed(profile: Profile) -> bool:
    """Whether the PSP gives money back once however often it is asked with one key."""
    return "refund" in profile.idempotent_for


def _step(schedule: Sequence[timedelta], attempts: int) -> timedelta:
    last = DAILY if schedule is DOUBT_SCHEDULE else schedule[-1]
    return schedule[attempts] if attempts < len(schedule) else last
