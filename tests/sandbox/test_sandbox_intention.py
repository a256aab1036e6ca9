"""The fake Paymob's Intention API: its answers, its refusals, its checkout page, and addresses of its own."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sandbox_bench import GOOD_CARD, GOOD_PIN, PAYMOB, Answer, Bench, bench, query_of

PATH = "/v1/intention/"
KEY = {"Authorization": f"Token {PAYMOB.secret_key}"}
REQUIRED = "This field is required."


def a_body(**changes: Any) -> dict[str, Any]:
    """A valid intention for cards; a field given as None is left out."""
    body = {
        "amount": 30000,
        "currency": "EGP",
        "payment_methods": [PAYMOB.card_integration_id],
        "items": [{"name": "T-shirt", "amount": 30000, "description": "T-shirt", "quantity": 1}],
        "billing_data": {
            "first_name": "Sara",
            "last_name": "Hassan",
            "email": "customer@example.com",
            "phone_number": "+201012345678",
        },
        "extras": {"paymentDraftId": "draft-1"},
        "special_reference": "draft-1",
        "expiration": 3600,
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


async def create(shop: Bench, headers: dict[str, str] | None = None, **changes: Any) -> Answer:
    """Make an intention."""
    return await shop.call("POST", PATH, json=a_body(**changes), headers=KEY if headers is None else headers)


async def checkout(shop: Bench, **changes: Any) -> str:
    """Make an intention; return the path of its checkout."""
    secret = (await create(shop, **changes)).body["client_secret"]
    return f"/unifiedcheckout/?{urlencode({'publicKey': PAYMOB.public_key, 'clientSecret': secret})}"


async def test_an_intention_is_an_order_with_a_payment_key(tmp_path: Path) -> None:
    """The shape of Paymob's sample; the order is found under the special reference, and is payable at once."""
    async with bench(tmp_path) as shop:
        answer = await create(shop)
        body = answer.body
        assert answer.status == 201
        assert body["id"].startswith("pi_test_")
        assert body["client_secret"].startswith("egy_csk_test_")
        assert (body["special_reference"], body["object"], body["status"]) == (
            "draft-1",
            "paymentintention",
            "intended",
        )
        assert body["extras"]["creation_extras"] == {"paymentDraftId": "draft-1", "merchant_order_id": "draft-1"}
        (key,) = body["payment_keys"]
        assert (key["integration"], key["order_id"]) == (PAYMOB.card_integration_id, body["intention_order_id"])
        assert [method["name"] for method in body["payment_methods"]] == ["card"]
        order = (await shop.get(f"/api/ecommerce/orders/{body['intention_order_id']}")).body
        assert (order["merchant_order_id"], order["amount_cents"]) == ("draft-1", 30000)
        (row,) = await shop.ledger()
        assert (row["registered"], row["state"]) == (1, "open")
        assert row["transaction_reference_id"] == f"{body['intention_order_id']}"
        element = f"{PATH}element/{PAYMOB.public_key}/{body['client_secret']}/"
        assert (await shop.call("GET", element)).body == body
        assert (await shop.call("GET", element.replace(PAYMOB.public_key, "other"))).status == 404


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "Authentication credentials were not provided."),
        ({"Authorization": "Token wrong"}, "The secret key is invalid."),
        ({"Authorization": f"Bearer {PAYMOB.secret_key}"}, "Authentication credentials were not provided."),
    ],
)
async def test_only_the_secret_key_opens_it(tmp_path: Path, headers: dict[str, str], detail: str) -> None:
    """The classic flow's token is no authority here."""
    async with bench(tmp_path) as shop:
        answer = await create(shop, headers)
        assert (answer.status, answer.body) == (401, {"detail": detail})
        assert await shop.ledger() == []


