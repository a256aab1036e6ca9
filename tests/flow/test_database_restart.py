"""PostgreSQL goes away and comes back under running servers."""

import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx

from qirsh.store.embedded import EmbeddedPostgres
from world import World, a_request, eventually, system


async def test_servers_and_workers_go_on_when_the_database_comes_back(scratch: Path) -> None:
    """Nobody restarts them by hand: requests fail with a problem meanwhile, and what was paid meanwhile is found."""
    home = scratch / uuid.uuid4().hex[:8]
    postgres = EmbeddedPostgres(home / "db")
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        running = stack.enter_context(system(home, postgres.start()))
        async with httpx.AsyncClient(timeout=30) as client:
            world = replace(running, client=client)
            await world.put_product("tshirt", prices={"EGP": "300.00"})
            request = a_request()
            draft_id = (await world.initiate(**request)).json()["paymentDraftId"]
            postgres.stop()

            refused = await world.initiate(**a_request())
            await world.act(draft_id, "pay")
            unheard = (await world.delivered(draft_id))[0]["answer"]

            assert refused.status_code == 503
            assert refused.json()["code"] == "store_unavailable"
            assert refused.json()["retry"] == "same_key"
            assert unheard >= 500, "the PSP must be told to send it again"
            postgres.start()
            await eventually(lambda: _ready(world), "the server is ready again")
            await world.advance(3)
            await world.becomes(draft_id, "completed")
            await eventually(lambda: _announced(world, draft_id), "the announcement")
            assert (await world.initiate(**request)).status_code == 201


async def _ready(world: World) -> bool:
    return (await world.client.get(f"{world.api}/health/ready")).status_code == 200


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))
