"""Paymob's intention flow, in a world of its own whose dashboard was never opened: only intentions name addresses."""

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from conftest import NewDatabase
from world import (
    QIRSH,
    TLS,
    World,
    a_request,
    a_wallet_request,
    eventually,
    serving,
    system,
)

METHODS = ("card", "vodafone_cash", "kiosk")
BEFORE = ("reset", "error", "html", "rate_limit")
AFTER = ("reset_after_accept", "error_after_accept")
LOST = [(method, "intention") for method in METHODS] + [(method, "payments/pay") for method in METHODS[1:]]


@pytest.fixture(scope="module")
def running_intentions(scratch: Path, new_database: NewDatabase) -> Iterator[World]:
    """A sandbox that knows no address, and a server and a worker that speak the intention flow with it."""
    with system(scratch / "intention", asyncio.run(new_database()), told=False, paymob={"flow": "intention"}) as world:
        yield world


@pytest.fixture
async def intentions(running_intentions: World) -> AsyncIterator[World]:
    """The running world with no faults left over, and a client of the test's own."""
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        world = replace(running_intentions, client=client)
        await world.heal()
        await world.put_product("tshirt")
        yield world
        await world.heal()


def request_of(method: str, **fields: Any) -> dict[str, Any]:
    """A new purchase by this method."""
    return a_wallet_request(**fields) if method == "vodafone_cash" else a_request(payment_method=method, **fields)


async def initiated(world: World, method: str, **fields: Any) -> dict[str, Any]:
    """The answer to a new purchase."""
    answer = await world.initiate(**request_of(method, **fields))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def finished(world: World, request: dict[str, Any], *, api: str | None = None) -> dict[str, Any]:
    """Ask with the same key until there is a 201, as a page does."""

    async def ask() -> dict[str, Any] | None:
        answer = await world.client.post(f"{api or world.api}/api/payments/initiate", json=request)
        assert answer.status_code in {201, 202, 409, 503}, answer.text
        body: dict[str, Any] = answer.json()
        return body if answer.status_code == 201 else None

    return await eventually(ask, "a 201 for the same key", 30)


async def ledger_of(world: World, draft_id: str) -> dict[str, Any]:
    """What the PSP's books say of a draft."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    return ledger


async def test_a_card_is_paid_at_the_checkout_of_its_intention(intentions: World) -> None:
    """The browser and the webhook come to the addresses that the intention named; no dashboard was needed."""
    two = {"quantity": 2, "product_amount": "600", "return_url": "https://shop.example/thanks"}
    body = await initiated(intentions, "card", **two)
    draft_id, url = body["paymentDraftId"], body["actionData"]["url"]
    assert (body["paymentAction"], body["actionData"]["display"]) == ("redirect_url", "redirect")
    assert url.startswith(f"{intentions.sandbox}/unifiedcheckout/?")
    query = parse_qs(urlsplit(url).query)
    assert query["publicKey"] == ["sandbox_paymob_public_key"]
    assert query["clientSecret"][0].startswith("egy_csk_test_")
    ledger = await ledger_of(intentions, draft_id)
    assert (ledger["registered"], ledger["amount_minor"]) == (1, 60000)

    form = {"card_number": "5123456789012346", "card_expiry": "01/39", "card_cvv": "123", "action": "pay"}
    paid = await intentions.client.post(url, data=form)

    assert paid.headers["location"].startswith(f"{intentions.api}/api/payments/return/paymob?")
    back = await intentions.client.get(paid.headers["location"])
    assert back.headers["location"] == "https://shop.example/thanks"
    await intentions.becomes(draft_id, "completed")
    (delivery,) = await intentions.delivered(draft_id)
    assert delivery["url"].startswith(f"{intentions.api}/api/payments/webhook-handler/paymob?hmac=")
    signed = json.loads(delivery["body"])["obj"]["order"]["id"]
    reference = await intentions.fetchval(
        "SELECT transaction_reference_id FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id)
    )
    assert reference == str(signed), "what a webhook signs is the order's number, not the intention's"


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_is_completed_by_its_webhook(intentions: World, method: str) -> None:
    """Same events, same webhooks as in the accept flow."""
    body = await initiated(intentions, method)
    draft_id = body["paymentDraftId"]
    assert body["paymentAction"] == ("reference_code" if method == "kiosk" else "redirect_url")

    await intentions.act(draft_id, "pay")
    completed = await intentions.becomes(draft_id, "completed")

    assert completed["amount"] == "300.00"
    ledger = await ledger_of(intentions, draft_id)
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 30000)
    assert {entry["source"] for entry in (await intentions.payment(draft_id))["journal"]} == {"initiate", "webhook"}
    await eventually(lambda: _announced(intentions, draft_id), "the announcement")


async def test_a_declined_card_may_try_again(intentions: World) -> None:
    """Paymob declines a try, not an order."""
    draft_id = (await initiated(intentions, "card"))["paymentDraftId"]

    await intentions.act(draft_id, "decline")
    await intentions.delivered(draft_id)
    status = (await intentions.status(draft_id)).json()
    assert (status["status"], status["reason"]) == ("awaiting_user_action", "card_declined")

    await intentions.act(draft_id, "pay")
    await intentions.becomes(draft_id, "completed")


async def test_a_declined_wallet_is_told_to_the_page(intentions: World) -> None:
    """The wallet had too little; the page hears why."""
    body = await initiated(intentions, "vodafone_cash")
    assert "/wallet_other_test/" in body["actionData"]["url"]

    await intentions.act(body["paymentDraftId"], "decline")
    await intentions.delivered(body["paymentDraftId"])

    status = (await intentions.status(body["paymentDraftId"])).json()
    assert (status["status"], status["reason"]) == ("awaiting_user_action", "insufficient_funds")


async def test_an_expired_bill_fails_the_draft(intentions: World) -> None:
    """The kiosk's number is dead, and Paymob says so."""
    body = await initiated(intentions, "kiosk")
    assert body["actionData"]["biller"] == "Aman, Masary"

    await intentions.act(body["paymentDraftId"], "expire")

    assert (await intentions.becomes(body["paymentDraftId"], "failed"))["reason"] == "expired"


