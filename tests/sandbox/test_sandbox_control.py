"""The control plane: ledger, payer, clock, deliveries and what survives a restart."""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sandbox_bench import GOOD_CARD, PAYMOB, bench

from qirsh_sandbox import SandboxConfig, start


async def test_an_order_counts_when_a_payer_could_pay_it_and_once(tmp_path: Path) -> None:
    """`registered` is the judge of double registration: no key, no payer; two keys, still one order."""
    async with bench(tmp_path) as shop:
        first = (await shop.order("draft-1")).body["id"]
        assert [row["registered"] for row in await shop.ledger()] == [0]
        await shop.key(first)
        await shop.key(first)
        assert [row["registered"] for row in await shop.ledger()] == [1]
        second = (await shop.order("draft-1~2")).body["id"]
        (row,) = await shop.ledger()
        assert (row["registered"], row["transaction_reference_id"]) == (1, f"{first}")
        await shop.key(second)
        (row,) = await shop.ledger()
        assert (row["registered"], row["transaction_reference_id"]) == (2, f"{second}")
        assert row["merchant_reference"] == "draft-1"
        assert (await shop.act("pay", "draft-1~2")).status == 200
        assert (await shop.act("pay", transaction_reference_id=f"{first}")).status == 200
        assert (await shop.ledger())[0]["paid_minor"] == 60000


async def test_an_unlocked_order_can_be_paid_twice(tmp_path: Path) -> None:
    """The lock is what stops a second payment; without it Paymob takes the money again, and the ledger shows it."""
    async with bench(tmp_path) as shop:
        await shop.key((await shop.order()).body["id"], lock_order_when_paid=False)
        assert [(await shop.act("pay")).status for _ in range(2)] == [200, 200]
        assert (await shop.ledger())[0]["paid_minor"] == 60000


@pytest.mark.parametrize("act", ["decline", "cancel"])
@pytest.mark.parametrize("method", ["card", "wallet"])
async def test_a_payer_gives_up_a_try_and_pays_later(tmp_path: Path, act: str, method: str) -> None:
    """A try that ended in nothing leaves the order open; only a callback tells."""
    async with bench(tmp_path) as shop:
        await (shop.card_page() if method == "card" else shop.wallet())
        assert (await shop.act(act)).status == 200
        (callback,) = await shop.callbacks(1)
        assert (callback.obj["success"], callback.obj["pending"]) == (False, False)
        cancelled = callback.obj["data"]["message"] == "Transaction cancelled by payer"
        assert cancelled == (act == "cancel")
        assert (await shop.ledger())[0]["state"] == "open"
        # The wallet's payment has ended with its try: there is nothing to confirm any more.
        assert (await shop.act("pay")).status == (200 if method == "card" else 409)


async def test_a_payer_cannot_do_what_makes_no_sense(tmp_path: Path) -> None:
    """409 with a reason where the reference is known, 404 where it is not, 400 where the command is none."""
    async with bench(tmp_path) as shop:
        assert (await shop.act("pay", "unknown")).status == 404
        await shop.order()
        for act in ("pay", "decline", "cancel", "expire", "refund"):
            answer = await shop.act(act)
            assert (answer.status, bool(answer.body["detail"])) == (409, True), act
        assert (await shop.act("dance")).status == 400
        assert (await shop.act("pay", "", transaction_reference_id="1")).status == 404


async def test_an_expired_key_ends_the_payment_without_a_callback(tmp_path: Path) -> None:
    """Paymob tells nobody that a key ran out: only the shop's own clock knows."""
    async with bench(tmp_path) as shop:
        await shop.card_page()
        assert (await shop.act("expire")).status == 200
        assert (await shop.act("pay")).status == 409
        assert (await shop.act("expire")).status == 409
        assert await shop.deliveries() == []
        assert (await shop.ledger())[0]["state"] == "expired"


async def test_the_dashboard_refunds_a_part_or_the_rest(tmp_path: Path) -> None:
    """The merchant may refund behind the server's back: callbacks tell of it."""
    async with bench(tmp_path) as shop:
        await shop.card_page()
        await shop.act("pay")
        assert (await shop.act("refund", amount_minor=30001)).status == 409
        assert (await shop.act("refund", amount_minor=0)).status == 409
        assert (await shop.act("refund", amount_minor=1)).status == 200
        assert (await shop.act("refund")).status == 200
        assert (await shop.act("refund")).status == 409
        await shop.callbacks(5)
        assert (await shop.ledger())[0]["refunded_minor"] == 30000


async def test_the_clock_moves_forward_only(tmp_path: Path) -> None:
    """A clock that went back would let expired keys live again."""
    async with bench(tmp_path) as shop:
        for seconds in (-1, 1e12):
            assert (await shop.post("/__sandbox/clock", {"advance_seconds": seconds})).status == 400
        await shop.advance(90.5)
        await shop.advance(9.5)
        assert (await shop.get("/__sandbox/clock")).body["offset_seconds"] == 100.0


async def test_a_refused_callback_is_tried_again_when_the_clock_says_so(tmp_path: Path) -> None:
    """Six attempts over an hour and a bit, then none; each with the same body and signature."""
    async with bench(tmp_path) as shop:
        shop.answers = [500, 302, 404, 500, 500, 500]
        await shop.card_page()
        await shop.act("pay")
        await _attempts(shop, 1)
        for count, seconds in enumerate((2, 10, 60, 600, 3600), start=2):
            await shop.advance(seconds)
            await _attempts(shop, count)
        (delivery,) = await shop.deliveries()
        assert (delivery["state"], delivery["answer"], delivery["due_at"]) == ("given_up", 500, None)
        assert len({callback.hmac for callback in shop.received}) == 1
        assert (await shop.post("/__sandbox/deliveries/1/resend", {})).body == {"n": 2}
        await shop.callbacks(7)
        assert (await shop.post("/__sandbox/deliveries/9/resend", {})).status == 404


