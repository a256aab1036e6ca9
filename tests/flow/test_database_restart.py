"""PostgreSQL goes away and comes back under running servers."""

import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx

from qirsh.store.embedded import EmbeddedPostgres
from world import QIRSH, Process, Shop, World, a_request, eventually, free_port, write_config


async def test_servers_and_workers_go_on_when_the_database_comes_back(scratch: Path, shop: Shop) -> None:
    """Nobody restarts them by hand: requests fail with a problem meanwhile, and what was paid meanwhile is found."""
    home = scratch / uuid.uuid4().hex[:8]
    api, sandbox = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    postgres = EmbeddedPostgres(home / "db")
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        url = postgres.start()
        config = write_config(home / "qirsh.toml", database_url=url, api=api, sandbox=sandbox, shop_url=shop.url)
        environment = {"QIRSH_CONFIG": str(config)}
        psp = Process(
            *(QIRSH, "sandbox", "--port", sandbox.rpartition(":")[2], "--data-dir", str(home / "psp")),
            *("--webhooks", f"{api}/api/payments/webhook-handler", "--returns", f"{api}/api/payments/return"),
        )
        stack.callback(psp.stop)
        psp.wait_ready()
        server = Process(QIRSH, "serve", "--port", api.rpartition(":")[2], environment=environment)
        stack.callback(server.stop)
        server.wait_ready()
        worker = Process(QIRSH, "worker", environment=environment)
        stack.callback(worker.stop)
        worker.wait_ready()
        async with httpx.AsyncClient(timeout=30) as client:
            world = World(api, sandbox, url, shop, config, client)
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
