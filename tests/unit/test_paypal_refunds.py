"""PayPal's refunds: what is asked for, what each answer says, and the totals that look-ups tell."""

from typing import Any, Final
from uuid import UUID

import pytest
import unit_psp
from unit_paypal import (
    CAPTURE_ID,
    CLIENT,
    DRAFT_ID,
    KEY,
    ORDER_ID,
    SECRET,
    TOKEN,
    Answer,
    FakePayPal,
    captured,
    credentials,
    gateway_at,
    order,
    paypal_and_gateway,
    refunded,
    refusal,
    registered,
)
from unit_support import shared_json

from qirsh.draft import GatewayEvent, Kind, Outcome, PaymentDraft, State, Verdict, apply
from qirsh.errors import GatewayError, GatewayOutcomeUnknown, GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.paypal.issues import REFUND_ADVICE, REFUND_NEVER_ASKED
from qirsh.money import Money

ORDER: Final = f"/v2/checkout/orders/{ORDER_ID}"
CAPTURE: Final = f"/v2/payments/captures/{CAPTURE_ID}"
GIVE_BACK: Final = f"{CAPTURE}/refund"
REFUND: Final = "/v2/payments/refunds/R1"
OURS: Final = UUID("01990000-0000-7000-8000-00000000000a")
OTHER: Final = UUID("01990000-0000-7000-8000-00000000000b")
GONE: Final = (404, refusal("INVALID_RESOURCE_ID"))


def paid(refunded_minor: int = 0, amount: Money = Money(1000, "USD"), **changes: Any) -> PaymentDraft:  # noqa: B008
    """A draft that was captured, with this much given back."""
    state = State.PARTIALLY_REFUNDED if refunded_minor else State.COMPLETED
    fields = {"state": state, "payment_reference": CAPTURE_ID, "refunded_minor": refunded_minor, "amount": amount}
    return registered(**{**fields, **changes})


def asked(amount_minor: int = 300, draft: PaymentDraft | None = None, reason: str = "") -> RefundOrder:
    """A refund of that much."""
    return RefundOrder(OURS, draft or paid(), amount_minor, reason)


def answer(status: str = "COMPLETED", value: str = "3.00", total: str | None = "3.00") -> dict[str, Any]:
    """A refund as PayPal answers it; without a total, as the minimal form does."""
    breakdown = {"total_refunded_amount": {"currency_code": "USD", "value": total}} if total else None
    return {**refunded(value, status), "custom_id": str(OURS), "seller_payable_breakdown": breakdown}


async def refund(said: Answer, of: RefundOrder | None = None, shown: Answer = GONE) -> list[GatewayEvent]:
    """What a refund reports when PayPal answers so, and shows so when it is asked for the refund."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", GIVE_BACK] = said
        fake.answers["GET", REFUND] = shown
        return list(await gateway.refund(of or asked(), key=KEY))


async def sent_for(of: RefundOrder, key: str = KEY) -> tuple[bytes, str, str]:
    """The body, the key and the preference that PayPal gets."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", GIVE_BACK] = 201, answer()
        await gateway.refund(of, key=key)
    (sent,) = fake.calls(GIVE_BACK)
    return sent.body, sent.headers["paypal-request-id"], sent.headers["prefer"]


async def looked_up(draft: PaymentDraft, *refunds: dict[str, Any], status: str = "PARTIALLY_REFUNDED") -> list[Any]:
    """The refund events of a look-up at an order with these refunds: kind, total and whose."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["GET", ORDER] = 200, order("COMPLETED", captured(status), refunds=list(refunds))
        fake.answers["GET", CAPTURE] = 200, captured(status)
        found = await gateway.lookup(draft)
    first, *others = found.events
    assert first.kind is Kind.PAID
    assert all(event.payment_reference == CAPTURE_ID and event.draft_id == DRAFT_ID for event in others)
    return [(event.kind, event.amount.amount_minor if event.amount else None, event.refund_id) for event in others]


def made(refund_id: str, value: str, status: str = "COMPLETED", custom_id: UUID | str | None = None) -> dict[str, Any]:
    """One refund in an order."""
    return {**refunded(value, status), "id": refund_id, "custom_id": None if custom_id is None else str(custom_id)}


async def test_a_refund_names_its_amount_its_id_and_its_reason() -> None:
    """Never "all that is left": a refund in the dashboard meanwhile would change what that is."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", GIVE_BACK] = 201, answer()
        (event,) = await gateway.refund(asked(reason="Wrong\n size"), key=KEY)
    (sent,) = fake.calls(GIVE_BACK)
    assert (sent.headers["paypal-request-id"], sent.headers["prefer"]) == (KEY, "return=representation")
    assert sent.json == {
        "amount": {"currency_code": "USD", "value": "3.00"},
        "custom_id": str(OURS),
        "note_to_payer": "Wrong size",
    }
    assert (event.kind, event.amount, event.refund_id) == (Kind.REFUNDED, Money(300, "USD"), OURS)
    assert (event.draft_id, event.payment_reference) == (DRAFT_ID, CAPTURE_ID)


