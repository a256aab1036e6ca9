"""Refunds at Stripe: asked for once, and told as done only when they are."""

from typing import Any

import pytest
from unit_stripe import (
    DRAFT_ID,
    KEY,
    PAYMENT_ID,
    REFUND_ID,
    REFUNDS,
    Answer,
    error_of,
    listed,
    order_of,
    refund_of,
    stripe_and_gateway,
)

from qirsh.draft import Kind
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.money import Money


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("", {}),
        ("duplicate", {"reason": "duplicate"}),
        ("size is wrong", {"metadata[reason]": "size is wrong"}),
        ("x" * 999, {"metadata[reason]": "x" * 500}),
    ],
)
async def test_a_refund_is_asked_for_with_all_that_finds_it_again(reason: str, sent: dict[str, str]) -> None:
    """The exact amount of this refund alone, our ids, and Stripe's reason only where it is one of Stripe's."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = 200, refund_of()
        await gateway.refund(order_of(reason=reason), key=KEY)
    (asked,) = fake.asked
    assert asked.key == KEY
    assert asked.form == {
        "payment_intent": PAYMENT_ID,
        "amount": "250",
        "metadata[refund_id]": str(REFUND_ID),
        "metadata[draft_id]": str(DRAFT_ID),
        **sent,
    }


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("succeeded", [(Kind.REFUNDED, 350)]),
        ("pending", []),
        ("requires_action", []),
        (None, []),
        ("failed", [(Kind.REFUND_FAILED, 100)]),
        ("canceled", [(Kind.REFUND_FAILED, 100)]),
    ],
)
async def test_a_refund_says_what_is_given_back_in_all(status: Any, told: list[tuple[Kind, int]]) -> None:
    """One that is pending has given nothing back; one that failed leaves what was given back before."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = 200, refund_of(status)
        events = await gateway.refund(order_of(refunded_minor=100), key=KEY)
    assert [(event.kind, event.amount) for event in events] == [(kind, Money(total, "USD")) for kind, total in told]
    assert all(event.refund_id == REFUND_ID and event.payment_reference == PAYMENT_ID for event in events)


async def test_a_kept_error_is_settled_by_the_refund_that_it_hid() -> None:
    """Stripe keeps its own error under our key; the refund is in its list, with our id."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = 500, error_of("api_error")
        fake.answers["GET", REFUNDS] = 200, listed(refund_of(id="re_2", metadata={}), refund_of())
        (event,) = await gateway.refund(order_of(), key=KEY)
    assert (event.kind, event.event_id) == (Kind.REFUNDED, "re_1:succeeded")


async def test_a_kept_error_without_a_refund_stays_a_doubt_and_no_other_key_is_used() -> None:
    """Under another key money could go back twice."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = 500, error_of("api_error")
        fake.answers["GET", REFUNDS] = 200, listed(refund_of(metadata={}))
        for _ in range(2):
            with pytest.raises(GatewayOutcomeUnknown):
                await gateway.refund(order_of(), key=KEY)
    assert {asked.key for asked in fake.posts()} == {KEY}


@pytest.mark.parametrize("answer", [(500, error_of("api_error")), (401, error_of()), (200, b"x")])
async def test_a_list_that_cannot_be_had_leaves_the_doubt_about_the_refund(answer: Answer) -> None:
    """`GatewayUnavailable` would say that nothing was sent."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = 500, error_of("api_error")
        fake.answers["GET", REFUNDS] = answer
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.refund(order_of(), key=KEY)


@pytest.mark.parametrize(
    ("answer", "raised", "code"),
    [
        ((400, error_of(code="charge_already_refunded")), GatewayRejected, "charge_already_refunded"),
        ((400, error_of()), GatewayRejected, "invalid_request_error"),
        ((402, error_of("card_error", code="expired_card")), GatewayRejected, "expired_card"),
        ((403, error_of()), GatewayMisconfigured, None),
        ((409, error_of()), GatewayOutcomeUnknown, None),
        ((429, error_of()), GatewayUnavailable, None),
        ((200, {"id": "re_1"}), GatewayOutcomeUnknown, None),
    ],
)
async def test_a_refused_refund_says_why(answer: Answer, raised: type[Exception], code: str | None) -> None:
    """A refusal is the operator's to read; what is not clear is looked up."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", REFUNDS] = answer
        with pytest.raises(raised) as caught:
            await gateway.refund(order_of(), key=KEY)
    assert getattr(caught.value, "psp_code", None) == code
    assert len(fake.asked) == 1


async def test_nothing_is_sent_that_stripe_could_not_take() -> None:
    """No payment to give back from, or a part of a dinar that Stripe does not count."""
    async with stripe_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayUnavailable):
            await gateway.refund(order_of(payment_reference=None), key=KEY)
        with pytest.raises(GatewayRejected):
            await gateway.refund(order_of(1001, amount=Money(5120, "KWD")), key=KEY)
    assert fake.asked == []
