"""SIGKILL at every step boundary; afterwards one payable registration, one payment, one fulfilment."""

import asyncio
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from conftest import NewDatabase
from world import (
    OPERATOR_KEY,
    QIRSH,
    TLS,
    Process,
    World,
    a_request,
    eventually,
    system,
)

INITIATE_STEPS = [
    ("card", "token", "auth/tokens"),
    ("card", "register", "ecommerce/orders"),
    ("card", "register", "payment_keys"),
    ("wallet", "register", "payments/pay"),
    ("kiosk", "register", "payments/pay"),
    ("paypal", "token", "oauth2/token"),
    ("paypal", "register", "checkout/orders"),
    ("stripe", "register", "checkout/sessions"),
]
REQUESTS: dict[str, dict[str, Any]] = {
    "card": {},
    "wallet": {"payment_method": "vodafone_cash", "payer": {"phone": "01010101010"}},
    "kiosk": {"payment_method": "kiosk"},
    "paypal": {"payment_method": "paypal", "currency": "USD", "product_amount": "10.00"},
    "stripe": {"payment_method": "card", "currency": "USD", "product_amount": "10.00"},
}
WEBHOOK_STEPS = ["payment_drafts", "webhook_events", "payment_events", "fulfilments", "webhook_deliveries"]


@dataclass
class Killable:
    """A world whose server a test may kill and start again."""

    world: World
    environment: dict[str, str]
    worker: Process
    server: Process | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        port = self.world.api.rpartition(":")[2]
        self.server = Process(QIRSH, "serve", "--port", port, environment=self.environment)
        self.server.wait_ready()

    def kill(self) -> None:
        """As a machine that loses its power: no handler runs."""
        assert self.server is not None
        self.server.stop(signal.SIGKILL)
        self.server = None

    def kill_worker(self) -> None:
        """The same for the worker, whose place another takes."""
        self.worker.stop(signal.SIGKILL)
        self.worker = Process(QIRSH, "worker", environment=self.environment)
        self.worker.wait_ready()


@pytest.fixture(scope="module")
def killable_system(scratch: Path, new_database: NewDatabase) -> Iterator[Killable]:
    """The sandbox, a worker, and a server to kill, on a database of their own."""
    home = scratch / uuid.uuid4().hex[:8]
    with system(home, asyncio.run(new_database()), serves=False, works=False) as world:
        environment = {"QIRSH_CONFIG": str(world.config)}
        worker = Process(QIRSH, "worker", environment=environment)
        worker.wait_ready()
        system_ = Killable(world, environment, worker)
        try:
            yield system_
        finally:
            system_.worker.stop()  # a test may have put another in its place


@pytest.fixture
async def killable(killable_system: Killable) -> AsyncIterator[Killable]:
    """The system with a fresh server and no faults."""
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        system = replace(killable_system, world=replace(killable_system.world, client=client))
        await system.world.heal()
        system.start()
        try:
            await system.world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
            yield system
        finally:
            killable_system.worker = system.worker
            await system.world.heal()
            if system.server is not None:
                system.server.stop()


async def begun_and_killed(system: Killable, request: dict[str, Any], operation: str, kind: str, path: str) -> str:
    """Initiate, and kill the server while it waits for the PSP at this step; returns the draft's id."""
    world = system.world
    psps = {("paypal", "USD"): "paypal", ("card", "USD"): "stripe"}
    psp = psps.get((request["payment_method"], request["currency"]), "paymob")
    await world.fault(operation, kind, path=path, seconds=30, psp=psp)
    initiating = asyncio.create_task(world.initiate(**request))
    draft_id: str = await eventually(
        lambda: world.fetchval(
            "SELECT id::text FROM payment_drafts WHERE idempotency_key = $1", request["idempotency_key"]
        ),
        "the draft",
    )
    await eventually(lambda: fault_taken(world), "the PSP to be called")
    system.kill()
    with pytest.raises(httpx.TransportError):
        await initiating
    await world.heal()
    return draft_id


async def fault_taken(world: World) -> bool:
    """Whether the armed fault was used up: the call is under way."""
    faults = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
    return not faults


