"""A payer takes a number from Paymob to a kiosk, and pays in cash there, or does not."""

import json
from typing import Any

import pytest

from qirsh.gateways.paymob.transactions import read_pay_answer
from world import World, a_request, eventually

DAY = 86_400
BEFORE = ("reset", "error", "html", "rate_limit")
AFTER = ("reset_after_accept", "error_after_accept")


def a_kiosk_request(**fields: Any) -> dict[str, Any]:
    """A valid kiosk initiate."""
    return a_request(**{"payment_method": "kiosk", **fields})


async def finished(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Ask with the same key until there is a 201, as a page does."""

    async def ask() -> dict[str, Any] | None:
        answer = await world.initiate(**request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        body: dict[str, Any] = answer.json()
        return body if answer.status_code == 201 else None

    return await eventually(ask, "a 201 for the same key", 30)


async def registered(world: World, draft_id: str) -> int:
    """How many orders of a draft a payer could pay."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    return int(ledger["registered"])


async def test_a_kiosk_payment_goes_from_a_number_to_the_shops_delivery(world: World) -> None:
    """The payer quotes the number and pays in cash, perhaps tomorrow."""
    answer = await world.initiate(**a_kiosk_request())

    assert answer.status_code == 201, answer.text
    body = answer.json()
    draft_id, code = body["paymentDraftId"], body["actionData"]["code"]
    assert body["paymentAction"] == "reference_code"
    assert body["actionData"] == {"code": code, "biller": "Aman, Masary", "amount": "300.00"}
    assert code.isdecimal()
    assert await registered(world, draft_id) == 1

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")

    assert completed["amount"] == "300.00"
    (delivery,) = await world.delivered(draft_id)
    assert str(json.loads(delivery["body"])["obj"]["data"]["bill_reference"]) == code
    await eventually(lambda: _announced(world, draft_id), "the announcement")


async def test_a_bill_that_waits_for_a_day_is_waited_for(world: World) -> None:
    """Its transaction says pending all the while; nothing but an explicit success may complete the draft."""
    draft_id = (await world.initiate(**a_kiosk_request())).json()["paymentDraftId"]

    await world.advance(DAY)
    await eventually(lambda: _looked_up(world, draft_id), "a look-up")
    assert await world.state(draft_id) == "awaiting_user_action"

    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "pay")
    await world.advance(DAY / 2)
    await world.becomes(draft_id, "completed")


async def test_an_expired_bill_fails_the_draft_at_once(world: World) -> None:
    """Paymob tells of it by a callback that only looks like a void."""
    draft_id = (await world.initiate(**a_kiosk_request())).json()["paymentDraftId"]

    await world.act(draft_id, "expire")
    failed = await world.becomes(draft_id, "failed")

    assert failed["reason"] == "expired"
    journal = (await world.payment(draft_id))["journal"]
    assert [(entry["event"]["kind"], entry["source"]) for entry in journal] == [
        ("registered", "initiate"),
        ("failed", "webhook"),
    ]


async def test_an_expired_bill_whose_callback_is_lost_is_found_by_the_look_up(world: World) -> None:
    """The look-up must say what the callback would have said."""
    draft_id = (await world.initiate(**a_kiosk_request())).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "expire")

    await world.advance(125)
    failed = await world.becomes(draft_id, "failed")

    assert failed["reason"] == "expired"
    assert (await world.payment(draft_id))["journal"][-1]["source"] == "lookup"


async def test_cash_that_comes_after_the_draft_expired_completes_it(world: World) -> None:
    """The bill may outlive the draft; late money is money."""
    draft_id = (await world.initiate(**a_kiosk_request())).json()["paymentDraftId"]
    await world.advance(2 * DAY + 60)
    assert (await world.becomes(draft_id, "failed"))["reason"] == "expired"

    await world.act(draft_id, "pay")

    await world.becomes(draft_id, "completed")


@pytest.mark.parametrize("kind", BEFORE + AFTER)
@pytest.mark.parametrize("path", ["orders", "payment_keys", "payments/pay"])
async def test_a_lost_step_is_finished_by_the_same_key_with_one_bill(world: World, path: str, kind: str) -> None:
    """Whatever was lost at whichever step, the page's retry ends in one number for one order."""
    request = a_kiosk_request()
    await world.fault("register", kind, path=path)

    first = await world.initiate(**request)

    assert first.status_code in {201, 202, 503}, first.text
    body = await finished(world, request)
    draft_id = body["paymentDraftId"]
    assert body["paymentAction"] == "reference_code"
    assert await registered(world, draft_id) == 1
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    (delivery,) = await world.delivered(draft_id)
    assert str(json.loads(delivery["body"])["obj"]["data"]["bill_reference"]) == body["actionData"]["code"]


async def test_a_lost_bill_is_shown_and_never_asked_for_twice(world: World) -> None:
    """A payer with two numbers could pay both; so the retry reads the first, and sends no second pay."""
    request = a_kiosk_request()
    await world.fault("register", "reset_after_accept", path="payments/pay")
    assert (await world.initiate(**request)).status_code == 202
    await world.fault("register", "error", path="payments/pay")

    body = await finished(world, request)

    armed = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
    assert [fault["path"] for fault in armed] == ["payments/pay"], "a second pay was sent"
    assert await registered(world, body["paymentDraftId"]) == 1
    assert (await world.initiate(**request)).json() == body


def test_the_answer_on_paymobs_own_page_can_be_read() -> None:
    """https://docs.paymob.com/docs/kiosk-payments prints what captures do not: text for booleans, a bare order."""
    printed = {
        "id": 580, "pending": "true", "amount_cents": 100, "success": "false", "is_auth": "false",
        "is_standalone_payment": "true", "is_capture": "false", "is_voided": "false", "is_refunded": "false",
        "integration_id": 35, "has_parent_transaction": "false", "order": 103,
        "created_at": "2018-04-18T12:29:43.523592", "currency": "EGP",
        "source_data": {"pan": "", "type": "aggregator", "sub_type": "AGGREGATOR"},
        "data": {"bill_reference": 580, "txn_response_code": "05", "message": "Pending Payment", "biller": "null"},
    }  # fmt: skip

    transaction = read_pay_answer(printed)

    assert transaction is not None
    assert (transaction.pending, transaction.success, transaction.order.id) == (True, False, 103)
    assert transaction.bill_reference == "580"
    assert read_pay_answer({**printed, "order": None}) is None
    assert read_pay_answer("Not found.") is None


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))


async def _looked_up(world: World, draft_id: str) -> bool:
    attempts = await world.fetchval("SELECT attempts FROM payment_drafts WHERE id::text = $1", draft_id)
    return bool(attempts)
