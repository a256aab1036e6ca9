"""The gateway and the sandbox's books without the server between them: refunds, and references that are ended."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from qirsh.actions import ReferenceCode
from qirsh.draft import DraftRequest, Kind, Payer, PaymentDraft
from qirsh.errors import GatewayMisconfigured, GatewayOutcomeUnknown, GatewayRejected
from qirsh.gateways.base import RefundOrder, Standing, Surroundings
from qirsh.gateways.fawry import Credentials, Fawry
from qirsh.methods import Method
from qirsh.money import Money
from qirsh_sandbox import credentials
from world import World


def gateway_of(world: World, **changes: Any) -> Fawry:
    """A gateway at the world's sandbox; what is told of its orders goes to a server that knows no such draft."""
    account = credentials(world.sandbox, world.psps)["fawry"]
    keys = Credentials.model_validate({**account, **changes})
    return Fawry(keys, Surroundings(world.api, dev=True, now=lambda: datetime.now(UTC)))


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Fawry]:
    """A gateway of the test's own."""
    opened = gateway_of(world)
    yield opened
    await opened.aclose()


def a_draft(method: Method = Method.FAWRY) -> PaymentDraft:
    """A draft that nobody else knows, with a week to live whatever the sandbox's clock says."""
    now = datetime.now(UTC)
    request = DraftRequest(product_id="tshirt", amount="300", method=method, payer=Payer(phone="01012345010"))
    return PaymentDraft(
        id=uuid4(),
        gateway="fawry",
        amount=Money(30000, "EGP"),
        request=request,
        created_at=now,
        expires_at=now + timedelta(days=3650),
    )


async def registered(gateway: Fawry, method: Method = Method.FAWRY) -> PaymentDraft:
    """A draft that Fawry has registered."""
    draft = a_draft(method)
    registration = await gateway.register(draft, key="k")
    return msgspec.structs.replace(draft, transaction_reference_id=registration.transaction_reference_id)


async def paid(world: World, gateway: Fawry, method: Method = Method.FAWRY) -> PaymentDraft:
    """A draft that was paid, with the number that a look-up found."""
    draft = await registered(gateway, method)
    await world.act(str(draft.id), "pay")
    (event,) = (await gateway.lookup(draft)).events
    assert event.kind is Kind.PAID
    return msgspec.structs.replace(draft, payment_reference=event.payment_reference)


@pytest.mark.parametrize("method", [Method.FAWRY, Method.CARD, Method.WALLET_QR])
async def test_money_goes_back_in_parts_and_not_more_than_came(world: World, gateway: Fawry, method: Method) -> None:
    """Whatever the draft is known by, Fawry finds the payment by its own number."""
    draft = await paid(world, gateway, method)

    (part,) = await gateway.refund(RefundOrder(uuid4(), draft, 10050, "Sorry"), key="k")
    assert part.amount == Money(10050, "EGP")
    draft = msgspec.structs.replace(draft, refunded_minor=10050)
    with pytest.raises(GatewayRejected) as refused:
        await gateway.refund(RefundOrder(uuid4(), draft, 19951), key="k")
    assert refused.value.psp_code == "9935"
    (rest,) = await gateway.refund(RefundOrder(uuid4(), draft, 19950), key="k")

    assert rest.amount == Money(30000, "EGP")
    ledger = await world.ledger(str(draft.id))
    assert ledger is not None
    assert (ledger["state"], ledger["refunded_minor"]) == ("refunded", 30000)
    told = await gateway.lookup(draft)
    assert [event.amount for event in told.events] == [Money(30000, "EGP")] * 2


async def test_a_refund_whose_answer_is_lost_is_not_known(world: World, gateway: Fawry) -> None:
    """It may have been done, as here, and Fawry knows no key to ask again with."""
    draft = await paid(world, gateway)
    await world.fault("refund", "reset_after_accept", psp="fawry")
    with pytest.raises(GatewayOutcomeUnknown):
        await gateway.refund(RefundOrder(uuid4(), draft, 30000), key="k")
    assert [event.kind for event in (await gateway.lookup(draft)).events] == [Kind.PAID, Kind.REFUNDED]


async def test_an_unpaid_order_cannot_be_refunded(gateway: Fawry) -> None:
    """Fawry's own word for it is handed on."""
    draft = await registered(gateway)
    draft = msgspec.structs.replace(draft, payment_reference=draft.transaction_reference_id)
    with pytest.raises(GatewayRejected) as refused:
        await gateway.refund(RefundOrder(uuid4(), draft, 100), key="k")
    assert refused.value.psp_code == "9954"


@pytest.mark.parametrize("method", [Method.FAWRY, Method.CARD, Method.WALLET_QR, Method.MOBILE_WALLET])
async def test_an_open_reference_is_ended_and_a_paid_one_is_left(world: World, gateway: Fawry, method: Method) -> None:
    """Siblings of a paid order must not be paid as well; ending twice is ending once."""
    draft, done = await registered(gateway, method), await paid(world, gateway, method)

    for _ in range(2):
        await gateway.cancel(draft)
        await gateway.cancel(done)

    ended = await gateway.lookup(draft)
    assert (ended.standing, [event.kind for event in ended.events]) == (Standing.CLOSED, [Kind.FAILED])
    assert [event.kind for event in (await gateway.lookup(done)).events] == [Kind.PAID]
    body = {"merchant_reference": str(draft.id), "act": "pay"}
    assert (await world.client.post(f"{world.sandbox}/__sandbox/payer", json=body)).status_code == 409


@pytest.mark.parametrize("wrong", [{"security_key": "other"}, {"merchant_code": "other"}])
async def test_keys_that_are_not_the_merchants_are_for_the_operator(world: World, wrong: dict[str, str]) -> None:
    """And nothing was registered, so another gateway may be tried."""
    gateway, draft = gateway_of(world, **wrong), a_draft()
    for call in (lambda: gateway.register(draft, key="k"), lambda: gateway.lookup(draft)):
        with pytest.raises(GatewayMisconfigured):
            await call()
    await gateway.aclose()
    assert await world.ledger(str(draft.id)) is None


async def test_raw_questions_are_understood_too(world: World) -> None:
    """For a Fawry that does not read percent signs."""
    gateway = gateway_of(world, encode_query=False)
    draft = await registered(gateway)
    assert (await gateway.lookup(draft)).standing is Standing.OPEN
    await gateway.aclose()


async def test_the_same_row_asked_again_without_doubt_is_refused_as_used(gateway: Fawry) -> None:
    """Which shows that Fawry's own rule, and not our memory, keeps a registration single."""
    draft = a_draft()
    registration = await gateway.register(draft, key="k")
    with pytest.raises(GatewayRejected):
        await gateway.register(draft, key="k")
    again = await gateway.register(msgspec.structs.replace(draft, in_doubt=True), key="k")
    assert isinstance(again.action, ReferenceCode)
    assert again == registration
