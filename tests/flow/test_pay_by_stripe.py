"""A payer buys a product in dollars with a card, Apple Pay or Google Pay: one page of Stripe's, and one payment."""

import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from world import World, a_request, eventually

CARD_THAT_PAYS = "4242 4242 4242 4242"
CARD_WITHOUT_FUNDS = "4000 0000 0000 9995"
CARD_WHOSE_REFUNDS_WAIT = "4000 0000 0000 7726"


def a_stripe_request(**fields: Any) -> dict[str, Any]:
    """A valid initiate by card in dollars."""
    return a_request(**{"currency": "USD", "product_amount": "10.00", **fields})


async def begun(world: World, **fields: Any) -> tuple[str, str]:
    """A draft that waits for its payer at Stripe, and the page where he pays."""
    answer = await world.initiate(**a_stripe_request(**fields))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["paymentAction"], body["actionData"]["display"]) == ("redirect_url", "redirect")
    return str(body["paymentDraftId"]), str(body["actionData"]["url"])


async def submit(world: World, page: str, action: str, card: str = CARD_THAT_PAYS) -> Any:
    """Press a button of Stripe's page, as the payer does."""
    return await world.client.post(page, data={"action": action, "card_number": card})


async def paid_once(world: World, draft_id: str, amount_minor: int = 1000) -> None:
    """One session, one payment of the whole sum, one fulfilment."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["psp"], ledger["registered"], ledger["paid_minor"]) == ("stripe", 1, amount_minor)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


@pytest.mark.parametrize("method", ["card", "apple_pay", "google_pay"])
async def test_a_session_that_is_paid_completes(world: World, method: str) -> None:
    """All three lead to the same page; only Stripe's signed word completes the draft, and the browser is sent on."""
    draft_id, page = await begun(world, payment_method=method, return_url="https://shop.example/thanks")
    assert urlsplit(page).path.startswith("/c/pay/cs_test_")

    back = await submit(world, page, "pay" if method == "card" else method)

    assert back.headers["location"] == f"{world.api}/api/payments/return/stripe/{draft_id}"
    sent_on = await world.client.get(back.headers["location"])
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, "https://shop.example/thanks")
    completed = await world.becomes(draft_id, "completed")
    assert (completed["amount"], completed["currency"]) == ("10.00", "USD")
    await paid_once(world, draft_id)


async def test_a_webhook_alone_completes(world: World) -> None:
    """The payer closes the browser on Stripe's page."""
    draft_id, _ = await begun(world)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    assert [one["answer"] for one in await world.delivered(draft_id)] == [200]
    await paid_once(world, draft_id)


async def test_a_declined_card_leaves_the_page_open_for_another(world: World) -> None:
    """Stripe's page lets the payer try again, so a failed try must not end the draft."""
    draft_id, page = await begun(world)
    declined = await submit(world, page, "pay", CARD_WITHOUT_FUNDS)
    assert declined.status_code == 402

    body = await told_why(world, draft_id)
    assert (body["status"], body["reason"]) == ("awaiting_user_action", "insufficient_funds")

    assert (await submit(world, page, "pay")).status_code == 303
    completed = await world.becomes(draft_id, "completed")
    assert completed["reason"] is None
    await paid_once(world, draft_id)


@pytest.mark.parametrize("told_by", ["webhook", "look-up"])
async def test_a_session_that_expires_ends_its_draft(world: World, told_by: str) -> None:
    """A page that waits must hear an end, and from the clock where Stripe's word is lost."""
    draft_id, page = await begun(world)
    if told_by == "webhook":
        await submit(world, page, "expire")
    else:
        await world.fault("webhook", "drop", times=9, psp="stripe")
        await world.advance(3700)

    assert (await world.becomes(draft_id, "failed"))["reason"] == "expired"
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["state"], ledger["paid_minor"]) == ("expired", 0)
    assert (await submit(world, page, "pay")).status_code == 404


