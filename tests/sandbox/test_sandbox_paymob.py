"""The data plane of the fake Paymob: shapes, refusals, and the flows from the first call to the signed callback."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sandbox_bench import BILLING, GOOD_CARD, GOOD_PIN, PAYMOB, bench, query_of

from qirsh_sandbox.paymob_signing import callback_hmac


async def test_a_card_payment_goes_from_token_to_signed_callback(tmp_path: Path) -> None:
    """The whole classic flow as a shop and its payer live it."""
    async with bench(tmp_path, log_in=False) as shop:
        owner = (await shop.log_in()).body["profile"]["user"]["id"]
        order = await shop.order("draft-1", "30000")
        assert (order.status, order.body["amount_cents"], order.body["paid_amount_cents"]) == (201, 30000, 0)
        key = await shop.key(order.body["id"])
        assert (key.status, list(key.body)) == (201, ["token"])
        page = f"/api/acceptance/iframes/{PAYMOB.iframe_id}?payment_token={key.body['token']}"
        form = await shop.get(page)
        assert "SANDBOX — no real money" in form.body
        assert "EGP 300.00" in form.body
        assert "X-Frame-Options" not in form.headers

        back = await shop.call("POST", page, data=GOOD_CARD)
        assert back.status == 303
        assert back.headers["Location"].startswith("http://shop.example/return/paymob?id=")
        query = query_of(back)
        assert (query["success"], query["pending"], query["merchant_order_id"]) == ("true", "false", "draft-1")

        (callback,) = await shop.callbacks(1)
        assert callback.is_authentic
        assert callback.hmac == query["hmac"]
        assert callback.body["type"] == "TRANSACTION"
        assert (callback.obj["success"], callback.obj["pending"], callback.obj["owner"]) == (True, False, owner)
        assert callback.obj["order"]["id"] == order.body["id"]
        assert callback.obj["order"]["paid_amount_cents"] == 30000
        assert callback.obj["source_data"]["pan"] == "2346"
        assert callback.obj["payment_key_claims"]["billing_data"]["first_name"] == "Sara"
        (row,) = await shop.ledger()
        assert row == {
            "psp": "paymob",
            "merchant_reference": "draft-1",
            "transaction_reference_id": f"{order.body['id']}",
            "amount_minor": 30000,
            "currency": "EGP",
            "state": "paid",
            "registered": 1,
            "paid_minor": 30000,
            "refunded_minor": 0,
        }


async def test_a_wallet_payment_is_pending_until_the_payer_confirms(tmp_path: Path) -> None:
    """The answer of `pay` promises nothing; MPIN and OTP do."""
    async with bench(tmp_path) as shop:
        pending = await shop.wallet()
        assert (pending["pending"], pending["success"]) == (True, False)
        assert pending["redirect_url"] == pending["iframe_redirection_url"] == pending["data"]["redirect_url"]
        assert pending["redirect_url"].startswith(shop.base)
        assert pending["source_data"]["phone_number"] == "01010101010"
        assert "MPIN" in (await shop.get(pending["redirect_url"])).body

        back = await shop.call("POST", pending["redirect_url"], data=GOOD_PIN)
        assert (back.status, query_of(back)["success"]) == (303, "true")
        (callback,) = await shop.callbacks(1)
        assert callback.is_authentic
        assert callback.obj["id"] == pending["id"]
        assert callback.obj["created_at"] == pending["created_at"]
        assert callback.obj["data"]["message"] == "Transaction has been completed successfully."
        assert callback.obj["order"]["paid_amount_cents"] == 0  # captured from Paymob, however odd
        again = await shop.call("POST", pending["redirect_url"], data=GOOD_PIN)
        assert again.status == 409


@pytest.mark.parametrize(
    ("number", "form"),
    [("01010101010", {**GOOD_PIN, "mpin": "1"}), ("01010101010", {**GOOD_PIN, "otp": "1"}), ("01000000002", GOOD_PIN)],
)
async def test_a_wallet_declines(tmp_path: Path, number: str, form: dict[str, str]) -> None:
    """A wrong MPIN, a wrong OTP, and the sandbox's own declining number."""
    async with bench(tmp_path) as shop:
        back = await shop.call("POST", (await shop.wallet(number=number))["redirect_url"], data=form)
        assert (query_of(back)["success"], query_of(back)["pending"]) == ("false", "false")
        (callback,) = await shop.callbacks(1)
        assert (callback.obj["success"], callback.obj["pending"]) == (False, False)
        assert (await shop.ledger())[0]["state"] == "open"


async def test_a_silent_wallet_stays_pending(tmp_path: Path) -> None:
    """The sandbox's own number for a payment that only a look-up ends."""
    async with bench(tmp_path) as shop:
        back = await shop.call("POST", (await shop.wallet(number="01000000003"))["redirect_url"], data=GOOD_PIN)
        assert query_of(back)["pending"] == "true"
        inquiry = await shop.post("/api/ecommerce/orders/transaction_inquiry", {"merchant_order_id": "draft-1"})
        assert inquiry.body["pending"] is True
        assert await shop.deliveries() == []


