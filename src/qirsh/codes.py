"""Texted codes: the payer types the code that the PSP sent to the phone, and the PSP says whether it is right."""

import hmac
from typing import Final
from uuid import UUID, uuid5

import structlog

from qirsh.actions import OtpToken
from qirsh.draft import Kind, State
from qirsh.errors import (
    CodeNotAwaited,
    CodeRefused,
    CodeTriesUsed,
    DraftNotFound,
    FieldError,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
    InvalidRequest,
)
from qirsh.fold import Changes, Fold
from qirsh.gateways.base import AsksForCode, deadline
from qirsh.registration import PSP_SECONDS, Registrar
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

    async def submit(self, draft_id: UUID, token: str, code: str) -> Row:
        """Hand in a code, and return the draft as it then stands: still awaited while the PSP has not decided.

        Raises:
            DraftNotFound, InvalidRequest: no such draft; not a code of the right length.
            CodeNotAwaited: this draft, or this token, waits for none.
            CodeRefused: it is wrong. CodeTriesUsed: it may be right, but nobody is asked any more.
            GatewayUnavailable, GatewayMisconfigured: the PSP has not got it; the try does not count.
        """
        row = await self._store.drafts.get(draft_id)
        if row is None:
            raise DraftNotFound
        draft, action = row.draft, row.draft.action
        gateway = self._registrar.gateway(draft.gateway)
        if draft.state is not State.AWAITING_USER_ACTION or not isinstance(action, OtpToken):
            raise CodeNotAwaited
        if not isinstance(gateway, AsksForCode) or not hmac.compare_digest(token.encode(), action.token.encode()):
            raise CodeNotAwaited
        if len(code) != action.digits:
            raise InvalidRequest(errors=[FieldError("#/otp", f"must be {action.digits} digits")])
        tries = await self._store.drafts.count_code_try(draft_id, MAX_TRIES)
        if tries is None:
            raise CodeTriesUsed
        try:
            with deadline(PSP_SECONDS):
                # The same code under the same token is the same call, however often the page sends it.
                key = str(uuid5(draft.id, f"code:{token}:{code}"))
                events = await gateway.submit_code(draft, token=token, code=code, key=key)
        except (GatewayOutcomeUnknown, GatewayRejected) as error:
            # A refusal that the adapter does not know is looked into, not believed.
            _log.warning("code_in_doubt", draft_id=str(draft_id), code=error.code)
            await self._store.drafts.stage_lookup(self._store.pool, draft_id, None)
            self._changes.due()
            return row
        except GatewayUnavailable:
            await self._store.drafts.uncount_code_try(draft_id)
            raise
        if not events:
            await self._store.drafts.stage_lookup(self._store.pool, draft_id, None)
            self._changes.due()
            return row
        row = await self._fold(row, events, source="otp")
        if events[-1].kind is Kind.DECLINED and row.draft.state is State.AWAITING_USER_ACTION:
            raise CodeRefused(tries_left=MAX_TRIES - tries)
        return row
