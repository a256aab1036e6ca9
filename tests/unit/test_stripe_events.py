"""What each of Stripe's events says, and that a look-up tells the same story."""

from typing import Any

import pytest
from unit_stripe import (
    DRAFT_ID,
    PAYMENT_ID,
    REFUND_ID,
    REFUNDS,
    SESSION,
    SESSION_ID,
    SESSIONS,
    USD_10,
    draft_of,
    error_of,
    event_of,
    gateway_of,
    listed,
    paid_session,
    payment_of,
    refund_of,
    registered,
    session_of,
    signed,
    stripe_and_gateway,
)
from unit_support import shared_json

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import GatewayRejected, GatewayUnavailable, WebhookMalformed
from qirsh.gateways.base import Hint, Lookup, Standing
from qirsh.gateways.stripe.refusals import REASONS, StripeError
from qirsh.money import Money

BROKE = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}


async def told(kind: str, shape: dict[str, Any]) -> list[GatewayEvent | Hint]:
    """What a delivery says."""
    return list(await gateway_of().read_webhook(signed(event_of(kind, shape))))


def fact(kind: Kind, **more: Any) -> GatewayEvent:
    """What is told about the draft's session by the delivery evt_1."""
    names = {"gateway": "stripe", "event_id": "evt_1", "draft_id": DRAFT_ID, "transaction_reference_id": SESSION_ID}
    return GatewayEvent(kind=kind, **{**names, **more})


