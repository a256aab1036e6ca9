"""What a worker takes away daily: who paid for what is long over, and the queue's own log."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest
from flow_months import TABLES, UNPAID, a_draft, grow_old, partitions
from test_constraints import AWAITING

from qirsh.clock import Clock
from qirsh.kept import RetentionSettings
from qirsh.retention import daily
from qirsh.store.connection import Connection, Pool, connect_pool
from qirsh.store.store import Store
from world import eventually, problem_of, system

PAYERS: Final = "SELECT id FROM payment_drafts WHERE request ? 'payer'"
FORGOTTEN: Final = "SELECT NOT EXISTS (SELECT FROM payment_drafts WHERE request ? 'payer')"
LINES: Final = "SELECT count(*) FROM pgqueuer.pgqueuer_log"


@dataclass
class Old:
    """A database that has run for some months."""

    connection: Connection
    store: Store


@pytest.fixture
async def old(database_of_today: str) -> AsyncIterator[Old]:
    """Fifteen months."""
    connection = await asyncpg.connect(database_of_today)
    await grow_old(connection, *range(1, 16))
    pool = Pool(await connect_pool(database_of_today, max_size=4))
    try:
        yield Old(connection, Store(pool, Clock()))
    finally:
        await pool.aclose()
        await connection.close()


async def test_who_paid_is_forgotten_a_month_after_the_end(old: Old) -> None:
    """A name and a number are kept for the payment; when it is long over, only the payment is."""
    recently, long_ago = datetime.now(UTC) - timedelta(days=29), datetime.now(UTC) - timedelta(days=31)
    ends: list[dict[str, Any]] = [
        {},
        {"state": "failed", "payment_reference": None},
        {"state": "refunded", "refunded_minor": 30000},
    ]
    gone = [await a_draft(old.connection, long_ago, **columns) for columns in ends]
    kept = [
        await a_draft(old.connection, recently),
        await a_draft(old.connection, long_ago, updated_at=recently.isoformat()),
        await a_draft(old.connection, long_ago, needs_review=True),
        await a_draft(old.connection, long_ago, **UNPAID),
        await a_draft(
            old.connection, long_ago, **{**AWAITING, "transaction_reference_id": "o", "payment_reference": None}
        ),
    ]
    before = {draft_id: await old.store.drafts.get(draft_id) for draft_id in gone}

    assert await old.store.retention.forget_payers(timedelta(days=30)) == 3

    assert {record["id"] for record in await old.connection.fetch(PAYERS)} == set(kept)
    for draft_id, row in before.items():
        now = await old.store.drafts.get(draft_id)
        assert row is not None
        assert now is not None
        assert row.draft.request.payer.phone == "01012345678"
        assert now.draft.request.payer.phone is None
        assert (now.fingerprint, now.version, now.updated_at) == (row.fingerprint, row.version, row.updated_at)
        assert now.draft.request.amount == row.draft.request.amount
    assert await old.store.retention.forget_payers(timedelta(days=30)) == 0


async def test_more_than_a_batch_is_forgotten_and_a_row_in_use_another_day(old: Old) -> None:
    """The first day after an upgrade has years to forget; whoever holds a draft meanwhile is not waited for."""
    long_ago = datetime.now(UTC) - timedelta(days=31)
    first = await a_draft(old.connection, long_ago)
    for _ in range(1_100):
        await a_draft(old.connection, long_ago)
    async with old.connection.transaction():
        await old.connection.execute("SELECT FROM payment_drafts WHERE id = $1 FOR UPDATE", first)
        assert await old.store.retention.forget_payers(timedelta(days=30)) == 1_100
    assert await old.store.retention.forget_payers(timedelta(days=30)) == 1


async def test_the_queues_log_keeps_a_day(old: Old) -> None:
    """Three lines for each job: left alone, it outgrows every table of ours."""
    await old.connection.execute(
        "INSERT INTO pgqueuer.pgqueuer_log (created, job_id, status, priority, entrypoint)"
        " SELECT now() - interval '25 hours', n, 'successful', 0, 'drafts.paymob' FROM generate_series(1, 2500) AS n"
    )
    await old.connection.execute(
        "INSERT INTO pgqueuer.pgqueuer_log (created, job_id, status, priority, entrypoint)"
        " VALUES (now() - interval '23 hours', 2501, 'successful', 0, 'drafts.paymob')"
    )
    await old.connection.execute(
        "INSERT INTO pgqueuer.pgqueuer_statistics (created, count, priority, status, entrypoint)"
        " VALUES (now() - interval '25 hours', 7, 0, 'successful', 'drafts.paymob')"
    )
    assert await old.store.retention.prune_queue_log(timedelta(days=1)) == 2501
    assert await old.connection.fetchval(LINES) == 1


async def test_what_a_worker_does_daily_drops_no_month(old: Old) -> None:
    """What cannot be undone is done when somebody asks for it."""
    there = [await partitions(old.connection, table) for table in TABLES]
    jobs = daily(old.store, RetentionSettings())
    assert jobs.keys() == {"months", "queue_log", "payers"}
    assert "payers" not in daily(old.store, RetentionSettings(payer_days=0))
    for job in jobs.values():
        await job()
    assert [await partitions(old.connection, table) for table in TABLES] == there


async def test_a_payment_whose_payer_is_forgotten_answers_as_before(tmp_path: Path, database_url: str) -> None:
    """The same key still hears the same, another request under it is still refused, and money still goes back."""
    with system(tmp_path, database_url) as started:
        running = replace(started, client=httpx.AsyncClient(timeout=30))
        await running.put_product("tshirt", prices={"EGP": "300.00"})
        request: dict[str, Any] = {
            "idempotency_key": str(uuid.uuid4()),
            "payer": {"name": "Mona", "email": "m@example.com"},
        }
        first = (await running.initiate(**request)).json()
        await running.act(first["paymentDraftId"], "pay")
        await running.becomes(first["paymentDraftId"], "completed")
        assert not await running.fetchval(FORGOTTEN)

        await running.advance(31 * 86_400)
        await eventually(lambda: running.fetchval(FORGOTTEN), "the payer is forgotten")

        again = await running.initiate(**request)
        assert (again.status_code, again.json()) == (201, first)
        problem_of(await running.initiate(**{**request, "payer": {"name": "Noor"}}), 422, "idempotency_conflict")
        await running.act(first["paymentDraftId"], "refund")
        await running.becomes(first["paymentDraftId"], "refunded")
        await running.client.aclose()
