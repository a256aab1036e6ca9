"""A payer buys a product in dollars with a card, Apple Pay or Google Pay: one page of Stripe's, and one payment."""

import json
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
