"""Captures at the fake PayPal: what a request id stands for, and every end that a capture can have."""

import asyncio
from pathlib import Path

import pytest
from sandbox_paypal_bench import CAPTURES, ORDERS, issue_of, link_of, order_body, paypal_shop


async def test_a_capture_id_answers_with_the_latest_state_of_the_first_request(tmp_path: Path) -> None:
    """201, then 200 with the same capture; a refund in between shows. Another id finds the order captured."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved()
        first = await shop.capture(order_id)
        (capture,) = first.body["purchase_units"][0]["payments"]["captures"]
        assert (await shop.capture(order_id)).body == first.body
        await shop.refund(capture["id"])
        again = await shop.capture(order_id)
        assert (first.status, again.status) == (201, 200)
        (latest,) = again.body["purchase_units"][0]["payments"]["captures"]
        assert (latest["id"], latest["status"]) == (capture["id"], "REFUNDED")
        for other in ("capture:2", None):
            assert issue_of(await shop.capture(order_id, other)) == (422, "ORDER_ALREADY_CAPTURED")
        await shop.advance(6 * 3600)
        assert issue_of(await shop.capture(order_id)) == (422, "ORDER_ALREADY_CAPTURED")
        assert [row["paid_minor"] for row in await shop.ledger()] == [1000]


async def test_a_create_id_makes_one_order_for_six_hours(tmp_path: Path) -> None:
    """Another body under the same id gets the first order; after six hours the id is a new one."""
    async with paypal_shop(tmp_path) as shop:
        first = await shop.send(ORDERS, order_body(old=True), "once")
        again = await shop.send(ORDERS, order_body(value="99.00", old=True), "once")
        assert (first.status, again.status, again.body) == (201, 200, first.body)
        await shop.act("pay")
        assert (await shop.send(ORDERS, order_body(old=True), "once")).body["status"] == "APPROVED"
        assert [(row["registered"], row["amount_minor"]) for row in await shop.ledger()] == [(1, 1000)]
        await shop.advance(6 * 3600)
        later = await shop.send(ORDERS, order_body(old=True), "once")
        assert (later.status, later.body["id"] == first.body["id"]) == (201, False)
        assert [row["registered"] for row in await shop.ledger()] == [2]


async def test_an_id_that_tried_nothing_may_try_later(tmp_path: Path) -> None:
    """ORDER_NOT_APPROVED is no answer to keep: the same id captures once the payer has approved."""
    async with paypal_shop(tmp_path) as shop:
        order_id = (await shop.create()).body["id"]
        assert issue_of(await shop.capture(order_id)) == (422, "ORDER_NOT_APPROVED")
        await shop.act("pay")
        assert (await shop.capture(order_id)).status == 201


@pytest.mark.parametrize("operation", ["register", "capture", "refund"])
async def test_of_two_at_the_same_moment_the_second_waits_its_turn(tmp_path: Path, operation: str) -> None:
    """409 while the first is worked on, then the first one's answer; another id is not held up."""
    async with paypal_shop(tmp_path) as shop:
        capture_id = (await shop.paid())["id"]
        order_id = await shop.approved("draft-2")
        calls = {
            "register": lambda: shop.create("draft-3"),
            "capture": lambda: shop.capture(order_id),
            "refund": lambda: shop.refund(capture_id, {}, "refund:1"),
        }
        await shop.fault(operation, "slow", seconds=0.5)
        first = asyncio.create_task(calls[operation]())
        async with asyncio.timeout(5):
            while (await shop.get("/__sandbox/faults")).body:
                pass
        assert issue_of(await calls[operation]()) == (409, "PREVIOUS_REQUEST_IN_PROGRESS")
        assert (await shop.create("draft-4")).status == 200
        done = (await first).body
        again = await calls[operation]()
        assert (again.status, again.body["id"]) == (200, done["id"])


