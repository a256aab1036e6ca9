"""PayPal's look-ups: the standing of an order and its story; and every recorded answer, through the verb it is for."""

import json
from typing import Any

import pytest
from unit_paypal import (
    CAPTURE_ID,
    DRAFT_ID,
    KEY,
    ORDER_ID,
    FakePayPal,
    captured,
    draft_of,
    each_vector,
    order,
    paypal_and_gateway,
    refunded,
    refusal,
    registered,
)

from qirsh.draft import Kind
from qirsh.errors import GatewayError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import Lookup, Standing
from qirsh.gateways.paypal import PayPal
from qirsh.gateways.paypal.orders import Capture, Order, Refund, read, told
from qirsh.money import Money

ORDER = f"/v2/checkout/orders/{ORDER_ID}"
TAKE = f"{ORDER}/capture"
CAPTURE = f"/v2/payments/captures/{CAPTURE_ID}"
USD_10 = Money(1000, "USD")
AGAIN = "https://www.sandbox.paypal.com/checkoutnow?token=61M72432BD444010V"


async def look_up(*, shown: Any, kept: Any = None, **changes: Any) -> Lookup:
    """What a look-up finds when PayPal shows this order and, for a paid draft, this capture."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["GET", ORDER] = shown
        fake.answers["GET", CAPTURE] = kept or (404, refusal("INVALID_RESOURCE_ID"))
        return await gateway.lookup(registered(**changes))


def story(found: Lookup) -> list[tuple[Kind, int | None]]:
    """The events in short."""
    return [(event.kind, event.amount.amount_minor if event.amount else None) for event in found.events]


PAID, WHOLE = (Kind.PAID, 1000), (Kind.REFUNDED, 1000)
FAILED = (Kind.FAILED, None)
PARTS = [refunded("2.50"), refunded("1.00"), refunded("0.50", "PENDING"), refunded("4.00", of="OTHER")]
STANDINGS: dict[str, tuple[Any, Standing, list[tuple[Kind, int | None]]]] = {
    "created": (order("CREATED"), Standing.OPEN, []),
    "payer action required": (order("PAYER_ACTION_REQUIRED"), Standing.OPEN, []),
    "saved": (order("SAVED"), Standing.OPEN, []),
    "approved": (order("APPROVED"), Standing.IN_PROGRESS, [(Kind.APPROVED, None)]),
    "voided": (order("VOIDED"), Standing.CLOSED, [FAILED]),
    "new word": (order("NEW_WORD"), Standing.IN_PROGRESS, []),
    "completed, nothing shown": (order("COMPLETED"), Standing.IN_PROGRESS, []),
    "paid": (order("COMPLETED", captured()), Standing.CLOSED, [PAID]),
    "pending": (order("COMPLETED", captured("PENDING")), Standing.IN_PROGRESS, []),
    "declined": (order("COMPLETED", captured("DECLINED")), Standing.CLOSED, [FAILED]),
    "failed": (order("COMPLETED", captured("FAILED")), Standing.CLOSED, [FAILED]),
    "refunded": (order("COMPLETED", captured("REFUNDED")), Standing.CLOSED, [PAID, WHOLE]),
    "partly refunded": (
        order("COMPLETED", captured("PARTIALLY_REFUNDED"), refunds=PARTS),
        Standing.CLOSED,
        [PAID, (Kind.REFUNDED, 350), (Kind.REFUNDED, 350)],
    ),
    "partly refunded, no refunds shown": (
        order("COMPLETED", captured("PARTIALLY_REFUNDED")),
        Standing.CLOSED,
        [PAID, (Kind.REFUNDED, None)],
    ),
    "declined, then paid": (
        order("COMPLETED", captured("DECLINED", id="C1"), captured()),
        Standing.CLOSED,
        [FAILED, PAID],
    ),
}


@pytest.mark.parametrize("name", STANDINGS)
async def test_an_order_says_how_it_stands(name: str) -> None:
    """The status of a capture counts, not the order's: a completed order may hold a pending or declined one."""
    shown, standing, events = STANDINGS[name]
    found = await look_up(shown=(200, shown))
    assert (found.standing, story(found)) == (standing, events)


async def test_without_a_reference_nothing_can_be_asked() -> None:
    """PayPal finds an order by its own id only."""
    async with paypal_and_gateway() as (fake, gateway):
        assert await gateway.lookup(draft_of()) == Lookup(Standing.UNKNOWN)
    assert fake.asked == []


