"""Timers of the future: what they cost whoever looks for what is due, as rows of ours and as jobs of PgQueuer's."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final
from uuid import UUID

from pgqueuer.db import AsyncpgDriver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId

from bench.contenders import Ground
from bench.rows import add_drafts
from bench.table import markdown
from qirsh.clock import Clock
from qirsh.store.connection import Connection, Pool, connect_pool, new_id
from qirsh.store.sql import SQL
from qirsh.store.store import Store
from qirsh.work.worker import BATCH, LEASE, PER_PSP

COUNTS: Final = (1_000, 30_000, 300_000)
ROUNDS: Final = 101
DUE: Final = 10
"""Due at a time, as many as a PSP is asked about at a time."""
FILL_SECONDS: Final = 600.0
"""How long it may take to write them all, on a slow disk."""
ENTRYPOINT: Final = "drafts.paymob"
ENTRYPOINTS: Final = (
    *(f"{kind}.{gateway}" for kind in ("drafts", "refunds") for gateway in ("paymob", "paypal", "fawry", "stripe")),
    *("unmatched", "fulfilments", "daily"),
)
"""What a worker with every gateway claims."""
HEADS: Final = (
    "timers of the future",
    "as rows: sweep, nothing due",
    f"sweep, {DUE} due",
    f"claim of {DUE}",
    "poll",
    f"as jobs: claim of {DUE}",
    "poll",
)

Part = Callable[[], Awaitable[object]]


async def timers(
    place: Ground, say: Callable[[str], None], counts: Sequence[int] = COUNTS, rounds: int = ROUNDS
) -> str:
    """Measure, and return the table, in milliseconds; every figure is the median of the rounds."""
    rows = []
    for count in counts:
        ours = await _rows_of_ours(await place.database(f"timers_rows_{count}"), count, rounds)
        say(f"{count:,} rows: {ours}")
        theirs = await _jobs(await place.database(f"timers_jobs_{count}"), count, rounds)
        say(f"{count:,} jobs: {theirs}")
        rows.append([f"{count:,}", *(f"{one:,.2f}" for one in (*ours, *theirs))])
    return markdown(HEADS, rows)


@dataclass
class _Bench:
    """A database of one contender's, and the statements that the worker sends."""

    connection: Connection
    queries: Queries
    rounds: int
    claimed: int = 0

    async def took(self, work: Part, *, before: Part | None = None, after: Part | None = None) -> float:
        """Milliseconds of this work, between what is done before and after each time and not measured."""
        found = []
        for _ in range(self.rounds):
            if before is not None:
                await before()
            began = time.perf_counter()
            await work()
            found.append((time.perf_counter() - began) * 1e3)
            if after is not None:
                await after()
        return median(found)

    async def poll(self) -> None:
        """Ask what PgQueuer's manager asks each time it has nothing to do, by itself or since somebody notified it."""
        await self.claim()
        names = [QueueEntrypoint(name) for name in ENTRYPOINTS]
        await self.queries.eligible_queued_work(names)
        if await self.queries.next_deferred_eta(names) is None:
            await self.queries.queued_work(names)

    async def claim(self) -> None:
        """Claim jobs as PgQueuer does for the worker."""
        jobs = await self.queries.dequeue(
            batch_size=DUE,
            entrypoints={QueueEntrypoint(name): EntrypointExecutionParameter(PER_PSP) for name in ENTRYPOINTS},
            queue_manager_id=QueueManagerId(new_id()),
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=30),
        )
        self.claimed = len(jobs)

    async def enqueue(self, keys: Sequence[str], after: timedelta | None = None) -> None:
        """Enqueue jobs as the sweep does, or to be executed later."""
        later: list[timedelta | None] | None = None if after is None else [after] * len(keys)
        await self.queries.enqueue(
            [ENTRYPOINT] * len(keys),
            [b"{}"] * len(keys),
            [0] * len(keys),
            later,
            list(keys),
            on_conflict="skip",
        )

    async def forget_claimed(self) -> None:
        """The jobs that were claimed are done."""
        if self.claimed != DUE:
            raise RuntimeError(f"{self.claimed} jobs were claimed, and {DUE} were due.")
        await self.connection.execute("DELETE FROM pgqueuer.pgqueuer WHERE status = 'picked'")


