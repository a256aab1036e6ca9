"""Once a day a worker compares with the PSPs' books: what it finds is folded, counted and told."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from flow_books import REQUESTS, begun, lose_webhooks

from world import OPERATOR_KEY, QIRSH, TLS, Process, World, eventually, system

DAY = 86_400


@dataclass
class Working:
    """A worker whose metrics are open to this machine."""

    process: Process
    metrics: str

    def runs(self) -> list[dict[str, Any]]:
        """What it said of each daily run."""
        return [json.loads(line) for line in self.process.lines if '"event":"reconciled"' in line]


@contextmanager
def working(world: World) -> Iterator[Working]:
    """One more worker."""
    process = Process(QIRSH, "worker", "--metrics-port", "0", environment={"QIRSH_CONFIG": str(world.config)})
    try:
        process.wait_ready()
        (url,) = (found[0] for line in process.lines if (found := re.search(r"http://\S+/metrics", line)))
        yield Working(process, url)
    finally:
        process.stop()


@pytest.fixture
async def quiet(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A system whose PSPs tell nothing by themselves, without a worker."""
    with system(tmp_path, database_url, works=False, reconcile_daily=True) as running:
        async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
            world = replace(running, client=client)
            await world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
            await lose_webhooks(world)
            yield world


async def test_refunds_of_the_dashboards_are_found_within_a_day(quiet: World) -> None:
    """No look-up is due for what is paid, so a lost webhook of a refund is found by this alone."""
    drafts = [await paid(quiet, psp) for psp in REQUESTS]
    with working(quiet) as first:
        await eventually(lambda: ran(first, 1), "the first run")
        for draft_id in drafts:
            await quiet.act(draft_id, "refund")
        with working(quiet) as second:
            await quiet.advance(DAY + 60)
            for draft_id in drafts:
                await quiet.becomes(draft_id, "refunded")
            await eventually(lambda: ran_again(first, second), "the second run's line")

            runs = first.runs() + second.runs()
            assert [run["folded"].get("state") for run in runs] == [None, len(drafts)]
            assert [(run["stays"], run["not_examined"], run["level"]) for run in runs] == [({}, 0, "info")] * 2
            counted = [
                await metric(quiet, one, 'qirsh_reconciliation_folded_total{field="state"}') for one in (first, second)
            ]
            assert sorted(counted) == [0, len(drafts)], "by the one that had the run"
    await eventually(lambda: all_told(quiet, drafts), "the shop to hear of the money that went back")


async def test_what_no_fold_may_settle_is_shown_until_somebody_has_settled_it(quiet: World) -> None:
    """An alarm is set on the gauge: it must rise when the books differ, and fall when they agree."""
    draft_id = await begun(quiet, "paymob")
    await update(quiet, draft_id, "state = 'completed', payment_reference = '1'")
    gauge = 'qirsh_reconciliation_differences{done="a person must decide",field="state"}'
    with working(quiet) as worker:
        await eventually(lambda: ran(worker, 1), "the first run")
        assert await metric(quiet, worker, gauge) == 1
        (run,) = worker.runs()
        assert (run["level"], run["stays"]) == ("warning", {"state: a person must decide": 1})

        await quiet.act(draft_id, "pay")
        await update(quiet, draft_id, "state = 'awaiting_user_action', payment_reference = NULL")
        await quiet.advance(DAY + 60)
        await eventually(lambda: ran(worker, 2), "the second run")
        assert await metric(quiet, worker, gauge) == 0


async def test_a_payment_that_cannot_be_read_keeps_nobody_from_examining_the_others(quiet: World) -> None:
    """One broken row must not hide what the PSPs say of ten thousand sound ones."""
    broken, sound = await begun(quiet, "paymob"), await paid(quiet, "stripe")
    await update(quiet, broken, "request = '{}', next_check_at = NULL")
    await quiet.act(sound, "refund")
    with working(quiet) as worker:
        await quiet.becomes(sound, "refunded")
        await eventually(lambda: ran(worker, 1), "the run")
        (run,) = worker.runs()
        assert (run["examined"], run["not_examined"], run["level"]) == (2, 1, "warning")
        assert await metric(quiet, worker, 'qirsh_reconciliation_differences{done="not examined",field="answer"}') == 1
        assert [broken in line for line in worker.process.lines if '"event":"not_reconciled"' in line] == [True]
        assert not [line for line in worker.process.lines if "Traceback" in line]


async def test_what_was_paid_long_ago_is_not_asked_about(quiet: World) -> None:
    """There may be millions: how far back is asked is the operator's choice, with `qirsh reconcile --since`."""
    old, new = await paid(quiet, "paymob"), await paid(quiet, "stripe")
    await update(quiet, old, "updated_at = now() - interval '49 hours'")
    await update(quiet, new, "updated_at = now() - interval '47 hours'")
    with working(quiet) as worker:
        await eventually(lambda: ran(worker, 1), "the run")
        assert worker.runs()[0]["examined"] == 1


async def test_who_reconciles_by_himself_may_do_without(tmp_path: Path, database_url: str) -> None:
    """Each run costs a call for each payment of two days."""
    with system(tmp_path, database_url, works=False, reconcile_daily=False) as world, working(world):
        async with httpx.AsyncClient(verify=TLS) as client:
            told = replace(world, client=client)
            ask = "SELECT array_agg(name) FROM daily_work"
            planned = await eventually(lambda: told.fetchval(ask), "the worker to plan its days")
    assert "reconciliation" not in planned


async def paid(world: World, psp: str) -> str:
    """A payment that was found by an operator."""
    draft_id = await begun(world, psp)
    await world.act(draft_id, "pay")
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    asked = await world.client.post(f"{world.api}/api/payments/{draft_id}/reconcile", headers=headers)
    assert asked.json()["status"] == "completed", asked.text
    return draft_id


async def ran(worker: Working, times: int) -> bool:
    """Whether this worker has had so many runs."""
    return len(worker.runs()) >= times


async def ran_again(first: Working, second: Working) -> bool:
    """Whether there were two runs by either."""
    return len(first.runs()) + len(second.runs()) == 2


async def metric(world: World, worker: Working, sample: str) -> int:
    """What a worker shows; what it does not show is zero."""
    text = (await world.client.get(worker.metrics)).text
    found = [line for line in text.splitlines() if line.startswith(sample)]
    return int(float(found[0].rpartition(" ")[2])) if found else 0


async def all_told(world: World, drafts: list[str]) -> bool:
    """Whether the shop heard of each payment, and of each refund."""
    told = [[json.loads(body)["type"] for _, body in world.shop.of(draft_id)] for draft_id in drafts]
    return all(one == ["payment.completed", "payment.refunded"] for one in told)


async def update(world: World, draft_id: str, changes: str) -> None:
    """Write into a draft's row behind the server's back."""
    await world.fetchval(f"UPDATE payment_drafts SET {changes} WHERE id = $1", uuid.UUID(draft_id))  # noqa: S608  ours
