"""Paymob's webhooks: repeated, early, late, unknown, wrong, forged, all at once."""

import asyncio
import hashlib
import hmac
import json
import uuid
from typing import Any

from world import World, a_wallet_request, eventually

FIELDS = (
    *("amount_cents", "created_at", "currency", "error_occured", "has_parent_transaction", "id", "integration_id"),
    *("is_3d_secure", "is_auth", "is_capture", "is_refunded", "is_standalone_payment", "is_voided", "order.id"),
    *("owner", "pending", "source_data.pan", "source_data.sub_type", "source_data.type", "success"),
)


def signed(world: World, obj: dict[str, Any]) -> dict[str, Any]:
    """A callback as Paymob would send it for this transaction, with a valid signature."""
    texts = []
    for name in FIELDS:
        value: Any = obj
        for part in name.split("."):
            value = value.get(part)
        texts.append({True: "true", False: "false", None: ""}.get(value, str(value)) if value is not None else "")
    digest = hmac.new(b"sandbox_paymob_hmac_secret", "".join(texts).encode(), hashlib.sha512).hexdigest()
    return {
        "url": f"{world.api}/api/payments/webhook-handler/paymob?hmac={digest}",
        "body": json.dumps({"type": "TRANSACTION", "obj": obj}),
    }


async def a_paid_delivery(world: World) -> tuple[str, dict[str, Any]]:
    """A draft that is paid at the PSP while its webhook has not come, and that webhook."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop")
    await world.act(draft_id, "pay")
    (delivery,) = await eventually(lambda: _recorded(world, draft_id), "the dropped webhook")
    return draft_id, delivery


async def _recorded(world: World, draft_id: str) -> list[dict[str, Any]] | None:
    return await world.deliveries(draft_id) or None


def obj_of(delivery: dict[str, Any]) -> dict[str, Any]:
    """The transaction in a recorded webhook."""
    body = delivery["body"]
    read: dict[str, Any] = (json.loads(body) if isinstance(body, str) else body)["obj"]
    return read


async def test_the_same_webhook_five_times_completes_and_announces_once(world: World) -> None:
    """PSPs repeat; the event's id and the state table both stand against a second completion."""
    draft_id, delivery = await a_paid_delivery(world)

    answers = [await world.post_webhook(delivery) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert await world.state(draft_id) == "completed"
    verdicts = await world.fetchval(
        "SELECT array_agg(verdict ORDER BY id) FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id)
    )
    assert verdicts == ["applied", "repeated", "repeated", "repeated", "repeated"]
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def test_twenty_concurrent_webhooks_for_one_draft_complete_it_once_without_deadlock(world: World) -> None:
    """Ten copies of one event and ten different ones: who locks the draft first never waits for who locks it second."""
    draft_id, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    declines = [signed(world, {**obj, "id": obj["id"] + 1000 + n, "success": False}) for n in range(10)]

    answers = await asyncio.gather(*(world.post_webhook(one) for one in [delivery] * 10 + declines))

    assert {answer.status_code for answer in answers} == {200}
    assert await world.state(draft_id) == "completed"
    payment = await world.payment(draft_id)
    assert payment["payment_reference"] == str(obj["id"])
    assert sum(entry["verdict"] == "applied" and entry["event"]["kind"] == "paid" for entry in payment["journal"]) == 1
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def test_the_address_without_a_gateway_recognises_paymob_by_its_signature(world: World) -> None:
    """A shop that configured the short address must be served as well."""
    draft_id, delivery = await a_paid_delivery(world)

    answer = await world.post_webhook(
        delivery, url=delivery["url"].replace("/webhook-handler/paymob?", "/webhook-handler?")
    )

    assert answer.status_code == 200
    assert await world.state(draft_id) == "completed"


async def test_a_raw_body_is_kept_as_it_came(world: World) -> None:
    """What was signed is what must be kept: a re-encoded body proves nothing later."""
    draft_id, delivery = await a_paid_delivery(world)

    await world.post_webhook(delivery)

    kept = await world.fetchval("SELECT body FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id))
    assert kept == delivery["body"].encode()


async def test_a_payment_of_another_amount_is_reviewed_and_never_completes(world: World) -> None:
    """A valid signature over the wrong sum is still the wrong sum; the look-up it causes finds the right one."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "wrong_amount")
    await world.fault("lookup", "error", times=50)
    await world.act(draft_id, "pay")
    await world.delivered(draft_id)

    payment = await world.payment(draft_id)

    assert payment["status"] == "awaiting_user_action"
    assert payment["needs_review"] is True
    assert payment["journal"][-1]["review_reason"] == "amount_mismatch"
    await world.heal()


async def test_a_payment_in_another_currency_is_reviewed(world: World) -> None:
    """300.00 of something cheaper is not the price."""
    draft_id, delivery = await a_paid_delivery(world)
    await world.fault("lookup", "error", times=50)

    answer = await world.post_webhook(signed(world, {**obj_of(delivery), "currency": "USD"}))

    assert answer.status_code == 200
    payment = await world.payment(draft_id)
    assert (payment["status"], payment["needs_review"]) == ("awaiting_user_action", True)


async def test_a_corrupted_signature_is_refused_and_leaves_no_trace(world: World) -> None:
    """Nothing of an unauthentic delivery may be stored: anybody can send one."""
    draft_id, delivery = await a_paid_delivery(world)
    url, signature = delivery["url"].split("hmac=")
    for wrong in ("", "0" * 128, signature[:-1] + ("0" if signature[-1] != "0" else "1"), signature.upper()):
        answer = await world.post_webhook(delivery, url=f"{url}hmac={wrong}")
        assert answer.status_code == 401, wrong
        assert answer.json()["code"] == "webhook_not_authentic"
        assert signature not in answer.text
    changed = (
        delivery["body"].replace('"success":true', '"success":false').replace('"success": true', '"success": false')
    )
    assert changed != delivery["body"]
    assert (await world.post_webhook(delivery, body=changed)).status_code == 401
    assert await world.fetchval("SELECT count(*) FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id)) == 0
    assert await world.state(draft_id) == "awaiting_user_action"


async def test_a_split_that_moves_digits_into_another_order_completes_nobody(world: World) -> None:
    """One signature fits several splits; with our owner pinned down, a moved digit makes a hint and no payment."""
    draft_id, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    owner = str(obj["owner"])
    # Digits are moved up to where the rest is a number as it is written: one that began with 0 would sign differently.
    cut = next(place for place in range(1, len(owner)) if owner[place:] == str(int(owner[place:])))
    order = {**obj["order"], "id": int(f"{obj['order']['id']}{owner[:cut]}")}
    forged = {**obj, "order": order, "owner": int(owner[cut:])}

    answer = await world.post_webhook(delivery, body=json.dumps({"type": "TRANSACTION", "obj": forged}))

    assert answer.status_code == 200
    verdict = await world.fetchval(
        "SELECT verdict FROM webhook_deliveries WHERE body = $1",
        json.dumps({"type": "TRANSACTION", "obj": forged}).encode(),
    )
    assert verdict == "lookup"
    journal = (await world.payment(draft_id))["journal"]
    assert all(entry["source"] != "webhook" for entry in journal)


async def test_a_split_that_moves_a_digit_into_the_amount_is_refused(world: World) -> None:
    """The first digit of the date can be read as the last of the amount; then the date is no date."""
    _, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    created_at = obj["created_at"]
    forged = {**obj, "amount_cents": int(f"{obj['amount_cents']}{created_at[0]}"), "created_at": created_at[1:]}

    answer = await world.post_webhook(delivery, body=json.dumps({"type": "TRANSACTION", "obj": forged}))

    assert answer.status_code == 401


async def test_a_merchant_order_id_is_not_believed(world: World) -> None:
    """It is unsigned: a payer with a valid signature of his own could name somebody else's draft of the same price."""
    victim = (await world.initiate()).json()["paymentDraftId"]
    _, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    forged = {**obj, "order": {**obj["order"], "merchant_order_id": victim}}

    answer = await world.post_webhook(delivery, body=json.dumps({"type": "TRANSACTION", "obj": forged}))

    assert answer.status_code == 200
    assert await world.state(victim) == "awaiting_user_action"


async def test_a_webhook_that_comes_before_initiate_has_committed_is_joined_later(world: World) -> None:
    """Paymob may call before our second transaction; the fact waits, and completes the draft that appears."""
    request = a_wallet_request()
    await world.fault("register", "hang_after_accept", path="payments/pay", seconds=4)
    initiating = asyncio.create_task(world.initiate(**request))
    draft_id = await eventually(
        lambda: world.fetchval(
            "SELECT id::text FROM payment_drafts WHERE idempotency_key = $1", request["idempotency_key"]
        ),
        "the draft",
    )
    await eventually(lambda: _registered(world, draft_id), "the registration")
    await world.act(draft_id, "pay")
    await world.delivered(draft_id)
    unmatched = await world.fetchval(
        "SELECT verdict FROM webhook_deliveries WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'", draft_id
    )

    await initiating
    body = await world.becomes(draft_id, "completed")

    assert unmatched == "unmatched"
    assert body["amount"] == "300.00"
    replay = await world.initiate(**request)
    assert replay.status_code == 201
    assert replay.json()["paymentDraftId"] == draft_id
    assert replay.json()["paymentAction"] is None, "paid before its action was stored: the page goes to status"
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def _registered(world: World, draft_id: str) -> bool:
    ledger = await world.ledger(draft_id)
    return ledger is not None and ledger["registered"] == 1


async def test_a_webhook_for_an_order_that_is_not_ours_is_kept_and_answered_200(world: World) -> None:
    """A merchant may sell elsewhere with the same account; a refusal would only make the PSP repeat for days."""
    _, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    foreign = {**obj, "id": 987_654_321, "order": {"id": 123_456_789, "merchant_order_id": "other-shop-7"}}

    answer = await world.post_webhook(signed(world, foreign))

    assert answer.status_code == 200
    waiting = await world.fetchval("SELECT count(*) FROM unmatched_events WHERE event_id = '987654321:False:True'")
    assert waiting == 1


async def test_late_money_completes_an_expired_draft(world: World) -> None:
    """Late money is money: the payer paid, so the shop must deliver or refund, not lose it."""
    draft_id, delivery = await a_paid_delivery(world)
    await world.fault("lookup", "error", times=500)
    draft = uuid.UUID(draft_id)
    await world.fetchval(
        "UPDATE payment_drafts SET state = 'failed', reason = 'expired' WHERE id = $1 RETURNING true", draft
    )

    answer = await world.post_webhook(delivery)

    assert answer.status_code == 200
    assert await world.state(draft_id) == "completed"


async def test_a_webhook_in_another_encoding_of_json_is_still_the_same_delivery(world: World) -> None:
    """The signature covers values, so white space and the order of keys must not matter."""
    draft_id, delivery = await a_paid_delivery(world)
    reordered = json.dumps(dict(reversed(json.loads(delivery["body"]).items())), indent=2)

    answer = await world.post_webhook(delivery, body=reordered)

    assert answer.status_code == 200
    assert await world.state(draft_id) == "completed"


async def test_what_is_not_a_transaction_is_checked_and_ignored(world: World) -> None:
    """Saved-card tokens come to the same address; they move nothing, and must still be authentic."""
    obj = {
        "id": 1, "token": "t", "masked_pan": "xxxx", "merchant_id": 2, "card_subtype": "Visa",
        "created_at": "2026-01-01T00:00:00", "email": "a@example.com", "order_id": "3",
    }  # fmt: skip
    names = ["card_subtype", "created_at", "email", "id", "masked_pan", "merchant_id", "order_id", "token"]
    digest = hmac.new(b"sandbox_paymob_hmac_secret", "".join(str(obj[n]) for n in names).encode(), hashlib.sha512)
    url = f"{world.api}/api/payments/webhook-handler/paymob?hmac={digest.hexdigest()}"
    body = {"type": "TOKEN", "obj": obj}

    assert (await world.post_webhook({"url": url, "body": body})).status_code == 200
    body["obj"] = {**obj, "order_id": "4"}
    assert (await world.post_webhook({"url": url, "body": body})).status_code == 401


async def test_a_signed_field_that_is_left_out_makes_no_payment(world: World) -> None:
    """A missing field signs as nothing, so its text can hide in a neighbour: an authorisation could pass for one."""
    draft_id, delivery = await a_paid_delivery(world)
    genuine = obj_of(signed(world, {**obj_of(delivery), "is_auth": True}))
    url = signed(world, genuine)["url"]
    forged = {name: value for name, value in genuine.items() if name != "is_auth"}
    forged["is_3d_secure"] = f"{str(genuine['is_3d_secure']).lower()}true"

    answer = await world.post_webhook({"url": url, "body": {"type": "TRANSACTION", "obj": forged}})

    assert answer.status_code == 401
    assert await world.state(draft_id) == "awaiting_user_action"


async def test_a_repeat_keeps_no_second_body(world: World) -> None:
    """Whoever holds one valid signature, as every payer does, could fill the disk with padded repeats."""
    draft_id, delivery = await a_paid_delivery(world)
    await world.post_webhook(delivery)
    padded = json.dumps({**json.loads(delivery["body"]), "padding": "x" * 900_000})

    assert (await world.post_webhook(delivery, body=padded)).status_code == 200

    kept = await world.fetchval(
        "SELECT sum(octet_length(body)) FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id)
    )
    assert kept == len(delivery["body"].encode())


async def test_characters_that_a_database_does_not_take_lose_no_payment(world: World) -> None:
    """NUL, and text that only looks like an escaped one, in fields that no signature covers."""
    draft_id, delivery = await a_paid_delivery(world)
    obj = obj_of(delivery)
    obj["data"] = {**obj["data"], "txn_response_code": "\\u0000\x00"}

    answer = await world.post_webhook(delivery, body=json.dumps({"type": "TRANSACTION", "obj": obj}))

    assert answer.status_code == 200, answer.text
    assert await world.state(draft_id) == "completed"
