"""A payer buys a product in dollars with PayPal: approval moves no money until it is captured."""

import uuid
from typing import Any

import pytest

from world import World, a_request, eventually


def a_paypal_request(**fields: Any) -> dict[str, Any]:
    """A valid initiate by PayPal."""
    return a_request(**{"payment_method": "paypal", "currency": "USD", "product_amount": "10.00", **fields})


async def begun(world: World, **fields: Any) -> str:
    """A draft that waits for its payer at PayPal."""
    answer = await world.initiate(**a_paypal_request(**fields))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["paymentDraftId"])


async def captured_once(world: World, draft_id: str) -> None:
    """One order, one capture of the whole sum, one fulfilment."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["psp"], ledger["registered"], ledger["paid_minor"]) == ("paypal", 1, 1000)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def test_an_approved_order_is_captured_and_completes(world: World) -> None:
    """The webhook only says that the payer agreed; the money is ours to take, once."""
    answer = await world.initiate(**a_paypal_request())
    body = answer.json()
    assert body["paymentAction"] == "redirect_url"
    assert body["actionData"]["display"] == "redirect"
    assert "/checkoutnow?token=" in body["actionData"]["url"]
    draft_id = body["paymentDraftId"]

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")

    assert (completed["amount"], completed["currency"]) == ("10.00", "USD")
    await captured_once(world, draft_id)


async def test_the_payers_return_captures_without_any_webhook(world: World) -> None:
    """Whichever comes first: here the browser, while every webhook is lost."""
    await world.fault("webhook", "drop", times=9, psp="paypal")
    draft_id = await begun(world, return_url="https://shop.example/thanks")
    url = (await world.status(draft_id)).json()["actionData"]["url"]
    await world.act(draft_id, "pay")
    order = url.rpartition("token=")[2]

    back = await world.client.get(f"{world.api}/api/payments/return/paypal/{draft_id}?token={order}&PayerID=X")

    assert (back.status_code, back.headers["location"]) == (303, "https://shop.example/thanks")
    assert await world.state(draft_id) == "completed"
    await captured_once(world, draft_id)


async def test_a_payer_who_cancels_is_sent_back_and_may_still_pay(world: World) -> None:
    """Cancelling at PayPal ends nothing: the same order can be approved later."""
    draft_id = await begun(world, return_url="https://shop.example/thanks")

    back = await world.client.get(f"{world.api}/api/payments/return/paypal/{draft_id}?cancelled=1")

    assert back.status_code == 303
    assert await world.state(draft_id) == "awaiting_user_action"
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")


async def test_a_declined_capture_sends_the_payer_back_and_a_new_approval_is_captured(world: World) -> None:
    """The old key would replay the decline for hours, so the next capture has its own."""
    draft_id = await begun(world)
    await world.act(draft_id, "decline")

    async def declined() -> dict[str, Any] | None:
        body: dict[str, Any] = (await world.status(draft_id)).json()
        return body if body["reason"] else None

    body = await eventually(declined, "the decline")
    assert body["status"] == "awaiting_user_action"
    assert body["paymentAction"] == "redirect_url"

    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await captured_once(world, draft_id)
    attempt = await world.fetchval("SELECT capture_attempt FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id))
    assert attempt == 2


async def test_a_capture_under_review_waits_and_completes_when_it_is_released(world: World) -> None:
    """Pending money is no money yet; it may be days."""
    draft_id = await begun(world)
    await world.act(draft_id, "review")
    await eventually(lambda: _captured(world, draft_id), "the capture")
    assert await world.state(draft_id) == "awaiting_user_action"

    await world.act(draft_id, "release")

    await world.becomes(draft_id, "completed")
    await captured_once(world, draft_id)


async def test_a_refund_in_paypals_dashboard_finds_its_draft_by_the_capture(world: World) -> None:
    """Its event names no order and no draft."""
    draft_id = await begun(world)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await world.act(draft_id, "refund", amount_minor=250)
    body = await world.becomes(draft_id, "partially_refunded")

    assert body["refunded"] == "2.50"


async def test_an_order_nobody_approves_expires(world: World) -> None:
    """A page that waits must hear an end."""
    draft_id = await begun(world)
    await world.advance(3700)
    body = await world.becomes(draft_id, "failed")
    assert body["reason"] == "expired"


@pytest.mark.parametrize("kind", ["reset", "reset_after_accept", "error", "error_after_accept", "html", "rate_limit"])
async def test_a_lost_order_is_finished_by_the_same_key_as_one_order(world: World, kind: str) -> None:
    """PayPal honours our key: the repeat of a lost create answers with the first order."""
    request = a_paypal_request()
    await world.fault("register", kind, psp="paypal")
    first = await world.initiate(**request)
    assert first.status_code in {201, 202, 503}, first.text

    async def again() -> dict[str, Any] | None:
        answer = await world.initiate(**request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 201 else None

    draft_id = (await eventually(again, "a 201 for the same key"))["paymentDraftId"]

    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await captured_once(world, draft_id)


@pytest.mark.parametrize("kind", ["reset", "reset_after_accept", "error", "error_after_accept", "html", "rate_limit"])
async def test_a_lost_capture_is_asked_again_with_the_same_key_and_taken_once(world: World, kind: str) -> None:
    """The answer may be lost before or after the money moved; the key makes both the same."""
    draft_id = await begun(world)
    await world.fault("capture", kind, psp="paypal", times=2)

    await world.act(draft_id, "pay")

    async def completed() -> bool:
        await world.advance(40)  # past the next try, whichever it is
        return await world.state(draft_id) == "completed"

    await eventually(completed, "the capture")
    await captured_once(world, draft_id)


async def test_an_approval_that_only_a_look_up_tells_is_captured(world: World) -> None:
    """Webhooks lost, browser closed: two minutes later the look-up finds the approval."""
    draft_id = await begun(world)
    await world.fault("webhook", "drop", times=9, psp="paypal")
    await world.act(draft_id, "pay")

    await world.advance(125)

    await world.becomes(draft_id, "completed")
    await captured_once(world, draft_id)


async def test_paypal_is_offered_in_its_currencies_and_never_in_pounds_of_egypt(world: World) -> None:
    """PayPal takes no EGP; an offer of it would be a refusal at the last step."""
    offered = (await world.client.get(f"{world.api}/api/payments/methods?product_id=tshirt")).json()["methods"]
    assert [offer["currency"] for offer in offered if offer["payment_method"] == "paypal"] == ["USD"]
    refused = await world.initiate(**a_paypal_request(currency="EGP", product_amount="300.00"))
    assert (refused.status_code, refused.json()["code"]) == (422, "method_not_supported")


async def test_a_webhook_with_a_wrong_signature_moves_nothing(world: World) -> None:
    """Anybody can post an approval."""
    draft_id = await begun(world)
    await world.fault("webhook", "corrupt_signature", psp="paypal")
    await world.act(draft_id, "pay")
    answers = [one["answer"] for one in await world.delivered(draft_id)]
    assert 401 in answers


async def _captured(world: World, draft_id: str) -> bool:
    done = [one for one in await world.deliveries(draft_id) if "PAYMENT.CAPTURE.PENDING" in one["body"]]
    return bool(done)


async def test_a_capture_of_another_amount_is_reviewed_once_and_not_captured_again(world: World) -> None:
    """The money moved, if not as it should have: asking again would only fill the journal and PayPal's patience."""
    draft_id = await begun(world)
    draft = uuid.UUID(draft_id)
    await world.fetchval("UPDATE payment_drafts SET amount_minor = 999 WHERE id = $1 RETURNING true", draft)

    await world.act(draft_id, "pay")

    async def reviewed() -> bool:
        return bool((await world.payment(draft_id))["needs_review"])

    await eventually(reviewed, "the review")
    for _ in range(5):
        await world.advance(130)
        await world.status(draft_id)
    payment = await world.payment(draft_id)
    assert payment["status"] == "awaiting_user_action"
    assert len(payment["journal"]) < 8
    assert not await world.fetchval("SELECT capture_due FROM payment_drafts WHERE id = $1", draft)


