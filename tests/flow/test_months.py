"""The tables that only grow, in months: made ahead, by whoever comes first, and never missed by an insert."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from flow_months import TABLES, a_delivery, a_draft, an_entry, first_day, id_at, midst, name_of, partitions, where_is
from test_constraints import DELIVERY, awaiting, deadlocks, folding, paid, row_of

import qirsh.store.drafts
from qirsh.store.connection import Connection, new_id
from qirsh.store.migrate import MigrationError, migrate
from qirsh.store.months import first_id_at, make_ahead, moment_of, wanted
from qirsh.store.sql import SQL

LONG_AGO = uuid.UUID("00000000-0000-7000-8000-000000000001")
AHEAD = (-1, -2, -3)
ALL_ROWS = (
    "SELECT * FROM payment_drafts ORDER BY id",
    "SELECT * FROM payment_events ORDER BY id",
    "SELECT * FROM webhook_deliveries ORDER BY id",
)

FOLD_BEFORE = (
    SQL["save_fold"].replace("draft_id, draft_version, at", "draft_id, at").replace("$1, draft.version,", "$1,")
)
"""The statement of a release before 0007: its journal has no order but that of the ids."""


@pytest.fixture
async def connection(database_of_today: str) -> AsyncIterator[Connection]:
    """A connection to a migrated database."""
    connection = await asyncpg.connect(database_of_today)
    yield connection
    await connection.close()


def test_a_month_holds_the_ids_of_its_first_and_its_last_millisecond() -> None:
    """Midnight belongs to one month, whatever the random part of an id is."""
    december, january, *_ = wanted("payment_events", datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))
    midnight = datetime(2027, 1, 1, tzinfo=UTC)
    last, first = midnight - timedelta(milliseconds=1), midnight

    assert (december.name, january.name) == ("payment_events_2026_12", "payment_events_2027_01")
    for _ in range(100):
        assert december.begins <= id_at(last) < december.ends == january.begins <= id_at(first) < january.ends
    assert moment_of(january.begins) == midnight
    assert moment_of(id_at(last)) == last
    assert first_id_at(midnight) == january.begins
    assert abs(moment_of(new_id()) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_new_database_has_the_months_to_come(connection: Connection) -> None:
    """Three ahead, one after the other: a server may stand still for so long before anything is left to the net."""
    first_ends = await end_of_first(connection)
    assert first_day(-1) <= first_ends <= first_day(-2)
    for table in TABLES:
        ahead = {name_of(table, one) for one in AHEAD if first_day(one) >= first_ends}
        assert await partitions(connection, table) == {f"{table}_first", *ahead}
    draft_id = await a_draft(connection, midst(1))
    for months_ago in (14, 1, 0, *AHEAD):
        moment = midst(months_ago)
        expected = "first" if moment < first_ends else f"{moment:%Y_%m}"
        event_id, delivery_id = await an_entry(connection, draft_id, moment), await a_delivery(connection, moment)
        assert await where_is(connection, "payment_events", event_id) == f"payment_events_{expected}"
        assert await where_is(connection, "webhook_deliveries", delivery_id) == f"webhook_deliveries_{expected}"


async def test_a_month_that_nobody_made_is_caught_by_the_default_partition(
    connection: Connection,
) -> None:
    """No payment may fail for want of a partition, and what was caught is found like all else, and no obstacle."""
    draft_id = await a_draft(connection, midst(0))
    for table in TABLES:
        await connection.execute(f"DROP TABLE {name_of(table, -2)}, {name_of(table, -3)}")
    caught = await an_entry(connection, draft_id, midst(-2)), await a_delivery(connection, midst(-2))
    assert await where_is(connection, "payment_events", caught[0]) == "payment_events_default"
    assert await where_is(connection, "webhook_deliveries", caught[1]) == "webhook_deliveries_default"

    made = await make_ahead(connection)

    assert made == [name_of(table, -3) for table in TABLES]
    assert await make_ahead(connection) == []
    later = await an_entry(connection, draft_id, midst(-2)), await an_entry(connection, draft_id, midst(-3))
    assert await where_is(connection, "payment_events", later[0]) == "payment_events_default"
    assert await where_is(connection, "payment_events", later[1]) == name_of("payment_events", -3)
    found = await connection.fetch("SELECT id FROM payment_events WHERE draft_id = $1 ORDER BY id", draft_id)
    assert [record["id"] for record in found] == sorted([caught[0], *later])


async def test_many_who_make_months_at_once_make_each_once(database_of_today: str) -> None:
    """Servers and workers all do it, without a lock of their own that a pooler could lose."""
    connections = [await asyncpg.connect(database_of_today) for _ in range(8)]
    for table in TABLES:
        await connections[0].execute(f"DROP TABLE {name_of(table, -2)}, {name_of(table, -3)}")

    made = await asyncio.gather(*(make_ahead(connection) for connection in connections))

    assert sorted(name for names in made for name in names) == sorted(
        name_of(table, one) for table in TABLES for one in (-2, -3)
    )
    for connection in connections:
        await connection.close()
    assert await deadlocks(database_of_today) == 0


async def test_a_server_starts_although_somebody_keeps_the_tables_locked(database_of_today: str) -> None:
    """A backup may hold a lock for an hour; there are months left, and payments to take."""
    holder, other = await asyncpg.connect(database_of_today), await asyncpg.connect(database_of_today)
    await other.execute(f"DROP TABLE {name_of('payment_events', -3)}")
    async with holder.transaction():
        await holder.execute("LOCK TABLE payment_drafts IN SHARE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await make_ahead(other)
        assert await migrate(database_of_today) == []
    assert name_of("payment_events", -3) not in await partitions(other, "payment_events")

    await migrate(database_of_today)

    assert name_of("payment_events", -3) in await partitions(other, "payment_events")
    for connection in (holder, other):
        await connection.close()


async def test_payments_go_on_while_months_are_made(database_of_today: str) -> None:
    """Whoever folds holds the drafts' lock and wants the journal's; whoever makes months must not do the reverse."""
    async with folding(database_of_today, connections=8) as (fold, store):
        drafts = [await awaiting(fold, store, f"order-{n}") for n in range(60)]
        connection = await asyncpg.connect(database_of_today)
        for table in TABLES:
            await connection.execute(f"DROP TABLE {name_of(table, -2)}, {name_of(table, -3)}")

        async def fold_all() -> None:
            for n, draft in enumerate(drafts):
                await fold.deliver(paid(draft, f"event-{n}", payment=f"payment-{n}"), DELIVERY)

        both: list[Awaitable[object]] = [fold_all(), make_ahead(connection)]
        await asyncio.gather(*both)

        assert {name_of("payment_events", one) for one in (-2, -3)} < await partitions(connection, "payment_events")
        assert {(await row_of(store, draft)).draft.state for draft in drafts} == {"completed"}
        await connection.close()
    assert await deadlocks(database_of_today) == 0


async def test_the_migration_keeps_every_row_and_every_rule(empty_database_url: str) -> None:
    """A shop that has run for a year upgrades: what there was is found as before, wherever its ids came from."""
    await migrate(empty_database_url, up_to=5)
    connection = await asyncpg.connect(empty_database_url)
    moments = [midst(ago) for ago in (12, 5, 1)] + [datetime.now(UTC)]
    draft_id = await a_draft(connection, moments[0])
    entries = [await an_entry(connection, draft_id, moment) for moment in moments]
    deliveries = [await a_delivery(connection, moment, draft_id) for moment in moments]
    await connection.execute("UPDATE payment_events SET id = $1 WHERE id = $2", LONG_AGO, entries[0])
    entries[0] = LONG_AGO
    before = [await connection.fetch(query) for query in ALL_ROWS]

    assert await migrate(empty_database_url, up_to=6) == ["0006_months.sql"]

    after = [await connection.fetch(query) for query in ALL_ROWS]
    assert after == before
    assert [record["id"] for record in after[1]] == entries
    assert [record["id"] for record in after[2]] == deliveries
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await a_delivery(connection, midst(0), uuid.uuid4())
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE payment_events SET verdict = 'believed' WHERE id = $1", LONG_AGO)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("UPDATE payment_events SET id = $1 WHERE id = $2", entries[2], entries[1])
    await connection.close()


async def test_a_server_of_the_release_before_goes_on_folding_while_the_tables_become_months(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment migrates while the old servers still take their last payments, with statements long prepared."""
    await migrate(empty_database_url, up_to=5)
    monkeypatch.setattr(qirsh.store.drafts, "SQL", {**SQL, "save_fold": FOLD_BEFORE})
    async with folding(empty_database_url, connections=4) as (fold, store):
        drafts = [await awaiting(fold, store, f"order-{n}") for n in range(80)]
        migrating: asyncio.Task[list[str]] | None = None
        for n, draft in enumerate(drafts):
            if n == 20:
                migrating = asyncio.create_task(migrate(empty_database_url))
            await fold.deliver(paid(draft, f"event-{n}", payment=f"payment-{n}"), DELIVERY)
        assert migrating is not None
        assert (await migrating)[:2] == ["0006_months.sql", "0007_journal_order.sql"]

        last = await awaiting(fold, store, "order-last")
        await fold.deliver(paid(last, "event-last", payment="payment-last"), DELIVERY)

        for draft in (*drafts, last):
            assert [entry["verdict"] for entry in await store.drafts.journal(draft.id)] == ["applied", "applied"]
        assert await store.pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 81
    assert await deadlocks(empty_database_url) == 0