@pytest.mark.parametrize("body", [b"", b"{}", b"  "])
async def test_a_capture_needs_no_body(tmp_path: Path, body: bytes) -> None:
    """PayPal's own SDKs send no bytes, with the media type of JSON."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved()
        answer = await shop.send(f"{ORDERS}/{order_id}/capture", body, Prefer="return=representation")
        assert (answer.status, answer.body["intent"], "create_time" in answer.body) == (201, "CAPTURE", True)
        assert answer.body["purchase_units"][0]["amount"]["value"] == "10.00"


async def test_a_declined_payer_comes_back_and_pays(tmp_path: Path) -> None:
    """The decline has a link back; its id repeats it even after the new approval, and the next id pays."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved(act="decline")
        declined = await shop.capture(order_id)
        assert issue_of(declined) == (422, "INSTRUMENT_DECLINED")
        page = link_of(declined, "redirect")
        assert page == f"{shop.base}/checkoutnow?token={order_id}"
        assert issue_of(await shop.capture(order_id, "capture:2")) == (422, "ORDER_NOT_APPROVED")
        assert (await shop.get(f"{ORDERS}/{order_id}")).body["status"] == "PAYER_ACTION_REQUIRED"
        assert (await shop.call("POST", page, data={"action": "approve"})).status == 303
        assert issue_of(await shop.capture(order_id)) == (422, "INSTRUMENT_DECLINED")
        assert (await shop.capture(order_id, "capture:2")).body["status"] == "COMPLETED"
        await shop.told("CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED")
        assert [(row["state"], row["paid_minor"]) for row in await shop.ledger()] == [("paid", 1000)]


async def test_the_page_declines_and_reviews_too(tmp_path: Path) -> None:
    """What a test can ask for, a person can click."""
    async with paypal_shop(tmp_path) as shop:
        for reference, action in (("draft-1", "decline"), ("draft-2", "review")):
            page = link_of(await shop.create(reference), "payer-action")
            assert (await shop.call("POST", page, data={"action": action})).status == 303
        first, second = [row["transaction_reference_id"] for row in await shop.ledger()]
        assert issue_of(await shop.capture(first)) == (422, "INSTRUMENT_DECLINED")
        assert (await shop.capture(second)).status == 201
        await shop.told("CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.PENDING")


@pytest.mark.parametrize(
    ("act", "status", "event", "state", "paid"),
    [
        ("release", "COMPLETED", "PAYMENT.CAPTURE.COMPLETED", "paid", 1000),
        ("deny", "DECLINED", "PAYMENT.CAPTURE.DENIED", "failed", 0),
    ],
)
async def test_a_payment_under_review_ends_either_way(
    tmp_path: Path, act: str, status: str, event: str, state: str, paid: int
) -> None:
    """The order is COMPLETED all the while: only the capture tells about the money."""
    async with paypal_shop(tmp_path) as shop:
        capture = await shop.paid(act="review")
        assert (capture["status"], capture["status_details"]) == ("PENDING", {"reason": "PENDING_REVIEW"})
        assert "seller_receivable_breakdown" not in capture
        _, pending = await shop.told("CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.PENDING")
        assert "supplementary_data" not in pending.resource
        assert any(each["rel"] == "up" and ORDERS in each["href"] for each in pending.resource["links"])
        assert [(row["state"], row["paid_minor"]) for row in await shop.ledger()] == [("open", 0)]
        assert issue_of(await shop.refund(capture["id"])) == (422, "PENDING_CAPTURE")
        assert (await shop.act(act)).status == 200
        assert (await shop.act(act)).status == 409
        *_, ended = await shop.told("CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.PENDING", event)
        assert (ended.resource["id"], ended.resource["status"]) == (capture["id"], status)
        assert (await shop.get(f"{CAPTURES}/{capture['id']}")).body["status"] == status
        assert [(row["state"], row["paid_minor"]) for row in await shop.ledger()] == [(state, paid)]


async def test_a_capture_can_be_declined_inside_a_completed_order(tmp_path: Path) -> None:
    """201 and COMPLETED, and still no money: a client that reads the order's status alone would ship for nothing."""
    async with paypal_shop(tmp_path) as shop:
        capture = await shop.paid(act="deny")
        assert capture["status"] == "DECLINED"
        await shop.told("CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.DECLINED")
        assert issue_of(await shop.refund(capture["id"])) == (422, "REFUND_NOT_ALLOWED")
        assert [(row["state"], row["paid_minor"]) for row in await shop.ledger()] == [("failed", 0)]