async def test_an_approval_outlives_its_draft_while_paypal_is_down(world: World) -> None:
    """The payer agreed in the last minutes; PayPal's order lives for hours more, and so do our tries."""
    draft_id = await begun(world)
    await world.advance(3300)
    await world.fault("capture", "error", psp="paypal", times=99)
    await world.fault("lookup", "error", psp="paypal", times=99)
    await world.act(draft_id, "pay")

    async def tried_past_expiry() -> bool:
        await world.advance(100)
        return bool(await world.fetchval("SELECT attempts >= 3 FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id)))

    await eventually(tried_past_expiry, "tries that fail")
    await world.advance(400)
    await world.heal()

    async def completed() -> bool:
        await world.advance(900)
        return await world.state(draft_id) == "completed"

    await eventually(completed, "the capture", 20)
    await captured_once(world, draft_id)


async def test_money_that_a_broken_capture_answer_hides_is_found_in_paypals_books(world: World) -> None:
    """A refusal we do not know is looked into, not believed and not merely repeated."""
    draft_id = await begun(world)
    await world.fault("webhook", "drop", psp="paypal", times=9)
    await world.fault("capture", "error_after_accept", psp="paypal", times=99, status=422)

    await world.act(draft_id, "pay")

    async def completed() -> bool:
        await world.advance(130)
        return await world.state(draft_id) == "completed"

    await eventually(completed, "the look-up that finds the money")
    await captured_once(world, draft_id)