async def test_deliveries_show_what_was_sent_and_answered(tmp_path: Path) -> None:
    """A judge replays a delivery from its record: address, headers and exact body."""
    async with bench(tmp_path) as shop:
        await shop.card_page()
        await shop.act("pay")
        await shop.callbacks(1)
        (delivery,) = await _attempts(shop, 1)
        assert (delivery["sent"], delivery["answer"], delivery["state"]) == (True, 200, "delivered")
        assert delivery["url"].endswith(f"/hooks/paymob?hmac={shop.received[0].hmac}")
        replay = await shop.call("POST", delivery["url"], data=delivery["body"], headers=delivery["headers"])
        assert replay.status == 200
        assert shop.received[0] == shop.received[1]
        assert (await shop.get("/__sandbox/deliveries?merchant_reference=draft-1~2")).body == [delivery]
        assert (await shop.get("/__sandbox/deliveries?merchant_reference=other")).body == []


async def test_a_restart_forgets_nothing_but_the_faults(tmp_path: Path) -> None:
    """Orders, keys, tokens, clock, and a webhook that was still owed, in its turn."""
    async with bench(tmp_path) as shop:
        await shop.advance(60)
        page = await shop.card_page()
        pending = await shop.wallet("draft-2")
        shop.answers = [500]
        await shop.act("pay", "draft-2")
        await _attempts(shop, 1)
        await shop.fault("lookup", "reset")
        before = await shop.ledger()
        await shop.stop()
        await shop.start()
        assert await shop.ledger() == before
        assert (await shop.get("/__sandbox/faults")).body == []
        assert (await shop.get("/__sandbox/clock")).body["offset_seconds"] == 60.0
        assert (await shop.get(f"/api/acceptance/transactions/{pending['id']}")).status == 200
        assert (await shop.order("draft-2")).status == 422
        await shop.advance(2)
        assert (await shop.callbacks(2))[1].obj["id"] == pending["id"]
        assert (await shop.call("POST", page, data=GOOD_CARD)).status == 303
        assert (await shop.callbacks(3))[2].obj["id"] > pending["id"]


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """`kill -9` at any moment: the ledger is the oracle of the crash tests, so it must be the last to forget."""
    file = tmp_path / "state.sqlite3"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, str(file), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        address = f"http://127.0.0.1:{int(await process.stdout.readline())}"
        async with aiohttp.ClientSession(address) as http:
            async with http.post("/api/auth/tokens", json={"api_key": PAYMOB.api_key}) as answer:
                token = (await answer.json())["token"]
            body = {"auth_token": token, "amount_cents": 100, "currency": "EGP", "merchant_order_id": "draft-1"}
            async with http.post("/api/ecommerce/orders", json=body) as answer:
                order_id = (await answer.json())["id"]
    finally:
        process.kill()
        await process.wait()
    sandbox = await start(SandboxConfig(port=0, state_file=file))
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{sandbox.port}/__sandbox/ledger") as answer,
        ):
            assert [row["transaction_reference_id"] for row in await answer.json()] == [f"{order_id}"]
    finally:
        await sandbox.stop()


async def test_one_state_file_serves_one_sandbox(tmp_path: Path) -> None:
    """Two on one file would send every webhook twice."""
    async with bench(tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await start(SandboxConfig(port=0, state_file=tmp_path / "sandbox.sqlite3"))


_PROGRAM = """
import asyncio, sys
from pathlib import Path
from qirsh_sandbox import SandboxConfig, start

async def main():
    sandbox = await start(SandboxConfig(port=0, state_file=Path(sys.argv[1])))
    print(sandbox.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def _attempts(shop: Any, count: int) -> list[dict[str, Any]]:
    """Wait until the first webhook was attempted that often and its answer is on record."""
    async with asyncio.timeout(5):
        while True:
            rows: list[dict[str, Any]] = await shop.deliveries()
            if rows and rows[0]["attempts"] == count and rows[0]["state"] != "sending":
                return rows
            await asyncio.sleep(0.005)


async def test_a_webhook_in_anybodys_words_is_signed_as_the_psps_own(tmp_path: Path) -> None:
    """Events that no payer can cause, and documented bodies whose keys nobody published, can be tried no other way."""
    async with bench(tmp_path) as shop:
        await shop.wallet()
        await shop.act("pay")
        (genuine,) = await shop.callbacks(1)
        words = {**genuine.body, "obj": {**genuine.obj, "amount_cents": 77}}
        body = {"psp": "paymob", "body": json.dumps(words), "merchant_reference": "draft-2"}
        assert (await shop.post("/__sandbox/deliveries", body)).status == 201
        sent = (await shop.callbacks(2))[1]
        assert (sent.obj["amount_cents"], sent.is_authentic) == (77, True)
        assert [row["merchant_reference"] for row in await shop.deliveries()] == ["draft-1", "draft-2"]


@pytest.mark.parametrize(
    "body",
    [
        {"psp": "nobody", "body": "{}"},
        {"psp": "paymob"},
        {"psp": "paymob", "body": "{}"},
        {"psp": "paymob", "body": ""},
    ],
)
async def test_a_webhook_that_cannot_be_signed_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    """A test that sent nothing and waits for what comes of it would wait for ever."""
    async with bench(tmp_path) as shop:
        assert (await shop.post("/__sandbox/deliveries", body)).status == 400
        assert await shop.deliveries() == []
