"""A kind of daily work whose time has come."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from qirsh.store.store import Store

DAY: Final = timedelta(days=1)
"""After the end of the last time."""
HOLD: Final = timedelta(hours=6)
"""Longer than any of it takes. Who dies at it leaves it to another after that."""
AGAIN: Final = timedelta(hours=1)
"""After it failed."""

Job = Callable[[], Awaitable[object]]
"""Does all there is to do. It may be cut off at any moment, and be begun again by another worker."""

_log = structlog.get_logger("qirsh.work.daily")


async def run_daily(jobs: Mapping[str, Job], store: Store, work_id: UUID, version: int) -> None:
    """Do one kind of daily work, unless another worker has it. Harmless when lost, doubled or late."""
    taken = await store.daily.take(work_id, version, HOLD)
    if taken is None:
        return
    name, version = taken
    try:
        await jobs[name]()
    except Exception as error:  # noqa: BLE001  whatever it was, tomorrow it must be tried again
        _log.error("daily_work_failed", work=name, error=type(error).__name__)
        await store.daily.ended(work_id, version, AGAIN, done=False)
    else:
        await store.daily.ended(work_id, version, DAY, done=True)