PAID = fact(Kind.PAID, payment_reference=PAYMENT_ID, amount=USD_10)
EVENTS: dict[str, tuple[str, dict[str, Any], list[GatewayEvent | Hint]]] = {
    "paid": ("checkout.session.completed", paid_session(payment_intent=PAYMENT_ID), [PAID]),
    "nothing to pay": (
        "checkout.session.completed",
        paid_session(payment_status="no_payment_required", payment_intent=None, amount_total=0),
        [fact(Kind.PAID, amount=Money(0, "USD"))],
    ),
    "complete without money": (
        "checkout.session.completed",
        paid_session(payment_status="unpaid", payment_intent=PAYMENT_ID),
        [],
    ),
    "slow money came": ("checkout.session.async_payment_succeeded", paid_session(payment_intent=PAYMENT_ID), [PAID]),
    "slow money failed": (
        "checkout.session.async_payment_failed",
        session_of(status="complete", payment_intent=PAYMENT_ID),
        [fact(Kind.FAILED, reason=DeclineCode.PROCESSING_ERROR)],
    ),
    "expired": (
        "checkout.session.expired",
        session_of(status="expired", url=None),
        [fact(Kind.FAILED, reason=DeclineCode.EXPIRED)],
    ),
    "our id in the client's reference only, where a payer writes what he likes": (
        "checkout.session.completed",
        paid_session(payment_intent=PAYMENT_ID, metadata={}),
        [fact(Kind.PAID, payment_reference=PAYMENT_ID, amount=USD_10, draft_id=None)],
    ),
    "somebody else's session": (
        "checkout.session.completed",
        paid_session(payment_intent=PAYMENT_ID, metadata=None, client_reference_id="order-17"),
        [fact(Kind.PAID, payment_reference=PAYMENT_ID, amount=USD_10, draft_id=None)],
    ),
    "somebody else's session, expired": (
        "checkout.session.expired",
        session_of(status="expired", metadata={}, client_reference_id=None),
        [],
    ),
    "one try failed": (
        "payment_intent.payment_failed",
        payment_of("requires_payment_method", last_payment_error=BROKE, latest_charge="ch_1"),
        [
            fact(
                Kind.DECLINED,
                transaction_reference_id=None,
                reason=DeclineCode.INSUFFICIENT_FUNDS,
                psp_code="insufficient_funds",
            )
        ],
    ),
    "one try failed, nobody says why": (
        "payment_intent.payment_failed",
        payment_of("requires_payment_method"),
        [fact(Kind.DECLINED, transaction_reference_id=None, reason=DeclineCode.UNKNOWN)],
    ),
    "a try at somebody else's": ("payment_intent.payment_failed", payment_of("canceled", metadata={}), []),
    "charge refunded": (
        "charge.refunded",
        {"id": "ch_1", "payment_intent": PAYMENT_ID, "amount_refunded": 250, "metadata": {"draft_id": str(DRAFT_ID)}},
        [Hint(gateway="stripe", event_id="evt_1", draft_id=DRAFT_ID, payment_reference=PAYMENT_ID)],
    ),
    "refund made in the dashboard": (
        "refund.created",
        refund_of(metadata={}),
        [Hint(gateway="stripe", event_id="evt_1", payment_reference=PAYMENT_ID)],
    ),
    "refund failed": (
        "refund.failed",
        refund_of("failed"),
        [Hint(gateway="stripe", event_id="evt_1", draft_id=DRAFT_ID, payment_reference=PAYMENT_ID)],
    ),
    "dispute": (
        "charge.dispute.created",
        {"id": "du_1", "charge": "ch_1", "payment_intent": PAYMENT_ID, "metadata": {}},
        [Hint(gateway="stripe", event_id="evt_1", payment_reference=PAYMENT_ID)],
    ),
    "refund of a charge without a payment": ("charge.refunded", {"id": "ch_1", "payment_intent": None}, []),
    "unknown": ("customer.created", {"id": "cus_1"}, []),
    "another product's": ("payment_intent.succeeded", payment_of("succeeded"), []),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_an_event_says_what_it_says(name: str) -> None:
    """Only an explicit success is paid, only an explicit end is failed; what has no total is a reason to ask."""
    kind, shape, facts = EVENTS[name]
    assert await told(kind, shape) == facts


async def test_an_event_keeps_its_id_when_it_is_delivered_again() -> None:
    """Each attempt is signed anew; the fact must count once."""
    event = event_of("checkout.session.completed", paid_session(payment_intent=PAYMENT_ID), id="evt_9Z")
    (first,) = await gateway_of().read_webhook(signed(event))
    assert first.event_id == "evt_9Z"


@pytest.mark.parametrize(
    "changes",
    [{"id": 5}, {"id": "x"}, {"amount_total": None}, {"currency": None}, {"amount_total": "1000"}, {"metadata": "x"}],
)
async def test_money_that_is_not_told_clearly_is_malformed(changes: dict[str, Any]) -> None:
    """It is not guessed: Stripe delivers again, and somebody sees it."""
    with pytest.raises(WebhookMalformed):
        await told("checkout.session.completed", paid_session(**changes))


async def test_stripes_own_fixtures_are_read() -> None:
    """Objects as Stripe publishes them, of a version newer than its OpenAPI file."""
    resources = shared_json("openapi/stripe/fixtures3_latest.json")["resources"]
    session = {**resources["checkout.session"], "payment_status": "paid", "amount_total": 1000, "currency": "usd"}
    (paid,) = await told("checkout.session.completed", session)
    assert isinstance(paid, GatewayEvent)
    assert (paid.kind, paid.amount, paid.payment_reference) == (Kind.PAID, USD_10, resources["payment_intent"]["id"])
    metadata = {"draft_id": str(DRAFT_ID)}
    assert await told("charge.refunded", {**resources["charge"], "metadata": metadata})
    assert await told("refund.failed", {**resources["refund"], "metadata": metadata})
    (declined,) = await told("payment_intent.payment_failed", {**resources["payment_intent"], "metadata": metadata})
    assert isinstance(declined, GatewayEvent)
    assert declined.psp_code == "idempotency_error"


@pytest.mark.parametrize(
    ("problem", "word", "reason"),
    [
        ({"decline_code": "insufficient_funds", "code": "card_declined"}, "insufficient_funds", "insufficient_funds"),
        ({"decline_code": "new_word", "code": "expired_card"}, "new_word", "expired_card"),
        ({"decline_code": "stolen_card", "code": "card_declined"}, "stolen_card", "card_declined"),
        ({"code": "payment_intent_authentication_failure"}, None, "authentication_failed"),
        ({"code": "new_word", "type": "card_error"}, "new_word", "card_declined"),
        ({"code": "new_word", "type": "invalid_request_error"}, "new_word", "processing_error"),
        ({}, None, "unknown"),
    ],
)
def test_a_decline_is_told_in_the_words_for_payers(problem: dict[str, str], word: str | None, reason: str) -> None:
    """The narrowest word that we know; a stolen card is told as any other, as Stripe asks."""
    error = StripeError(**problem)
    assert error.reason == reason
    assert error.word == (word or problem.get("code"))
    assert DeclineCode.FRAUD_SUSPECTED not in REASONS.values()


async def look_up(
    shown: dict[str, Any], *refunds: dict[str, Any], disputed: bool = False, **changes: Any
) -> tuple[Standing, list[tuple[Kind, int | None, str | None]]]:
    """What a look-up finds when Stripe shows this session and these refunds, newest first."""
    if disputed:
        charge = {"id": "ch_1", "disputed": True}
        shown["payment_intent"] = payment_of("succeeded", latest_charge=charge)
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSION] = 200, shown
        fake.answers["GET", REFUNDS] = 200, listed(*refunds)
        found = await gateway.lookup(registered(**changes))
    assert {asked.method for asked in fake.asked} == {"GET"}
    assert all(event.draft_id == DRAFT_ID for event in found.events)
    story = [
        (event.kind, event.amount.amount_minor if event.amount else None, event.reason or event.psp_code)
        for event in found.events
    ]
    return found.standing, story


