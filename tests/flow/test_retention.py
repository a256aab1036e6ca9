"""`qirsh prune`: what is old goes, a month at a time, and the story of what is not settled never does."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import pytest
from flow_months import (
    TABLES,
    UNPAID,
    a_delivery,
    a_draft,
    an_entry,
    days_since,
    grow_old,
    midst,
    name_of,
    partitions,
    where_is,
)
from test_constraints import AWAITING
from test_migrations import command

from qirsh.clock import Clock
from qirsh.kept import RetentionSettings
from qirsh.retention import Done, prune
from qirsh.store.connection import Connection, Pool, connect_pool
from qirsh.store.store import Store

REFUND: Final = (
    "INSERT INTO refunds (id, draft_id, gateway, idempotency_key, fingerprint, amount_minor, state, next_check_at,"
    " created_at, updated_at)"
    " VALUES (gen_random_uuid(), $1::uuid, 'paymob', $1::uuid::text, sha256('f'), 100, $2::text,"
    " CASE WHEN $2::text = 'requested' THEN now() END, now(), now())"
)


@dataclass
class Old:
    """A database that has run for fifteen months."""

    url: str
    connection: Connection
    store: Store

    async def prune(self, *, dry_run: bool = False, **days: int) -> dict[str, Done]:
        """What became of what is old, by its name. Unless told, thirteen months of journal and three of deliveries."""
        kept = RetentionSettings(**{"journal_days": days_since(13), "deliveries_days": days_since(3), **days})
        return {one.name: one.done async for one in prune(self.store, kept, dry_run=dry_run)}


@pytest.fixture
async def old(database_of_today: str) -> AsyncIterator[Old]:
    """Fifteen months of journal and deliveries."""
    connection = await asyncpg.connect(database_of_today)
    await grow_old(connection, *range(1, 16))
    pool = Pool(await connect_pool(database_of_today, max_size=4))
    try:
        yield Old(database_of_today, connection, Store(pool, Clock()))
    finally:
        await pool.aclose()
        await connection.close()


async def test_months_that_are_old_are_dropped_and_nothing_else(old: Old) -> None:
    """Thirteen months of journal and three of deliveries: what is older goes as a whole, and the drafts stay."""
    draft_id = await a_draft(old.connection, midst(15))
    entries = [await an_entry(old.connection, draft_id, midst(ago)) for ago in (15, 14, 13, 1, 0)]
    deliveries = [await a_delivery(old.connection, midst(ago), draft_id) for ago in (15, 4, 2, 0)]

    pruned = await old.prune()

    assert pruned == {
        **{name_of("payment_events", ago): Done.DROPPED for ago in (15, 14)},
        **{name_of("webhook_deliveries", ago): Done.DROPPED for ago in range(4, 16)},
    }
    for table in TABLES:
        assert not await partitions(old.connection, table) & pruned.keys()
    left = await old.connection.fetch("SELECT id FROM payment_events ORDER BY id")
    assert [record["id"] for record in left] == entries[2:]
    left = await old.connection.fetch("SELECT id FROM webhook_deliveries ORDER BY id")
    assert [record["id"] for record in left] == deliveries[2:]
    assert await old.connection.fetchval("SELECT count(*) FROM payment_drafts") == 1
    assert await old.prune() == {}
    noted = await old.connection.fetch("SELECT name FROM pruned_months")
    assert {record["name"] for record in noted} == pruned.keys()
    assert isinstance(await an_entry(old.connection, draft_id, midst(0)), uuid.UUID)


async def test_a_month_is_kept_to_its_last_day(old: Old) -> None:
    """A month is old when its last entry is, not its first."""
    pruned = await old.prune(journal_days=0, deliveries_days=days_since(2) + 1)
    assert pruned.keys() == {name_of("webhook_deliveries", ago) for ago in range(4, 16)}
    pruned = await old.prune(journal_days=0, deliveries_days=days_since(2))
    assert pruned.keys() == {name_of("webhook_deliveries", 3)}


@pytest.mark.parametrize(
    "days", [{"journal_days": 0}, {"deliveries_days": 0}, {"journal_days": 0, "deliveries_days": 0}]
)
async def test_zero_keeps_for_ever(old: Old, days: dict[str, int]) -> None:
    """Whoever must keep the books for ten years and more says so."""
    kept = {name.removesuffix("_days") for name in days}
    pruned = [one.name async for one in prune(old.store, RetentionSettings(**days), dry_run=False)]
    tables = {name.rpartition("_20")[0] for name in pruned}
    assert tables == {
        table
        for table, name in (("payment_events", "journal"), ("webhook_deliveries", "deliveries"))
        if name not in kept
    }


@pytest.mark.parametrize(
    ("columns", "refund", "stays"),
    [
        ({}, None, False),
        ({"state": "failed", "payment_reference": None}, None, False),
        ({}, "succeeded", False),
        ({}, "failed", False),
        (UNPAID, None, True),
        ({**AWAITING, "payment_reference": None}, None, True),
        ({"needs_review": True}, None, True),
        ({}, "requested", True),
        ({}, "review", True),
    ],
    ids=[
        "paid",
        "failed",
        "refunded",
        "not refunded",
        "pending",
        "awaited",
        "reviewed",
        "refunding",
        "refund reviewed",
    ],
)
async def test_the_journal_of_what_is_not_settled_is_kept(
    old: Old, columns: dict[str, Any], refund: str | None, *, stays: bool
) -> None:
    """Whoever has to decide about a payment needs all of its story; the month waits for him, and only that month."""
    draft_id = await a_draft(old.connection, midst(15), **columns)
    entry = await an_entry(old.connection, draft_id, midst(14))
    delivery = await a_delivery(old.connection, midst(14), draft_id)
    if refund is not None:
        await old.connection.execute(REFUND, draft_id, refund)

    pruned = await old.prune()

    assert pruned[name_of("payment_events", 14)] is (Done.KEPT if stays else Done.DROPPED)
    assert pruned[name_of("payment_events", 15)] is Done.DROPPED
    assert bool(await where_is(old.connection, "payment_events", entry)) is stays
    assert await where_is(old.connection, "webhook_deliveries", delivery) is None
    await old.connection.execute("UPDATE payment_drafts SET state = 'completed', needs_review = false, action = '{}'")
    await old.connection.execute("DELETE FROM refunds")
    assert (await old.prune() == {name_of("payment_events", 14): Done.DROPPED}) is stays


async def test_a_dry_run_says_what_would_go_and_changes_nothing(old: Old) -> None:
    """A look before the leap: dropping cannot be undone."""
    open_draft = await a_draft(old.connection, midst(15), **UNPAID)
    await an_entry(old.connection, open_draft, midst(14))
    there = [await partitions(old.connection, table) for table in TABLES]

    told = await old.prune(dry_run=True)

    assert [await partitions(old.connection, table) for table in TABLES] == there
    assert await old.connection.fetchval("SELECT count(*) FROM pruned_months") == 0
    assert await old.connection.fetchval("SELECT count(*) FROM payment_drafts WHERE request ? 'payer'") == 1
    renamed = {name: Done.DROPPED if done is Done.WOULD_BE_DROPPED else done for name, done in told.items()}
    assert renamed == await old.prune()
    assert set(told.values()) == {Done.KEPT, Done.WOULD_BE_DROPPED}


async def test_what_no_month_took_grows_old_as_well(old: Old) -> None:
    """The default partition is never dropped, so its old rows are deleted, but for those of what is not settled."""
    settled, reviewed = (
        await a_draft(old.connection, midst(20)),
        await a_draft(old.connection, midst(20), needs_review=True),
    )
    gone = await an_entry(old.connection, settled, midst(18))
    kept = [await an_entry(old.connection, reviewed, midst(18)), await an_entry(old.connection, settled, midst(-9))]
    delivery = await a_delivery(old.connection, midst(18), reviewed)
    assert await where_is(old.connection, "payment_events", gone) == "payment_events_default"

    told = await old.prune(dry_run=True)
    pruned = await old.prune()

    for table in TABLES:
        assert told[f"{table}_default"] is Done.WOULD_BE_DROPPED
        assert pruned[f"{table}_default"] is Done.DROPPED
    left = await old.connection.fetch("SELECT id FROM payment_events ORDER BY id")
    assert [record["id"] for record in left] == sorted(kept)
    assert await where_is(old.connection, "webhook_deliveries", delivery) is None
    assert await old.prune() == {}


async def test_a_month_that_somebody_reads_is_left_for_the_next_time(old: Old) -> None:
    """Whoever waits for a lock makes all payments wait behind him, so the wait is short."""
    reader = await asyncpg.connect(old.url)
    async with reader.transaction():
        await reader.execute("LOCK TABLE payment_events IN ACCESS SHARE MODE")
        pruned = await old.prune(journal_days=days_since(14), deliveries_days=0)
        assert pruned == {name_of("payment_events", 15): Done.BUSY}
    assert await old.prune(journal_days=days_since(14), deliveries_days=0) == {
        name_of("payment_events", 15): Done.DROPPED
    }
    await reader.close()


async def test_a_month_to_come_that_cannot_be_made_just_now_keeps_nothing_else_from_being_done(old: Old) -> None:
    """A backup may hold the tables for hours, and who paid is to be forgotten all the same."""
    forgotten = await a_draft(old.connection, midst(3))
    await old.connection.execute(f"DROP TABLE {name_of('payment_events', -1)}")
    backup = await asyncpg.connect(old.url)
    async with backup.transaction():
        await backup.execute("LOCK TABLE payment_drafts IN ROW EXCLUSIVE MODE")
        assert await old.prune(journal_days=0, deliveries_days=0) == {"months": Done.BUSY}
    await backup.close()
    query = "SELECT request ? 'payer' FROM payment_drafts WHERE id = $1"
    assert await old.connection.fetchval(query, forgotten) is False

    assert await old.prune(journal_days=0, deliveries_days=0) == {}
    assert name_of("payment_events", -1) in await partitions(old.connection, "payment_events")


async def test_the_command_says_what_it_drops_and_a_pruned_journal_is_no_difference(old: Old) -> None:
    """A year later the books still verify: what cannot be proved any more is counted, what is wrong is still named."""
    pruned, late, whole, wrong = [await a_draft(old.connection, midst(ago)) for ago in (15, 15, 2, 1)]
    for draft_id, ago in ((pruned, 15), (late, 10), (whole, 2)):
        await an_entry(old.connection, draft_id, midst(ago))
    await old.connection.execute("UPDATE payment_drafts SET action = NULL")

    said = [await run(old.url, "prune", "--dry-run"), await run(old.url, "prune"), await run(old.url, "prune")]
    verified = await run(old.url, "journal", "verify")
    await old.connection.execute("DELETE FROM payment_drafts WHERE id = $1", wrong)
    verified_without = await run(old.url, "journal", "verify")

    assert [code for code, _ in said] == [0, 0, 0]
    assert f"│ {name_of('payment_events', 15)} " in said[0][1]
    assert months_in(said[0][1], "would be dropped") == months_in(said[1][1], "dropped")
    assert said[2][1].strip() == "nothing is old enough"
    assert (verified[0], verified_without[0]) == (1, 0)
    assert str(wrong) in verified[1]
    assert not [draft_id for draft_id in (pruned, late, whole) if str(draft_id) in verified[1]]
    for _, text in (verified, verified_without):
        assert "whose journal was pruned, which nothing can verify any more: 1" in text
    assert "nothing differs" in verified_without[1]


async def test_the_command_keeps_more_or_less_when_told_and_never_the_last_month(old: Old) -> None:
    """An operator who must make room does not wait for the configuration; a slip must not cost the books."""
    code, text = await run(old.url, "prune", "--older-than", "200")
    assert code == 0
    assert name_of("payment_events", 8) in text
    assert name_of("payment_events", 6) not in text

    code, text = await run(old.url, "prune", "--older-than", "3")
    assert code == 2
    assert "30" in text


def months_in(text: str, done: str) -> list[str]:
    """The months that a printed table says this of."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return [row[0] for row in rows if row[1:2] == [done]]


async def run(url: str, *arguments: str) -> tuple[int, str]:
    """Run a command of ours on a database to its end: its exit code, and what it printed."""
    process = command(*arguments, database_url=url)
    text, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert "Traceback" not in text, text
    assert process.returncode is not None
    return process.returncode, text
