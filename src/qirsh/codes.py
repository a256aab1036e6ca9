"""Texted codes: the payer types the code that the PSP sent to the phone, and the PSP says whether it is right."""

import asyncio
import hmac
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

import structlog

from qirsh.actions import OtpToken
from qirsh.draft import DeclineCode, GatewayEvent, Kind, State
from qirsh.errors import (
    CodeNotAwaited,
    CodeRefused,
    CodeTriesUsed,
    DraftNotFound,
    FieldError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
    InvalidRequest,
)
from qirsh.fold import Changes, Fold
from qirsh.gateways.base import AsksForCode
from qirsh.registration import Registrar, bounded
from qirsh.store.rows import Row
from qirsh.store.store import Store

MAX_TRIES: Final = 5
"""For one payment, however often its code is texted anew: six digits are guessed in no fewer than some 100,000."""

_log = structlog.get_logger("qirsh.codes")


class Codes:
    """Hands payers' codes to the PSPs that asked for them."""

    def __init__(self, store: Store, fold: Fold, registrar: Registrar, changes: Changes) -> None:
        """Hand in through the registrar's gateways."""
        self._store = store
        self._fold = fold
        self._registrar = registrar
        self._changes = changes
        self._running: dict[str, asyncio.Task[Row]] = {}

    async def submit(self, draft_id: UUID, token: str, code: str) -> Row:
        """Hand in a code, and return the draft as it then stands: still awaited while the PSP has not decided.

        A payment that has ended is answered with its end: the page may have missed it, and must not be sent to pay
        anew.

        Raises:
            DraftNotFound, InvalidRequest: no such draft; not a code of the right length.
            CodeNotAwaited: this draft, or this token, waits for none.
            CodeRefused: it is wrong. CodeTriesUsed: it may be right, but nobody is asked any more.
            GatewayUnavailable, GatewayMisconfigured: the PSP has not got it; the try does not count.
        """
        row = await self._store.drafts.get(draft_id)
        if row is None:
            raise DraftNotFound
        action = row.draft.action
        if not isinstance(action, OtpToken) or not hmac.compare_digest(token.encode(), action.token.encode()):
            raise CodeNotAwaited
        if row.draft.state is not State.AWAITING_USER_ACTION:
            return row
        gateway = self._registrar.gateway(row.draft.gateway)
        if not isinstance(gateway, AsksForCode):
            raise CodeNotAwaited
        if len(code) != action.digits:
            raise InvalidRequest(errors=[FieldError("#/otp", f"must be {action.digits} digits")])
        return await self._handed_in_together(row, gateway, token, code)

    async def _handed_in_together(self, row: Row, gateway: AsksForCode, token: str, code: str) -> Row:
        """A page that sends a code again before it was answered gets the same answer, and has used one try."""
        # The same code under the same token is the same call for the PSP too, however often it is sent.
        key = str(uuid5(row.draft.id, f"code:{token}:{code}"))
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._handed_in(row, gateway, token, code, key))
            self._running[key] = task
            task.add_done_callback(lambda done: (self._running.pop(key, None), done.cancelled() or done.exception()))
        return await asyncio.shield(task)

    async def _handed_in(self, row: Row, gateway: AsksForCode, token: str, code: str, key: str) -> Row:
        """Count the try, ask the PSP, and fold what it says."""
        drafts, draft_id = self._store.drafts, row.draft.id
        tries = await drafts.count_code_try(draft_id, MAX_TRIES)
        if tries is None:
            return await self._uncounted(draft_id)
        events: Sequence[GatewayEvent] = ()
        try:
            async with bounded():
                events = await gateway.submit_code(row.draft, token=token, code=code, key=key)
        except (GatewayUnavailable, GatewayMisconfigured):
            await drafts.uncount_code_try(draft_id)
            raise
        except (GatewayOutcomeUnknown, GatewayRejected) as error:
            # A refusal that the adapter does not know is looked into, not believed.
            _log.warning("code_in_doubt", draft_id=str(draft_id), code=error.code)
        except Exception:
            # A bug of the gateway's, after who knows what was sent.
            await self._looked_into(draft_id)
            raise
        if not events:
            return await self._looked_into(draft_id)
        row = await self._fold(row, events, source="otp")
        if row.draft.state is State.AWAITING_USER_ACTION and _is_wrong_code(events[-1]):
            raise CodeRefused(tries_left=MAX_TRIES - tries)
        return row

    async def _uncounted(self, draft_id: UUID) -> Row:
        """No try is left, or the payment ended since it was read, perhaps by this very code in another process.

        Raises:
            CodeTriesUsed: no try is left.
        """
        row = await self._store.drafts.get(draft_id)
        assert row is not None, "drafts are never deleted"
        if row.draft.state is State.AWAITING_USER_ACTION:
            raise CodeTriesUsed
        return row

    async def _looked_into(self, draft_id: UUID) -> Row:
        """Let a worker ask the PSP, and return the draft as it stands until then: a webhook may have told already."""
        await self._store.drafts.stage_lookup(self._store.pool, draft_id, None)
        self._changes.due()
        row = await self._store.drafts.get(draft_id)
        assert row is not None, "drafts are never deleted"
        return row


def _is_wrong_code(event: GatewayEvent) -> bool:
    """Whether another code may do. A try that was declined for its money is told by the draft, as with any method."""
    return event.kind is Kind.DECLINED and event.reason is DeclineCode.AUTHENTICATION_FAILED
