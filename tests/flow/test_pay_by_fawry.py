"""A payer takes a number from Fawry to a shop, scans or confirms with a wallet, or pays by card on Fawry's page."""

import json
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from world import World, a_request, eventually, serving

DAY = 86_400
ACTIONS = {
    "fawry": "reference_code",
    "wallet_qr": "qr_code",
    "mobile_wallet": "mobile_prompt",
    "vodafone_cash": "mobile_prompt",
    "card": "redirect_url",
}
GOOD_CARD = {"card_number": "4242 4242 4242 4242", "card_expiry": "05/29", "card_cvv": "123", "action": "pay"}


@pytest.fixture(scope="module")
def fawry_alone(running_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server beside the world's, of the same database, that takes EGP cards and Vodafone Cash at Fawry."""
    config = tomllib.loads(Path(running_world.config).read_text())
    del config["paymob"], config["routes"]  # the routes are to Paymob alone
    file = tmp_path_factory.mktemp("fawry") / "qirsh.toml"
    file.write_text(tomli_w.dumps(config))
    with serving(file) as server:
        yield server.api


@pytest.fixture
def fawry(world: World, fawry_alone: str) -> World:
    """The world with that server in front; notifications still come to the world's own."""
    return replace(world, api=fawry_alone)


def a_fawry_request(method: str = "fawry", **fields: Any) -> dict[str, Any]:
    """A valid initiate by a method of Fawry's."""
    return a_request(**{"payment_method": method, "payer": {"phone": "01012345010"}, **fields})


async def begun(world: World, method: str = "fawry", **fields: Any) -> dict[str, Any]:
    """The answer to an initiate that Fawry registered."""
    answer = await world.initiate(**a_fawry_request(method, **fields))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert body["paymentAction"] == ACTIONS[method]
    return body


async def finished(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Ask with the same key until there is a 201, as a page does."""

    async def ask() -> dict[str, Any] | None:
        answer = await world.initiate(**request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        body: dict[str, Any] = answer.json()
        return body if answer.status_code == 201 else None

    return await eventually(ask, "a 201 for the same key", 30)


async def paid_once(world: World, draft_id: str) -> None:
    """One order that a payer could pay, all of its money, one fulfilment, nothing for a person to look at."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["psp"], ledger["registered"], ledger["paid_minor"]) == ("fawry", 1, 30000)
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1
    assert not (await world.payment(draft_id))["needs_review"]


async def told(world: World, draft_id: str, count: int) -> list[dict[str, Any]]:
    """The notifications of a draft, once so many were answered."""
    return [json.loads(one["body"]) for one in await world.delivered(draft_id, count)]


async def test_a_reference_goes_from_a_number_to_the_shops_delivery(world: World) -> None:
    """The payer quotes the number at a shop and pays in cash, with a fee on top that is none of ours."""
    body = await begun(world)
    draft_id, code = body["paymentDraftId"], body["actionData"]["code"]
    assert body["actionData"] == {"code": code, "biller": "Fawry", "amount": "300.00"}

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")

    assert (completed["amount"], completed["currency"]) == ("300.00", "EGP")
    new, paid = await told(world, draft_id, 2)
    assert (new["orderStatus"], paid["orderStatus"], paid["fawryRefNumber"]) == ("NEW", "PAID", code)
    assert paid["paymentAmount"] == 301
    await eventually(lambda: _announced(world, draft_id), "the announcement")
    await paid_once(world, draft_id)


async def test_a_reference_nobody_pays_fails_when_fawry_says_so(world: World) -> None:
    """A merchant's own setting may end it before our draft ends."""
    draft_id = (await begun(world))["paymentDraftId"]

    await world.act(draft_id, "expire")

    assert (await world.becomes(draft_id, "failed"))["reason"] == "expired"
    assert (await world.payment(draft_id))["journal"][-1]["source"] == "webhook"


async def test_a_reference_ends_by_fawrys_clock_with_the_draft(world: World) -> None:
    """Its paymentExpiry is the draft's own end, so both sides let go at the same time."""
    draft_id = (await begun(world))["paymentDraftId"]

    await world.advance(2 * DAY + 5)

    assert (await world.becomes(draft_id, "failed"))["reason"] == "expired"
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert ledger["state"] == "expired"


async def test_cash_whose_notification_is_lost_is_found_by_the_look_up(world: World) -> None:
    """Nobody has published how often Fawry repeats a notification."""
    draft_id = (await begun(world))["paymentDraftId"]
    await world.fault("webhook", "drop", psp="fawry", times=5)
    await world.act(draft_id, "pay")

    await world.advance(125)

    await world.becomes(draft_id, "completed")
    await paid_once(world, draft_id)


async def test_a_qr_code_is_shown_as_fawry_drew_it_and_paid(world: World) -> None:
    """The wallet's notification spells its method in a way of its own, and is signed so."""
    body = await begun(world, "wallet_qr")
    assert body["actionData"]["image"].startswith("data:image/PNG;base64,iVBORw0KGgo")

    await world.act(body["paymentDraftId"], "pay")

    await world.becomes(body["paymentDraftId"], "completed")
    assert (await told(world, body["paymentDraftId"], 2))[1]["paymentMethod"] == "Mobile Wallet"
    await paid_once(world, body["paymentDraftId"])


@pytest.mark.parametrize(("act", "reason"), [("decline", "card_declined"), ("expire", "expired")])
async def test_a_qr_code_that_is_declined_or_expires_fails(world: World, act: str, reason: str) -> None:
    """A direct charge has no second try."""
    draft_id = (await begun(world, "wallet_qr"))["paymentDraftId"]

    await world.act(draft_id, act)

    assert (await world.becomes(draft_id, "failed"))["reason"] == reason


async def test_a_prompt_is_confirmed_on_the_phone(world: World) -> None:
    """The page shows which phone to look at, and not the whole number."""
    body = await begun(world, "mobile_wallet")
    assert body["actionData"] == {"phone": "0101****010", "wallet": "Mobile wallet"}

    await world.act(body["paymentDraftId"], "pay")

    await world.becomes(body["paymentDraftId"], "completed")
    await paid_once(world, body["paymentDraftId"])


async def test_a_prompt_that_is_declined_fails(world: World) -> None:
    """Asking the same phone again is a new payment."""
    draft_id = (await begun(world, "mobile_wallet"))["paymentDraftId"]
    await world.act(draft_id, "decline")
    assert (await world.becomes(draft_id, "failed"))["reason"] == "card_declined"


async def test_vodafone_cash_is_a_prompt_where_fawry_takes_it(fawry: World) -> None:
    """Paymob shows a page for the same method; the action tells the page which it is."""
    body = await begun(fawry, "vodafone_cash")
    assert body["actionData"] == {"phone": "0101****010", "wallet": "Vodafone Cash"}
    await fawry.act(body["paymentDraftId"], "pay")
    await fawry.becomes(body["paymentDraftId"], "completed")


async def test_a_card_is_paid_on_fawrys_page_and_the_browser_comes_back(fawry: World) -> None:
    """The way back proves nothing: without any notification the look-up it causes completes the draft."""
    body = await begun(fawry, "card", return_url="https://shop.example/thanks")
    await fawry.fault("webhook", "drop", psp="fawry", times=5)

    paid = await fawry.client.post(body["actionData"]["url"], data=GOOD_CARD)
    assert paid.status_code == 303, paid.text
    back = await fawry.client.get(paid.headers["location"])  # at the address that the merchant's configuration names

    assert (back.status_code, back.headers["location"]) == (303, "https://shop.example/thanks")
    assert await fawry.state(body["paymentDraftId"]) == "completed"
    await paid_once(fawry, body["paymentDraftId"])


async def test_a_declined_card_may_be_followed_by_another(fawry: World) -> None:
    """The payer is still at Fawry's page, so the draft waits on."""
    body = await begun(fawry, "card")
    draft_id, url = body["paymentDraftId"], body["actionData"]["url"]

    refused = await fawry.client.post(url, data={**GOOD_CARD, "card_number": "4222 0000 0672 4235"})
    assert refused.status_code == 400
    await told(fawry, draft_id, 2)
    waiting = (await fawry.status(draft_id)).json()
    assert (waiting["status"], waiting["reason"]) == ("awaiting_user_action", "insufficient_funds")

    assert (await fawry.client.post(url, data=GOOD_CARD)).status_code == 303
    await fawry.becomes(draft_id, "completed")
    await paid_once(fawry, draft_id)


async def test_a_payer_who_cancels_on_the_page_ends_the_draft(fawry: World) -> None:
    """Fawry's order is dead then; a page that waits must hear an end."""
    body = await begun(fawry, "card")
    await fawry.client.post(body["actionData"]["url"], data={"action": "cancel"})
    assert (await fawry.becomes(body["paymentDraftId"], "failed"))["reason"] == "cancelled_by_payer"


@pytest.mark.parametrize("kind", ["hang_after_accept", "reset_after_accept", "error", "html", "rate_limit", "reset"])
@pytest.mark.parametrize("method", ACTIONS)
async def test_a_lost_registration_is_finished_by_the_same_key_as_one(fawry: World, method: str, kind: str) -> None:
    """Fawry takes a reference once and shows no QR code or page again; whatever was lost, one order can be paid."""
    request = a_fawry_request(method)
    await fawry.fault("register", kind, psp="fawry")
    first = await fawry.initiate(**request)
    assert first.status_code in {202, 503}, first.text

    body = await finished(fawry, request)

    assert body["paymentAction"] == ACTIONS[method]
    draft_id = body["paymentDraftId"]
    assert await _registered(fawry, draft_id) == 1
    await fawry.act(draft_id, "pay")
    await fawry.becomes(draft_id, "completed")
    await paid_once(fawry, draft_id)


@pytest.mark.parametrize("method", ["wallet_qr", "card"])
async def test_a_replacement_that_is_lost_too_is_replaced_again(fawry: World, method: str) -> None:
    """Each order is ended, and said to be so, before the next one is made."""
    request = a_fawry_request(method)
    await fawry.fault("register", "reset_after_accept", psp="fawry", path="payments")
    assert (await fawry.initiate(**request)).status_code == 202
    await fawry.fault("register", "reset_after_accept", psp="fawry", path="payments")
    assert (await fawry.initiate(**request)).status_code == 202

    body = await finished(fawry, request)

    numbers = {json.loads(one["body"])["merchantRefNumber"] for one in await fawry.deliveries(body["paymentDraftId"])}
    assert {number.partition("~")[2] for number in numbers} == {"", "2", "3"}
    assert await _registered(fawry, body["paymentDraftId"]) == 1
    await fawry.act(body["paymentDraftId"], "pay")
    await fawry.becomes(body["paymentDraftId"], "completed")
    await paid_once(fawry, body["paymentDraftId"])


async def test_a_lost_prompt_is_never_sent_twice(world: World) -> None:
    """The phone asks already; a second question could be confirmed as well."""
    request = a_fawry_request("mobile_wallet")
    await world.fault("register", "reset_after_accept", psp="fawry")
    assert (await world.initiate(**request)).status_code == 202
    await world.fault("register", "error", psp="fawry")

    await finished(world, request)

    armed = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
    assert [fault["psp"] for fault in armed] == ["fawry"], "a second prompt was sent"


async def test_a_payment_made_while_the_answer_was_lost_completes_the_draft(world: World) -> None:
    """Fawry texts the number to the payer, who may be at the shop before the page has heard of it."""
    request = a_fawry_request()
    await world.fault("register", "reset_after_accept", psp="fawry")
    draft_id = (await world.initiate(**request)).json()["paymentDraftId"]

    await world.act(draft_id, "pay")

    await world.becomes(draft_id, "completed")
    assert (await world.initiate(**request)).status_code == 201
    await paid_once(world, draft_id)


async def test_a_wrong_signature_and_a_wrong_amount_complete_nothing(world: World) -> None:
    """Anybody can post a notification; and Fawry's own word is believed only for the sum that was asked."""
    forged, cheap = (await begun(world))["paymentDraftId"], (await begun(world))["paymentDraftId"]
    await world.fault("webhook", "corrupt_signature", psp="fawry", path=forged)
    await world.fault("webhook", "wrong_amount", psp="fawry", path=cheap)

    await world.act(forged, "pay")
    await world.act(cheap, "pay")

    answers = [one["answer"] for one in await world.delivered(forged, 2)]
    assert answers == [200, 401]
    await told(world, cheap, 2)
    journal = (await world.payment(cheap))["journal"]
    assert "amount_mismatch" in json.dumps(journal)


async def test_a_refund_in_fawrys_dashboard_is_looked_up(world: World) -> None:
    """Its notification has no sum: all of it is known from the books, some of it only a person can find out."""
    whole, part = (await begun(world))["paymentDraftId"], (await begun(world))["paymentDraftId"]
    for draft_id in (whole, part):
        await world.act(draft_id, "pay")
        await world.becomes(draft_id, "completed")

    await world.act(whole, "refund")
    await world.act(part, "refund", amount_minor=1000)

    assert (await world.becomes(whole, "refunded"))["refunded"] == "300.00"
    await eventually(lambda: _needs_review(world, part), "the review")
    assert await world.state(part) == "completed"


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))


async def _registered(world: World, draft_id: str) -> int:
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    return int(ledger["registered"])


async def _needs_review(world: World, draft_id: str) -> bool:
    return bool((await world.payment(draft_id))["needs_review"])