@pytest.mark.parametrize(
    "change",
    [{"action": "decline"}, {"card_cvv": "999"}, {"card_expiry": "12/25"}, {"card_number": "4242424242424242"}],
)
async def test_a_declined_card_may_try_again_until_the_order_is_paid(tmp_path: Path, change: dict[str, str]) -> None:
    """Paymob declines a try, not an order: the same key goes on, and stops once it is paid and locked."""
    async with bench(tmp_path) as shop:
        page = await shop.card_page()
        declined = await shop.call("POST", page, data={**GOOD_CARD, **change})
        assert (declined.status, query_of(declined)["success"]) == (303, "false")
        assert query_of(await shop.call("POST", page, data=GOOD_CARD))["success"] == "true"
        late = await shop.call("POST", page, data=GOOD_CARD)
        assert (late.status, "paid and locked" in late.body) == (400, True)
        assert {callback.obj["success"] for callback in await shop.callbacks(2)} == {True, False}
        assert (await shop.ledger())[0]["paid_minor"] == 30000


async def test_a_mistyped_card_number_is_shown_again_escaped(tmp_path: Path) -> None:
    """No try is made of a number that cannot be a card's, and the page repeats it as text."""
    async with bench(tmp_path) as shop:
        answer = await shop.call("POST", await shop.card_page(), data={**GOOD_CARD, "card_number": '"><b>1'})
        assert answer.status == 400
        assert '"><b>1' not in answer.body
        assert "This is not a card number." in answer.body


async def test_a_duplicate_reference_is_refused_for_ever(tmp_path: Path) -> None:
    """What protects a shop that lost an answer: the second registration is refused, also when both come at once."""
    async with bench(tmp_path) as shop:
        answers = await asyncio.gather(*(shop.order("draft-1") for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [201, *[422] * 9]
        assert {answer.body["message"] for answer in answers if answer.status == 422} == {"duplicate"}
        assert (await shop.order("draft-1~2")).status == 201
        assert [(await shop.order(None)).status for _ in range(2)] == [201, 201]


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"order_id": None}, {"order_id": ["This field is required."]}),
        ({"order_id": 1}, {"order_id": ['Invalid pk "1" - object does not exist.']}),
        ({"integration_id": 7}, {"integration_id": ['Invalid pk "7" - object does not exist.']}),
        ({"amount_cents": "12.5"}, {"amount_cents": ["A valid integer is required."]}),
        ({"amount_cents": True}, {"amount_cents": ["A valid integer is required."]}),
        ({"amount_cents": 1}, {"amount_cents": ["The amount and currency must be those of the order."]}),
        ({"lock_order_when_paid": "yes"}, {"lock_order_when_paid": ["Must be a valid boolean."]}),
        ({"billing_data": None}, {"billing_data": ["This field is required."]}),
        (
            {"billing_data": {name: BILLING[name] for name in BILLING if name != "floor"}},
            {"billing_data": {"floor": ["This field is required."]}},
        ),
    ],
)
async def test_a_bad_payment_key_request_names_its_fields(tmp_path: Path, change: Any, body: Any) -> None:
    """Paymob answers as Django REST framework does; a client must be able to say what was wrong."""
    async with bench(tmp_path) as shop:
        answer = await shop.key((await shop.order()).body["id"], **change)
        assert (answer.status, answer.body) == (400, body)
        assert (await shop.ledger())[0]["registered"] == 0


async def test_credentials_are_needed_and_age(tmp_path: Path) -> None:
    """A wrong key is 403, a token that is missing, wrong or an hour old is 401, in every place it may stand."""
    async with bench(tmp_path) as shop:
        wrong = await shop.call("POST", "/api/auth/tokens", json={"api_key": "wrong"})
        assert (wrong.status, wrong.body) == (403, {"detail": "incorrect credentials"})
        order_id = (await shop.order()).body["id"]
        path = f"/api/ecommerce/orders/{order_id}"
        assert (await shop.get(path)).status == 200
        assert (await shop.call("GET", f"{path}?token={shop.token}")).status == 200
        assert (await shop.call("GET", path)).status == 401
        await shop.advance(3599)
        assert (await shop.get(path)).status == 200
        await shop.advance(2)
        late = await shop.get(path)
        assert (late.status, late.body) == (401, {"detail": "incorrect credentials"})
        assert (await shop.order("draft-2")).status == 401


async def test_a_payment_key_expires_by_the_sandboxs_clock(tmp_path: Path) -> None:
    """An expired key pays nothing, on the page and in the API, and the ledger says so."""
    async with bench(tmp_path) as shop:
        page = await shop.card_page()
        await shop.advance(3601)
        assert (await shop.get(page)).status == 401
        assert (await shop.call("POST", page, data=GOOD_CARD)).status == 401
        assert (await shop.act("pay")).status == 409
        assert (await shop.ledger())[0]["state"] == "expired"


