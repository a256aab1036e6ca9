"""Money that goes back at the fake Paymob, and kiosk bills, whose money does not."""

from pathlib import Path

import pytest
from sandbox_bench import GOOD_CARD, GOOD_PIN, PAYMOB, bench


async def test_refunds_add_up_and_stop_at_the_amount(tmp_path: Path) -> None:
    """Each refund is a child with callbacks for both; what is too much is refused in Paymob's words."""
    async with bench(tmp_path) as shop:
        pending = await shop.wallet()
        await shop.call("POST", pending["redirect_url"], data=GOOD_PIN)
        await shop.callbacks(1)
        path = "/api/acceptance/void_refund/refund"
        child = (await shop.post(path, {"transaction_id": pending["id"], "amount_cents": "10000"})).body
        assert (child["is_refund"], child["parent_transaction"], child["amount_cents"]) == (True, pending["id"], 10000)
        assert (child["has_parent_transaction"], child["is_standalone_payment"]) == (True, False)
        both = {callback.obj["id"]: callback for callback in (await shop.callbacks(3))[1:]}
        assert set(both) == {child["id"], pending["id"]}
        assert both[pending["id"]].obj["refunded_amount_cents"] == 10000
        assert all(callback.is_authentic for callback in both.values())
        assert (await shop.ledger())[0]["state"] == "partially_refunded"
        much = await shop.post(path, {"transaction_id": pending["id"], "amount_cents": 20001})
        assert (much.status, "Maximum Refund Amount is EGP 200.0" in much.body["message"]) == (400, True)
        header = {"Authorization": f"Token {PAYMOB.secret_key}"}
        rest = {"transaction_id": pending["id"], "amount_cents": 20000}
        assert (await shop.call("POST", path, json=rest, headers=header)).status == 200
        row = (await shop.ledger())[0]
        assert (row["state"], row["paid_minor"], row["refunded_minor"]) == ("refunded", 30000, 30000)


@pytest.mark.parametrize(("act", "refunded", "callbacks"), [("release", 10_000, 3), ("deny", 0, 2)])
async def test_a_refund_may_wait_and_ends_either_way(tmp_path: Path, act: str, refunded: int, callbacks: int) -> None:
    """The payment's sum grows when it is done and not before; what waits cannot go back a second time."""
    async with bench(tmp_path) as shop:
        await shop.call("POST", await shop.card_page(), data=GOOD_CARD)
        paid = (await shop.callbacks(1))[0].obj["id"]
        assert (await shop.act("review")).status == 200
        path = "/api/acceptance/void_refund/refund"
        child = (await shop.post(path, {"transaction_id": paid, "amount_cents": 10000})).body
        assert (child["pending"], child["success"], child["is_refund"]) == (True, False, True)
        parent = (await shop.get(f"/api/acceptance/transactions/{paid}")).body
        assert (parent["is_refunded"], parent["refunded_amount_cents"]) == (False, 0)
        assert (await shop.post(path, {"transaction_id": paid, "amount_cents": 20001})).status == 400
        assert (await shop.post("/api/acceptance/void_refund/void", {"transaction_id": paid})).status == 400
        assert (await shop.act("pay")).status == 409
        assert (await shop.act(act)).status == 200
        told = (await shop.callbacks(callbacks))[1:]
        assert {callback.obj["id"] for callback in told} == ({child["id"], paid} if refunded else {child["id"]})
        ended = (await shop.get(f"/api/acceptance/transactions/{child['id']}")).body
        assert (ended["pending"], ended["success"]) == (False, bool(refunded))
        assert [row["refunded_minor"] for row in await shop.ledger()] == [refunded]


async def test_a_refund_may_fail_at_once(tmp_path: Path) -> None:
    """200 with a child that did not succeed, until the payment's refunds are let through again."""
    async with bench(tmp_path) as shop:
        await shop.call("POST", await shop.card_page(), data=GOOD_CARD)
        body = {"transaction_id": (await shop.callbacks(1))[0].obj["id"], "amount_cents": 30000}
        assert (await shop.act("deny")).status == 200
        failed = await shop.post("/api/acceptance/void_refund/refund", body)
        assert (failed.status, failed.body["success"], failed.body["pending"]) == (200, False, False)
        assert [row["refunded_minor"] for row in await shop.ledger()] == [0]
        assert (await shop.act("release")).status == 200
        done = await shop.post("/api/acceptance/void_refund/refund", body)
        assert (done.status, done.body["success"]) == (200, True)
        assert [row["refunded_minor"] for row in await shop.ledger()] == [30000]
        for act in ("review", "release", "deny"):
            assert (await shop.act(act)).status == 409, act


async def test_a_card_is_voided_on_its_day_only(tmp_path: Path) -> None:
    """A void gives all back, once, before midnight in Cairo."""
    async with bench(tmp_path) as shop:
        for number in (1, 2):
            await shop.call("POST", await shop.card_page(f"draft-{number}"), data=GOOD_CARD)
        await shop.callbacks(2)
        first, second = sorted(callback.obj["id"] for callback in shop.received)
        path = "/api/acceptance/void_refund/void"
        child = (await shop.post(path, {"transaction_id": first})).body
        assert (child["is_void"], child["amount_cents"], child["parent_transaction"]) == (True, 30000, first)
        assert (await shop.post(path, {"transaction_id": first})).status == 400
        row = (await shop.ledger())[0]
        assert (row["state"], row["refunded_minor"]) == ("voided", 30000)
        await shop.advance(86_400)
        await shop.log_in()
        assert (await shop.post(path, {"transaction_id": second})).status == 400


async def test_a_kiosk_bill_has_a_number_and_is_paid_or_expires(tmp_path: Path) -> None:
    """The expired bill is Paymob's oddest callback: voided, its words unchanged."""
    async with bench(tmp_path) as shop:
        bills = []
        for number in (1, 2):
            order_id = (await shop.order(f"draft-{number}")).body["id"]
            key = (await shop.key(order_id, integration_id=PAYMOB.kiosk_integration_id)).body["token"]
            source = {"identifier": "AGGREGATOR", "subtype": "AGGREGATOR"}
            answer = await shop.post("/api/acceptance/payments/pay", {"source": source, "payment_token": key})
            bills.append(answer.body)
        assert bills[0]["data"]["bill_reference"] == bills[0]["id"]
        assert (await shop.act("decline", "draft-1")).status == 409
        assert (await shop.act("pay", "draft-1")).status == 200
        assert (await shop.act("expire", "draft-2")).status == 200
        by_id = {callback.obj["id"]: callback.obj for callback in await shop.callbacks(2)}
        assert by_id[bills[0]["id"]]["success"] is True
        expired = by_id[bills[1]["id"]]
        assert (expired["is_voided"], expired["pending"], expired["success"]) == (True, False, False)
        assert expired["data"] == bills[1]["data"]
        assert [row["state"] for row in await shop.ledger()] == ["paid", "expired"]
        assert (await shop.act("refund", "draft-1")).status == 409
