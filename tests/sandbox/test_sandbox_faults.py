"""Faults: each kind does the damage that it names, as often as it was told, and no more."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sandbox_bench import PAYMOB, bench, until


async def test_a_reset_is_a_reset_and_does_nothing(tmp_path: Path) -> None:
    """The client sees ECONNRESET, not an orderly end; nothing was registered; the next call works."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", "reset")
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)) as caught:
            await shop.order()
        if isinstance(caught.value, OSError):
            assert caught.value.errno in {errno.ECONNRESET, errno.EPIPE, None}
        assert await shop.ledger() == []
        assert (await shop.order()).status == 201


async def test_the_reset_reaches_the_wire_as_rst(tmp_path: Path) -> None:
    """Read from a bare socket: an orderly close would read as an empty answer instead."""
    async with bench(tmp_path) as shop:
        await shop.fault("token", "reset")
        assert shop.sandbox is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.sandbox.port)
        writer.write(b"POST /api/auth/tokens HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


@pytest.mark.parametrize("kind", ["reset_after_accept", "error_after_accept", "hang_after_accept"])
async def test_after_accept_the_work_is_done(tmp_path: Path, kind: str) -> None:
    """The answer is lost, the order exists: the client's next registration is a duplicate."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", kind, seconds=0.05)
        try:
            answer = await shop.order()
        except aiohttp.ClientError:
            assert kind != "error_after_accept"
        else:
            assert (kind, answer.status) == ("error_after_accept", 500)
        assert (await shop.order()).status == 422
        assert [row["merchant_reference"] for row in await shop.ledger()] == ["draft-1"]


async def test_a_hang_keeps_the_socket_open_until_the_client_leaves(tmp_path: Path) -> None:
    """A time-out must be the client's own: the sandbox neither answers nor closes."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", "hang")
        call = asyncio.create_task(shop.order())
        done, _ = await asyncio.wait({call}, timeout=0.3)
        assert not done
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await shop.ledger() == []


async def test_a_hanging_call_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Stopping lets go of it at once; a developer's Ctrl-C does not wait an hour."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", "hang")
        call = asyncio.create_task(shop.order())
        async with asyncio.timeout(5):
            while (await shop.get("/__sandbox/faults")).body:
                pass
        async with asyncio.timeout(3):
            await shop.stop()
        with pytest.raises(aiohttp.ClientError):
            await call


@pytest.mark.parametrize(
    ("kind", "more", "status"),
    [("error", {}, 500), ("error", {"status": 404}, 404), ("html", {}, 502), ("rate_limit", {}, 429)],
)
async def test_a_wrong_answer_did_nothing(tmp_path: Path, kind: str, more: Any, status: int) -> None:
    """The answers a client must not mistake for a refusal of the payment."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", kind, **more)
        answer = await shop.order()
        assert answer.status == status
        assert answer.headers.get("Retry-After") == ("1" if kind == "rate_limit" else None)
        assert answer.headers["Content-Type"].startswith("text/html" if kind == "html" else "application/json")
        assert await shop.ledger() == []


async def test_a_slow_answer_comes(tmp_path: Path) -> None:
    """Late, and right."""
    async with bench(tmp_path) as shop:
        await shop.fault("token", "slow", seconds=0.2)
        started = asyncio.get_running_loop().time()
        assert (await shop.log_in()).status == 201
        assert asyncio.get_running_loop().time() - started >= 0.2


async def test_a_fault_hits_as_often_and_where_it_was_told(tmp_path: Path) -> None:
    """`times` counts down, `skip` lets calls through, `path` picks one call of an operation, DELETE clears."""
    async with bench(tmp_path) as shop:
        await shop.fault("register", "error", times=2, path="payment_keys", skip=1)
        order_id = (await shop.order()).body["id"]
        assert [(await shop.key(order_id)).status for _ in range(4)] == [201, 500, 500, 201]
        await shop.fault("lookup", "error", times=5)
        assert (await shop.get(f"/api/ecommerce/orders/{order_id}")).status == 500
        assert [fault["times"] for fault in (await shop.get("/__sandbox/faults")).body] == [4]
        await shop.call("DELETE", "/__sandbox/faults")
        assert (await shop.get(f"/api/ecommerce/orders/{order_id}")).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"psp": "other"},
        {"operation": "webhook"},
        {"kind": "drop"},
        {"kind": "sulk"},
        {"times": 0},
        {"seconds": -1},
        {"status": 200},
        {"extra": 1},
    ],
)
async def test_a_fault_that_can_never_hit_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """A test with a mistyped fault would pass for the wrong reason."""
    async with bench(tmp_path, log_in=False) as shop:
        body = {"psp": "paymob", "operation": "register", "kind": "reset", "times": 1, **change}
        answer = await shop.post("/__sandbox/faults", body)
        assert (answer.status, bool(answer.body["detail"])) == (400, True)


async def test_refund_faults_hit_refund_and_void(tmp_path: Path) -> None:
    """A refund whose answer is lost is the dearest of all: it must be possible to test."""
    async with bench(tmp_path) as shop:
        await shop.card_page()
        await shop.act("pay")
        transaction_id = (await shop.callbacks(1))[0].obj["id"]
        await shop.fault("refund", "error_after_accept")
        body = {"transaction_id": transaction_id, "amount_cents": 30000}
        assert (await shop.post("/api/acceptance/void_refund/refund", body)).status == 500
        assert (await shop.ledger())[0]["refunded_minor"] == 30000


async def test_webhooks_are_dropped_doubled_and_spoilt(tmp_path: Path) -> None:
    """One fault, one webhook; the record keeps the dropped one too."""
    async with bench(tmp_path) as shop:
        for kind in ("drop", "duplicate", "corrupt_signature", "wrong_amount"):
            await shop.fault("webhook", kind)
        for number in range(5):
            await shop.card_page(f"draft-{number}")
            await shop.act("pay", f"draft-{number}")
        received = await shop.callbacks(5)
        by_reference: dict[str, list[Any]] = {}
        for callback in received:
            by_reference.setdefault(callback.obj["order"]["merchant_order_id"], []).append(callback)
        assert "draft-0" not in by_reference
        assert len(by_reference["draft-1"]) == 2
        assert by_reference["draft-1"][0] == by_reference["draft-1"][1]
        assert not by_reference["draft-2"][0].is_authentic
        assert by_reference["draft-3"][0].is_authentic
        assert by_reference["draft-3"][0].obj["amount_cents"] == 30001
        assert by_reference["draft-4"][0].obj["amount_cents"] == 30000
        dropped = (await shop.deliveries())[0]
        assert (dropped["state"], dropped["sent"], dropped["merchant_reference"]) == ("dropped", False, "draft-0")
        assert (await shop.ledger())[0]["state"] == "paid"


async def test_a_webhook_is_sent_as_often_as_it_is_told(tmp_path: Path) -> None:
    """PSPs say "at least once", and some have been seen to mean five times."""
    async with bench(tmp_path) as shop:
        await shop.fault("webhook", "duplicate", copies=5)
        await shop.card_page()
        await shop.act("pay")
        received = await shop.callbacks(5)
        assert all(one == received[0] for one in received)
        once = {"psp": "paymob", "operation": "webhook", "kind": "duplicate", "copies": 1}
        assert (await shop.post("/__sandbox/faults", once)).status == 400


async def test_a_delayed_webhook_waits_for_the_clock(tmp_path: Path) -> None:
    """By the PSPs' clock, so that a test of an hour's delay takes no hour."""
    async with bench(tmp_path) as shop:
        await shop.fault("webhook", "delay", seconds=3600)
        await shop.card_page()
        await shop.act("pay")
        (delivery,) = await shop.deliveries()
        assert (delivery["state"], delivery["sent"]) == ("waiting", False)
        await shop.advance(3600)
        await shop.callbacks(1)


async def test_a_webhook_fault_can_pick_its_reference(tmp_path: Path) -> None:
    """Many payments run at once in a load test; only one of them is to be hit."""
    async with bench(tmp_path) as shop:
        await shop.fault("webhook", "drop", path="draft-2")
        for number in (1, 2):
            await shop.card_page(f"draft-{number}")
            await shop.act("pay", f"draft-{number}")
        await shop.callbacks(1)
        assert [delivery["state"] == "dropped" for delivery in await shop.deliveries()] == [False, True]


async def test_a_reordered_webhook_is_overtaken(tmp_path: Path) -> None:
    """The next one arrives first."""
    async with bench(tmp_path) as shop:
        await shop.fault("webhook", "reorder")
        for number in (1, 2):
            await shop.card_page(f"draft-{number}")
            await shop.act("pay", f"draft-{number}")
        received = await shop.callbacks(2)
        references = [callback.obj["order"]["merchant_order_id"] for callback in received]
        assert references == ["draft-2", "draft-1"]


async def test_many_at_once_are_each_served_once(tmp_path: Path) -> None:
    """A hundred payers at the same moment: a hundred orders, payments and callbacks."""
    async with bench(tmp_path) as shop:

        async def buy(number: int) -> int:
            await shop.wallet(f"draft-{number}")
            return (await shop.act("pay", f"draft-{number}")).status

        assert set(await asyncio.gather(*(buy(number) for number in range(100)))) == {200}
        await until(lambda: len(shop.received) >= 100)
        rows = await shop.ledger()
        assert {row["state"] for row in rows} == {"paid"}
        assert len({row["transaction_reference_id"] for row in rows}) == 100
        assert len({callback.obj["id"] for callback in shop.received}) == 100
        assert {callback.obj["integration_id"] for callback in shop.received} == {PAYMOB.wallet_integration_id}
