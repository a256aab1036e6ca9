"""Paymob refuses, resets, hangs or answers nonsense, before or after accepting. Nothing is lost or doubled."""

import asyncio
import time
import uuid
from typing import Any

import pytest

from world import QIRSH, Process, World, a_request, a_wallet_request, eventually, free_port, write_config

CARD = ("orders", "payment_keys")
WALLET = ("orders", "payment_keys", "payments/pay")
STEPS = [("card", path) for path in CARD] + [("wallet", path) for path in WALLET]
BEFORE = ("reset", "error", "html", "rate_limit")
AFTER = ("reset_after_accept", "error_after_accept")


def request_of(method: str) -> dict[str, Any]:
    """A new purchase by this method."""
    return a_request() if method == "card" else a_wallet_request()


async def finished(world: World, request: dict[str, Any], *, api: str | None = None) -> dict[str, Any]:
    """Ask with the same key until there is a 201, as a page does."""

    async def ask() -> dict[str, Any] | None:
        answer = await world.client.post(f"{api or world.api}/api/payments/initiate", json=request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        assert answer.status_code == 201 or "retry-after" in answer.headers or answer.json()["retry"] == "same_key"
        return answer.json() if answer.status_code == 201 else None

    return await eventually(ask, "a 201 for the same key", 30)


@pytest.mark.parametrize("kind", BEFORE + AFTER)
@pytest.mark.parametrize(("method", "path"), STEPS)
async def test_a_lost_step_is_finished_by_the_same_key_with_one_payable_registration(
    world: World, method: str, path: str, kind: str
) -> None:
    """Whatever was lost at whichever step, the page's retry ends in one action for one order at the PSP."""
    request = request_of(method)
    await world.fault("register", kind, path=path)

    first = await world.initiate(**request)

    assert first.status_code in {201, 202, 503}, first.text
    if first.status_code == 202:
        assert first.json()["paymentAction"] is None
        assert "retry-after" in first.headers
    body = await finished(world, request)
    assert body["paymentAction"] == "redirect_url"
    ledger = await world.ledger(body["paymentDraftId"])
    assert ledger is not None
    assert ledger["registered"] == 1
    await world.act(body["paymentDraftId"], "pay")
    await world.becomes(body["paymentDraftId"], "completed")


async def test_a_lost_registration_of_a_busy_shop_is_found_behind_all_that_came_after_it(world: World) -> None:
    """An order that nobody tried to pay is known by the list of orders alone, twenty to a page."""
    request = a_request()
    await world.fault("register", "error_after_accept", path="payment_keys")
    assert (await world.initiate(**request)).status_code == 202
    others = await asyncio.gather(*(world.initiate(**a_request()) for _ in range(70)))
    assert {answer.status_code for answer in others} == {201}

    body = await finished(world, request)

    ledger = await world.ledger(body["paymentDraftId"])
    assert ledger is not None
    assert ledger["registered"] == 1


async def test_a_wallet_whose_pay_was_accepted_and_lost_is_never_asked_to_pay_twice(world: World) -> None:
    """A second pay while one is pending could take the money twice."""
    request = a_wallet_request()
    await world.fault("register", "reset_after_accept", path="payments/pay")
    first = await world.initiate(**request)
    assert first.status_code == 202

    body = await finished(world, request)

    assert body["actionData"]["display"] == "redirect"
    draft_id = body["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 30000)


async def test_a_draft_in_doubt_is_finished_by_the_worker_without_the_shop(world: World) -> None:
    """The page may be closed; the look-up after 90 seconds finishes what was begun."""
    request = a_request()
    await world.fault("register", "reset_after_accept", path="payment_keys")
    first = await world.initiate(**request)
    assert first.status_code == 202
    draft_id = first.json()["paymentDraftId"]

    await world.advance(100)
    body = await world.becomes(draft_id, "awaiting_user_action")

    assert body["paymentAction"] == "redirect_url"
    replay = await world.initiate(**request)
    assert replay.status_code == 201
    assert replay.json()["actionData"] == body["actionData"]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_definite_refusal_is_402_and_the_same_key_hears_it_again(world: World, status: int) -> None:
    """The PSP said no: the page offers another method, and a repeat must not ask the PSP again."""
    request = a_request()
    await world.fault("register", "error", status=status, path="orders")

    first = await world.initiate(**request)
    second = await world.initiate(**request)

    assert (first.status_code, second.status_code) == (402, 402)
    assert first.json()["code"] == "gateway_rejected"
    assert first.json()["retry"] == "never"
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert await world.state(first.json()["paymentDraftId"]) == "failed"


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503])
async def test_an_answer_that_settles_nothing_leaves_the_draft_in_doubt(world: World, status: int) -> None:
    """Each of these may come from a proxy after the PSP has accepted."""
    request = a_request()
    await world.fault("register", "error", status=status, path="orders")

    first = await world.initiate(**request)

    assert first.status_code == 202
    body = await finished(world, request)
    ledger = await world.ledger(body["paymentDraftId"])
    assert ledger is not None
    assert ledger["registered"] == 1


