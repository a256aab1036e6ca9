"""Workers in any number, servers without one inside: the work is done once, and no PSP is asked by too many at once."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from qirsh.work.worker import PER_PSP
from wire import over, wired
from world import QIRSH, Process, World, a_request, eventually, serving, system

DRAFTS = 200
WORKERS = 3
INQUIRY = "/api/ecommerce/orders/transaction_inquiry"


@pytest.fixture
async def idle(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A sandbox and a server without a worker."""
    with system(tmp_path, database_url, works=False) as running:
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            world = replace(running, client=client)
            await world.put_product("tshirt")
            yield world


async def test_many_workers_keep_a_psps_limit_together_and_ask_about_each_payment_once(idle: World) -> None:
    """A limit of each worker's own would be three times the PSP's; a payment that is asked about twice costs double."""
    await idle.fault("webhook", "drop", times=999)
    draft_ids = await _begun_at_two_servers(idle)
    for draft_id in draft_ids:
        await idle.act(draft_id, "pay")
    async with wired(idle) as wire:
        wire.delay_seconds = 0.1  # long enough for a free worker to take one too many
        with ExitStack() as stack:
            for _ in range(WORKERS):
                worker = Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(over(wire, idle))})
                stack.callback(worker.stop)
                worker.wait_ready()

            await idle.advance(125)
            await eventually(lambda: _all_completed(idle), "every payment found", 90)

    assert wire.most[INQUIRY] == PER_PSP
    asked = Counter(json.loads(body)["order_id"] for body in wire.bodies[INQUIRY])
    assert (len(asked), set(asked.values())) == (DRAFTS, {1})
    announced = Counter(json.loads(body)["data"]["paymentDraftId"] for body in wire.bodies["/fulfilments"])
    assert set(announced) <= set(draft_ids)
    assert set(announced.values()) == {1}


async def test_a_server_alone_does_no_durable_work(idle: World) -> None:
    """Where the work is done is the operator's choice: a server that did some would be a worker that nobody counted."""
    await idle.fault("webhook", "drop", times=9)
    draft_id = (await idle.initiate()).json()["paymentDraftId"]
    await idle.act(draft_id, "pay")
    await idle.advance(125)

    worker = Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(idle.config)})
    try:
        await idle.becomes(draft_id, "completed")
    finally:
        worker.stop()
    said = [line for line in worker.lines if draft_id in line and '"event":"folded"' in line]
    assert ['"source":"lookup"' in line for line in said] == [True], "whoever folds what a look-up found, says so"


async def test_an_approval_that_a_look_up_finds_is_captured_once(idle: World) -> None:
    """Whoever finds it captures it: were it due at once as well, PayPal would be asked for the same money twice."""
    await idle.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
    await idle.fault("webhook", "drop", times=9, psp="paypal")
    answer = await idle.initiate(payment_method="paypal", currency="USD", product_amount="10.00")
    draft_id = answer.json()["paymentDraftId"]
    await idle.act(draft_id, "pay")
    async with wired(idle) as wire:
        wire.delay_seconds = 2.0  # time enough for another worker to hear of it
        workers = [Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(over(wire, idle))}) for _ in range(2)]
        try:
            for worker in workers:
                worker.wait_ready()
            await idle.advance(125)
            await idle.becomes(draft_id, "completed")
        finally:
            for worker in workers:
                worker.stop()
    assert [len(bodies) for path, bodies in wire.bodies.items() if path.endswith("/capture")] == [1]


async def _begun_at_two_servers(world: World) -> list[str]:
    """Payments that wait for their payer, begun at two servers by turns."""
    with serving(world.config) as second:
        at = (world, replace(world, api=second.api))
        answers = []
        for start in range(0, DRAFTS, 20):
            answers += await asyncio.gather(
                *(at[number % 2].initiate(**a_request()) for number in range(start, start + 20))
            )
    assert {answer.status_code for answer in answers} == {201}
    return [str(answer.json()["paymentDraftId"]) for answer in answers]


async def _all_completed(world: World) -> bool:
    found = await world.fetchval("SELECT count(*) FROM payment_drafts WHERE state = 'completed'")
    told = await world.fetchval("SELECT count(*) FROM fulfilments WHERE state = 'delivered'")
    return bool((found, told) == (DRAFTS, DRAFTS))
