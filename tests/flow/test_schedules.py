"""When durable work comes due: the rows of the table in ARCHITECTURE.md, walked step by step over a real database.

PSPs, payers and time are scripted; the rows, the sweep's leases and the handlers are the server's own. Announcements
are walked in test_telling_the_shop.py, and siblings of a paid order in test_one_order_paid_twice.py.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import pytest
from flow_bench import AMOUNT, PSP, Bench, Scripted, bench_over

from qirsh.draft import GatewayEvent, Kind
from qirsh.errors import GatewayOutcomeUnknown, GatewayUnavailable
from qirsh.gateways.base import Standing
from qirsh.methods import Method
from qirsh.work.lookup import look_up
from qirsh.work.refund import advance
from qirsh.work.unmatched import join
from qirsh.work.worker import LEASE

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)
NEVER: Final = None
AT_ITS_END: Final = "at its end"
"""When the draft expires, by the minute."""

Wait = timedelta | Literal["at its end"] | None


@dataclass
class Work:
    """A row to walk, and where its waits are counted from."""

    table: str
    kind: Literal["drafts", "refunds", "unmatched"]
    id: uuid.UUID
    since: datetime
    """Before the row was last written."""


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """A bench over a database of the test's own."""
    async with bench_over(database_url) as ready:
        yield ready


async def a_draft(bench: Bench, method: Method = Method.CARD) -> Work:
    """A draft, as it was left by its initiate."""
    since = await bench.now()
    return Work("payment_drafts", "drafts", await bench.draft(method), since)


async def a_kiosk_draft(bench: Bench) -> Work:
    """A draft that lives two days."""
    return await a_draft(bench, Method.KIOSK)


async def an_expired_draft(bench: Bench) -> Work:
    """A draft whose first look-up comes after its end, since no worker ran."""
    work = await a_draft(bench)
    bench.clock.offset += 2 * HOUR
    return work


async def a_draft_under_review(bench: Bench) -> Work:
    """A paid draft, of which somebody says something that does not fit."""
    draft_id = await bench.paid()
    since = await bench.now()
    await bench.store.drafts.stage_lookup(bench.store.pool, draft_id, None)
    return Work("payment_drafts", "drafts", draft_id, since)


async def an_approved_draft(bench: Bench) -> Work:
    """The payer agreed, and a webhook says so."""
    draft_id = await bench.draft()
    row = await bench.store.drafts.get(draft_id)
    assert row is not None
    since = await bench.now()
    await bench.payments.fold(row, [Scripted.event(row.draft, Kind.APPROVED)], source="webhook")
    return Work("payment_drafts", "drafts", draft_id, since)


async def a_refund(bench: Bench) -> Work:
    """A refund that was asked for."""
    draft_id = await bench.paid()
    since = await bench.now()
    refund, _ = await bench.payments.refunder.request(draft_id, None, "", key=str(uuid.uuid4()))
    return Work("refunds", "refunds", refund.id, since)


async def an_unmatched_event(bench: Bench) -> Work:
    """A payment of a draft that there is not."""
    event = GatewayEvent(
        kind=Kind.PAID,
        gateway=PSP,
        event_id="1",
        transaction_reference_id="nobody's",
        amount=AMOUNT,
        payment_reference="1",
    )
    since = await bench.now()
    async with bench.store.transaction() as connection:
        await bench.store.inbox.keep_unmatched(connection, event)
    return Work("unmatched_events", "unmatched", await bench.value("SELECT id FROM unmatched_events"), since)


@dataclass
class Schedule:
    """A row of the table: how it begins, what the PSP says, when it is looked at, and what becomes of it."""

    begin: Callable[[Bench], Awaitable[Work]]
    psp: Scripted
    waits: Sequence[Wait]
    """From the beginning to the first look, and after each look to the next."""
    ends: str
    """State and reason in the end."""
    cancelled: int = 0
    asked: int | None = None
    """How often the PSP was asked what it knows, where that is not once for each look."""


DOUBT: Final = timedelta(seconds=90)
FIRST: Final = 2 * MINUTE
CAPTURES: Final = (timedelta(seconds=5), timedelta(seconds=30), 5 * MINUTE, HOUR)
LOST: Final = GatewayOutcomeUnknown
DEAF: Final = GatewayUnavailable