async def test_the_same_row_and_key_send_the_same_bytes() -> None:
    """PayPal's key stands for one request; what it does with another body is written nowhere."""
    of = asked(reason="Wrong size")
    assert await sent_for(of) == await sent_for(of)
    assert await sent_for(of) != await sent_for(asked(301, reason="Wrong size"))


@pytest.mark.parametrize(
    ("reason", "note"),
    [("", None), (" \n ", None), ("x" * 300, "x" * 255), ("\u062a" * 200, "\u062a" * 127), ("\ud800x", "x")],
)
async def test_a_note_keeps_to_paypals_limit(reason: str, note: str | None) -> None:
    """An operator who writes much must not be refused the refund."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", GIVE_BACK] = 201, answer()
        await gateway.refund(asked(reason=reason), key=KEY)
    assert fake.calls(GIVE_BACK)[0].json.get("note_to_payer") == note


@pytest.mark.parametrize("currency", ["HUF", "TWD"])
async def test_a_part_that_paypal_cannot_write_is_refused_before_it_is_sent(currency: str) -> None:
    """Whole forints only; anything else would be a refusal nobody understands."""
    of = asked(250, paid(amount=Money(250_000, currency)))
    async with paypal_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayRejected, match="whole amounts"):
            await gateway.refund(of, key=KEY)
    assert fake.asked == []


async def test_without_a_capture_nothing_is_sent() -> None:
    """There is nothing that PayPal could give back from."""
    async with paypal_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayRejected, match="dashboard"):
            await gateway.refund(asked(draft=paid(payment_reference=None)), key=KEY)
    assert fake.asked == []


@pytest.mark.parametrize("status", [200, 201])
async def test_paypals_total_counts_and_not_our_sum(status: int) -> None:
    """Our row has not heard of a refund of 4.00 in the dashboard; PayPal tells all that went back."""
    (event,) = await refund((status, answer(total="7.00")))
    assert event.amount == Money(700, "USD")


async def test_a_repeat_whose_refund_was_counted_already_counts_it_once() -> None:
    """The answer was lost, the webhook told, and the repeat says the total of then, not the row's and itself."""
    row = paid(300)
    (event,) = await refund((200, answer()), asked(draft=row))
    assert apply(row, event) == Outcome(row, Verdict.REPEATED)


async def test_an_answer_without_a_total_is_looked_into() -> None:
    """Adding to the row would count a refund twice that a webhook told first."""
    row, minimal = paid(300), (200, answer(total=None))
    (event,) = await refund(minimal, asked(draft=row), (200, answer()))
    assert event.amount == Money(300, "USD")
    (alone,) = await refund(minimal, asked(200, row), (200, answer(total=None)))
    assert alone.amount == Money(500, "USD")
    (gone,) = await refund(minimal, asked(200, row))
    assert gone.amount == Money(500, "USD")


@pytest.mark.parametrize("shown", [(500, {}), (401, {}), (422, refusal("NEW_WORD")), (200, {"id": "?"})])
async def test_a_refund_whose_total_cannot_be_had_is_a_doubt(shown: Answer) -> None:
    """It was made: neither a refusal nor "nothing was sent" would be true."""
    with pytest.raises(GatewayOutcomeUnknown):
        await refund((201, answer(total=None)), shown=shown)


