"""The fake PayPal's data plane: tokens, both forms of an order, and the way from the first call to the money."""

from pathlib import Path

from sandbox_bench import query_of
from sandbox_paypal_bench import ORDERS, basic, issue_of, link_of, order_body, paypal_shop


async def test_a_payment_goes_from_token_to_signed_event(tmp_path: Path) -> None:
    """The whole flow as a shop and its payer live it: the approval moves no money, the capture does."""
    async with paypal_shop(tmp_path) as shop:
        created = await shop.create()
        assert (created.status, created.body["status"]) == (200, "PAYER_ACTION_REQUIRED")
        assert list(created.body) == ["id", "status", "payment_source", "links"]
        assert (len(created.body["id"]), created.body["payment_source"]) == (17, {"paypal": {}})
        page = link_of(created, "payer-action")
        assert page == f"{shop.base}/checkoutnow?token={created.body['id']}"
        form = await shop.call("GET", page)
        assert "SANDBOX — no real money" in form.body
        assert "USD 10.00" in form.body

        back = await shop.call("POST", page, data={"action": "approve"})
        assert (back.status, back.headers["Location"].startswith("https://shop.example/return?draft=1&token=")) == (
            303,
            True,
        )
        assert query_of(back)["token"] == created.body["id"]
        assert len(query_of(back)["PayerID"]) == 13
        (event,) = await shop.told("CHECKOUT.ORDER.APPROVED")
        assert event.resource["purchase_units"][0]["custom_id"] == "draft-1"
        assert event.resource["purchase_units"][0]["amount"] == {
            "currency_code": "USD",
            "value": "10.00",
            "breakdown": {},
        }
        assert [row["paid_minor"] for row in await shop.ledger()] == [0]

        captured = await shop.capture(created.body["id"])
        assert (captured.status, captured.body["status"]) == (201, "COMPLETED")
        assert list(captured.body["purchase_units"][0]) == ["reference_id", "payments"]
        (capture,) = captured.body["purchase_units"][0]["payments"]["captures"]
        assert (capture["status"], capture["custom_id"], capture["final_capture"]) == ("COMPLETED", "draft-1", True)
        assert capture["amount"] == {"currency_code": "USD", "value": "10.00"}
        assert {name: money["value"] for name, money in capture["seller_receivable_breakdown"].items()} == {
            "gross_amount": "10.00",
            "paypal_fee": "0.64",
            "net_amount": "9.36",
        }
        _, event = await shop.told("CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED")
        assert event.resource["id"] == capture["id"]
        assert event.resource["supplementary_data"]["related_ids"]["order_id"] == created.body["id"]
        assert await shop.ledger() == [
            {
                "psp": "paypal",
                "merchant_reference": "draft-1",
                "transaction_reference_id": created.body["id"],
                "amount_minor": 1000,
                "currency": "USD",
                "state": "paid",
                "registered": 1,
                "paid_minor": 1000,
                "refunded_minor": 0,
            }
        ]


async def test_the_old_form_answers_201_and_approve(tmp_path: Path) -> None:
    """Without a payment source: another status, another link, and no request id needed."""
    async with paypal_shop(tmp_path) as shop:
        created = await shop.send(ORDERS, order_body(old=True), Prefer="return=representation")
        assert (created.status, created.body["status"], created.body["intent"]) == (201, "CREATED", "CAPTURE")
        assert [each["rel"] for each in created.body["links"]] == ["self", "approve", "update", "capture"]
        assert created.body["purchase_units"][0]["amount"]["value"] == "10.00"
        again = await shop.send(ORDERS, order_body(old=True))
        assert (again.status, list(again.body)) == (201, ["id", "status", "links"])
        assert again.body["id"] != created.body["id"]
        assert [row["registered"] for row in await shop.ledger()] == [2]


async def test_an_order_is_read_in_every_stage(tmp_path: Path) -> None:
    """Each stage shows what PayPal knows by then, and the link that leads on."""
    async with paypal_shop(tmp_path) as shop:
        order_id = (await shop.create(description="قميص", invoice_id="I-1")).body["id"]
        path = f"{ORDERS}/{order_id}"
        body = (await shop.get(path)).body
        assert (body["status"], body["payment_source"], "payer" in body) == (
            "PAYER_ACTION_REQUIRED",
            {"paypal": {}},
            False,
        )
        await shop.act("pay")
        body = (await shop.get(path)).body
        assert (body["status"], body["payer"]["payer_id"]) == (
            "APPROVED",
            body["payment_source"]["paypal"]["account_id"],
        )
        assert [each["rel"] for each in body["links"]] == ["self", "update", "capture"]
        await shop.capture(order_id)
        body = (await shop.get(path)).body
        assert (body["status"], "update_time" in body) == ("COMPLETED", True)
        (unit,) = body["purchase_units"]
        assert (unit["description"], unit["payments"]["captures"][0]["invoice_id"]) == ("قميص", "I-1")
        assert "shipping" not in unit
        capture = await shop.get(f"/v2/payments/captures/{unit['payments']['captures'][0]['id']}")
        assert capture.body["supplementary_data"]["related_ids"]["order_id"] == order_id
        assert issue_of(await shop.get(f"{ORDERS}/5910681066059742U")) == (404, "INVALID_RESOURCE_ID")


