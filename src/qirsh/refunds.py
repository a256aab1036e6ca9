"""Giving money back: requested by an operator, sent by durable work, and believed only when the PSP says so.

Between any two steps the process may die, so a refund is marked as sent before the PSP is asked. From then on it is
sent again only under a key that the PSP honours; elsewhere the PSP's books decide, or a person (ADR 0018).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final
from uuid import UUID

import msgspec
import structlog

from qirsh.clock import Clock
from qirsh.draft import GatewayEvent, Kind, PaymentDraft, State
from qirsh.errors import (
    DraftNotFound,
    FieldError,
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    RefundInFlight,
    RefundNotAllowed,
    RefundUndecided,
)
from qirsh.fault_points import Step, reached
from qirsh.fold import Changes
from qirsh.gateways.base import Profile, RefundOrder, Standing, deadline
from qirsh.metrics import REFUNDS
from qirsh.money import InvalidAmountError, Money
from qirsh.registration import PSP_SECONDS, Asked, Registrar, bounded
from qirsh.store.refunds import Refund, RefundState
from qirsh.store.rows import Row
from qirsh.store.store import Store

NOT_DONE_AFTER: Final = timedelta(hours=1)
"""After which a PSP whose books show refunds at once, and none of ours, has not done it."""
NOT_DONE: Final = "not_done"
"""Why such a refund failed: it may be requested anew, by somebody who decides that."""
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

    def __init__(self, store: Store, registrar: Registrar, clock: Clock, changes: Changes) -> None:
        """Refund through the registrar's gateways."""
        self._store = store
        self._registrar = registrar
        self._clock = clock
        self._changes = changes

    async def request(
        self, draft_id: UUID, amount: str | None, reason: str, *, key: str
    ) -> tuple[Refund, PaymentDraft]:
        """Write down that money is to go back: `amount` in major units, or all that is left. A key is one refund.

        Raises:
            DraftNotFound, InvalidRequest, IdempotencyConflict: the request cannot be served.
            RefundInFlight, RefundUndecided: another refund of the draft has not ended.
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
                if other := await self._store.refunds.find_in_flight(connection, draft_id):
                    raise RefundUndecided if other.state is RefundState.REVIEW else RefundInFlight
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

    async def decide(self, draft_id: UUID, refund_id: UUID, *, done: bool, note: str) -> tuple[Refund, PaymentDraft]:
        """A person has looked: a refund under review was done, and counts, or was not.

        Raises:
            DraftNotFound: this draft has no such refund.
            RefundNotAllowed: it is not under review.
        """
        row, refund = await self._store.drafts.get(draft_id), await self._store.refunds.get(refund_id)
        if row is None or refund is None or refund.draft_id != draft_id:
            raise DraftNotFound
        if refund.state is not RefundState.REVIEW:
            raise RefundNotAllowed(f"This refund is {refund.state}: only one under review can be decided.")
        total = max(row.draft.refunded_minor, (refund.refunded_before_minor or 0) + refund.amount_minor)
        event = GatewayEvent(
            kind=Kind.REFUNDED if done else Kind.REFUND_FAILED,
            gateway=row.draft.gateway,
            event_id=f"decided:{refund.id}",
            draft_id=draft_id,
            amount=Money(total if done else row.draft.refunded_minor, row.draft.amount.currency),
            psp_code=f"operator: {note}"[:64],
            refund_id=refund.id,
        )
        row = await self._registrar.believe(row, [event], source="operator")
        decided = await self._store.refunds.get(refund_id)
        assert decided is not None, "rows are never deleted"
        return decided, row.draft

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
        try:
            if not _is_keyed(self._registrar.gateway(refund.gateway).profile):
                # What it shows now is what a lost answer is compared with.
                row = await self._registrar.look_up(row)
            self._allowed(row.draft, Money(refund.amount_minor, row.draft.amount.currency).major)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await self._unsent(refund, error, refund.attempts)
            return
        except RefundNotAllowed as error:
            await self._failed(refund, error.code)
            return
        marked = await self._store.refunds.sent(refund, row.draft.refunded_minor, DOUBT_SCHEDULE[0])
        if marked is None:
            return  # another worker is at it
        reached(Step.REFUND_SENT)
        try:
            await self._ask(marked, row)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await self._unsent(marked, error, refund.attempts)
        except GatewayRejected as error:
            await self._failed(marked, error.psp_code or error.code)

    async def _ask(self, refund: Refund, row: Row) -> None:
        """Ask the PSP, with the refund's own key, and believe what it says.

        Raises:
            GatewayRejected: the PSP refuses this call; an earlier one may have been taken.
            GatewayUnavailable, GatewayMisconfigured: this call has done nothing; an earlier one may have.
        """
        order = RefundOrder(refund.id, row.draft, refund.amount_minor, refund.reason)
        try:
            async with bounded():
                said = await self._registrar.gateway(refund.gateway).refund(order, key=str(refund.id))
        except GatewayOutcomeUnknown as error:
            _log.warning("refund_in_doubt", draft_id=str(refund.draft_id), refund_id=str(refund.id), code=error.code)
            await self._store.refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), error.code)
            return
        reached(Step.REFUND_ANSWERED)
        if said:
            # The answer to a refund is about that refund, named in it or not.
            events = [msgspec.structs.replace(event, refund_id=refund.id) for event in said]
            await self._registrar.believe(row, events, source="refund")
        else:
            await self._store.refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), accepted=True)

    async def _settle(self, refund: Refund, row: Row) -> None:
        """Find out what became of a refund that was sent."""
        refunds = self._store.refunds
        try:
            asked = await self._registrar.asked(row)
            if await refunds.get_due(refund.id, refund.version) is None:
                return  # the PSP told of it by name, or another worker is at it
            profile = self._registrar.gateway(refund.gateway).profile
            match _next(refund, asked, profile, self._clock.now()):
                case _Next.SUCCEEDED:
                    await refunds.ended(refund, RefundState.SUCCEEDED)
                    REFUNDS.labels(refund.gateway, RefundState.SUCCEEDED).inc()
                case _Next.REPEAT:
                    await self._ask(refund, asked.row)
                case _Next.NOT_DONE:
                    await self._failed(refund, NOT_DONE)
                case _Next.UNDECIDED:
                    await self._undecided(refund, refund.error or "no_answer")
                case _Next.WAIT:
                    await refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), refund.error)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            await refunds.waits(refund, _step(DOUBT_SCHEDULE, refund.attempts), error.code)
        except GatewayRejected as error:
            # Refused now, but perhaps taken before.
            await self._undecided(refund, error.psp_code or error.code)

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
    NOT_DONE = auto()
    UNDECIDED = auto()
    WAIT = auto()


def _next(refund: Refund, asked: Asked, profile: Profile, now: datetime) -> _Next:
    """Decide by what the PSP's books say now. Without a key that the PSP honours nothing is ever sent again."""
    assert refund.sent_at is not None
    assert refund.refunded_before_minor is not None
    sent_since = now - refund.sent_at
    given_back = asked.row.draft.refunded_minor - refund.refunded_before_minor
    if _is_keyed(profile):
        if sent_since < profile.idempotent_for["refund"]:
            return _Next.REPEAT
    elif given_back:
        # By another sum somebody gave back something else meanwhile: is ours in it?
        return _Next.SUCCEEDED if given_back == refund.amount_minor else _Next.UNDECIDED
    elif profile.shows_refunds and _shows_no_refund(asked) and not refund.accepted and sent_since >= NOT_DONE_AFTER:
        return _Next.NOT_DONE
    decided_within = ACCEPTED_WITHIN if refund.accepted else ANSWERED_WITHIN
    return _Next.UNDECIDED if sent_since >= decided_within else _Next.WAIT


def _shows_no_refund(asked: Asked) -> bool:
    """Whether the books show the payment, and nothing that goes or went back of it."""
    return asked.standing is Standing.CLOSED and not asked.unmeasured


def _is_keyed(profile: Profile) -> bool:
    """Whether the PSP gives money back once however often it is asked with one key."""
    return "refund" in profile.idempotent_for


def _step(schedule: Sequence[timedelta], attempts: int) -> timedelta:
    last = DAILY if schedule is DOUBT_SCHEDULE else schedule[-1]
    return schedule[attempts] if attempts < len(schedule) else last