async def paid_once(world: World, draft_id: str) -> None:
    """One payable registration, and once paid one completion and one fulfilment."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert ledger["registered"] == 1
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert ledger["paid_minor"] == ledger["amount_minor"]


@pytest.mark.parametrize("kind", ["hang", "hang_after_accept"])
@pytest.mark.parametrize(("method", "operation", "path"), INITIATE_STEPS)
async def test_the_same_key_finishes_what_a_killed_server_began(
    killable: Killable, method: str, operation: str, path: str, kind: str
) -> None:
    """The dead server's claim lapses after 15 seconds, and the shop's retry goes on with the same draft."""
    request = a_request(**REQUESTS[method])
    world = killable.world
    draft_id = await begun_and_killed(killable, request, operation, kind, path)
    killable.start()
    held = await world.initiate(**request)
    assert held.status_code in {201, 409}, held.text
    if (path, kind) != ("payment_keys", "hang_after_accept"):  # one case waits it out, as a shop does
        await world.advance(16)

    async def again() -> httpx.Response | None:
        answer = await world.initiate(**request)
        assert answer.status_code in {201, 202, 409}, answer.text
        return answer if answer.status_code == 201 else None

    answer = await eventually(again, "a 201 for the same key", 20)

    assert answer.json()["paymentDraftId"] == draft_id
    assert answer.json()["paymentAction"] == ("reference_code" if method == "kiosk" else "redirect_url")
    await paid_once(world, draft_id)


@pytest.mark.parametrize(("method", "operation", "path"), INITIATE_STEPS)
async def test_the_sweep_finishes_what_a_killed_server_began_without_the_shop(
    killable: Killable, method: str, operation: str, path: str
) -> None:
    """The page may be closed for good; the worker finishes the draft, and the payer may still come back to it."""
    request = a_request(**REQUESTS[method])
    draft_id = await begun_and_killed(killable, request, operation, "hang_after_accept", path)

    await killable.world.advance(100)
    killable.start()

    await killable.world.becomes(draft_id, "awaiting_user_action")
    await paid_once(killable.world, draft_id)


@pytest.mark.parametrize("table", WEBHOOK_STEPS)
async def test_a_webhook_whose_server_is_killed_inside_its_transaction_is_heard_when_it_comes_again(
    killable: Killable, table: str
) -> None:
    """Each table of the transaction in turn is locked, so that the server stops right before writing it, and dies."""
    world = killable.world
    draft_id = (await world.initiate(**a_request())).json()["paymentDraftId"]
    blocker = await asyncpg.connect(world.database_url)
    try:
        async with blocker.transaction():
            # SHARE stops writers; on the drafts it also stops the row lock that comes first.
            mode = "EXCLUSIVE" if table == "payment_drafts" else "SHARE"
            await blocker.execute(f"LOCK TABLE {table} IN {mode} MODE")
            await world.act(draft_id, "pay")
            await eventually(lambda: waiting(world), "the webhook's transaction to wait")
            killable.kill()
    finally:
        await blocker.close()
    killable.start()

    await world.advance(3)  # the PSP's first repeat
    await world.becomes(draft_id, "completed")

    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1
    kinds = [entry["event"]["kind"] for entry in (await world.payment(draft_id))["journal"]]
    assert kinds == ["registered", "paid"]
    await eventually(lambda: announced(world, draft_id), "the announcement")


async def waiting(world: World) -> bool:
    """Whether some transaction waits for a lock."""
    return bool(
        await world.fetchval(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


async def announced(world: World, draft_id: str) -> bool:
    """Whether the shop heard of the draft."""
    return bool(world.shop.of(draft_id))


@pytest.mark.parametrize("kind", ["hang", "hang_after_accept"])
async def test_a_capture_whose_worker_is_killed_is_taken_once_by_another(killable: Killable, kind: str) -> None:
    """Before or after PayPal took the money: the next worker asks with the same key."""
    world = killable.world
    draft_id = (await world.initiate(**a_request(**REQUESTS["paypal"]))).json()["paymentDraftId"]
    await world.fault("capture", kind, psp="paypal", seconds=60)
    await world.act(draft_id, "pay")
    await eventually(lambda: fault_taken(world), "the capture to be sent")
    killable.kill_worker()
    await world.heal()

    async def completed() -> bool:
        await world.advance(10)
        return await world.state(draft_id) == "completed"

    # The dead worker's job is picked again when its heartbeat has been silent for half a minute.
    await eventually(completed, "the capture by another worker", 60)

    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 1000)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


@pytest.mark.parametrize("kind", ["hang", "hang_after_accept"])
@pytest.mark.parametrize("method", ["card", "paypal"])
async def test_a_refund_whose_worker_is_killed_is_given_back_once_by_another(
    killable: Killable, method: str, kind: str
) -> None:
    """Before or after the PSP gave it back: PayPal is asked with the same key, Paymob's books tell. Never twice."""
    world = killable.world
    draft_id = (await world.initiate(**a_request(**REQUESTS[method]))).json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await world.fault("refund", kind, psp="paypal" if method == "paypal" else "paymob", seconds=60)
    asked = await world.client.post(
        f"{world.api}/api/payments/{draft_id}/refunds",
        json={"amount": "2.00"},
        headers={"authorization": f"Bearer {OPERATOR_KEY}", "idempotency-key": str(uuid.uuid4())},
    )
    assert asked.status_code == 202
    await eventually(lambda: fault_taken(world), "the refund to be sent")
    killable.kill_worker()
    await world.heal()

    # Paymob honours no key, so what never arrived there is not sent again; its books tell after an hour.
    done = kind == "hang_after_accept" or method == "paypal"

    async def decided() -> bool:
        await world.advance(65 if done else 1_900)
        refunds = (await world.payment(draft_id))["refunds"]
        return [one["status"] for one in refunds] == ["succeeded" if done else "failed"]

    await eventually(decided, "what became of the refund, found out by another worker", 60)

    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert ledger["refunded_minor"] == (200 if done else 0)
    assert (await world.status(draft_id)).json()["refunded"] == ("2.00" if done else "0.00")