@pytest.mark.parametrize("told_by", ["webhook", "look-up"])
async def test_a_slow_payment_completes_when_its_money_comes(world: World, told_by: str) -> None:
    """Stripe calls such a session complete at once, when nothing has been paid."""
    draft_id, page = await begun(world)
    if told_by == "look-up":
        await world.fault("webhook", "drop", times=9, psp="stripe")
    await submit(world, page, "later")
    if told_by == "webhook":
        await world.delivered(draft_id)
    await world.client.get(f"{world.api}/api/payments/return/stripe/{draft_id}")
    assert await world.state(draft_id) == "awaiting_user_action"

    await world.act(draft_id, "release")

    if told_by == "look-up":
        await world.advance(86_500)
    await world.becomes(draft_id, "completed")
    await paid_once(world, draft_id)


@pytest.mark.parametrize("told_by", ["webhook", "look-up"])
async def test_a_slow_payment_that_fails_ends_its_draft(world: World, told_by: str) -> None:
    """Its session takes no other payment, so here a failure is the end."""
    draft_id, page = await begun(world)
    if told_by == "look-up":
        await world.fault("webhook", "drop", times=9, psp="stripe")
    await submit(world, page, "later")
    await submit(world, page, "fail")
    if told_by == "look-up":
        await world.client.get(f"{world.api}/api/payments/return/stripe/{draft_id}")

    assert (await world.becomes(draft_id, "failed"))["reason"] == "processing_error"
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["state"], ledger["paid_minor"]) == ("failed", 0)


@pytest.mark.parametrize(
    ("currency", "price", "amount_minor", "unit_amount"),
    [("JPY", "500", 500, 500), ("KWD", "5.120", 5120, 5120), ("ISK", "5", 5, 500), ("MGA", "120.00", 12000, 120)],
)
async def test_each_currency_is_paid_with_its_exact_amount(
    world: World, currency: str, price: str, amount_minor: int, unit_amount: int
) -> None:
    """Stripe's minor units are not always ISO's: a factor of ten or a hundred here would be money."""
    product_id = f"dates-{currency.lower()}"
    await world.put_product(product_id, prices={currency: price})
    draft_id, page = await begun(world, product_id=product_id, currency=currency, product_amount=price)

    await submit(world, page, "pay")

    completed = await world.becomes(draft_id, "completed")
    assert (completed["amount"], completed["currency"]) == (price, currency)
    (delivery,) = await world.delivered(draft_id)
    assert f'"amount_total":{unit_amount},' in delivery["body"]
    await paid_once(world, draft_id, amount_minor)


async def test_a_price_that_stripe_cannot_take_is_refused_before_anything_is_sent(world: World) -> None:
    """The third decimal of a dinar: rounding it would ask the payer for another amount."""
    await world.put_product("pen", prices={"KWD": "5.124"})
    refused = await world.initiate(**a_stripe_request(product_id="pen", currency="KWD", product_amount="5.124"))
    assert (refused.status_code, refused.json()["code"]) == (422, "method_not_supported")
    offered = await world.client.get(f"{world.api}/api/payments/methods", params={"product_id": "pen"})
    assert offered.json()["methods"] == []


