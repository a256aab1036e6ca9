"""A young shop and an old one: initiate with ten thousand drafts in the table, and with ten million."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import asyncpg

from bench.contenders import Contender, Ground
from bench.hot_path import INITIATE, Run
from bench.load import Measured
from bench.rows import add_drafts
from bench.table import of_contenders

YOUNG, OLD = 10_000, 10_000_000
BATCH: Final = 1_000_000
BYTES_A_DRAFT: Final = 1_500
"""With its indexes, and the log that is written on the way."""
ROUNDS: Final = 3


async def scale(place: Ground, say: Callable[[str], None]) -> str:
    """Measure, and return the table."""
    free = shutil.disk_usage(place.folder).free
    if free < OLD * BYTES_A_DRAFT:
        return f"{OLD:,} drafts: not measured, since {free / 1e9:.0f} GB of disk are not enough."
    with ExitStack() as stack:
        found = []
        for count in (YOUNG, OLD):
            url = await place.database(f"drafts_{count}")
            await _fill(url, count, say)
            server = stack.enter_context(place.qirsh(url))
            found.append(Contender(f"{count:,} drafts", [server], url))
        run = Run(place, found, rounds=ROUNDS, seconds=4)
        measured: dict[str, Measured] = await run.measure(INITIATE, say)
    return of_contenders("initiate", measured, found[0].name)


async def _fill(url: str, count: int, say: Callable[[str], None]) -> None:
    """Drafts of the past. The index over random keys is built after them: row by row it would take an hour."""
    connection = await asyncpg.connect(url, timeout=60, command_timeout=3_600)
    try:
        await connection.execute("ALTER TABLE payment_drafts DROP CONSTRAINT payment_drafts_idempotency_key_key")
        for start in range(1, count + 1, BATCH):
            await add_drafts(connection, start, min(BATCH, count - start + 1), state="completed")
            say(f"{start + BATCH - 1:,} drafts")
        await connection.execute("SET maintenance_work_mem = '1GB'")
        await connection.execute(
            "ALTER TABLE payment_drafts ADD CONSTRAINT payment_drafts_idempotency_key_key UNIQUE (idempotency_key)"
        )
        await connection.execute("VACUUM ANALYZE payment_drafts")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