async def test_a_refund_in_the_dashboard_is_heard_of(intentions: World) -> None:
    """The callbacks of a refund go where those of its payment went; they are hints, and the look-up tells the sum."""
    draft_id = (await initiated(intentions, "card"))["paymentDraftId"]
    await intentions.act(draft_id, "pay")
    await intentions.becomes(draft_id, "completed")

    await intentions.act(draft_id, "refund", amount_minor=10000)

    assert (await intentions.becomes(draft_id, "partially_refunded"))["refunded"] == "100.00"


@pytest.mark.parametrize("kind", BEFORE + AFTER)
@pytest.mark.parametrize(("method", "path"), LOST)
async def test_a_lost_step_is_finished_by_the_same_key_with_one_payable_registration(
    intentions: World, method: str, path: str, kind: str
) -> None:
    """An order whose intention was never answered takes an ordinary payment key, so nothing is made twice.

    That key names no address, so in a world without a dashboard only the look-up finds what it paid.
    """
    request = request_of(method)
    await intentions.fault("register", kind, path=path)

    first = await intentions.initiate(**request)

    assert first.status_code in {202, 503}, first.text
    body = await finished(intentions, request)
    draft_id = body["paymentDraftId"]
    assert (await ledger_of(intentions, draft_id))["registered"] == 1
    await intentions.act(draft_id, "pay")
    await intentions.advance(125)
    await intentions.becomes(draft_id, "completed")
    assert (await ledger_of(intentions, draft_id))["paid_minor"] == 30000


@pytest.mark.parametrize("method", METHODS[1:])
async def test_a_lost_pay_is_read_and_never_sent_twice(intentions: World, method: str) -> None:
    """A second pay while one is pending could take the money twice."""
    request = request_of(method)
    await intentions.fault("register", "reset_after_accept", path="payments/pay")
    assert (await intentions.initiate(**request)).status_code == 202
    await intentions.fault("register", "error", path="payments/pay")

    body = await finished(intentions, request)

    armed = (await intentions.client.get(f"{intentions.sandbox}/__sandbox/faults")).json()
    assert [fault["path"] for fault in armed] == ["payments/pay"], "a second pay was sent"
    await intentions.act(body["paymentDraftId"], "pay")
    await intentions.becomes(body["paymentDraftId"], "completed")


async def test_without_an_iframe_a_lost_intention_is_made_again_and_only_the_second_can_be_paid(
    intentions: World, scratch: Path
) -> None:
    """The lost answer had the only secret that opens the first one's checkout, so no payer can ever reach it."""
    config = scratch / f"{uuid.uuid4().hex}.toml"
    lines = intentions.config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("iframe_id")))
    request = request_of("card")
    with serving(config) as server:
        await intentions.fault("register", "error_after_accept", path="intention")
        first = await intentions.client.post(f"{server.api}/api/payments/initiate", json=request)
        assert first.status_code == 202
        lost = (await ledger_of(intentions, first.json()["paymentDraftId"]))["transaction_reference_id"]

        body = await finished(intentions, request, api=server.api)

    draft_id = body["paymentDraftId"]
    assert "/unifiedcheckout/" in body["actionData"]["url"]
    assert (await ledger_of(intentions, draft_id))["transaction_reference_id"] != lost
    await intentions.act(draft_id, "pay")
    await intentions.becomes(draft_id, "completed")
    assert (await ledger_of(intentions, draft_id))["paid_minor"] == 30000


async def test_a_refused_secret_key_is_a_503_that_says_who_must_act(intentions: World) -> None:
    """Nothing was registered, and the same key goes on once the operator has acted."""
    request = request_of("card")
    await intentions.fault("register", "error", status=401, path="intention")

    first = await intentions.initiate(**request)

    assert (first.status_code, first.json()["code"]) == (503, "gateway_misconfigured")
    assert (await finished(intentions, request))["paymentAction"] == "redirect_url"


@pytest.mark.parametrize("missing", [("secret_key",), ("public_key",), ("secret_key", "public_key")])
def test_a_half_configured_flow_refuses_to_start_and_says_which_key(
    scratch: Path, missing: tuple[str, ...], running_intentions: World
) -> None:
    """Better at the start than at the first payer."""
    config = scratch / f"{uuid.uuid4().hex}.toml"
    lines = running_intentions.config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(missing)))

    refused = subprocess.run(
        [QIRSH, "serve", "--port", "0"],
        env={"QIRSH_CONFIG": str(config), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert refused.returncode == 1
    assert all(f"paymob.{name}" in refused.stderr for name in missing), refused.stderr


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))