@pytest.mark.parametrize("status", ["PENDING", "", "NEW_WORD"])
async def test_a_refund_that_is_not_done_says_nothing(status: str) -> None:
    """An eCheck takes days; look-ups will tell."""
    assert await refund((201, answer(status, total=None))) == []


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
async def test_a_refund_that_came_to_nothing_leaves_the_total(status: str) -> None:
    """PayPal took it and the money stayed."""
    (event,) = await refund((201, answer(status)), asked(draft=paid(200)))
    assert (event.kind, event.amount, event.refund_id) == (Kind.REFUND_FAILED, Money(200, "USD"), OURS)
    assert event.psp_code == status


@pytest.mark.parametrize("body", [{}, {"id": "?", "status": "COMPLETED"}, [], "x"])
async def test_an_answer_that_cannot_be_read_is_a_doubt(body: Any) -> None:
    """The money may have gone back."""
    with pytest.raises(GatewayProtocolError):
        await refund((201, body))


@pytest.mark.parametrize("said", [(0, None), (408, {}), (500, {}), (502, b"<html>"), (302, b"")], ids=str)
async def test_a_lost_answer_is_a_doubt(said: Answer) -> None:
    """PayPal read the request; the same key asks again and gives back once."""
    with pytest.raises(GatewayOutcomeUnknown):
        await refund(said)


async def test_a_paypal_that_is_not_there_was_sent_nothing() -> None:
    """So the refund may simply be tried again."""
    with unit_psp.closed_port() as url:
        async with gateway_at(credentials(url)) as gateway:
            with pytest.raises(GatewayUnavailable):
                await gateway.refund(asked(), key=KEY)


async def test_a_previous_request_in_progress_is_a_doubt() -> None:
    """Two workers at one moment: PayPal refuses the second, and the first may do it."""
    with pytest.raises(GatewayOutcomeUnknown):
        await refund((409, refusal("PREVIOUS_REQUEST_IN_PROGRESS")))


def refund_issues() -> set[str]:
    """Every 422 that PayPal's own file lists for a refund."""
    tables = shared_json("vectors/paypal/error_issues.json")["tables"]
    (table,) = [one for one in tables if one["path"].endswith("/refund") and one["status"] == 422]
    return {one["issue"] for one in table["issues"]}


def test_every_refusal_of_a_refund_was_thought_about() -> None:
    """A list that PayPal makes longer shows here; each issue has one meaning."""
    assert set(REFUND_ADVICE) & REFUND_NEVER_ASKED == set()
    assert {*REFUND_ADVICE, *REFUND_NEVER_ASKED} - refund_issues() == {"INVALID_RESOURCE_ID"}
    assert refund_issues() - {*REFUND_ADVICE, *REFUND_NEVER_ASKED} == set()


@pytest.mark.parametrize("issue", [*REFUND_ADVICE, *sorted(REFUND_NEVER_ASKED), "NEW_WORD"])
async def test_a_refusal_says_what_to_do(issue: str) -> None:
    """With PayPal's word for the record, and a sentence that ends in what the operator does next."""
    status = 404 if issue == "INVALID_RESOURCE_ID" else 422
    with pytest.raises(GatewayRejected) as caught:
        await refund((status, refusal(issue)))
    assert caught.value.psp_code == issue
    before, colon, advice = caught.value.detail.partition(": ")
    assert before
    assert colon
    assert advice.split()[0] in {"reconcile", "refund", "fund", "settle", "answer", "give", "ask", "check", "look"}
    assert "HTTP" not in caught.value.detail


async def test_errors_show_no_secret() -> None:
    """Their texts reach logs and operators."""
    for said in (
        (401, {"error": "invalid_token", "error_description": TOKEN}),
        (422, {**refusal("REFUND_NOT_ALLOWED"), "message": f"{SECRET} {CLIENT}"}),
        (500, SECRET),
        (201, TOKEN),
    ):
        with pytest.raises(GatewayError) as caught:
            await refund(said)
        shown = f"{caught.value!r} {caught.value} {caught.value.args} {caught.value.detail} {caught.value.__cause__}"
        assert not any(secret in shown for secret in (SECRET, CLIENT, TOKEN))