@pytest.mark.parametrize(
    ("change", "status", "body"),
    [
        ({"amount": None}, 400, {"amount": [REQUIRED]}),
        ({"payment_methods": None}, 400, {"payment_methods": [REQUIRED]}),
        ({"payment_methods": []}, 400, {"payment_methods": [REQUIRED]}),
        ({"billing_data": None}, 400, {"billing_data": [REQUIRED]}),
        ({"items": [{"amount": 30000}]}, 400, {"items": {"name": [REQUIRED]}}),
        (
            {"items": [{"name": "x" * 51, "amount": 30000}]},
            400,
            {"items": {"name": ["Ensure this field has no more than 50 characters."]}},
        ),
        (
            {"expiration": 3_110_401},
            400,
            {"expiration": ["Ensure this value is less than or equal to 3110400."]},
        ),
        ({"notification_url": "shop.example"}, 400, {"notification_url": ["Enter a valid URL."]}),
        ({"currency": "USD"}, 400, {"currency": ['"USD" is not a valid choice.']}),
        (
            {"items": [{"name": "T-shirt", "amount": 29999}]},
            406,
            {"message": "unmatched_item_prices: the items do not add up."},
        ),
        (
            {"payment_methods": [PAYMOB.card_integration_id, 7]},
            404,
            {"detail": "Integration ID/Name does not exist in our system . You can find the list in your dashboard."},
        ),
    ],
)
async def test_a_bad_intention_is_refused_in_paymobs_words(
    tmp_path: Path, change: dict[str, Any], status: int, body: dict[str, Any]
) -> None:
    """A client must be able to say what was wrong; nothing is registered."""
    async with bench(tmp_path) as shop:
        answer = await create(shop, **change)
        assert (answer.status, answer.body) == (status, body)
        assert await shop.ledger() == []


async def test_a_payers_phone_is_required_and_the_rest_of_the_address_is_not(tmp_path: Path) -> None:
    """Four fields where the classic flow wants thirteen."""
    async with bench(tmp_path) as shop:
        billing = {**a_body()["billing_data"], "phone_number": None}
        answer = await create(shop, billing_data=billing)
        assert (answer.status, answer.body) == (400, {"billing_data": {"phone_number": [REQUIRED]}})
        assert (await create(shop)).body["intention_detail"]["billing_data"]["floor"] == "NA"


