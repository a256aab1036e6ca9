"""A fact that arrived before its draft: tried again until the draft is there."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from qirsh.fold import Fold
from qirsh.store.inbox import UNMATCHED
from qirsh.store.store import Store

HOURLY: Final = timedelta(hours=1)
"""After the quick tries; whatever makes the draft appear now is a look-up or a person."""
DAILY: Final = timedelta(days=1)
"""Once somebody was told."""

_log = structlog.get_logger("qirsh.work.unmatched")


async def join(fold: Fold, store: Store, unmatched_id: UUID, version: int) -> None:
    """Fold a waiting fact into its draft, or wait on."""
    waiting = await store.inbox.unmatched(unmatched_id)
    if waiting is None or waiting.version != version:
        return
    if await fold.join(unmatched_id, waiting.event):
        return
    if waiting.old:
        _log.error("unmatched_for_a_week", gateway=waiting.event.gateway, event_id=waiting.event.event_id)
    tried = waiting.attempts + 1
    later = DAILY if waiting.old else HOURLY
    check_in = UNMATCHED[tried] if tried < len(UNMATCHED) else later
    await store.inbox.reschedule_unmatched(unmatched_id, version, check_in, flagged=waiting.old)
