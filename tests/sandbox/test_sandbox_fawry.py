"""The fake Fawry's own paths: charges, status, refunds, the end of unpaid orders, and what each refuses."""

import base64
from pathlib import Path
from typing import Any

import pytest
from sandbox_fawry_bench import CHARGE, FAWRY, INIT, REFUND, STATUS, STATUS_V1, WALLET, digest, fawry_shop


async def test_a_charge_is_answered_as_it_was_recorded(tmp_path: Path) -> None:
    """The fields of the Ruby client's recording, with a number of nine digits."""
    async with fawry_shop(tmp_path) as shop:
        answer = await shop.charge(paymentExpiry=4102444800000)
        number = answer.body["referenceNumber"]
        assert answer.body == {
            "type": "ChargeResponse",
            "referenceNumber": number,
            "merchantRefNumber": "draft-1",
            "expirationTime": 4102444800000,
            "statusCode": 200,
            "statusDescription": "Operation done successfully",
        }
        assert (len(number), number[0], number.isdecimal()) == (9, "9", True)
        (row,) = await shop.ledger()
        assert row == {
            "psp": "fawry",
            "merchant_reference": "draft-1",
            "transaction_reference_id": number,
            "amount_minor": 30000,
            "currency": "EGP",
            "state": "open",
            "registered": 1,
            "paid_minor": 0,
            "refunded_minor": 0,
        }


@pytest.mark.parametrize("path", [CHARGE, WALLET])
async def test_a_wallet_is_charged_at_both_paths(tmp_path: Path, path: str) -> None:
    """Sources disagree two to two. Without a number the answer has a picture, with one the phone asks."""
    async with fawry_shop(tmp_path) as shop:
        drawn = await shop.charge("MWALLET", path)
        asked = await shop.charge("MWALLET", path, merchantRefNum="draft-2", debitMobileWalletNo="01012345678")
        head, _, picture = drawn.body["walletQr"].partition(",")
        assert head == "data:image/PNG;base64"
        assert base64.b64decode(picture, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
        assert "walletQr" not in asked.body


async def test_amounts_are_taken_as_numbers_and_as_texts(tmp_path: Path) -> None:
    """Fawry takes both; what is signed has two decimals in either case."""
    items = [{"itemId": "mug", "price": 20.5, "quantity": "1"}]
    async with fawry_shop(tmp_path) as shop:
        assert (await shop.charge(amount=20.5, chargeItems=items)).body["statusCode"] == 200
        assert (await shop.ledger())[0]["amount_minor"] == 2050


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signature": "0" * 64}, 9946),
        ({"signature": None}, 9946),
        ({"merchantCode": "other"}, 9901),
        ({"amount": "299.99"}, 21004),
        ({"amount": "much", "signature": digest(FAWRY.merchant_code, "draft-1")}, 21004),
        ({"currencyCode": "USD"}, 21004),
    ],
)
async def test_a_charge_that_is_wrong_registers_nothing(tmp_path: Path, changes: dict[str, Any], code: int) -> None:
    """Business errors come with HTTP 200, as at Fawry."""
    async with fawry_shop(tmp_path) as shop:
        if changes.get("amount") == "much":
            body = {"merchantCode": FAWRY.merchant_code, "merchantRefNum": "draft-1", **changes}
            answer = await shop.call("POST", CHARGE, json=body)
        else:
            answer = await shop.charge(**changes)
        assert (answer.status, answer.body["type"], answer.body["statusCode"]) == (200, "ChargeResponse", code)
        assert await shop.ledger() == []


async def test_a_reference_is_taken_once_and_for_ever(tmp_path: Path) -> None:
    """By whichever call, and after a restart too."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.act("expire")
        await shop.stop()
        await shop.start()
        for again in (await shop.charge(), await shop.charge("MWALLET"), await shop.page()):
            assert (again.status, again.body["statusDescription"]) == (200, "DUPLICATE_MERCHANT_REF_NUM")
        assert [row["registered"] for row in await shop.ledger()] == [1]


async def test_a_page_needs_its_method_and_answers_with_plain_text(tmp_path: Path) -> None:
    """As captures show it; some merchants got 10045 without the method."""
    async with fawry_shop(tmp_path) as shop:
        without = await shop.page(paymentMethod=None)
        page = await shop.page()
        assert without.body["statusCode"] == 10045
        assert page.body.startswith(f"{shop.base}/atfawry/plugin?payment-id=")
        assert (await shop.call("GET", page.body)).status == 200
        assert (await shop.call("POST", INIT, json={"merchantCode": FAWRY.merchant_code})).body["statusCode"] == 21004


async def test_the_status_is_what_a_notification_would_say(tmp_path: Path) -> None:
    """Signed like one; an open order is UNPAID here, and NEW only where it is told."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.told("NEW")
        assert (await shop.status()).body["orderStatus"] == "UNPAID"
        await shop.act("pay")
        paid = (await shop.status()).body
        told = (await shop.told("NEW", "PAID"))[1]
        same = {"fawryRefNumber", "merchantRefNumber", "orderStatus", "paymentMethod", "messageSignature"}
        assert {name: paid[name] for name in same} == {name: told[name] for name in same}
        assert (paid["paymentAmount"], paid["orderAmount"], paid["fawryFees"]) == (301.0, 300.0, 1.0)


