"""A payer buys a product with a card at Paymob."""

import json
import uuid

from standardwebhooks import Webhook

from world import FULFILMENT_SECRET, World, eventually


async def test_a_card_payment_goes_from_initiate_to_one_announcement_at_the_shop(world: World) -> None:
    """The product's main promise, over real sockets from the first request to the shop's delivery."""
    order = f"A-{uuid.uuid4()}"
    answer = await world.initiate(order_reference=order)

    assert answer.status_code == 201, answer.text
    body = answer.json()
    draft_id = body["paymentDraftId"]
    assert set(body) == {"paymentDraftId", "paymentAction", "actionData", "expiresAt"}
    assert body["paymentAction"] == "redirect_url"
    assert body["actionData"]["display"] == "iframe"
    assert body["actionData"]["url"].startswith(f"{world.sandbox}/api/acceptance/iframes/810001?payment_token=")
    waiting = (await world.status(draft_id)).json()
    assert waiting["status"] == "awaiting_user_action"
    assert waiting["actionData"] == body["actionData"]
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["amount_minor"], ledger["currency"]) == (1, 30000, "EGP")

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")

    assert (completed["amount"], completed["currency"], completed["refunded"]) == ("300.00", "EGP", "0.00")
    assert "paymentAction" not in completed
    headers, raw = (await eventually(lambda: _announced(world, draft_id), "the announcement"))[0]
    announced = Webhook(FULFILMENT_SECRET).verify(raw, headers)
    assert announced["type"] == "payment.completed"
    assert announced["data"] == {
        "paymentDraftId": draft_id,
        "product_id": "tshirt",
        "quantity": 1,
        "order_reference": order,
        "amount": "300.00",
        "currency": "EGP",
        "refunded": "0.00",
    }
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def test_a_declined_try_leaves_the_order_payable_and_a_later_success_completes_it(world: World) -> None:
    """Paymob keeps the order open after a decline; calling the draft failed would lose the payer's second try."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]

    await world.act(draft_id, "decline")
    await world.delivered(draft_id)
    after_decline = (await world.status(draft_id)).json()
    assert after_decline["status"] == "awaiting_user_action"
    assert after_decline["reason"] == "card_declined"
    assert after_decline["paymentAction"] == "redirect_url"

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")
    assert completed["reason"] is None
    kinds = [entry["event"]["kind"] for entry in (await world.payment(draft_id))["journal"]]
    assert kinds == ["registered", "declined", "paid"]


async def test_the_browser_coming_back_completes_a_payment_whose_webhook_is_lost(world: World) -> None:
    """The redirect proves nothing, but it is a hint: the look-up it causes finds the payment."""
    draft_id = (await world.initiate(return_url="https://shop.example/thanks?order=7")).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    action = (await world.status(draft_id)).json()["actionData"]["url"]
    form = {"card_number": "5123456789012346", "card_name": "T", "card_expiry": "01/39", "card_cvv": "123"}
    paid = await world.client.post(action, data={**form, "action": "pay"})
    assert paid.status_code == 303, paid.text

    back = await world.client.get(paid.headers["location"])

    assert back.status_code == 303
    assert back.headers["location"] == "https://shop.example/thanks?order=7"
    assert await world.state(draft_id) == "completed"


async def test_a_browser_with_a_forged_redirect_learns_nothing_and_moves_nothing(world: World) -> None:
    """The return address is open to everyone."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    query = {"order": ledger["transaction_reference_id"], "success": "true", "hmac": "0" * 128}

    answer = await world.client.get(f"{world.api}/api/payments/return/paymob", params=query)

    assert answer.status_code == 404
    assert draft_id not in answer.text
    assert await world.state(draft_id) == "awaiting_user_action"


async def test_a_payer_without_a_return_address_is_sent_to_the_payments_own_page(world: World) -> None:
    """Whoever comes back from a PSP must land somewhere that follows the payment."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    action = (await world.status(draft_id)).json()["actionData"]["url"]
    form = {"card_number": "5123456789012346", "card_name": "T", "card_expiry": "01/39", "card_cvv": "123"}
    paid = await world.client.post(action, data={**form, "action": "pay"})

    back = await world.client.get(paid.headers["location"])

    assert back.headers["location"] == f"/pay/{draft_id}"
    page = await world.client.get(f"{world.api}/pay/{draft_id}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "unsafe-inline" not in page.headers["content-security-policy"]


async def _announced(world: World, draft_id: str) -> list[tuple[dict[str, str], bytes]]:
    return world.shop.of(draft_id)


async def test_the_announcement_is_what_the_documentation_says_it_is(world: World) -> None:
    """Shops verify with a Standard Webhooks library: id, timestamp and signature must be where it looks."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    headers, raw = (await eventually(lambda: _announced(world, draft_id), "the announcement"))[0]

    assert headers["webhook-id"].startswith("msg_")
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["content-type"] == "application/json"
    assert set(json.loads(raw)) == {"type", "timestamp", "data"}
