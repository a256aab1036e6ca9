"""Money that goes back at the fake PayPal."""

from pathlib import Path
from typing import Any

import pytest
from sandbox_paypal_bench import CAPTURES, ORDERS, issue_of, paypal_shop

APPROVED = "CHECKOUT.ORDER.APPROVED"
PAID = "PAYMENT.CAPTURE.COMPLETED"
REFUNDED = "PAYMENT.CAPTURE.REFUNDED"


def _dollars(value: str) -> dict[str, Any]:
    return {"amount": {"currency_code": "USD", "value": value}}


async def test_refunds_add_up_to_the_capture(tmp_path: Path) -> None:
    """Each says what went back in all; the event tells it by the capture's link alone, in the time of California."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        first = await shop.refund(capture_id, {**_dollars("1.50"), "note_to_payer": "Sorry"}, "refund:1")
        assert (first.status, list(first.body)) == (201, ["id", "status", "links"])
        assert (await shop.get(f"{CAPTURES}/{capture_id}")).body["status"] == "PARTIALLY_REFUNDED"
        assert issue_of(await shop.refund(capture_id, _dollars("8.51"))) == (422, "REFUND_AMOUNT_EXCEEDED")
        second = await shop.refund(capture_id, None, "refund:2", Prefer="return=representation")
        assert second.body["amount"]["value"] == "8.50"
        assert second.body["seller_payable_breakdown"]["total_refunded_amount"]["value"] == "10.00"
        assert second.body["custom_id"] == "draft-1"
        assert issue_of(await shop.refund(capture_id)) == (422, "CAPTURE_FULLY_REFUNDED")
        assert (await shop.get(f"{CAPTURES}/{capture_id}")).body["status"] == "REFUNDED"

        *_, one, two = await shop.told(APPROVED, PAID, REFUNDED, REFUNDED)
        for event in (one, two):
            assert not {"custom_id", "invoice_id", "supplementary_data"} & event.resource.keys()
            assert ORDERS not in event.raw.decode()
            links = {each["rel"]: each["href"] for each in event.resource["links"]}
            assert links["up"] == f"{shop.base}{CAPTURES}/{capture_id}"
            assert event.resource["create_time"][-6:] in {"-07:00", "-08:00"}
        totals = [each.resource["seller_payable_breakdown"]["total_refunded_amount"]["value"] for each in (one, two)]
        assert sorted(totals) == ["1.50", "10.00"]
        read = (await shop.get(f"/v2/payments/refunds/{first.body['id']}")).body
        assert (read["note_to_payer"], read["seller_payable_breakdown"]["total_refunded_amount"]["value"]) == (
            "Sorry",
            "1.50",
        )
        (row,) = await shop.ledger()
        assert (row["state"], row["paid_minor"], row["refunded_minor"]) == ("refunded", 1000, 1000)
        order = (await shop.get(f"{ORDERS}/{row['transaction_reference_id']}")).body
        assert [each["amount"]["value"] for each in order["purchase_units"][0]["payments"]["refunds"]] == [
            "1.50",
            "8.50",
        ]


async def test_a_refund_id_gives_back_once_for_forty_five_days(tmp_path: Path) -> None:
    """200 with the first refund, whatever the second body says; afterwards the id is a new one."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        first = await shop.refund(capture_id, _dollars("1.00"), "once")
        again = await shop.refund(capture_id, _dollars("2.00"), "once")
        assert (first.status, again.status, again.body) == (201, 200, first.body)
        await shop.advance(45 * 86_400 - 60)
        await shop.log_in()
        assert (await shop.refund(capture_id, _dollars("1.00"), "once")).status == 200
        await shop.advance(60)
        assert (await shop.refund(capture_id, _dollars("1.00"), "once")).status == 201
        assert [row["refunded_minor"] for row in await shop.ledger()] == [200]


@pytest.mark.parametrize(
    ("body", "status", "issue"),
    [
        (_dollars("0.00"), 422, "CANNOT_BE_ZERO_OR_NEGATIVE"),
        (_dollars("1.005"), 422, "DECIMAL_PRECISION"),
        ({"amount": {"currency_code": "EUR", "value": "1.00"}}, 422, "REFUND_CAPTURE_CURRENCY_MISMATCH"),
        ({"amount": {"currency_code": "EGP", "value": "1.00"}}, 422, "INVALID_CURRENCY_CODE"),
        ({"amount": {"value": "1.00"}}, 400, "MISSING_REQUIRED_PARAMETER"),
        ({"note_to_payer": "x" * 256}, 400, "INVALID_STRING_LENGTH"),
        (b"[", 400, "INVALID_PARAMETER_SYNTAX"),
    ],
)
async def test_refunds_that_paypal_does_not_make(tmp_path: Path, body: Any, status: int, issue: str) -> None:
    """Nothing goes back, and nobody is told."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        assert issue_of(await shop.refund(capture_id, body)) == (status, issue)
        assert [row["refunded_minor"] for row in await shop.ledger()] == [0]


async def test_a_refund_has_a_time_an_invoice_and_a_capture(tmp_path: Path) -> None:
    """180 days; one refund for an invoice id; nothing for an id that PayPal does not know."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        body = {**_dollars("1.00"), "invoice_id": "R-1"}
        assert (await shop.refund(capture_id, body)).status == 201
        assert issue_of(await shop.refund(capture_id, body)) == (422, "DUPLICATE_INVOICE_ID")
        for path in (f"{CAPTURES}/NONE", "/v2/payments/refunds/NONE"):
            assert issue_of(await shop.get(path)) == (404, "INVALID_RESOURCE_ID")
        assert issue_of(await shop.refund("NONE")) == (404, "INVALID_RESOURCE_ID")
        await shop.advance(180 * 86_400)
        await shop.log_in()
        assert issue_of(await shop.refund(capture_id)) == (422, "REFUND_TIME_LIMIT_EXCEEDED")