async def test_a_special_reference_is_taken_once_in_both_flows(tmp_path: Path) -> None:
    """It is the order's reference: what protects a shop that lost an answer protects it here too."""
    async with bench(tmp_path) as shop:
        answers = await asyncio.gather(*(create(shop) for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [201, *[422] * 9]
        assert {answer.body["message"] for answer in answers if answer.status == 422} == {"duplicate"}
        assert (await shop.order("draft-1")).status == 422
        await shop.order("draft-2")
        assert (await create(shop, special_reference="draft-2")).status == 422
        assert [(await create(shop, special_reference=None)).status for _ in range(2)] == [201, 201]
        assert (await shop.ledger())[0]["registered"] == 1


async def test_its_payment_key_pays_by_wallet_and_another_key_may_follow(tmp_path: Path) -> None:
    """The key in the answer is an ordinary one, and the order takes the classic flow's keys as well."""
    async with bench(tmp_path) as shop:
        made = (await create(shop, payment_methods=[PAYMOB.wallet_integration_id])).body
        source = {"identifier": "01010101010", "subtype": "WALLET"}
        path = "/api/acceptance/payments/pay"
        pending = (await shop.post(path, {"source": source, "payment_token": made["payment_keys"][0]["key"]})).body
        assert pending["order"]["id"] == made["intention_order_id"]
        assert pending["payment_key_claims"]["next_payment_intention"] == made["id"]
        assert pending["payment_key_claims"]["extra"]["paymentDraftId"] == "draft-1"
        key = await shop.key(made["intention_order_id"])
        assert key.status == 201
        assert (await shop.ledger())[0]["registered"] == 1


async def test_its_own_addresses_stand_in_for_the_integrations(tmp_path: Path) -> None:
    """The callback and the browser go where the intention said, a refund's callbacks too; a later key's do not."""
    async with bench(tmp_path) as shop:
        here = shop.config.webhooks
        await shop.stop()
        shop.config = replace(shop.config, webhooks="http://127.0.0.1:9/dashboard")
        await shop.start()
        own: dict[str, Any] = {"notification_url": f"{here}/paymob", "redirection_url": "http://shop.example/own?a=b"}
        page = await checkout(shop, **own)

        back = await shop.call("POST", page, data=GOOD_CARD)

        assert back.headers["Location"].startswith("http://shop.example/own?a=b&id=")
        (callback,) = await shop.callbacks(1)
        assert callback.is_authentic
        refund = {"transaction_id": callback.obj["id"], "amount_cents": 100}
        assert (await shop.call("POST", "/api/acceptance/void_refund/refund", json=refund, headers=KEY)).status == 200
        await shop.callbacks(3)

        made = (await create(shop, special_reference="draft-2", **own)).body
        await shop.key(made["intention_order_id"])
        await shop.act("pay", "draft-2")
        addresses = [row["url"] for row in await shop.deliveries()]
        assert [address.startswith(here) for address in addresses] == [True, True, True, False]


async def test_its_own_address_is_called_when_the_integration_has_none(tmp_path: Path) -> None:
    """A merchant may never open the dashboard."""
    async with bench(tmp_path) as shop:
        here = f"{shop.config.webhooks}/paymob"
        await shop.stop()
        shop.config = replace(shop.config, webhooks="", returns="")
        await shop.start()
        await create(shop, notification_url=here)
        await shop.act("decline")
        await shop.act("pay")
        assert [callback.obj["success"] for callback in await shop.callbacks(2)] == [False, True]


async def test_the_checkout_offers_the_intentions_methods(tmp_path: Path) -> None:
    """One page for all of them: a card form, a wallet's number, a bill for the kiosk."""
    async with bench(tmp_path) as shop:
        page = await checkout(shop, payment_methods=["card", "wallet", PAYMOB.kiosk_integration_id])
        chosen = {
            kind: f"{page}&integration={number}"
            for kind, number in {
                "card": PAYMOB.card_integration_id,
                "wallet": PAYMOB.wallet_integration_id,
                "kiosk": PAYMOB.kiosk_integration_id,
            }.items()
        }
        choices = (await shop.call("GET", page)).body
        assert all(f"integration={path.rpartition('=')[2]}" in choices for path in chosen.values())
        assert "SANDBOX — no real money" in choices
        assert "Card number" in (await shop.call("GET", chosen["card"])).body

        assert "Get the number" in (await shop.call("GET", chosen["kiosk"])).body
        bill = await shop.call("POST", chosen["kiosk"])
        assert "Quote this number" in bill.body
        assert (await shop.call("GET", chosen["kiosk"])).body == bill.body, "the same number for who comes back"
        assert (await shop.call("POST", chosen["kiosk"])).body == bill.body

        assert "Wallet number" in (await shop.call("GET", chosen["wallet"])).body
        assert "not a mobile number" in (await shop.call("POST", chosen["wallet"], data={"wallet": "1"})).body
        wallet = await shop.call("POST", chosen["wallet"], data={"wallet": "01010101010"})
        back = await shop.call("POST", wallet.headers["Location"], data=GOOD_PIN)
        assert query_of(back)["success"] == "true"
        late = await shop.call("POST", chosen["card"], data=GOOD_CARD)
        assert (late.status, "paid and locked" in late.body) == (400, True)
        assert (await shop.ledger())[0]["paid_minor"] == 30000


async def test_a_checkout_needs_both_its_keys(tmp_path: Path) -> None:
    """The client secret is the authority, and belongs to one merchant."""
    async with bench(tmp_path) as shop:
        page = await checkout(shop)
        for wrong in (
            page.replace("egy_csk", "egy_xxx"),
            page.replace(PAYMOB.public_key, "other"),
            "/unifiedcheckout/",
        ):
            assert (await shop.call("GET", wrong)).status == 404
            assert (await shop.call("POST", wrong, data=GOOD_CARD)).status == 404
        declined = await shop.call("POST", page, data={**GOOD_CARD, "action": "decline"})
        assert query_of(declined)["success"] == "false"
        await shop.advance(3601)
        assert (await shop.call("GET", page)).status == 401
        assert (await shop.ledger())[0]["state"] == "expired"


async def test_an_intention_survives_a_restart_and_a_lost_answer(tmp_path: Path) -> None:
    """It is on disk before the answer leaves, so that the ledger tells what a client cannot."""
    async with bench(tmp_path) as shop:
        page = await checkout(shop)
        await shop.stop()
        await shop.start()
        assert (await shop.call("GET", page)).status == 200
        await shop.fault("register", "error_after_accept", path="intention")
        assert (await create(shop, special_reference="draft-2")).status == 500
        assert (await create(shop, special_reference="draft-2")).status == 422
        assert {row["merchant_reference"]: row["registered"] for row in await shop.ledger()} == {
            "draft-1": 1,
            "draft-2": 1,
        }