SCHEDULES: Final = {
    "in doubt": Schedule(a_draft, Scripted((Standing.UNKNOWN,), registers=LOST), [DOUBT] * 4, "pending"),
    "nothing sent": Schedule(
        a_draft, Scripted((Standing.UNKNOWN,), registers=DEAF), [AT_ITS_END, NEVER], "failed never_registered"
    ),
    "waits, and is left": Schedule(
        a_kiosk_draft,
        Scripted(),
        [FIRST, 10 * MINUTE, HOUR, 6 * HOUR, DAY, AT_ITS_END, HOUR, DAY, 7 * DAY, NEVER],
        "failed expired",
        asked=12,  # each time that it is still payable it is withdrawn once more, and looked at after that
        cancelled=4,
    ),
    "waits, an hour": Schedule(
        a_draft,
        Scripted((Standing.OPEN, Standing.OPEN, Standing.CLOSED)),
        [FIRST, 10 * MINUTE, AT_ITS_END, NEVER],
        "failed expired",
    ),
    "expired, unknown to the PSP": Schedule(
        an_expired_draft, Scripted((Standing.UNKNOWN,)), [FIRST, NEVER], "failed expired"
    ),
    "expired, money moving": Schedule(
        an_expired_draft,
        Scripted((Standing.IN_PROGRESS,) * 3 + (Standing.CLOSED,)),
        [FIRST, DAY, DAY, DAY, NEVER],
        "failed expired",
    ),
    "unanswered": Schedule(
        a_kiosk_draft,
        Scripted((DEAF, DEAF, DEAF, Standing.OPEN)),
        [FIRST, 10 * MINUTE, 10 * MINUTE, 10 * MINUTE, 10 * MINUTE, HOUR],
        "awaiting_user_action",
    ),
    "expired, unanswered": Schedule(
        an_expired_draft, Scripted((DEAF,)), [FIRST, 10 * MINUTE, 10 * MINUTE], "awaiting_user_action"
    ),
    "to be captured, not known": Schedule(
        an_approved_draft,
        Scripted((Standing.IN_PROGRESS,), approved=True),
        [timedelta(0), *CAPTURES[:3], AT_ITS_END, *[HOUR] * 6, DAY, DAY],
        "awaiting_user_action",
    ),
    "captured, nothing decided": Schedule(
        an_approved_draft,
        Scripted((Standing.IN_PROGRESS,), captures=None, approved=True),
        [timedelta(0), FIRST, 10 * MINUTE],
        "awaiting_user_action",
        asked=1,
    ),
    "under review": Schedule(a_draft_under_review, Scripted((Standing.OPEN,)), [timedelta(0), NEVER], "completed"),
    "no draft": Schedule(
        an_unmatched_event,
        Scripted(),
        [timedelta(seconds=2), timedelta(seconds=30), 5 * MINUTE, *[HOUR] * 168, DAY, DAY],
        "flagged",
        asked=0,
    ),
    "refund, not sent": Schedule(
        a_refund,
        Scripted(refunds=DEAF),
        [timedelta(0), *CAPTURES, HOUR, HOUR],
        "requested gateway_unavailable",
        asked=0,
    ),
    "refund, keyed, lost until the key is forgotten": Schedule(
        a_refund,
        Scripted(refunds=LOST),
        [timedelta(0), FIRST, 10 * MINUTE, HOUR, 6 * HOUR, DAY, NEVER],
        "review gateway_outcome_unknown",
        asked=5,
    ),
    "refund, without keys, lost": Schedule(
        a_refund,
        Scripted(refunds=LOST, keyed=False),
        [timedelta(0), FIRST, 10 * MINUTE, HOUR, 6 * HOUR, DAY, NEVER],
        "review gateway_outcome_unknown",
    ),
    "refund, taken and never done": Schedule(
        a_refund,
        Scripted(refunds=None, keyed=False),
        [timedelta(0), FIRST, 10 * MINUTE, HOUR, 6 * HOUR, *[DAY] * 7, NEVER],
        "review no_answer",
    ),
}
"""Rows of ARCHITECTURE.md's table, with what the PSP says."""


@pytest.mark.parametrize("name", SCHEDULES)
async def test_work_comes_due_as_the_table_says(bench: Bench, name: str) -> None:
    """Too late is a payer who waits and a shop that does not deliver; too soon is a PSP that is asked for nothing."""
    schedule = SCHEDULES[name]
    vars(bench.psp).update(vars(schedule.psp))
    work = await schedule.begin(bench)
    bench.psp.asked = 0
    bench.psp.paid = schedule.ends.partition(" ")[0] == "completed" or work.kind == "refunds"

    after = await bench.now()
    for number, wait in enumerate(schedule.waits):
        due = await _assert_waits(bench, work, wait, after, f"{name}, step {number} of {schedule.waits}")
        if due is None or number == len(schedule.waits) - 1:
            break
        bench.clock.offset += max(timedelta(0), due - await bench.now())
        work.since = await bench.now()
        await _worked(bench, work)
        after = await bench.now()

    assert await _end(bench, work) == schedule.ends
    assert bench.psp.cancelled == schedule.cancelled
    assert bench.psp.asked == (len(schedule.waits) - 1 if schedule.asked is None else schedule.asked)


async def _assert_waits(bench: Bench, work: Work, wait: Wait, after: datetime, about: str) -> datetime | None:
    """Between the moments before and after the row was written lies the one that its wait is counted from."""
    due: datetime | None = await bench.value(f"SELECT next_check_at FROM {work.table} WHERE id = $1", work.id)  # noqa: S608  ours
    if wait is None:
        assert due is None, about
    elif isinstance(wait, str):
        assert due == await bench.value("SELECT expires_at FROM payment_drafts WHERE id = $1", work.id), about
    else:
        assert due is not None, about
        assert due - after <= wait <= due - work.since, f"{about}: {due - work.since}"
    return due


async def _worked(bench: Bench, work: Work) -> None:
    """Let the sweep lease what is due, and a worker do it."""
    async with bench.store.transaction() as connection:
        (due,) = await bench.store.lease_due(connection, work.kind, LEASE, 10, [PSP])
    assert due.id == work.id
    match work.kind:
        case "drafts":
            await look_up(bench.payments, bench.store, due.id, due.version)
        case "refunds":
            await advance(bench.payments.refunder, bench.store, due.id, due.version)
        case "unmatched":
            await join(bench.payments.fold, bench.store, due.id, due.version)


async def _end(bench: Bench, work: Work) -> str:
    columns = {"drafts": "concat_ws(' ', state, reason)", "refunds": "concat_ws(' ', state, error)"}
    columns["unmatched"] = "CASE WHEN flagged THEN 'flagged' ELSE 'waits' END"
    end: str = await bench.value(f"SELECT {columns[work.kind]} FROM {work.table} WHERE id = $1", work.id)  # noqa: S608  ours
    return end