async def test_whole_currencies_go_back_whole(tmp_path: Path) -> None:
    """The dashboard speaks minor units; what PayPal cannot write it does not give back."""
    async with paypal_shop(tmp_path) as shop:
        await shop.paid("draft-1", value="2500", currency="HUF")
        assert (await shop.act("refund", amount_minor=50)).status == 409
        assert (await shop.act("refund", amount_minor=100)).status == 200
        capture_id = (await shop.paid("draft-2", value="1000", currency="JPY"))["id"]
        body = {"amount": {"currency_code": "JPY", "value": "1.5"}}
        assert issue_of(await shop.refund(capture_id, body)) == (422, "DECIMALS_NOT_SUPPORTED")
        assert (await shop.act("refund", "draft-2", amount_minor=1)).status == 200
        assert [row["refunded_minor"] for row in await shop.ledger()] == [100, 1]


async def test_the_dashboard_refunds_and_a_dispute_reverses(tmp_path: Path) -> None:
    """Money may go back behind the server's back; events tell of it."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        assert (await shop.act("refund", amount_minor=1001)).status == 409
        assert (await shop.act("refund", amount_minor=300)).status == 200
        assert (await shop.ledger())[0]["state"] == "partially_refunded"
        assert (await shop.act("reverse")).status == 200
        *_, event = await shop.told(APPROVED, PAID, REFUNDED, "PAYMENT.CAPTURE.REVERSED")
        assert (event.resource["amount"]["value"], event.body["resource_type"]) == ("7.00", "refund")
        assert event.resource["seller_payable_breakdown"]["total_refunded_amount"]["value"] == "10.00"
        assert [(row["state"], row["refunded_minor"]) for row in await shop.ledger()] == [("refunded", 1000)]
        assert (await shop.act("refund")).status == 409
        assert issue_of(await shop.refund(capture_id)) == (422, "CAPTURE_FULLY_REFUNDED")


PENDING = "PAYMENT.REFUND.PENDING"
FAILED = "PAYMENT.REFUND.FAILED"


@pytest.mark.parametrize(
    ("act", "event", "status", "capture_status", "refunded"),
    [("release", REFUNDED, "COMPLETED", "PARTIALLY_REFUNDED", 400), ("deny", FAILED, "FAILED", "COMPLETED", 0)],
)
async def test_a_refund_by_echeck_waits_and_ends_either_way(
    tmp_path: Path, act: str, event: str, status: str, capture_status: str, refunded: int
) -> None:
    """Nothing is back while it waits, and what waits cannot go back a second time; the same id tells how it ended."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        assert (await shop.act("review")).status == 200
        full = {"Prefer": "return=representation"}
        waits = await shop.refund(capture_id, {**_dollars("4.00"), "custom_id": "R-1"}, "once", **full)
        assert (waits.status, waits.body["status"], waits.body["status_details"]) == (
            201,
            "PENDING",
            {"reason": "ECHECK"},
        )
        assert [row["refunded_minor"] for row in await shop.ledger()] == [0]
        assert (await shop.get(f"{CAPTURES}/{capture_id}")).body["status"] == "COMPLETED"
        assert issue_of(await shop.refund(capture_id, _dollars("6.01"))) == (422, "REFUND_AMOUNT_EXCEEDED")
        assert (await shop.act(act)).status == 200
        *_, pending, ended = await shop.told(APPROVED, PAID, PENDING, event)
        assert [pending.resource["status"], ended.resource["status"]] == ["PENDING", status]
        assert pending.resource["id"] == ended.resource["id"] == waits.body["id"]
        again = await shop.refund(capture_id, _dollars("4.00"), "once", **full)
        assert (again.status, again.body["status"], again.body["custom_id"]) == (200, status, "R-1")
        assert (await shop.get(f"{CAPTURES}/{capture_id}")).body["status"] == capture_status
        assert [row["refunded_minor"] for row in await shop.ledger()] == [refunded]


async def test_a_refund_that_was_done_may_still_fail(tmp_path: Path) -> None:
    """The newest one does; what stays given back is the rest, and the money can be given back again."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        await shop.refund(capture_id, _dollars("3.00"), "one")
        second = await shop.refund(capture_id, _dollars("7.00"), "two")
        assert (await shop.act("deny")).status == 200
        *_, failed = await shop.told(APPROVED, PAID, REFUNDED, REFUNDED, FAILED)
        assert failed.resource["id"] == second.body["id"]
        assert (await shop.get(f"{CAPTURES}/{capture_id}")).body["status"] == "PARTIALLY_REFUNDED"
        (row,) = await shop.ledger()
        assert (row["state"], row["refunded_minor"]) == ("partially_refunded", 300)
        order = (await shop.get(f"{ORDERS}/{row['transaction_reference_id']}")).body
        shown = order["purchase_units"][0]["payments"]["refunds"]
        assert [each["status"] for each in shown] == ["COMPLETED", "FAILED"]
        assert (await shop.refund(capture_id, _dollars("7.00"), "three")).status == 201
        assert (await shop.act("release")).status == 409
