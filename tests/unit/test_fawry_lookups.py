"""What Fawry's books say of an order, and how one that is open is ended."""

from typing import Any

import pytest
from unit_fawry import (
    CANCEL,
    DRAFT_ID,
    KEY,
    NUMBER,
    STATUS,
    draft_of,
    fawry,
    order,
)

from qirsh.draft import DeclineCode, Kind
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayUnavailable,
)
from qirsh.gateways.base import Standing
from qirsh.gateways.fawry.signing import status_signature
from qirsh.methods import Method
from qirsh.money import Money

FIRST, SECOND = str(DRAFT_ID), f"{DRAFT_ID}~2"


def doubted(method: Method, **changes: Any) -> Any:
    """A draft whose registration may have reached Fawry."""
    return draft_of(method, in_doubt=True, **changes)


TOLD = [
    ("NEW", Standing.OPEN, []),
    ("UNPAID", Standing.OPEN, []),
    ("PAID", Standing.CLOSED, [Kind.PAID]),
    ("EXPIRED", Standing.CLOSED, [Kind.FAILED]),
    ("CANCELED", Standing.CLOSED, [Kind.FAILED]),
    ("CANCELLED", Standing.CLOSED, [Kind.FAILED]),
    ("FAILED", Standing.CLOSED, [Kind.FAILED]),
    ("REFUNDED", Standing.CLOSED, [Kind.PAID, Kind.REFUNDED]),
    ("PARTIAL_REFUNDED", Standing.CLOSED, [Kind.PAID, Kind.REFUNDED]),
    ("SOMETHING_NEW", Standing.IN_PROGRESS, []),
]


@pytest.mark.parametrize(("status", "standing", "kinds"), TOLD)
async def test_a_look_up_tells_each_status(status: str, standing: Standing, kinds: list[Kind]) -> None:
    """The same story as the notifications, with what they cannot tell."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order(status))]
        found = await gateway.lookup(draft_of(transaction_reference_id=NUMBER))
    assert (found.standing, [event.kind for event in found.events]) == (standing, kinds)
    assert all(event.draft_id == DRAFT_ID and event.transaction_reference_id == NUMBER for event in found.events)


async def test_all_that_went_back_is_a_sum_and_some_of_it_is_none() -> None:
    """Fawry tells no sum; of a whole refund it follows."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("REFUNDED")), (200, order("PARTIAL_REFUNDED"))]
        whole, part = [await gateway.lookup(draft_of(transaction_reference_id=NUMBER)) for _ in range(2)]
    assert whole.events[1].amount == Money(58055, "EGP")
    assert part.events[1].amount is None


async def test_a_declined_try_on_the_hosted_checkout_leaves_it_open() -> None:
    """Whatever Fawry calls its method, the draft's own tells."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("FAILED", paymentMethod="Mobile Wallet", failureErrorCode="99954"))]
        found = await gateway.lookup(draft_of(Method.CARD, transaction_reference_id=FIRST))
    (event,) = found.events
    assert (found.standing, event.kind, event.reason) == (Standing.OPEN, Kind.DECLINED, DeclineCode.EXPIRED_CARD)
    assert event.transaction_reference_id == FIRST, "the row knows it by our reference, not by Fawry's number"


@pytest.mark.parametrize(("method", "known"), [(Method.WALLET_QR, NUMBER), (Method.CARD, FIRST)])
async def test_an_order_that_was_handed_out_and_is_cancelled_has_failed(method: Method, known: str) -> None:
    """By the payer or in the dashboard; one question is enough, since it was the first."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("CANCELED"))]
        found = await gateway.lookup(draft_of(method, transaction_reference_id=known))
    assert [(event.kind, event.reason) for event in found.events] == [(Kind.FAILED, DeclineCode.CANCELLED_BY_PAYER)]
    assert (found.standing, len(fake.asked)) == (Standing.CLOSED, 1)


async def test_a_direct_charge_that_failed_is_over() -> None:
    """There is no second try for the phone that said no."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("FAILD", failureErrorCode=99961))]
        found = await gateway.lookup(draft_of(Method.MOBILE_WALLET, transaction_reference_id=NUMBER))
    assert [(event.kind, event.reason) for event in found.events] == [(Kind.FAILED, DeclineCode.LIMIT_EXCEEDED)]


async def test_the_end_of_a_replaced_order_is_not_the_drafts_but_its_money_is() -> None:
    """Between the question and the cancelling somebody may have paid."""
    second = order("UNPAID", merchantRefNumber=SECOND, fawryRefNumber="931215519")
    draft = draft_of(Method.WALLET_QR, transaction_reference_id="931215519")
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = {FIRST: [(200, order("CANCELED")), (200, order("PAID"))], SECOND: [(200, second)]}
        ended, paid = [await gateway.lookup(draft) for _ in range(2)]
    assert (ended.standing, ended.events) == (Standing.OPEN, [])
    assert (paid.standing, [event.kind for event in paid.events]) == (Standing.CLOSED, [Kind.PAID])


@pytest.mark.parametrize("method", [Method.WALLET_QR, Method.CARD])
async def test_our_own_cancelling_does_not_fail_a_draft_that_goes_on(method: Method) -> None:
    """Nobody else knows of an order that was never handed out."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = {FIRST: [(200, order("CANCELED"))]}
        found = await gateway.lookup(doubted(method))
    assert (found.standing, found.events) == (Standing.UNKNOWN, [])


