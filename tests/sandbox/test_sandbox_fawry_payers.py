"""What payers do at the fake Fawry, on its pages and by the control plane, and what is told of it."""

import asyncio
import re
from pathlib import Path

import pytest
from sandbox_bench import query_of, until
from sandbox_fawry_bench import digest, fawry_shop

GOOD = {"card_number": "4242 4242 4242 4242", "card_expiry": "05/29", "card_cvv": "123", "action": "pay"}
LIST = "/__sandbox/fawry"


@pytest.mark.parametrize(
    ("act", "status", "state"),
    [("pay", "PAID", "paid"), ("decline", "FAILED", "failed"), ("cancel", "CANCELED", "voided")],
)
async def test_a_wallet_does_each_of_these_once(tmp_path: Path, act: str, status: str, state: str) -> None:
    """Its method is spelt in two words when it is told."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge("MWALLET", debitMobileWalletNo="01012345678")
        assert (await shop.act(act)).status == 200
        assert (await shop.act(act)).status == 409
        ended = (await shop.told("NEW", status))[1]
        assert ended["paymentMethod"] == "Mobile Wallet"
        assert ("paymentRefrenceNumber" in ended, "failureErrorCode" in ended) == (act == "pay", act == "decline")
        assert (await shop.ledger())[0]["state"] == state


async def test_a_reference_is_paid_or_expires_and_cannot_be_declined(tmp_path: Path) -> None:
    """Cash has no issuer."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        assert (await shop.act("decline")).status == 409
        assert (await shop.act("refund")).status == 409
        assert (await shop.act("review")).status == 409
        assert (await shop.act("expire")).status == 200
        await shop.told("NEW", "EXPIRED")
        assert (await shop.act("pay")).status == 409
        assert (await shop.act("pay", "nobody")).status == 404


async def test_an_order_expires_when_the_clock_passes_its_end(tmp_path: Path) -> None:
    """And Fawry tells of it without being asked."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.charge(merchantRefNum="draft-2", paymentExpiry=9999999999999)
        await shop.told("NEW", "NEW")
        await shop.advance(48 * 3600 + 1)
        assert (await shop.told("NEW", "NEW", "EXPIRED"))[2]["merchantRefNumber"] == "draft-1"
        assert [row["state"] for row in await shop.ledger()] == ["expired", "open"]
        assert (await shop.status()).body["orderStatus"] == "EXPIRED"


async def test_a_refund_in_the_dashboard_is_of_all_that_is_left_unless_told(tmp_path: Path) -> None:
    """Of some of it first."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.act("pay")
        await shop.act("refund", amount_minor=1000)
        await shop.act("refund")
        await shop.told("NEW", "PAID", "PARTIAL_REFUNDED", "REFUNDED")
        assert (await shop.act("refund")).status == 409


async def test_a_notification_goes_where_its_order_says(tmp_path: Path) -> None:
    """And to the configured address where the order says nothing."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.charge(merchantRefNum="draft-2", orderWebHookUrl=None)
        await until(lambda: len(shop.notifications) == 2)
        assert [each["url"].rpartition("/")[2] for each in await shop.deliveries()] == ["own", "fawry"]


async def test_each_delivery_is_signed_anew_and_sent_again_until_it_is_taken(tmp_path: Path) -> None:
    """The request id changes with each; what is signed does not."""
    async with fawry_shop(tmp_path) as shop:
        shop.answers = [500]
        await shop.charge()
        async with asyncio.timeout(5):
            while (await shop.deliveries())[0]["answer"] is None:  # noqa: ASYNC110 - the state of another server
                await asyncio.sleep(0.005)
        await shop.advance(3)
        one, two = await shop.told("NEW", "NEW")
        assert one["requestId"] != two["requestId"]
        assert {**one, "requestId": ""} == {**two, "requestId": ""}


async def test_webhook_faults_spoil_the_signature_or_the_sum(tmp_path: Path) -> None:
    """The first is not Fawry's, the second is, of another amount."""
    async with fawry_shop(tmp_path) as shop:
        await shop.fault("webhook", "corrupt_signature", psp="fawry")
        await shop.fault("webhook", "wrong_amount", psp="fawry")
        await shop.charge()
        await shop.act("pay")
        await until(lambda: len(shop.notifications) == 2)
        forged, wrong = sorted(shop.notifications, key=lambda each: each["orderStatus"])
        texts = (forged["fawryRefNumber"], "draft-1", "301.00", "300.00", "NEW", "PAYATFAWRY")
        assert forged["messageSignature"] != digest(*texts)
        assert (wrong["orderAmount"], wrong["paymentAmount"]) == ("300.01", "301.01")
        number = wrong["paymentRefrenceNumber"]
        known = (wrong["fawryRefNumber"], "draft-1", "301.01", "300.01", "PAID", "PAYATFAWRY", number)
        assert wrong["messageSignature"] == digest(*known)