async def test_an_order_that_is_gone_is_closed() -> None:
    """Its life is over; time ends the draft. Any other 404 proves nothing."""
    assert await look_up(shown=(404, refusal("INVALID_RESOURCE_ID"))) == Lookup(Standing.CLOSED, [])
    assert await look_up(shown=(404, {"name": "RESOURCE_NOT_FOUND"})) == Lookup(Standing.CLOSED, [])
    with pytest.raises(GatewayRejected):
        await look_up(shown=(404, "not found"))


@pytest.mark.parametrize("body", [{}, {"id": "?"}, order("COMPLETED", {"id": CAPTURE_ID, "status": "COMPLETED"}), "x"])
async def test_an_order_that_cannot_be_read_is_asked_again(body: Any) -> None:
    """Money without an amount is not guessed."""
    with pytest.raises(GatewayUnavailable):
        await look_up(shown=(200, body))


async def test_a_known_capture_is_asked_too() -> None:
    """Its own page is never older than the order's, and stays when the order is gone."""
    shown, kept = (200, order("COMPLETED", captured())), (200, captured("REFUNDED"))
    assert story(await look_up(shown=shown, kept=kept, payment_reference=CAPTURE_ID)) == [PAID, WHOLE]
    gone = (404, refusal("INVALID_RESOURCE_ID"))
    assert story(await look_up(shown=gone, kept=kept, payment_reference=CAPTURE_ID)) == [PAID, WHOLE]
    found = await look_up(shown=shown, payment_reference=CAPTURE_ID)
    assert (found.standing, story(found)) == (Standing.CLOSED, [PAID])


async def test_a_look_up_moves_no_money() -> None:
    """It reads, whatever it finds."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["GET", ORDER] = 200, order("APPROVED")
        await gateway.lookup(registered())
    assert {asked.method for asked in fake.asked if asked.path != "/v1/oauth2/token"} == {"GET"}


@pytest.mark.parametrize("value", ["10.001", "abc", "-1.00", "1e3", ""])
def test_a_sum_that_is_no_money_equals_no_draft(value: str) -> None:
    """So that it ends in review and completes nothing."""
    amount = {"currency_code": "USD", "value": value}
    found = read(Capture, captured("COMPLETED", amount=amount))
    assert found is not None
    (paid,) = told(found, draft_id=DRAFT_ID, order_id=ORDER_ID)
    assert paid.amount == Money(0, "EGP")


@pytest.mark.parametrize("vector", each_vector("vectors/paypal/recordings.json", "http"))
async def test_recorded_answers_are_read(vector: dict[str, Any]) -> None:
    """Everything that PayPal was recorded to answer, through the verb that asks for it."""
    status, body = vector["expected"]["status"], vector["expected"]["body"]
    path, method = vector["inputs"]["request"]["path"], vector["inputs"]["request"]["method"]
    async with paypal_and_gateway() as (fake, gateway):
        if path == "/v1/oauth2/token":
            fake.token = status, body
            fake.answers["GET", ORDER] = 200, order("CREATED")
            assert (await gateway.lookup(registered())).standing is Standing.OPEN
            return
        if "/refund" in path:
            shape = read(Refund, body) if status == 200 else None
            assert (shape.capture_id if shape else "8DS61651XA862144J") == "8DS61651XA862144J"
            return
        fake.answers[method, path] = status, body
        await _through_its_verb(gateway, fake, method, path, body)


async def _through_its_verb(gateway: PayPal, fake: FakePayPal, method: str, path: str, body: Any) -> None:
    order_id = path.split("/")[4] if path.count("/") > 3 else ORDER_ID
    draft = registered(transaction_reference_id=order_id)
    if method == "GET":
        found = await gateway.lookup(draft)
        assert [event.kind for event in found.events] == [Kind.APPROVED if body["status"] == "APPROVED" else Kind.PAID]
    elif path.endswith("/capture"):
        fake.answers["GET", path.removesuffix("/capture")] = 200, order("COMPLETED", captured())
        (event,) = await gateway.capture(draft, key=KEY)
        assert event.kind is (Kind.DECLINED if "INSTRUMENT_DECLINED" in json.dumps(body) else Kind.PAID)
    elif path.endswith("/confirm-payment-source"):
        assert read(Order, body) is not None  # we never call it; its answer is an order all the same
    elif "id" in body:
        assert (await gateway.register(draft_of(), key=KEY)).transaction_reference_id == body["id"]
    else:
        with pytest.raises(GatewayError) as caught:
            await gateway.register(draft_of(), key=KEY)
        assert isinstance(caught.value, GatewayRejected)
        assert caught.value.psp_code == "MISSING_REQUIRED_PARAMETER"
