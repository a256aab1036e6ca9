"""A draft whose time has come: finish what an initiate left half done, ask the PSP, or end what has expired."""

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft, State
from qirsh.errors import GatewayError
from qirsh.gateways.base import Standing, deadline
from qirsh.payments import Payments
from qirsh.registration import PSP_SECONDS
from qirsh.store.drafts import Keep
from qirsh.store.rows import Row
from qirsh.store.store import Store

DAILY: Final = timedelta(days=1)
OPEN_SCHEDULE: Final = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""After the first look-up, two minutes in; then daily, and always once when the draft expires."""
CAPTURE_SCHEDULE: Final = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
"""After a capture whose outcome is not known; the last is repeated while the draft lives."""
APPROVAL_LIFE: Final = timedelta(hours=7)
"""What a PayPal order lives at most, approved at the last moment: longer than the draft, so its schedule goes on."""
LATE_SCHEDULE: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""An expired draft whose reference the PSP still calls payable: late money completes it."""
UNANSWERED: Final = timedelta(minutes=10)
"""The PSP did not answer a look-up that something depends on."""

_log = structlog.get_logger("qirsh.work.lookup")


async def look_up(payments: Payments, store: Store, draft_id: UUID, version: int) -> None:
    """Handle a due draft. Harmless when lost, doubled or late: every write is fenced by the claim or the version."""
    due = await store.drafts.get_due(draft_id, version)
    if due is None:
        return
    row, expired = due
    try:
        if row.draft.capture_due and row.draft.transaction_reference_id is not None:
            await _collect(payments, store, row)
        elif row.draft.state is State.PENDING:
            with deadline(PSP_SECONDS):  # begun before the claim, as for a request
                await _finish(payments, store, row, expired=expired)
        else:
            await _ask(payments, store, row, expired=expired)
    except GatewayError as error:
        _log.warning("lookup_failed", draft_id=str(draft_id), code=error.code)
        await store.drafts.reschedule(draft_id, row.version, UNANSWERED, answered=False)


async def _collect(payments: Payments, store: Store, row: Row) -> None:
    """Approved money, asked for with the same key until the PSP says what became of it."""
    try:
        await payments.collector.capture(row)
    except GatewayError as error:
        _log.warning("capture_unanswered", draft_id=str(row.draft.id), code=error.code)
        # The money may have moved although the answer cannot be had or read: the PSP's books tell as well.
        with suppress(GatewayError):
            row = await payments.registrar.look_up(row)
        if row.draft.capture_due:
            step = CAPTURE_SCHEDULE[min(row.attempts, len(CAPTURE_SCHEDULE) - 1)]
            lives = payments.now() - row.draft.created_at < APPROVAL_LIFE
            await store.drafts.reschedule(row.draft.id, row.version, step if lives else DAILY)


async def _finish(payments: Payments, store: Store, row: Row, *, expired: bool) -> None:
    """An initiate that died or is in doubt, under the same claim as a request."""
    claim = uuid4()
    claimed = await store.drafts.claim_again(row.draft.id, row.version, claim)
    if claimed is None:
        return  # a request is at it
    if not expired and claimed.draft.in_doubt:
        await payments.registrar.register(claimed, claim)
        return
    standing = None
    try:
        standing, row, _ = await payments.registrar.asked(claimed)
    except GatewayError as error:
        _log.warning("lookup_failed", draft_id=str(row.draft.id), code=error.code)
    finally:
        released = await store.drafts.release(claimed.draft.id, claim, in_doubt=False)
    if released is None:
        return  # it is pending no more
    if standing is None:
        await store.drafts.reschedule(released.draft.id, released.version, UNANSWERED, answered=False)
    elif expired and standing is Standing.IN_PROGRESS:
        await store.drafts.reschedule(released.draft.id, released.version, DAILY)
    elif expired:
        await _end(payments, released, standing, DeclineCode.NEVER_REGISTERED)


async def _ask(payments: Payments, store: Store, row: Row, *, expired: bool) -> None:
    """Ask about a registered draft; what the PSP says decides, time alone never completes anything."""
    standing, row, _ = await payments.registrar.asked(row)
    draft = row.draft
    if draft.capture_due:
        await _collect(payments, store, row)
        return
    if draft.state is State.AWAITING_USER_ACTION and expired:
        if standing is Standing.IN_PROGRESS:
            await store.drafts.reschedule(draft.id, row.version, DAILY)
            return
        await _end(payments, row, standing, DeclineCode.EXPIRED)
        return
    if standing is Standing.OPEN and await _is_unwanted(store, draft):
        standing, row = await _withdraw(payments, row)
    await store.drafts.reschedule(draft.id, row.version, _next(row, standing))


async def _is_unwanted(store: Store, draft: PaymentDraft) -> bool:
    """Whether nobody should pay this draft any more: it has ended here, or its order is paid already."""
    if draft.state is State.FAILED:
        return True  # it was to be withdrawn when it ended, and that call was lost
    return draft.state is State.AWAITING_USER_ACTION and await store.orders.is_paid(draft)


async def _withdraw(payments: Payments, row: Row) -> tuple[Standing, Row]:
    """End a reference that is still payable. Whether that worked, the PSP says."""
    if not await payments.registrar.cancel(row.draft):
        return Standing.OPEN, row
    asked = await payments.registrar.asked(row)
    return asked.standing, asked.row


async def _end(payments: Payments, row: Row, standing: Standing, reason: DeclineCode) -> None:
    """Its life is over. What the PSP still calls payable is cancelled where that can be done, and asked about again."""
    check_in: timedelta | Keep = LATE_SCHEDULE[0] if standing is Standing.OPEN else "keep"
    row = await payments.fold(row, [_ended(row.draft, reason)], source="sweep", check_in=check_in, unmoved=True)
    if standing is Standing.OPEN and row.draft.state is State.FAILED:
        await payments.registrar.cancel(row.draft)


def _next(row: Row, standing: Standing) -> timedelta | None:
    """When to ask again, if ever."""
    match row.draft.state:
        case State.AWAITING_USER_ACTION:
            return OPEN_SCHEDULE[row.attempts] if row.attempts < len(OPEN_SCHEDULE) else DAILY
        case State.FAILED if standing is Standing.IN_PROGRESS:
            return DAILY  # the payer got through before the reference was ended: it may still become money
        case State.FAILED if standing is Standing.OPEN:
            # The first of these was set when the draft expired.
            again = row.attempts + 1
            return LATE_SCHEDULE[again] if again < len(LATE_SCHEDULE) else None
        case _:
            return None


def _ended(draft: PaymentDraft, reason: DeclineCode) -> GatewayEvent:
    return GatewayEvent(kind=Kind.FAILED, gateway=draft.gateway, event_id=str(reason), draft_id=draft.id, reason=reason)
