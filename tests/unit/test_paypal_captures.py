"""PayPal's captures: what came of an approved order, and what each refusal does to its draft."""

from collections.abc import Callable
from typing import Any

import pytest
from unit_paypal import (
    CAPTURE_ID,
    DRAFT_ID,
    GOLDEN,
    KEY,
    ORDER_ID,
    FakePayPal,
    captured,
    draft_of,
    order,
    paypal_and_gateway,
    refusal,
    registered,
)
from unit_support import shared_json

from qirsh.actions import RedirectUrl
from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import GatewayOutcomeUnknown, GatewayRejected, GatewayUnavailable
from qirsh.gateways.paypal.issues import CAPTURE_ENDS, CAPTURE_LIVES, CAPTURE_NEVER_ASKED
from qirsh.money import Money

ORDER = f"/v2/checkout/orders/{ORDER_ID}"
TAKE = f"{ORDER}/capture"
CAPTURE = f"/v2/payments/captures/{CAPTURE_ID}"
USD_10 = Money(1000, "USD")
AGAIN = "https://www.sandbox.paypal.com/checkoutnow?token=61M72432BD444010V"


async def capture(script: Callable[[FakePayPal], None], **changes: Any) -> list[GatewayEvent]:
    """What a capture reports when PayPal answers so."""
    async with paypal_and_gateway() as (fake, gateway):
        script(fake)
        return list(await gateway.capture(registered(**changes), key=KEY))


def answering(status: int, body: Any, shown: tuple[int, Any] = (500, {})) -> Callable[[FakePayPal], None]:
    """A script: the capture's answer, and what the order then shows."""

    def script(fake: FakePayPal) -> None:
        fake.answers["POST", TAKE] = status, body
        fake.answers["GET", ORDER] = shown

    return script


async def test_a_capture_takes_the_money_once() -> None:
    """The request: our key, the whole answer wanted, an empty object as body."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", TAKE] = 201, order("COMPLETED", captured())
        (paid,) = await gateway.capture(registered(), key=KEY)
    (sent,) = fake.calls(TAKE)
    assert (sent.headers["paypal-request-id"], sent.headers["prefer"]) == (KEY, "return=representation")
    assert sent.json == {}
    assert (paid.kind, paid.amount, paid.payment_reference) == (Kind.PAID, USD_10, CAPTURE_ID)
    assert (paid.draft_id, paid.transaction_reference_id) == (DRAFT_ID, ORDER_ID)


@pytest.mark.parametrize("status", [200, 201])
async def test_the_recorded_answer_is_read(status: int) -> None:
    """As PayPal gave it, without amounts in its units."""
    body = GOLDEN["answers"]["capture-completed-paypal"]["body"]
    (paid,) = await capture(answering(status, body))
    assert (paid.kind, paid.amount, paid.payment_reference) == (Kind.PAID, USD_10, "65066433PF4829143")


@pytest.mark.parametrize("status", ["DECLINED", "FAILED"])
async def test_a_declined_capture_ends_the_order(status: str) -> None:
    """It cannot be captured again, and a declined capture is nobody's payment."""
    (failed,) = await capture(answering(201, order("COMPLETED", captured(status))))
    assert (failed.kind, failed.payment_reference) == (Kind.FAILED, None)
    assert failed.reason in {DeclineCode.CARD_DECLINED, DeclineCode.PROCESSING_ERROR}


@pytest.mark.parametrize("status", ["PENDING", "", "NEW_WORD"])
async def test_a_capture_that_is_not_decided_says_nothing(status: str) -> None:
    """Under PayPal's review, or in a word that we do not know: a look-up will tell."""
    assert await capture(answering(201, order("COMPLETED", captured(status)))) == []


async def test_an_answer_without_captures_is_looked_into() -> None:
    """A minimal answer says nothing of the money; the order does."""
    minimal = {"id": ORDER_ID, "status": "COMPLETED"}
    (paid,) = await capture(answering(201, minimal, (200, order("COMPLETED", captured()))))
    assert paid.kind is Kind.PAID


async def test_a_capture_needs_an_order() -> None:
    """Nothing is sent for a draft that has none."""
    async with paypal_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayUnavailable):
            await gateway.capture(draft_of(), key=KEY)
    assert fake.asked == []


async def test_an_instrument_that_is_declined_sends_the_payer_back() -> None:
    """Recorded: the second link leads to where another one can be chosen."""
    recorded = GOLDEN["answers"]["capture-instrument-declined"]
    (declined,) = await capture(answering(recorded["status"], recorded["body"]))
    assert (declined.kind, declined.reason) == (Kind.DECLINED, DeclineCode.CARD_DECLINED)
    assert (declined.action, declined.psp_code) == (RedirectUrl(AGAIN, "redirect"), "INSTRUMENT_DECLINED")


