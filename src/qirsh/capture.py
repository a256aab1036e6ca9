"""Capture: the payer approved, and the money moves only when we take it."""

from datetime import timedelta
from typing import Final
from uuid import uuid5

from qirsh.draft import PaymentDraft
from qirsh.errors import GatewayRejected, GatewayUnavailable
from qirsh.fault_points import Step, reached
from qirsh.fold import Fold
from qirsh.gateways.base import Captures
from qirsh.registration import Registrar, bounded
from qirsh.store.rows import Row
from qirsh.store.store import Store

UNDECIDED: Final = timedelta(minutes=2)
"""When a capture that neither took nor refused is looked up: it is under the PSP's review, or was not approved."""


class Collector:
    """Takes the money of approved drafts. Any number of callers may try at once: they send the same key."""

    def __init__(self, store: Store, fold: Fold, registrar: Registrar) -> None:
        """Capture through the registrar's gateways."""
        self._store = store
        self._fold = fold
        self._registrar = registrar

    async def capture(self, row: Row) -> Row:
        """Capture a draft that is due for it, and return its row as it then stands.

        Raises:
            GatewayError: whether the money moved is not known; the same key may ask again.
        """
        draft = row.draft
        gateway = self._registrar.gateway(draft.gateway)
        if not isinstance(gateway, Captures):
            return await self._registrar.look_up(row)
        reached(Step.CAPTURE_DUE)
        try:
            async with bounded():
                events = await gateway.capture(draft, key=capture_key(draft))
        except GatewayRejected as error:
            # An adapter turns every refusal it knows into an event; one it does not know is looked into, not believed.
            raise GatewayUnavailable("The PSP refused the capture in a way we do not know.") from error
        reached(Step.CAPTURE_ANSWERED)
        if events:
            return await self._fold(row, events, source="capture", capture_attempt=draft.capture_attempt)
        await self._store.drafts.capture_answered(draft.id, row.version, UNDECIDED)
        return await self._current(row)

    async def _current(self, row: Row) -> Row:
        current = await self._store.drafts.get(row.draft.id)
        assert current is not None, "drafts are never deleted"
        return current


def capture_key(draft: PaymentDraft) -> str:
    """Derived, and new only after a definite decline: the PSP would replay that decline under the old key."""
    return str(uuid5(draft.id, f"capture:{draft.capture_attempt}"))