async def test_an_invoice_is_paid_once(tmp_path: Path) -> None:
    """Two orders may carry it while neither is paid; the second capture, and any order after it, is refused."""
    async with paypal_shop(tmp_path) as shop:
        second = await shop.approved("draft-2", invoice_id="I-1")
        await shop.paid("draft-1", invoice_id="I-1")
        assert issue_of(await shop.capture(second)) == (422, "DUPLICATE_INVOICE_ID")
        assert issue_of(await shop.create("draft-3", invoice_id="I-1")) == (422, "DUPLICATE_INVOICE_ID")
        assert [row["paid_minor"] for row in await shop.ledger()] == [0, 1000]


async def test_any_issue_can_be_asked_for_as_in_paypals_negative_testing(tmp_path: Path) -> None:
    """The header works on the call alone: nothing happens, and the same id works without it."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved()
        for issue, status in (
            ("TRANSACTION_REFUSED", 422),
            ("INSTRUMENT_DECLINED", 422),
            ("PERMISSION_DENIED", 403),
            ("INVALID_RESOURCE_ID", 404),
        ):
            mock = f'{{"mock_application_codes":"{issue}"}}'
            answer = await shop.capture(order_id, PayPal_Mock_Response=mock)
            assert issue_of(answer) == (status, issue)
        mock = '{"mock_application_codes":"INTERNAL_SERVER_ERROR"}'
        broken = await shop.capture(order_id, PayPal_Mock_Response=mock)
        assert (broken.status, broken.body["name"], "details" in broken.body) == (500, "INTERNAL_SERVER_ERROR", False)
        for unknown in ('{"mock_application_codes":"CAPTURE_FULLY_REFUNDED"}', "nonsense"):
            answer = await shop.capture(order_id, PayPal_Mock_Response=unknown)
            assert issue_of(answer) == (400, "INVALID_PARAMETER_VALUE")
        capture = (await shop.capture(order_id)).body["purchase_units"][0]["payments"]["captures"][0]
        mock = '{"mock_application_codes":"REFUND_FAILED_INSUFFICIENT_FUNDS"}'
        refused = await shop.refund(capture["id"], PayPal_Mock_Response=mock)
        assert issue_of(refused) == (422, "REFUND_FAILED_INSUFFICIENT_FUNDS")
        assert [(row["paid_minor"], row["refunded_minor"]) for row in await shop.ledger()] == [(1000, 0)]


async def test_a_payer_cannot_do_what_makes_no_sense(tmp_path: Path) -> None:
    """409 with a reason; the acts of one PSP mean nothing at another."""
    async with paypal_shop(tmp_path) as shop:
        await shop.create()
        for act in ("release", "refund", "reverse"):
            assert (await shop.act(act)).status == 409, act
        assert (await shop.act("cancel")).status == 200
        await shop.act("pay")
        for act in ("pay", "decline", "review", "deny", "cancel"):
            assert (await shop.act(act)).status == 409, act
        assert (await shop.act("expire")).status == 200
        for act in ("expire", "pay", "cancel"):
            assert (await shop.act(act)).status == 409, act
        await shop.paid("draft-2")
        for act in ("pay", "expire", "release", "deny", "cancel"):
            assert (await shop.act(act, "draft-2")).status == 409, act
        assert (await shop.act("pay", "draft-9")).status == 404


async def test_an_act_means_the_newest_order_or_the_one_that_is_named(tmp_path: Path) -> None:
    """Two orders under one reference can both be paid, and the ledger shows it."""
    async with paypal_shop(tmp_path) as shop:
        first = (await shop.send(ORDERS, order_body(), "one")).body["id"]
        second = (await shop.send(ORDERS, order_body("draft-1~2"), "two")).body["id"]
        assert (await shop.act("pay")).status == 200
        assert (await shop.act("pay", transaction_reference_id=first)).status == 200
        assert (await shop.act("pay", "draft-1~2")).status == 409
        assert [(await shop.capture(order_id)).status for order_id in (first, second)] == [201, 201]
        (row,) = await shop.ledger()
        assert (row["registered"], row["paid_minor"], row["transaction_reference_id"]) == (2, 2000, second)
