"""A worker dies with a PSP's whole limit in its hands: another goes on there, and no place is lost for ever."""

import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from qirsh.work.worker import LEASE, PER_PSP
from world import QIRSH, TLS, Process, World, eventually, system

ORDERS = PER_PSP + 3
"""Some of them wait behind those that are in hand."""


@pytest.fixture
async def idle(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A sandbox that tells nothing by itself, and a server without a worker."""
    with system(tmp_path, database_url, works=False) as running:
        async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
            world = replace(running, client=client)
            await world.put_product("tshirt")
            await world.fault("webhook", "drop", times=999)
            yield world


async def test_what_a_killed_worker_had_in_hand_is_done_by_another_within_a_lease(idle: World) -> None:
    """Ten look-ups that never end are all that may run at a PSP: if the dead kept them, nobody asked it ever again."""
    draft_ids = [str((await idle.initiate()).json()["paymentDraftId"]) for _ in range(ORDERS)]
    doomed, heir = working(idle), None
    try:
        await full_hands(idle, doomed)
        for draft_id in draft_ids:
            await idle.act(draft_id, "pay")
        died_at = await idle.fetchval("SELECT now()")
        doomed.stop(signal.SIGKILL)
        await disarmed(idle)
        assert await in_hand(idle) == PER_PSP, "the dead has told nobody"

        heir = working(idle)
        await eventually(lambda: all_completed(idle), "every payment found by the other worker", 75)
        took = await idle.fetchval("SELECT now()") - died_at
        assert took.total_seconds() < LEASE.total_seconds() + 10

        await eventually(lambda: queue_is_empty(idle), "nothing left in the queue")
        for _ in range(ORDERS):
            await idle.initiate()
        await full_hands(idle, heir)  # as many at a time as ever
    finally:
        for worker in (doomed, heir):
            if worker is not None:
                worker.stop(signal.SIGKILL)


def working(world: World) -> Process:
    """One more worker."""
    worker = Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(world.config)})
    worker.wait_ready()
    return worker


async def full_hands(world: World, worker: Process) -> None:
    """Wait until as many look-ups as may be are under way, and none of them ends."""
    await world.fault("lookup", "hang", times=PER_PSP)
    await world.advance(125)

    async def taken() -> bool:
        assert worker.process.poll() is None, "\n".join(worker.lines)
        return not [one for one in await armed(world) if one["operation"] == "lookup"]

    await eventually(taken, "a look-up for each place there is")


async def disarmed(world: World) -> None:
    """The PSP answers again, and still tells nothing by itself."""
    await world.heal()
    await world.fault("webhook", "drop", times=999)


async def armed(world: World) -> list[dict[str, str]]:
    """The faults still to hit."""
    found: list[dict[str, str]] = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
    return found


async def in_hand(world: World) -> int:
    """How many jobs the queue believes to be under way."""
    return int(await world.fetchval("SELECT count(*) FROM pgqueuer.pgqueuer WHERE status = 'picked'"))


async def all_completed(world: World) -> bool:
    """Whether no payment waits any more."""
    return bool(await world.fetchval("SELECT bool_and(state = 'completed') FROM payment_drafts"))


async def queue_is_empty(world: World) -> bool:
    """Whether no job is left, under way or waiting."""
    return not await world.fetchval("SELECT count(*) FROM pgqueuer.pgqueuer")
