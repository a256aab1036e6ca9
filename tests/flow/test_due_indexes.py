"""What a sweep costs does not depend on how many rows wait for a later day: what is due is read by an index."""

from datetime import timedelta
from typing import Final

import asyncpg
import pytest

from bench.rows import add_drafts
from qirsh.store.sql import SQL
from qirsh.work.worker import BATCH, LEASE

LATER: Final = 20_000
INDEXES: Final = {
    "drafts": "payment_drafts_due",
    "unmatched": "unmatched_events_due",
    "refunds": "refunds_due",
    "fulfilments": "fulfilments_due",
}


async def test_a_sweep_reads_none_of_the_drafts_whose_time_has_not_come(database_url: str) -> None:
    """The table holds every payment there ever was; a sweep comes every five seconds."""
    connection = await asyncpg.connect(database_url)
    try:
        some = (await add_drafts(connection, 1, LATER))[:3]
        await connection.execute("UPDATE payment_drafts SET next_check_at = now() + interval '1 day'")
        await connection.execute("UPDATE payment_drafts SET next_check_at = now() WHERE id = ANY ($1)", some)
        await connection.execute("VACUUM ANALYZE payment_drafts")
        plan = await explained(connection, "drafts", "ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF,")
    finally:
        await connection.close()
    assert f"Index Scan using {INDEXES['drafts']}" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "Rows Removed by Filter" not in plan, plan


@pytest.mark.parametrize("kind", INDEXES)
async def test_every_kind_of_due_row_has_an_index_for_its_sweep(database_url: str, kind: str) -> None:
    """Of an empty table PostgreSQL would read and sort all, so that is forbidden here."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        plan = await explained(connection, kind, "")
    finally:
        await connection.close()
    assert f"Index Scan using {INDEXES[kind]}" in plan, plan


async def explained(connection: "asyncpg.Connection[asyncpg.Record]", kind: str, options: str) -> str:
    """How PostgreSQL leases what is due of this kind."""
    statement = f"EXPLAIN ({options} COSTS OFF) {SQL[f'lease_due_{kind}']}"
    rows = await connection.fetch(statement, timedelta(0), LEASE, BATCH, ["paymob"])
    return "\n".join(row[0] for row in rows)