@pytest.mark.parametrize(
    "kind", ["reset", "reset_after_accept", "error", "error_after_accept", "html", "rate_limit", "hang_after_accept"]
)
async def test_a_doubt_ends_in_exactly_one_payable_session(world: World, kind: str) -> None:
    """`error_after_accept` is an error that Stripe keeps under our key: the session is there, the repeat fails too."""
    request = a_stripe_request()
    await world.fault("register", kind, psp="stripe")
    first = await world.initiate(**request)
    assert first.status_code in {202, 503}, first.text

    async def again() -> dict[str, Any] | None:
        answer = await world.initiate(**request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 201 else None

    body = await eventually(again, "a 201 for the same key")

    await submit(world, body["actionData"]["url"], "pay")
    await world.becomes(body["paymentDraftId"], "completed")
    await paid_once(world, body["paymentDraftId"])


async def test_a_payment_that_only_a_look_up_tells_completes(world: World) -> None:
    """Webhooks lost, browser closed: two minutes later the look-up finds the money."""
    draft_id, _ = await begun(world)
    await world.fault("webhook", "drop", times=9, psp="stripe")
    await world.act(draft_id, "pay")

    await world.advance(125)

    await world.becomes(draft_id, "completed")
    await paid_once(world, draft_id)


async def test_a_payer_who_goes_back_may_still_pay(world: World) -> None:
    """Leaving Stripe's page ends nothing: the same session can be paid later."""
    draft_id, page = await begun(world, return_url="https://shop.example/thanks")

    back = await submit(world, page, "cancel")

    assert back.headers["location"] == f"{world.api}/api/payments/return/stripe/{draft_id}?cancelled=1"
    assert (await world.client.get(back.headers["location"])).headers["location"] == "https://shop.example/thanks"
    assert await world.state(draft_id) == "awaiting_user_action"
    await submit(world, page, "pay")
    await world.becomes(draft_id, "completed")


async def test_refunds_in_stripes_dashboard_are_counted_by_their_total(world: World) -> None:
    """Their webhooks say no total, so Stripe's books are asked."""
    draft_id, _ = await begun(world)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await world.act(draft_id, "refund", amount_minor=250)
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "2.50"
    await world.act(draft_id, "refund")
    assert (await world.becomes(draft_id, "refunded"))["refunded"] == "10.00"


async def test_a_refund_counts_when_it_has_ended(world: World) -> None:
    """A pending refund has given nothing back yet, and may still fail."""
    draft_id, page = await begun(world)
    await submit(world, page, "pay", CARD_WHOSE_REFUNDS_WAIT)
    await world.becomes(draft_id, "completed")

    await world.act(draft_id, "refund", amount_minor=250)
    await world.delivered(draft_id, 3)
    await world.advance(1)
    assert await world.state(draft_id) == "completed"

    await world.act(draft_id, "release")
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "2.50"


async def test_a_refund_that_fails_later_is_taken_back_and_reviewed(world: World) -> None:
    """The payer has not got the money that was counted as given back: a person must see to it."""
    draft_id, page = await begun(world)
    await submit(world, page, "pay", "4000 0000 0000 5126")
    await world.becomes(draft_id, "completed")
    await world.act(draft_id, "refund", amount_minor=250)
    await world.becomes(draft_id, "partially_refunded")

    await world.act(draft_id, "deny")

    assert (await world.becomes(draft_id, "completed"))["refunded"] == "0.00"
    assert (await world.payment(draft_id))["needs_review"]


async def test_a_dispute_flags_its_draft_for_a_person(world: World) -> None:
    """No state fits until it is decided, and nobody may find out from the bank statement."""
    draft_id, _ = await begun(world)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await world.act(draft_id, "reverse")

    async def reviewed() -> bool:
        return bool((await world.payment(draft_id))["needs_review"])

    await eventually(reviewed, "the review")
    assert await world.state(draft_id) == "completed"


async def test_a_webhook_with_a_wrong_signature_moves_nothing(world: World) -> None:
    """Anybody can post a payment."""
    draft_id, _ = await begun(world)
    await world.fault("webhook", "corrupt_signature", psp="stripe")
    await world.act(draft_id, "pay")
    assert [one["answer"] for one in await world.delivered(draft_id)] == [401]
    assert await world.state(draft_id) == "awaiting_user_action"


async def test_a_payment_of_another_amount_is_reviewed(world: World) -> None:
    """Signed by Stripe, and still not what the draft is about."""
    draft_id, _ = await begun(world)
    await world.fetchval(
        "UPDATE payment_drafts SET amount_minor = 999 WHERE id = $1 RETURNING true", uuid.UUID(draft_id)
    )
    await world.act(draft_id, "pay")

    async def reviewed() -> bool:
        return bool((await world.payment(draft_id))["needs_review"])

    await eventually(reviewed, "the review")
    assert await world.state(draft_id) == "awaiting_user_action"


async def test_wallets_on_the_phone_are_offered_outside_egypt_only(world: World) -> None:
    """Cards in EGP go to Egyptian PSPs, and Apple Pay and Google Pay are not offered in it."""
    offered = (await world.client.get(f"{world.api}/api/payments/methods?product_id=tshirt")).json()["methods"]
    found = {(offer["payment_method"], offer["currency"]) for offer in offered}
    assert {("card", "EGP"), ("card", "USD"), ("apple_pay", "USD"), ("google_pay", "USD")} <= found
    assert not {("apple_pay", "EGP"), ("google_pay", "EGP")} & found


async def told_why(world: World, draft_id: str) -> dict[str, Any]:
    """Wait until a draft has a reason."""

    async def there() -> dict[str, Any] | None:
        body: dict[str, Any] = (await world.status(draft_id)).json()
        return body if body["reason"] else None

    return await eventually(there, "a reason")