@pytest.mark.parametrize(
    ("number", "name"),
    [(6, "0006_months.sql"), (7, "0007_journal_order.sql"), (8, "0008_what_a_person_decided.sql")],
)
async def test_the_migration_does_not_make_payments_wait_for_a_backup(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """A dump keeps its locks for an hour, and whoever waits behind it keeps everybody else waiting."""
    await migrate(empty_database_url, up_to=number - 1)
    monkeypatch.setattr(qirsh.store.drafts, "SQL", {**SQL, "save_fold": FOLD_BEFORE})
    backup = await asyncpg.connect(empty_database_url)
    async with backup.transaction():
        await backup.execute("LOCK TABLE payment_drafts, payment_events, webhook_deliveries IN ACCESS SHARE MODE")

        with pytest.raises(MigrationError, match=rf"{re.escape(name)} .* try again"):
            await migrate(empty_database_url, up_to=number)

        async with folding(empty_database_url) as (fold, store):
            await awaiting(fold, store, "order-1")
    assert await migrate(empty_database_url, up_to=number) == [name]
    await backup.close()


async def test_the_migration_waits_for_a_payment_that_is_being_written(empty_database_url: str) -> None:
    """What was not committed yet when it began must be in the months too."""
    await migrate(empty_database_url, up_to=5)
    writer, watcher = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    async with writer.transaction():
        draft_id = await a_draft(writer, midst(0))
        migrating = asyncio.create_task(migrate(empty_database_url, up_to=6))
        async with asyncio.timeout(20):
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await an_entry(writer, draft_id, midst(0))
    assert await migrating == ["0006_months.sql"]
    assert await watcher.fetchval("SELECT count(*) FROM payment_events WHERE draft_id = $1", draft_id) == 1
    for connection in (writer, watcher):
        await connection.close()


async def end_of_first(connection: Connection) -> datetime:
    """Until when the first partition takes rows: to the end of the month of the day after the migration."""
    ends: uuid.UUID = await connection.fetchval(
        "SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO .''(.*)''.')::uuid FROM pg_class"
        " WHERE relname = 'payment_events_first'"
    )
    return moment_of(ends)