TRIED = payment_of("requires_payment_method", last_payment_error=BROKE)
MONEY = (Kind.PAID, 1000, None)
STANDINGS: dict[str, tuple[dict[str, Any], Standing, list[tuple[Kind, int | None, str | None]]]] = {
    "open": (session_of(), Standing.OPEN, []),
    "open after a decline": (
        session_of(payment_intent=TRIED),
        Standing.OPEN,
        [(Kind.DECLINED, None, "insufficient_funds")],
    ),
    "paid": (paid_session(), Standing.CLOSED, [MONEY]),
    "on its way": (
        paid_session(payment_status="unpaid", payment_intent=payment_of("processing")),
        Standing.IN_PROGRESS,
        [],
    ),
    "on its way, payment not shown": (
        paid_session(payment_status="unpaid", payment_intent=PAYMENT_ID),
        Standing.IN_PROGRESS,
        [],
    ),
    "came to nothing": (
        paid_session(payment_status="unpaid", payment_intent=TRIED),
        Standing.CLOSED,
        [(Kind.FAILED, None, "insufficient_funds")],
    ),
    "expired": (session_of(status="expired", url=None), Standing.CLOSED, [(Kind.FAILED, None, "expired")]),
    "a new word": (session_of(status="new_word"), Standing.IN_PROGRESS, []),
}


@pytest.mark.parametrize("name", STANDINGS)
async def test_a_session_says_how_it_stands(name: str) -> None:
    """`complete` alone is no money: it may be on its way, or have failed."""
    shown, standing, story = STANDINGS[name]
    assert await look_up(shown) == (standing, story)


async def test_every_refund_that_has_ended_is_told_with_the_total_as_it_stands() -> None:
    """A pending one is not given back, one that failed says what stays, and ours carry our id."""
    shown = [
        refund_of("pending", 100, id="re_4"),
        refund_of("failed", 200, id="re_3", failure_reason="expired_or_canceled_card"),
        refund_of("succeeded", 300, id="re_2", metadata={"refund_id": "by hand"}),
        refund_of("succeeded", 250, id="re_1"),
    ]
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSION] = 200, paid_session()
        fake.answers["GET", REFUNDS] = 200, listed(*shown)
        found = await gateway.lookup(registered())
    assert fake.asked[1].query["payment_intent"] == PAYMENT_ID
    assert [(one.kind, one.event_id, one.refund_id, one.psp_code) for one in found.events[1:]] == [
        (Kind.REFUNDED, "re_1:succeeded", REFUND_ID, None),
        (Kind.REFUNDED, "re_2:succeeded", None, None),
        (Kind.REFUND_FAILED, "re_3:failed", REFUND_ID, "expired_or_canceled_card"),
    ]
    assert {one.amount for one in found.events[1:]} == {Money(550, "USD")}
    assert {one.payment_reference for one in found.events} == {PAYMENT_ID}


async def test_refunds_in_another_currency_are_told_without_a_total() -> None:
    """Nobody can add them up; a draft that knows of no refund goes to a person."""
    refunds = (refund_of("failed", id="re_2"), refund_of("succeeded", currency="eur"))
    assert (await look_up(paid_session(), *refunds))[1] == [MONEY, (Kind.REFUNDED, None, None)]


async def test_a_dispute_is_told_after_the_money() -> None:
    """`failed` on a draft that is paid moves nothing and asks for a person; before `paid` it would end the draft."""
    standing, story = await look_up(paid_session(), disputed=True)
    assert (standing, story) == (Standing.CLOSED, [MONEY, (Kind.FAILED, None, "disputed")])


async def test_a_draft_without_a_reference_is_searched_by_our_id() -> None:
    """A lost answer never told us the session; the one that got furthest counts."""
    other = paid_session(id="cs_test_2", payment_intent=payment_of("succeeded"))
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed(session_of(), other, session_of(status="expired", id="cs_test_3"))
        fake.answers["GET", REFUNDS] = 200, listed()
        found = await gateway.lookup(draft_of(in_doubt=True))
        assert [event.transaction_reference_id for event in found.events] == ["cs_test_2"]
        fake.answers["GET", SESSIONS] = 200, listed()
        assert await gateway.lookup(draft_of(in_doubt=True)) == Lookup(Standing.UNKNOWN)
    expanded = [value for name, value in fake.asked[0].query.items() if name.startswith("expand")]
    assert expanded == ["data.payment_intent", "data.payment_intent.latest_charge"]


async def test_what_stripe_does_not_have_is_unknown_and_any_other_404_proves_nothing() -> None:
    """Something in between may answer 404 as well."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSION] = 404, error_of(code="resource_missing")
        assert await gateway.lookup(registered()) == Lookup(Standing.UNKNOWN)
        for body in (error_of(), b"not found", {}):
            fake.answers["GET", SESSION] = 404, body
            with pytest.raises(GatewayRejected):
                await gateway.lookup(registered())


@pytest.mark.parametrize("body", [{}, [], {"id": "?"}, paid_session(amount_total=None), b"x"])
async def test_a_session_that_cannot_be_read_is_asked_again(body: Any) -> None:
    """Money without an amount is not guessed, and a list that is none says nothing."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSION] = 200, body
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(registered())
        fake.answers["GET", SESSION] = 200, paid_session()
        fake.answers["GET", REFUNDS] = 200, body
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(registered())