async def test_a_card_is_paid_and_the_browser_goes_back_with_a_signed_query(tmp_path: Path) -> None:
    """The merchant's own query stays in front, and amounts are not padded there."""
    async with fawry_shop(tmp_path) as shop:
        url = (await shop.page()).body
        assert "SANDBOX" in (await shop.call("GET", url)).body
        back = await shop.call("POST", url, data=GOOD)
        assert back.status == 303
        assert back.headers["Location"].startswith("https://shop.example/back?x=1&type=ChargeResponse&")
        query = query_of(back)
        assert (query["orderStatus"], query["paymentMethod"], query["paymentAmount"]) == ("PAID", "PayUsingCC", "301")
        amounts = ("301.00", "300.00", "PAID", "PayUsingCC", "1.00")
        texts = (query["referenceNumber"], "draft-1", *amounts, query["authNumber"], query["customerMobile"])
        assert query["signature"] == digest(*texts)
        assert (await shop.told("NEW", "PAID"))[1]["paymentMethod"] == "CARD"
        assert (await shop.call("POST", url, data=GOOD)).status == 409


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"card_number": "4263 9700 0000 5262"}, "99954"),
        ({"card_number": "5114-6100-0000-4778"}, "99951"),
        ({"card_number": "5078096700053444"}, "99901"),
        ({"card_number": "4111111111111111"}, "99901"),
        ({"card_cvv": "124"}, "99901"),
        ({"card_expiry": "05/30"}, "99901"),
        ({"action": "decline"}, "99901"),
    ],
)
async def test_a_refused_card_leaves_the_page_open(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    """The payer may try another there, and the last word is what counts."""
    async with fawry_shop(tmp_path) as shop:
        url = (await shop.page()).body
        assert (await shop.call("POST", url, data={**GOOD, **changes})).status == 400
        assert (await shop.told("NEW", "FAILED"))[1]["failureErrorCode"] == code
        assert (await shop.ledger())[0]["state"] == "open"
        assert (await shop.call("POST", url, data=GOOD)).status == 303
        assert "failureErrorCode" not in (await shop.told("NEW", "FAILED", "PAID"))[2]


@pytest.mark.parametrize(("action", "status"), [("cancel", "CANCELED"), ("expire", "EXPIRED")])
async def test_the_other_buttons_end_the_order(tmp_path: Path, action: str, status: str) -> None:
    """And the browser goes back with that word."""
    async with fawry_shop(tmp_path) as shop:
        url = (await shop.page()).body
        assert query_of(await shop.call("POST", url, data={"action": action}))["orderStatus"] == status
        await shop.told("NEW", status)
        assert (await shop.call("GET", url)).status == 409


async def test_a_page_that_nobody_opened_is_not_there(tmp_path: Path) -> None:
    """The id in the address is the authority."""
    async with fawry_shop(tmp_path) as shop:
        assert (await shop.call("GET", "/atfawry/plugin?payment-id=x")).status == 404
        assert (await shop.call("POST", "/atfawry/plugin?payment-id=x", data=GOOD)).status == 404


async def test_what_waits_is_listed_and_settled_there(tmp_path: Path) -> None:
    """So that a developer who got a number or a prompt can go on without the control plane."""
    async with fawry_shop(tmp_path) as shop:
        empty = (await shop.call("GET", LIST)).body
        assert "Nothing waits" in empty
        cash = (await shop.charge()).body["referenceNumber"]
        phone = await shop.charge("MWALLET", merchantRefNum="draft-2", debitMobileWalletNo="01012345678")
        await shop.page(merchantRefNum="draft-3")
        listed = (await shop.call("GET", LIST)).body
        assert re.findall(r"<h2>([0-9]+)</h2>", listed) == [phone.body["referenceNumber"], cash]
        assert "Pay at the shop" in listed
        assert "Confirm on the phone" in listed

        for number, action in ((cash, "pay"), (phone.body["referenceNumber"], "decline")):
            assert (await shop.call("POST", LIST, data={"number": number, "action": action})).status == 303
            assert (await shop.call("POST", LIST, data={"number": number, "action": action})).status == 409
        assert [row["state"] for row in await shop.ledger()] == ["paid", "failed", "open"]
        alone = (await shop.call("GET", f"{LIST}?number={cash}")).body
        assert "PAID" in alone
        assert "<button" not in alone
        assert (await shop.call("POST", LIST, data={"number": "1", "action": "pay"})).status == 404


@pytest.mark.parametrize(("wallet", "state"), [("01000000002", "failed"), ("01000000003", "open")])
async def test_the_wallets_that_do_not_pay(tmp_path: Path, wallet: str, state: str) -> None:
    """The sandbox's own numbers, as at the fake Paymob: Fawry publishes none."""
    async with fawry_shop(tmp_path) as shop:
        number = (await shop.charge("MWALLET", debitMobileWalletNo=wallet)).body["referenceNumber"]
        assert (await shop.call("POST", LIST, data={"number": number, "action": "pay"})).status == 303
        assert (await shop.ledger())[0]["state"] == state
