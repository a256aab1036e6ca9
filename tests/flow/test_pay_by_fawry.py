"""A payer takes a number from Fawry to a shop, scans or confirms with a wallet, or pays by card on Fawry's page."""

import json
import uuid
from typing import Any

from world import World, a_request, eventually

DAY = 86_400


def a_fawry_request(method: str = "fawry", **fields: Any) -> dict[str, Any]:
    """A valid initiate by a method of Fawry's."""
    return a_request(**{"payment_method": method, "payer": {"phone": "01012345010"}, **fields})


async def begun(world: World, method: str = "fawry") -> dict[str, Any]:
    """The answer to an initiate that Fawry registered."""
    answer = await world.initiate(**a_fawry_request(method))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def paid_once(world: World, draft_id: str) -> None:
    """One order that a payer could pay, all of its money, one fulfilment."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["psp"], ledger["registered"], ledger["paid_minor"]) == ("fawry", 1, 30000)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1


async def test_a_reference_goes_from_a_number_to_the_shops_delivery(world: World) -> None:
    """The payer quotes the number at a shop and pays in cash, with a fee on top that is none of ours."""
    body = await begun(world)
    draft_id, code = body["paymentDraftId"], body["actionData"]["code"]
    assert body["paymentAction"] == "reference_code"
    assert body["actionData"] == {"code": code, "biller": "Fawry", "amount": "300.00"}

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")

    assert (completed["amount"], completed["currency"]) == ("300.00", "EGP")
    new, paid = [json.loads(one["body"]) for one in await world.delivered(draft_id, 2)]
    assert (new["orderStatus"], paid["orderStatus"], paid["fawryRefNumber"]) == ("NEW", "PAID", code)
    assert paid["paymentAmount"] == 301
    await eventually(lambda: _announced(world, draft_id), "the announcement")
    await paid_once(world, draft_id)


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))