async def test_a_key_pays_only_with_its_own_integration(tmp_path: Path) -> None:
    """A card key cannot start a wallet payment, and an invented one nothing."""
    async with bench(tmp_path) as shop:
        key = (await shop.key((await shop.order()).body["id"])).body["token"]
        source = {"identifier": "01010101010", "subtype": "WALLET"}
        path = "/api/acceptance/payments/pay"
        assert (await shop.post(path, {"source": source, "payment_token": key})).status == 400
        assert (await shop.post(path, {"source": source, "payment_token": "invented"})).status == 401
        bad = {"identifier": "+201010101010", "subtype": "WALLET"}
        assert (await shop.post(path, {"source": bad, "payment_token": key})).status == 400


async def test_orders_are_listed_newest_first_by_twenty(tmp_path: Path) -> None:
    """How a client finds an order whose registration's answer it lost."""
    async with bench(tmp_path) as shop:
        for number in range(23):
            await shop.order(f"draft-{number}")
        first = (await shop.get("/api/ecommerce/orders?page=1")).body
        assert (first["count"], len(first["results"]), first["previous"]) == (23, 20, None)
        assert first["results"][0]["merchant_order_id"] == "draft-22"
        second = (await shop.get(first["next"])).body
        assert [order["merchant_order_id"] for order in second["results"]] == ["draft-2", "draft-1", "draft-0"]
        assert second["next"] is None
        assert (await shop.get("/api/ecommerce/orders?page=3")).status == 404
        ids = [order["id"] for order in first["results"]]
        assert ids == sorted(set(ids), reverse=True)


async def test_the_inquiry_answers_with_the_newest_transaction(tmp_path: Path) -> None:
    """It may be a later decline or a refund's child; an order nobody tried to pay has none."""
    async with bench(tmp_path) as shop:
        page = await shop.card_page()
        path = "/api/ecommerce/orders/transaction_inquiry"
        nothing = await shop.post(path, {"merchant_order_id": "draft-1"})
        assert (nothing.status, nothing.body) == (404, {"detail": "Not found."})
        await shop.call("POST", page, data=GOOD_CARD)
        paid = (await shop.post(path, {"merchant_order_id": "draft-1"})).body
        child = (
            await shop.post("/api/acceptance/void_refund/refund", {"transaction_id": paid["id"], "amount_cents": 1000})
        ).body
        assert (await shop.post(path, {"order_id": f"{paid['order']['id']}"})).body["id"] == child["id"]
        parent = (await shop.get(f"/api/acceptance/transactions/{paid['id']}")).body
        assert (parent["is_refunded"], parent["refunded_amount_cents"]) == (True, 1000)
        assert parent["unique_ref"]


async def test_times_are_cairos_outside_and_utc_inside(tmp_path: Path) -> None:
    """Naive both of them, with microseconds: a client that guesses a zone books at the wrong hour."""
    async with bench(tmp_path) as shop:
        pending = await shop.wallet()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", pending["created_at"])
        outside = datetime.fromisoformat(pending["created_at"]).replace(tzinfo=ZoneInfo("Africa/Cairo"))
        inside = datetime.fromisoformat(pending["data"]["created_at"]).replace(tzinfo=UTC)
        assert outside == inside
        assert abs(datetime.now(UTC) - inside) < timedelta(seconds=30)


async def test_without_addresses_nothing_is_sent_and_the_result_is_shown(tmp_path: Path) -> None:
    """A sandbox by itself: the callback is on record, unsent, and the payer sees the signed result."""
    async with bench(tmp_path, webhooks=False) as shop:
        back = await shop.call("POST", await shop.card_page(), data=GOOD_CARD)
        assert "Payment result" in (await shop.get(back.headers["Location"])).body
        (delivery,) = await shop.deliveries()
        assert (delivery["sent"], delivery["answer"], delivery["state"]) == (False, None, "unsent")
        inquiry = await shop.post("/api/ecommerce/orders/transaction_inquiry", {"merchant_order_id": "draft-1"})
        assert callback_hmac(inquiry.body, PAYMOB.hmac_secret) == query_of(back)["hmac"]


async def test_bodies_that_are_no_json_are_refused(tmp_path: Path) -> None:
    """A client that sends a form, or half a body, is told so."""
    async with bench(tmp_path) as shop:
        path = "/api/ecommerce/orders"
        assert (await shop.call("POST", path, data={"a": "b"})).status == 415
        header = {"Content-Type": "application/json"}
        assert (await shop.call("POST", path, data="{", headers=header)).status == 400
        assert (await shop.call("POST", path, data="[]", headers=header)).status == 400