async def _rows_of_ours(url: str, count: int, rounds: int) -> tuple[float, ...]:
    """The sweep over drafts whose time comes later, with nothing due and with some; the claim of those; the poll."""
    driver_pool = await connect_pool(url, search_path="pgqueuer, public")
    store = Store(Pool(driver_pool), Clock())
    async with driver_pool.acquire() as connection:
        bench = _Bench(connection, Queries(AsyncpgDriver(connection)), rounds)  # type: ignore[arg-type]
        some = (await add_drafts(connection, 1, count))[:DUE]
        await connection.execute(
            "UPDATE payment_drafts SET next_check_at = now() + interval '1 day' + random() * interval '30 days'",
            timeout=FILL_SECONDS,
        )
        await connection.execute("VACUUM ANALYZE payment_drafts", timeout=FILL_SECONDS)
        await _refuse_a_scan(connection, count)

        async def sweep() -> None:
            async with connection.transaction():
                due = await store.lease_due(connection, "drafts", LEASE, BATCH, ["paymob"])
                if due:
                    await bench.enqueue([f"drafts:{one.id}:{one.version}" for one in due])

        nothing = await bench.took(sweep)
        sweeping = await bench.took(sweep, before=lambda: _make_due(connection, some), after=lambda: _empty(connection))

        async def swept() -> None:
            await _make_due(connection, some)
            await sweep()

        claiming = await bench.took(bench.claim, before=swept, after=bench.forget_claimed)
        polling = await bench.took(bench.poll)
    await driver_pool.close()
    return nothing, sweeping, claiming, polling


async def _jobs(url: str, count: int, rounds: int) -> tuple[float, ...]:
    """The same timers as jobs that are executed later: the claim with some due, and the poll."""
    driver_pool = await connect_pool(url, search_path="pgqueuer, public")
    async with driver_pool.acquire() as connection:
        bench = _Bench(connection, Queries(AsyncpgDriver(connection)), rounds)  # type: ignore[arg-type]
        for start in range(0, count, 10_000):
            keys = [f"later:{number}" for number in range(start, min(start + 10_000, count))]
            await bench.enqueue(keys, timedelta(days=1))
        await connection.execute("VACUUM ANALYZE pgqueuer.pgqueuer", timeout=FILL_SECONDS)

        async def some_due() -> None:
            await bench.enqueue([f"due:{number}" for number in range(DUE)])
            # A job is due once its time is over, which is not yet true within the same microsecond.
            await connection.execute("SELECT pg_sleep(0.001)")

        claiming = await bench.took(bench.claim, before=some_due, after=bench.forget_claimed)
        polling = await bench.took(bench.poll)
    await driver_pool.close()
    return claiming, polling


async def _refuse_a_scan(connection: Connection, count: int) -> None:
    """A figure of a sweep that reads every draft would be of something else. Few drafts are rightly read whole."""
    plan = await connection.fetch(f"EXPLAIN {SQL['lease_due_drafts']}", timedelta(0), LEASE, BATCH, ["paymob"])
    if count >= min(COUNTS) and not any("payment_drafts_due" in row[0] for row in plan):
        raise RuntimeError("The sweep does not use its index:\n" + "\n".join(row[0] for row in plan))


async def _make_due(connection: Connection, some: Sequence[UUID]) -> None:
    await connection.execute(
        "UPDATE payment_drafts SET next_check_at = now(), version = version + 1 WHERE id = ANY ($1)", some
    )


async def _empty(connection: Connection) -> None:
    await connection.execute("DELETE FROM pgqueuer.pgqueuer")
