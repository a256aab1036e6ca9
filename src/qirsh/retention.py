"""`qirsh prune`, and what workers take away daily: what nobody needs any more is not kept."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Final, Literal, NamedTuple

from qirsh.kept import RetentionSettings
from qirsh.store.months import Month, moment_of
from qirsh.store.retention import Retention, TablesBusyError
from qirsh.store.store import Store

QUEUE_LOG: Final = timedelta(days=1)
"""What PgQueuer notes of each job tells nobody anything after that."""


class Done(StrEnum):
    """What became of something old."""

    DROPPED = "dropped"
    WOULD_BE_DROPPED = "would be dropped"
    KEPT = "kept"
    BUSY = "busy: try again"


class Pruned(NamedTuple):
    """Something old: what it is, what became of it, and why."""

    name: str
    done: Done
    why: str


def daily(store: Store, settings: RetentionSettings) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """What one of the workers does once a day, by name. Months are dropped by `qirsh prune` alone."""
    jobs: dict[str, Callable[[], Awaitable[object]]] = {
        "months": store.retention.make_months_ahead,
        "queue_log": partial(store.retention.prune_queue_log, QUEUE_LOG),
    }
    if settings.payer_days:
        jobs["payers"] = partial(store.retention.forget_payers, timedelta(days=settings.payer_days))
    return jobs


async def prune(store: Store, settings: RetentionSettings, *, dry_run: bool) -> AsyncIterator[Pruned]:
    """Drop the months that are older than is kept, and do what workers do daily; say what was old.

    A month of the journal stays while a draft with an entry in it is open, under review or being refunded. With
    `dry_run` nothing changes, and only the months are told.
    """
    retention = store.retention
    kept_days: tuple[tuple[Literal["payment_events", "webhook_deliveries"], int], ...] = (
        ("payment_events", settings.journal_days),
        ("webhook_deliveries", settings.deliveries_days),
    )
    for table, days in kept_days:
        if not days:
            continue
        for month in await retention.months_before(table, timedelta(days=days)):
            yield await _prune_month(retention, month, dry_run=dry_run)
        if strays := await retention.count_strays(table, timedelta(days=days)):
            if not dry_run:
                await retention.delete_strays(table, timedelta(days=days))
            why = f"older than {days} days, and in no month: {strays} rows"
            yield Pruned(f"{table}_default", Done.WOULD_BE_DROPPED if dry_run else Done.DROPPED, why)
    if not dry_run:
        for name, job in daily(store, settings).items():
            try:
                await job()
            except TablesBusyError as error:
                yield Pruned(name, Done.BUSY, str(error))


async def _prune_month(retention: Retention, month: Month, *, dry_run: bool) -> Pruned:
    if month.table == "payment_events" and (unsettled := await retention.unsettled_in(month)):
        why = f"payments in it that are open, under review or being refunded: {len(unsettled)}, first {unsettled[0]}"
        return Pruned(month.name, Done.KEPT, why)
    ended = f"ended on {moment_of(month.ends):%Y-%m-%d}"
    if dry_run:
        return Pruned(month.name, Done.WOULD_BE_DROPPED, ended)
    return Pruned(month.name, Done.DROPPED if await retention.drop(month) else Done.BUSY, ended)