async def test_the_older_status_has_its_own_words(tmp_path: Path) -> None:
    """CANCELLED with two l, `paymentStatus`, and no signature."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        await shop.act("cancel")
        old = (await shop.status(path=STATUS_V1)).body
        assert (old["type"], old["paymentStatus"], old["statusCode"]) == ("PaymentStatusResponse", "CANCELLED", 200)
        assert "messageSignature" not in old


async def test_a_status_is_asked_encoded_or_raw(tmp_path: Path) -> None:
    """The merchant code has a plus and equals signs in it, of which sources say either."""
    async with fawry_shop(tmp_path) as shop:
        await shop.charge()
        raw = f"merchantCode={FAWRY.merchant_code}&merchantRefNumber=draft-1"
        signature = digest(FAWRY.merchant_code, "draft-1")
        assert (await shop.status()).status == 200
        assert (await shop.call("GET", f"{STATUS}?{raw}&signature={signature}")).status == 200


async def test_a_status_that_cannot_be_given_says_why(tmp_path: Path) -> None:
    """404 in V2 and a code in V1; a wrong signature has a wording of its own."""
    async with fawry_shop(tmp_path) as shop:
        unknown = await shop.status("nobody")
        assert (unknown.status, unknown.body["statusCode"]) == (404, 9938)
        old = await shop.status("nobody", path=STATUS_V1)
        assert (old.status, old.body["statusCode"]) == (200, 9938)
        wrong = await shop.status(signature="0" * 64)
        assert (wrong.status, wrong.body["statusDescription"]) == (200, "Wrong Signature")


async def test_refunds_add_up_to_the_payment(tmp_path: Path) -> None:
    """Each is told with the original amount, and none says how much went back."""
    async with fawry_shop(tmp_path) as shop:
        number = (await shop.charge()).body["referenceNumber"]
        assert (await shop.refund(number, "1")).body["statusCode"] == 9954
        await shop.act("pay")
        done = await shop.refund(number, "100.50", reason="Sorry")
        assert done.body == {
            "type": "ResponseDataModel",
            "statusCode": 200,
            "statusDescription": "Operation done successfully",
        }
        assert (await shop.refund(number, "199.51")).body["statusCode"] == 9935
        assert (await shop.refund(number, "199.50")).body["statusCode"] == 200
        assert (await shop.refund("1", "1")).body["statusCode"] == 9938
        assert (await shop.refund(number, "1", signature="0")).body["statusCode"] == 9946
        told = await shop.told("NEW", "PAID", "PARTIAL_REFUNDED", "REFUNDED")
        assert {each["orderAmount"] for each in told} == {"300.0"}
        (row,) = await shop.ledger()
        assert (row["state"], row["paid_minor"], row["refunded_minor"]) == ("refunded", 30000, 30000)


async def test_an_ended_order_counts_no_more_and_its_replacement_does(tmp_path: Path) -> None:
    """The ledger counts what a payer could pay, under the folded reference."""
    async with fawry_shop(tmp_path) as shop:
        number = (await shop.charge("MWALLET")).body["referenceNumber"]
        assert (await shop.end(number)).body["code"] == 200
        assert (await shop.end(number)).body["code"] == 9984
        second = (await shop.charge("MWALLET", merchantRefNum="draft-1~2")).body["referenceNumber"]
        (row,) = await shop.ledger()
        assert (row["registered"], row["transaction_reference_id"], row["state"]) == (1, second, "open")
        assert (await shop.act("pay", transaction_reference_id=number)).status == 409
        await shop.act("pay")
        paid = await shop.end(second)
        assert (paid.status, paid.body["code"]) == (400, 400)
        assert (await shop.end("1")).body["code"] == 9938
        assert (await shop.end(second, signature="0")).body["code"] == 9946
        assert (await shop.ledger())[0]["paid_minor"] == 30000


@pytest.mark.parametrize(
    ("operation", "path"), [("register", CHARGE), ("register", INIT), ("lookup", STATUS), ("refund", REFUND)]
)
async def test_faults_hit_the_operation_that_was_named(tmp_path: Path, operation: str, path: str) -> None:
    """And no other."""
    async with fawry_shop(tmp_path) as shop:
        await shop.fault(operation, "error", psp="fawry")
        assert (
            await shop.call("GET" if path == STATUS else "POST", path, **({} if path == STATUS else {"json": {}}))
        ).status == 500
        assert (await shop.charge(path=WALLET)).body["statusCode"] == 200
