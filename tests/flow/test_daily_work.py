"""Daily work: once a day over all workers, again after a failure or a death, and never waited for by payments."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from qirsh.clock import Clock
from qirsh.store.connection import Pool, connect_pool
from qirsh.store.store import Due, Store
from qirsh.work.daily import AGAIN, DAY, HOLD, run_daily
from world import QIRSH, Process, World, eventually, system

NAMES: Final = ["months", "payers", "queue_log"]
LEASE: Final = timedelta(seconds=60)


class Counting:
    """A kind of daily work that counts how often it is begun, and fails or hangs when told."""

    def __init__(self) -> None:
        """Not begun."""
        self.begun = 0
        self.error: Exception | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.is_begun = asyncio.Event()

    async def __call__(self) -> None:
        """Do it."""
        self.begun += 1
        self.is_begun.set()
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[list[Store]]:
    """Two workers' views of one database, with a clock that they share."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        pools = [Pool(await connect_pool(database_url, max_size=4)) for _ in range(2)]
        for pool in pools:
            stack.push_async_callback(pool.aclose)
        yield [Store(pool, clock) for pool in pools]


async def test_it_is_done_once_and_a_day_later_once_more(stores: list[Store]) -> None:
    """However many sweeps find it due, and however often they enqueue it: its version is taken once."""
    counting = Counting()
    jobs = {"counting": counting}
    for store in stores:
        await store.daily.plan(jobs)
    (found,) = await due(stores[0], jobs)
    assert await due(stores[1], jobs) == []

    await asyncio.gather(*(run_daily(jobs, store, found.id, found.version) for store in stores for _ in range(5)))

    assert counting.begun == 1
    await move(stores, DAY - LEASE)
    assert await due(stores[1], jobs) == []
    await move(stores, 2 * LEASE)
    (again,) = await due(stores[1], jobs)
    assert again.id == found.id
    await run_daily(jobs, stores[1], again.id, again.version)
    await run_daily(jobs, stores[0], found.id, found.version)
    assert counting.begun == 2


async def test_what_is_planned_again_stays_as_it_is(stores: list[Store]) -> None:
    """Each start of each worker plans, and a restart is no new day."""
    jobs = {"counting": Counting()}
    await stores[0].daily.plan(jobs)
    (found,) = await due(stores[0], jobs)
    await run_daily(jobs, stores[0], found.id, found.version)

    await stores[1].daily.plan(jobs)

    assert await due(stores[1], jobs) == []


async def test_a_failure_is_tried_again_within_the_hour(stores: list[Store]) -> None:
    """A database that was locked for a moment must not cost a day, and one that stays locked not every five seconds."""
    counting = Counting()
    counting.error = RuntimeError("not now")
    jobs = {"counting": counting}
    await stores[0].daily.plan(jobs)
    for tried in (1, 2):
        (found,) = await due(stores[0], jobs)
        await run_daily(jobs, stores[0], found.id, found.version)
        assert counting.begun == tried
        assert await stores[0].pool.fetchval("SELECT attempts FROM daily_work") == tried
        assert await due(stores[1], jobs) == []
        await move(stores, AGAIN)
    counting.error = None
    (found,) = await due(stores[0], jobs)
    await run_daily(jobs, stores[0], found.id, found.version)
    assert await stores[0].pool.fetchval("SELECT attempts FROM daily_work") == 0
    await move(stores, AGAIN)
    assert await due(stores[0], jobs) == []


async def test_what_a_dead_worker_had_begun_is_taken_up_by_another(stores: list[Store]) -> None:
    """Nobody holds it for ever; and who was only slow, and comes back, does not decide when it is due next."""
    slow, quick = Counting(), Counting()
    slow.goes_on.clear()
    await stores[0].daily.plan({"counting"})
    (found,) = await due(stores[0], {"counting"})
    dying = asyncio.create_task(run_daily({"counting": slow}, stores[0], found.id, found.version))
    await slow.is_begun.wait()
    await move(stores, HOLD - LEASE)
    assert await due(stores[1], {"counting"}) == []
    await move(stores, 2 * LEASE)
    (taken,) = await due(stores[1], {"counting"})
    await run_daily({"counting": quick}, stores[1], taken.id, taken.version)
    next_check = await stores[1].pool.fetchval("SELECT next_check_at FROM daily_work")

    slow.goes_on.set()
    await dying

    assert (slow.begun, quick.begun) == (1, 1)
    assert await stores[1].pool.fetchval("SELECT next_check_at FROM daily_work") == next_check


async def test_a_worker_takes_only_what_it_knows(stores: list[Store]) -> None:
    """During an upgrade an old worker meets the new one's work, and must leave it alone."""
    await stores[0].daily.plan({"counting", "new"})
    assert len(await due(stores[1], {"counting"})) == 1
    assert len(await due(stores[0], {"new"})) == 1


async def test_two_workers_do_it_once_each_day(tmp_path: Path, database_url: str) -> None:
    """The real ones: a version grows by two each time, when the work is taken and when it ends."""
    with system(tmp_path, database_url, serves=False) as started:
        second = Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(started.config)})
        try:
            second.wait_ready()
            await eventually(lambda: done_times(started, 1), "the first day's work")
            for times in (2, 3):
                # Not by the sandbox's clock: one worker follows it sooner than the other, and a day may end twice.
                a_day_passes = "UPDATE daily_work SET next_check_at = next_check_at - $1::interval RETURNING name"
                await started.fetchval(a_day_passes, DAY)
                await eventually(lambda times=times: done_times(started, times), f"day {times}")  # type: ignore[misc]
            for name in NAMES:
                version = "SELECT version FROM daily_work WHERE name = $1"
                assert await started.fetchval(version, name) == 6
            assert await started.fetchval("SELECT count(*) FROM daily_work") == len(NAMES)
        finally:
            assert second.stop() == 0


async def done_times(world: World, times: int) -> bool:
    """Whether all of it was done so often."""
    least = "SELECT coalesce(min(version), 0) FROM daily_work WHERE name = ANY ($1)"
    return bool(await world.fetchval(least, NAMES) >= 2 * times)


async def due(store: Store, names: Collection[str]) -> list[Due]:
    """What a sweep finds, and leases for a minute."""
    async with store.transaction() as connection:
        return await store.lease_due(connection, "daily", LEASE, 10, names)


async def move(stores: list[Store], by: timedelta) -> None:
    """Let time pass for all rows: whatever is due later is due by so much earlier."""
    await stores[0].pool.execute("UPDATE daily_work SET next_check_at = next_check_at - $1::interval", by)
