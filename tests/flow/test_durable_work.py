"""What happens without anybody asking: look-ups, expiry, waiting facts, and announcements that the shop refused."""

import json
import uuid

from world import World, a_request, a_wallet_request, eventually


async def test_a_payment_whose_webhook_never_comes_is_found_by_the_look_up(world: World) -> None:
    """The first look-up comes two minutes in; a lost webhook costs no more than that."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "pay")

    await world.advance(125)

    await world.becomes(draft_id, "completed")
    sources = [entry["source"] for entry in (await world.payment(draft_id))["journal"]]
    assert sources == ["initiate", "lookup"]
    await eventually(lambda: _announced(world, draft_id), "the announcement")


async def test_a_wallet_payment_whose_webhook_never_comes_is_found_too(world: World) -> None:
    """A wallet's transaction exists before it is paid; the look-up must not take pending for paid."""
    answer = await world.initiate(**a_wallet_request())
    draft_id = answer.json()["paymentDraftId"]
    await world.advance(125)
    assert await world.state(draft_id) == "awaiting_user_action"
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "pay")

    await world.advance(605)

    await world.becomes(draft_id, "completed")


async def test_a_draft_nobody_pays_expires(world: World) -> None:
    """A page that waits must hear an end; the reference may still be paid late."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]

    await world.advance(3700)
    body = await world.becomes(draft_id, "failed")

    assert body["reason"] == "expired"
    again = await world.fetchval(
        "SELECT next_check_at IS NOT NULL FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id)
    )
    assert again, "an expired reference that the PSP still calls payable is asked about again"


async def test_money_that_comes_after_expiry_completes_the_draft(world: World) -> None:
    """Late money is money, also when only a look-up tells of it."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.advance(3000)
    await world.act(draft_id, "pay")
    await world.fault("lookup", "error", times=4)
    await world.advance(700)
    await world.heal()

    for _ in range(3):
        await world.advance(700)

    await world.becomes(draft_id, "completed")


async def test_a_draft_that_nothing_was_sent_for_ends_as_never_registered(world: World) -> None:
    """A 503 left a pending row; nobody came back, and nothing can ever be paid for it."""
    request = a_request()
    await world.fault("token", "rate_limit", times=1)
    await world.fault("register", "rate_limit", times=1, path="orders")
    answer = await world.initiate(**request)
    assert answer.status_code == 503, answer.text
    draft_id = await world.fetchval(
        "SELECT id::text FROM payment_drafts WHERE idempotency_key = $1", request["idempotency_key"]
    )

    await world.heal()
    await world.advance(3700)
    body = await world.becomes(draft_id, "failed")

    assert body["reason"] == "never_registered"
    replay = await world.initiate(**request)
    assert replay.status_code == 402
    assert replay.json()["reason"] == "never_registered"


async def test_a_refund_made_in_the_dashboard_arrives_by_hint_and_look_up(world: World) -> None:
    """Paymob signs no refund amount, so its callbacks only make us ask."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await world.act(draft_id, "refund", amount_minor=10000)
    partly = await world.becomes(draft_id, "partially_refunded")
    assert partly["refunded"] == "100.00"

    await world.act(draft_id, "refund")
    wholly = await world.becomes(draft_id, "refunded")
    assert wholly["refunded"] == "300.00"
    verdicts = await world.fetchval(
        "SELECT array_agg(DISTINCT verdict) FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id)
    )
    assert set(verdicts) <= {"applied", "lookup", "repeated"}


async def test_an_announcement_that_the_shop_refuses_is_sent_again_with_the_same_id(world: World) -> None:
    """The id is how a shop knows that it is the same delivery."""
    world.shop.status = 500
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await eventually(lambda: _announced(world, draft_id), "the first try")
    world.shop.status = 200

    async def delivered() -> bool:
        await world.advance(6)
        state = await world.fetchval("SELECT state FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id))
        return bool(state == "delivered")

    await eventually(delivered, "the delivery")

    tries = world.shop.of(draft_id)
    assert len(tries) >= 2
    assert len({headers["webhook-id"] for headers, _ in tries}) == 1


async def test_a_decline_found_by_look_up_is_told_to_the_page(world: World) -> None:
    """The payer waits at the page; why the try failed should not depend on a webhook."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "decline")

    await world.advance(125)

    async def told() -> bool:
        return bool((await world.status(draft_id)).json()["reason"] == "card_declined")

    await eventually(told, "the reason")
    assert await world.state(draft_id) == "awaiting_user_action"


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))


async def test_a_look_up_that_the_psp_does_not_answer_is_asked_again_and_uses_nothing_up(world: World) -> None:
    """A PSP that is down for hours must not exhaust the schedule, nor be asked every few seconds."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "pay")
    await world.fault("lookup", "error", times=1)

    await world.advance(125)

    async def unanswered() -> bool:
        minutes = await world.fetchval(
            "SELECT extract(epoch FROM next_check_at - updated_at) / 60 FROM payment_drafts WHERE id = $1", draft
        )
        return bool(minutes > 10)

    draft = uuid.UUID(draft_id)
    await eventually(unanswered, "the look-up put off")
    assert await world.fetchval("SELECT attempts FROM payment_drafts WHERE id = $1", draft) == 0
    await world.advance(605)
    await world.becomes(draft_id, "completed")


async def test_a_payment_and_its_refund_found_by_one_look_up_are_still_fulfilled(world: World) -> None:
    """The webhook is lost and the dashboard refunds a part: the shop must still hear that it was paid, and of both."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=9)
    await world.act(draft_id, "pay")
    await world.act(draft_id, "refund", amount_minor=1000)

    await world.advance(125)
    body = await world.becomes(draft_id, "partially_refunded")

    assert body["refunded"] == "10.00"
    told = [
        json.loads(raw) for _, raw in await eventually(lambda: _both_announced(world, draft_id), "both announcements")
    ]
    assert [(one["type"], one["data"]["refunded"]) for one in told] == [
        ("payment.completed", "10.00"),
        ("payment.refunded", "10.00"),
    ]


async def _both_announced(world: World, draft_id: str) -> list[tuple[dict[str, str], bytes]] | None:
    found = world.shop.of(draft_id)
    return found if len(found) > 1 else None