@pytest.mark.parametrize("issue", ["INSTRUMENT_DECLINED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"])
@pytest.mark.parametrize("link", [None, "http://www.paypal.com/x", "javascript:x"])
async def test_a_declined_instrument_without_a_page_is_the_end(issue: str, link: str | None) -> None:
    """There is no way back for the payer."""
    (failed,) = await capture(answering(422, refusal(issue, link=link)))
    assert (failed.kind, failed.action) == (Kind.FAILED, None)


@pytest.mark.parametrize("rel", ["payer-action", "redirect"])
@pytest.mark.parametrize("link", [None, AGAIN])
async def test_a_payer_with_something_left_to_do_goes_back(rel: str, link: str | None) -> None:
    """The order lives; without a new page the old one stands."""
    (declined,) = await capture(answering(422, refusal("PAYER_ACTION_REQUIRED", link=link, rel=rel)))
    assert declined.kind is Kind.DECLINED
    assert declined.action == (RedirectUrl(AGAIN, "redirect") if link else None)


async def test_an_order_that_is_not_approved_waits() -> None:
    """Nothing happened."""
    assert await capture(answering(422, refusal("ORDER_NOT_APPROVED"))) == []


@pytest.mark.parametrize("issue", ["ORDER_ALREADY_CAPTURED", "ORDER_COMPLETION_IN_PROGRESS"])
async def test_what_was_captured_before_is_read_from_the_order(issue: str) -> None:
    """A lost answer, another worker, or PayPal itself: the order knows."""
    told_by = answering(422, refusal(issue), (200, order("COMPLETED", captured())))
    (paid,) = await capture(told_by)
    assert (paid.kind, paid.payment_reference) == (Kind.PAID, CAPTURE_ID)
    assert await capture(answering(422, refusal(issue), (200, order("APPROVED")))) == []
    with pytest.raises(GatewayOutcomeUnknown):
        await capture(answering(422, refusal(issue), (404, refusal("INVALID_RESOURCE_ID"))))
    with pytest.raises(GatewayUnavailable):
        await capture(answering(422, refusal(issue), (500, {})))


async def test_an_order_that_is_gone_has_expired() -> None:
    """PayPal forgets what nobody captured; only its own words prove it."""
    (failed,) = await capture(answering(404, refusal("INVALID_RESOURCE_ID")))
    assert (failed.kind, failed.reason) == (Kind.FAILED, DeclineCode.EXPIRED)
    for body in ({}, "no such page", refusal("NEW_WORD")):
        with pytest.raises(GatewayRejected):
            await capture(answering(404, body))


def capture_issues() -> set[str]:
    """Every 422 that PayPal's own file lists for a capture."""
    tables = shared_json("vectors/paypal/error_issues.json")["tables"]
    (table,) = [one for one in tables if one["path"].endswith("{id}/capture") and one["status"] == 422]
    return {one["issue"] for one in table["issues"]}


def test_every_refusal_of_a_capture_was_thought_about() -> None:
    """A list that PayPal makes longer shows here; each issue has one meaning."""
    listed = capture_issues()
    thought_of = [*CAPTURE_LIVES, *CAPTURE_ENDS, *CAPTURE_NEVER_ASKED]
    assert len(thought_of) == len(set(thought_of))
    assert listed - set(thought_of) == set()
    also_in_the_guide = {"PAYEE_ACCOUNT_INVALID", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED", "PAYEE_ACCOUNT_RESTRICTED"}
    assert set(thought_of) - listed == also_in_the_guide


async def test_every_refusal_of_a_capture_does_what_was_thought() -> None:
    """Dead orders fail, living ones do not, and what we never ask for is not believed."""
    for issue in sorted(CAPTURE_ENDS):
        (failed,) = await capture(answering(422, refusal(issue)))
        assert (failed.kind, failed.psp_code) == (Kind.FAILED, issue)
        assert failed.reason is not DeclineCode.UNKNOWN
    for issue in CAPTURE_LIVES:
        script = answering(422, refusal(issue, link=AGAIN), (200, order("APPROVED")))
        assert {event.kind for event in await capture(script)} <= {Kind.DECLINED}


@pytest.mark.parametrize("issue", [*sorted(CAPTURE_NEVER_ASKED)[:3], "NEW_WORD"])
@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_that_we_do_not_know_is_not_believed(issue: str, status: int) -> None:
    """It is raised, with PayPal's word, and whoever called looks into it."""
    with pytest.raises(GatewayRejected) as caught:
        await capture(answering(status, refusal(issue)))
    assert caught.value.psp_code == issue


async def test_a_previous_request_in_progress_is_a_doubt() -> None:
    """Two captures at one moment: PayPal refuses the second, and the first may do it."""
    with pytest.raises(GatewayOutcomeUnknown):
        await capture(answering(409, refusal("PREVIOUS_REQUEST_IN_PROGRESS")))


async def test_two_refusals_of_different_tries_are_two_facts() -> None:
    """The payer approved again and was declined again."""
    script = answering(422, refusal("INSTRUMENT_DECLINED", link=AGAIN))
    (first,), (second,) = await capture(script), await capture(script, capture_attempt=2)
    assert first.event_id != second.event_id