async def test_a_look_up_tells_of_each_refund_with_the_total_as_it_stands() -> None:
    """A dashboard refund beside ours counts and has no id of ours: PayPal shows it with the draft's own."""
    found = await looked_up(
        paid(), made("R1", "3.00", custom_id=OURS), made("R2", "4.00", custom_id=DRAFT_ID), made("R3", "0.50")
    )
    assert found == [(Kind.REFUNDED, 750, OURS), (Kind.REFUNDED, 750, None), (Kind.REFUNDED, 750, None)]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
async def test_a_failed_refund_takes_its_part_off_the_total(status: str) -> None:
    """It was told as done and is not: what stays given back is the rest."""
    found = await looked_up(paid(700), made("R1", "3.00", custom_id=OTHER), made("R2", "4.00", status, OURS))
    assert found == [(Kind.REFUNDED, 300, OTHER), (Kind.REFUND_FAILED, 300, OURS)]
    alone = await looked_up(paid(400), made("R2", "4.00", status, OURS), status="COMPLETED")
    assert alone == [(Kind.REFUND_FAILED, 0, OURS)]


async def test_a_pending_refund_is_not_in_the_total() -> None:
    """And a payment whose only refund is pending is not put up for review."""
    pending = made("R2", "4.00", "PENDING", OURS)
    assert await looked_up(paid(), made("R1", "3.00"), pending) == [(Kind.REFUNDED, 300, None)]
    assert await looked_up(paid(), pending) == []
    assert await looked_up(paid(), pending, status="COMPLETED") == []


async def test_a_payment_that_went_back_whole_needs_no_sum() -> None:
    """The capture's own word, whatever refunds the order still shows."""
    assert await looked_up(paid(), status="REFUNDED") == [(Kind.REFUNDED, 1000, None)]
    found = await looked_up(paid(), made("R1", "3.00", custom_id=OURS), status="REFUNDED")
    assert found == [(Kind.REFUNDED, 1000, OURS)]


@pytest.mark.parametrize(
    "amount", [None, {"currency_code": "EUR", "value": "3.00"}, {"currency_code": "X", "value": ""}]
)
async def test_a_sum_that_cannot_be_had_is_told_without_an_amount(amount: Any) -> None:
    """A person must look, unless some was counted before; and no failure lowers a total that nobody knows."""
    strange = {**made("R1", "3.00", custom_id=OURS), "amount": amount}
    found = await looked_up(paid(), strange, made("R2", "1.00", "FAILED", OTHER))
    assert found == [(Kind.REFUNDED, None, OURS)]


async def test_a_part_refund_of_a_forgotten_order_is_not_passed_over() -> None:
    """PayPal shows the capture without its refunds: some money is back, and how much is for a person to find out."""
    for row, verdict in ((paid(), Verdict.REVIEW), (paid(300), Verdict.REPEATED)):
        async with paypal_and_gateway() as (fake, gateway):
            fake.answers["GET", ORDER] = GONE
            fake.answers["GET", CAPTURE] = 200, captured("PARTIALLY_REFUNDED")
            _, event = (await gateway.lookup(row)).events
        assert (event.kind, event.amount) == (Kind.REFUNDED, None)
        assert apply(row, event).verdict is verdict


async def test_refunds_of_another_capture_are_not_ours() -> None:
    """An order may have been tried twice; each payment has its own total."""
    found = await looked_up(paid(), made("R1", "3.00"), {**made("R2", "4.00"), **_of("OTHER")})
    assert found == [(Kind.REFUNDED, 300, None)]


def _of(capture_id: str) -> dict[str, Any]:
    return {"links": refunded("1.00", of=capture_id)["links"]}


async def test_a_refunded_payment_is_asked_for_and_nothing_is_moved() -> None:
    """A look-up of refunds reads, as every look-up."""
    async with paypal_and_gateway() as (fake, gateway):
        script(fake)
        await gateway.lookup(paid(300))
    assert {one.method for one in fake.asked if one.path != "/v1/oauth2/token"} == {"GET"}


def script(fake: FakePayPal) -> None:
    """A payment of which ours went back."""
    fake.answers["GET", ORDER] = 200, order("COMPLETED", captured("PARTIALLY_REFUNDED"), refunds=[made("R1", "3.00")])
    fake.answers["GET", CAPTURE] = 200, captured("PARTIALLY_REFUNDED")