@pytest.mark.parametrize("kind", ["hang", "hang_after_accept"])
async def test_a_capture_that_the_payers_return_began_is_finished_when_its_server_dies(
    killable: Killable, kind: str
) -> None:
    """The browser waits for a server that is gone; the worker captures with the key that the server used."""
    world = killable.world
    draft_id = (await world.initiate(**a_request(**REQUESTS["paypal"]))).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=9, psp="paypal")
    await world.fault("capture", kind, psp="paypal", seconds=60)
    await world.act(draft_id, "pay")
    back = asyncio.create_task(world.client.get(f"{world.api}/api/payments/return/paypal/{draft_id}"))
    await eventually(lambda: capture_taken(world), "the capture to be sent")
    killable.kill()
    with contextlib.suppress(httpx.TransportError):
        await back
    await world.heal()
    killable.start()

    async def completed() -> bool:
        await world.advance(30)
        return await world.state(draft_id) == "completed"

    await eventually(completed, "the capture by the worker", 60)

    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 1000)


async def capture_taken(world: World) -> bool:
    """Whether the fault of the capture was used up."""
    faults = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
    return all(fault["operation"] != "capture" for fault in faults)


@pytest.mark.parametrize("kind", ["hang", "hang_after_accept"])
@pytest.mark.parametrize(("method", "path"), [("card", "v1/intention"), ("wallet", "payments/pay")])
async def test_the_intention_flow_survives_the_same(killable: Killable, method: str, path: str, kind: str) -> None:
    """Its one call makes order and key together; what it made is found again by our reference."""
    killable.kill()
    plain = Path(killable.environment["QIRSH_CONFIG"])
    config = plain.with_name("intention.toml")
    config.write_text(plain.read_text().replace("[paymob]\n", '[paymob]\nflow = "intention"\n'))
    killable.environment = {"QIRSH_CONFIG": str(config)}
    killable.start()
    request = a_request(**REQUESTS[method])
    draft_id = await begun_and_killed(killable, request, "register", kind, path)
    killable.start()
    await killable.world.advance(16)

    async def again() -> httpx.Response | None:
        answer = await killable.world.initiate(**request)
        assert answer.status_code in {201, 202, 409}, answer.text
        return answer if answer.status_code == 201 else None

    answer = await eventually(again, "a 201 for the same key", 20)

    assert answer.json()["paymentDraftId"] == draft_id
    await paid_once(killable.world, draft_id)


@pytest.mark.parametrize("table", ["payment_drafts", "webhook_events", "payment_events", "webhook_deliveries"])
async def test_an_approval_whose_server_is_killed_inside_its_transaction_is_captured_when_it_comes_again(
    killable: Killable, table: str
) -> None:
    """PayPal's webhook only says that the payer agreed; losing it would lose the sale."""
    world = killable.world
    draft_id = (await world.initiate(**a_request(**REQUESTS["paypal"]))).json()["paymentDraftId"]
    blocker = await asyncpg.connect(world.database_url)
    try:
        async with blocker.transaction():
            await blocker.execute(f"LOCK TABLE {table} IN {'EXCLUSIVE' if table == 'payment_drafts' else 'SHARE'} MODE")
            await world.act(draft_id, "pay")
            await eventually(lambda: waiting(world), "the webhook's transaction to wait")
            killable.kill()
    finally:
        await blocker.close()
    killable.start()

    async def completed() -> bool:
        await world.advance(5)
        return await world.state(draft_id) == "completed"

    await eventually(completed, "the capture")

    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 1000)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1