@pytest.mark.parametrize(
    "answer", [(404, {}), (404, {"statusCode": 9938}), (200, {"statusCode": 9938}), (400, {"code": "9938"})]
)
async def test_an_order_fawry_does_not_know_is_unknown(answer: tuple[int, Any]) -> None:
    """Only where Fawry says so."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [answer]
        assert (await gateway.lookup(draft_of())).standing is Standing.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, [1]),
        (200, {}),
        (200, {"statusCode": 200}),
        (200, {"statusCode": 9954}),
        (400, {"statusCode": 1}),
        (500, {"statusCode": 9938}),
        (200, order("PAID", messageSignature="0" * 64)),
        (200, order("PAID", messageSignature="")),
        (200, order("PAID", merchantRefNumber="another")),
        (200, order("PAID", fawryRefNumber="")),
        (200, order("")),
    ],
)
async def test_an_answer_that_cannot_be_believed_is_no_answer(answer: tuple[int, Any]) -> None:
    """Taken for "no such order", it would register a second one."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [answer]
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(draft_of())


@pytest.mark.parametrize("answer", [(200, {"statusCode": 9946}), (400, {"statusCode": 9946}), (403, {})])
async def test_a_refused_signature_is_for_the_operator(answer: tuple[int, Any]) -> None:
    """No look-up will ever succeed with this key."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [answer]
        with pytest.raises(GatewayMisconfigured):
            await gateway.lookup(draft_of())


async def test_the_older_statuss_words_are_read_too() -> None:
    """Some clients read `paymentStatus` from V2, and unsigned."""
    v1 = {
        "type": "PaymentStatusResponse",
        "referenceNumber": NUMBER,
        "merchantRefNumber": FIRST,
        "paymentAmount": 580.55,
        "paymentStatus": "PAID",
        "statusCode": 200,
    }
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, v1)]
        (event,) = (await gateway.lookup(draft_of())).events
    assert (event.payment_reference, event.amount) == (NUMBER, Money(58055, "EGP"))


@pytest.mark.parametrize(
    ("encode", "written"), [(True, "1tSa6uxz2nTwlaAmt38enA%3D%3D"), (False, "1tSa6uxz2nTwlaAmt38enA==")]
)
async def test_a_question_is_encoded_as_configured(*, encode: bool, written: str) -> None:
    """Sources disagree on whether Fawry understands percent signs."""
    code = "1tSa6uxz2nTwlaAmt38enA=="
    async with fawry(encode_query=encode, merchant_code=code) as (fake, gateway):
        fake.answers[STATUS] = [(200, order("UNPAID"))]
        await gateway.lookup(draft_of())
    signature = status_signature({"merchantCode": code, "merchantRefNumber": FIRST}, KEY)
    assert fake.asked[0].query == f"merchantCode={written}&merchantRefNumber={FIRST}&signature={signature}"


@pytest.mark.parametrize(
    "answer",
    [(200, {"code": 200}), (200, {"code": 9984}), (400, {"code": 400}), (404, {"code": 9938}), (200, {"weird": 1})],
)
async def test_cancelling_ends_what_is_open_and_takes_any_answer(answer: tuple[int, Any]) -> None:
    """Its success has no published form; look-ups tell what came of it."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("UNPAID"))]
        fake.answers[CANCEL] = [answer]
        await gateway.cancel(draft_of(transaction_reference_id=NUMBER))
    assert fake.asked[-1].json["orderRefNo"] == NUMBER


@pytest.mark.parametrize("status", ["PAID", "EXPIRED", "CANCELED", "REFUNDED"])
async def test_what_is_not_open_is_not_cancelled(status: str) -> None:
    """A paid order least of all."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order(status))]
        await gateway.cancel(draft_of(transaction_reference_id=NUMBER))
    assert not fake.calls(CANCEL)


async def test_a_cancelling_that_is_not_signed_right_is_for_the_operator() -> None:
    """Taken for done, the order would stay payable."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("UNPAID"))]
        fake.answers[CANCEL] = [(200, {"code": 9946})]
        with pytest.raises(GatewayMisconfigured):
            await gateway.cancel(draft_of(transaction_reference_id=NUMBER))