async def test_a_refused_token_is_fetched_once_more_and_the_payment_goes_on(world: World) -> None:
    """Paymob's tokens end when Paymob says so, not when our clock does."""
    await world.fault("register", "error", status=401, path="orders")

    answer = await world.initiate()

    assert answer.status_code == 201


async def test_credentials_that_stay_refused_are_a_503_that_says_who_must_act(world: World) -> None:
    """Nothing was registered and no retry of the shop's will help before the operator acts, but none does harm."""
    request = a_request()
    await world.fault("register", "error", status=401, path="orders", times=2)

    first = await world.initiate(**request)

    assert first.status_code == 503
    assert first.json()["code"] == "gateway_misconfigured"
    assert (await finished(world, request))["paymentAction"] == "redirect_url"


async def test_a_psp_that_hangs_is_answered_202_within_twelve_seconds(world: World) -> None:
    """The contract's time budget, whatever the PSP does."""
    request = a_request()
    await world.fault("register", "hang_after_accept", path="orders", seconds=60)
    began = time.monotonic()

    first = await world.initiate(**request)

    assert time.monotonic() - began < 12
    assert first.status_code == 202
    body = await finished(world, request)
    ledger = await world.ledger(body["paymentDraftId"])
    assert ledger is not None
    assert ledger["registered"] == 1


async def test_a_closed_port_is_a_503_that_wrote_nothing_at_the_psp(world: World, scratch: Any) -> None:
    """Connection refused is the one failure that is certain: nothing was sent."""
    port = free_port()
    config = write_config(
        scratch / f"{uuid.uuid4().hex}.toml",
        database_url=world.database_url,
        api=f"http://127.0.0.1:{port}",
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        paymob={"base_url": f"http://127.0.0.1:{free_port()}"},
    )
    server = Process(QIRSH, "serve", "--port", str(port), environment={"QIRSH_CONFIG": str(config)})
    try:
        server.wait_ready()
        request = a_request()
        first = await world.client.post(f"http://127.0.0.1:{port}/api/payments/initiate", json=request)
        assert first.status_code == 503
        problem = first.json()
        assert (problem["code"], problem["retry"]) == ("gateway_unavailable", "same_key")
        # The same key at a server that reaches Paymob goes on with the same draft.
        body = await finished(world, request)
        assert body["paymentAction"] == "redirect_url"
    finally:
        assert server.stop() == 0


async def test_no_database_connection_is_held_while_the_psp_is_waited_for(world: World) -> None:
    """Thirty initiates hang at Paymob, three times the pool; a status must not queue behind them."""
    known = (await world.initiate()).json()["paymentDraftId"]
    requests = [a_request() for _ in range(30)]
    await world.fault("register", "slow", times=30, path="orders", seconds=5)
    initiating = [asyncio.create_task(world.initiate(**request)) for request in requests]
    keys = [request["idempotency_key"] for request in requests]
    await eventually(
        lambda: world.fetchval("SELECT count(*) = 30 FROM payment_drafts WHERE idempotency_key = ANY ($1)", keys),
        "thirty drafts claimed",
    )

    for _ in range(20):
        assert (await world.status(known)).status_code == 200
    held = await world.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    unfinished = sum(not task.done() for task in initiating)

    assert held == 0
    assert unfinished == 30, "the PSP answered before the measurement was over"
    assert {answer.status_code for answer in await asyncio.gather(*initiating)} == {201}


async def test_a_slow_psp_registers_once_for_a_hundred_impatient_callers(world: World) -> None:
    """A page whose user hammers the button sends the same key each time."""
    request = a_request()
    await world.fault("register", "slow", path="orders", seconds=1)

    answers = await asyncio.gather(*(world.initiate(**request) for _ in range(100)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 409)
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    ledger = await world.ledger((await finished(world, request))["paymentDraftId"])
    assert ledger is not None
    assert ledger["registered"] == 1
