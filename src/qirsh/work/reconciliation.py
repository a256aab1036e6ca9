"""Once a day, what webhooks and look-ups missed: PSPs are asked about what is unsettled and what moved lately."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from qirsh.clock import Clock
from qirsh.metrics import RECONCILED_AT, RECONCILIATION_DIFFERENCES, RECONCILIATION_FOLDED
from qirsh.reconciliation import NOT_EXAMINED, Difference, Reconciler

PAID_WITHIN: Final = timedelta(days=2)
"""What is paid and has not moved for longer is not asked about: there may be millions."""
AT_A_TIME: Final = 4
"""Payments asked about at a time, over all PSPs: nobody waits for it, and look-ups go on beside it."""

_log = structlog.get_logger("qirsh.work.reconciliation")


async def reconcile(reconciler: Reconciler, clock: Clock) -> None:
    """Fold in what the PSPs' books tell, and say how much differed and how much still does.

    A payment that cannot be examined is told by its id, and keeps nobody from examining the others.
    """
    draft_ids = await reconciler.unsettled(clock.now() - PAID_WITHIN)
    found = await reconciler.without_draft()
    for start in range(0, len(draft_ids), AT_A_TIME):
        some = draft_ids[start : start + AT_A_TIME]
        for differences in await asyncio.gather(*(_examined(reconciler, draft_id) for draft_id in some)):
            found += differences
    _tell(len(draft_ids), found)
    RECONCILED_AT.set(clock.now().timestamp())


async def _examined(reconciler: Reconciler, draft_id: UUID) -> list[Difference]:
    return [one async for batch in reconciler.differences([draft_id], dry_run=False) for one in batch]


def _tell(examined: int, found: Sequence[Difference]) -> None:
    """In one line, and as metrics. The gauges tell of this run alone."""
    folded = Counter(_field(one) for one in found if not one.stays)
    for field, count in folded.items():
        RECONCILIATION_FOLDED.labels(field).inc(count)
    stays = Counter((_field(one), one.done) for one in found if one.stays)
    RECONCILIATION_DIFFERENCES.clear()
    for (field, done), count in stays.items():
        RECONCILIATION_DIFFERENCES.labels(field, done).set(count)
    say = _log.warning if stays else _log.info
    say(
        "reconciled",
        examined=examined,
        folded=dict(folded),
        stays={f"{field}: {done}": count for (field, done), count in stays.items()},
        not_examined=sum(one.done == NOT_EXAMINED for one in found),
    )


def _field(one: Difference) -> str:
    """What differed, without the id of a refund: names of metrics are few."""
    return one.field.partition(" ")[0]