async def test_a_token_is_handed_out_again_with_the_life_it_has_left(tmp_path: Path) -> None:
    """A client that assumes nine hours is caught; an expired token and a wrong one have two wordings."""
    async with paypal_shop(tmp_path) as shop:
        first = await shop.log_in()
        assert (first.status, first.body["token_type"]) == (200, "Bearer")
        assert "paypal-debug-id" in first.headers
        await shop.advance(32_000)
        second = await shop.log_in()
        assert second.body["access_token"] == first.body["access_token"]
        assert 390 <= second.body["expires_in"] <= 400
        await shop.advance(400)
        expired = await shop.get(f"{ORDERS}/X")
        assert (expired.status, expired.body["error"]) == (401, "invalid_token")
        assert expired.body["error_description"] == "Access Token not found in cache"
        assert (await shop.log_in()).body["access_token"] != first.body["access_token"]
        shop.token = "A21AAforged"
        forged = await shop.create()
        assert forged.body["error_description"] == "Token signature verification failed"


async def test_credentials_are_checked_in_both_places(tmp_path: Path) -> None:
    """PayPal takes them in a token's place too, and refuses in OAuth's shape; nothing at all is refused in its own."""
    async with paypal_shop(tmp_path) as shop:
        for headers in (basic(client_secret="wrong"), basic(client_id="wrong"), {"Authorization": "Basic ?"}, {}):
            answer = await shop.ask_token(headers)
            assert (answer.status, answer.body["error"]) == (401, "invalid_client")
        answer = await shop.ask_token(basic(), "password")
        assert (answer.status, answer.body["error"]) == (400, "unsupported_grant_type")
        assert (await shop.call("GET", f"{ORDERS}/X", headers=basic())).status == 404
        nothing = await shop.call("GET", f"{ORDERS}/X")
        assert (nothing.status, nothing.body["name"]) == (401, "AUTHENTICATION_FAILURE")


async def test_an_order_lives_three_hours_and_three_more(tmp_path: Path) -> None:
    """Unapproved it is forgotten after three hours; an approval gives three more; what is captured stays."""
    async with paypal_shop(tmp_path) as shop:
        first, second = [(await shop.create(f"draft-{number}")).body["id"] for number in (1, 2)]
        await shop.advance(3 * 3600 - 60)
        await shop.act("pay", "draft-2")
        await shop.advance(60)
        assert issue_of(await shop.get(f"{ORDERS}/{first}")) == (404, "INVALID_RESOURCE_ID")
        assert issue_of(await shop.capture(first)) == (404, "INVALID_RESOURCE_ID")
        assert (await shop.call("GET", f"/checkoutnow?token={first}")).status == 404
        assert [row["state"] for row in await shop.ledger()] == ["expired", "open"]
        await shop.advance(3 * 3600 - 61)
        await shop.log_in()
        assert (await shop.get(f"{ORDERS}/{second}")).body["status"] == "APPROVED"
        await shop.capture(second)
        await shop.advance(30 * 86_400)
        await shop.log_in()
        assert (await shop.get(f"{ORDERS}/{second}")).body["status"] == "COMPLETED"
        third = await shop.approved("draft-3")
        await shop.advance(3 * 3600)
        assert issue_of(await shop.capture(third)) == (404, "INVALID_RESOURCE_ID")


async def test_the_payer_cancels_and_comes_back(tmp_path: Path) -> None:
    """A cancelled order stays payable, and nobody is told; a second click on Approve tells nothing twice."""
    async with paypal_shop(tmp_path) as shop:
        page = link_of(await shop.create(), "payer-action")
        back = await shop.call("POST", page, data={"action": "cancel"})
        token = page.partition("token=")[2]
        assert (back.status, back.headers["Location"]) == (303, f"https://shop.example/cancel?token={token}")
        assert (await shop.call("POST", page, data={"action": "dance"})).status == 400
        for _ in range(2):
            assert (await shop.call("POST", page, data={"action": "approve"})).status == 303
        await shop.told("CHECKOUT.ORDER.APPROVED")
        await shop.capture(token)
        assert (await shop.call("GET", page)).status == 409
        assert (await shop.call("GET", "/checkoutnow?token=NONE")).status == 404


async def test_an_order_without_a_reference_has_a_row_of_its_own(tmp_path: Path) -> None:
    """It can be paid in the page only; without addresses the page says so."""
    async with paypal_shop(tmp_path) as shop:
        body = {"intent": "CAPTURE", "purchase_units": [{"amount": {"currency_code": "USD", "value": "1.00"}}]}
        for _ in range(2):
            page = link_of(await shop.send(ORDERS, body), "approve")
        assert "No return address" in (await shop.call("POST", page, data={"action": "approve"})).body
        assert [row["merchant_reference"] for row in await shop.ledger()] == [None, None]
