"""What our server and worker send to PayPal and Stripe, on the wire, judged by the PSPs' own OpenAPI files."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fidelity_files import corrected
from fidelity_wire import Recorder, Sent, decoded, judge_request, recording

from conftest import NewDatabase
from judged import needs_shared, shared_json
from world import OPERATOR_KEY, TLS, World, a_request, eventually, system

pytestmark = needs_shared


@dataclass
class Wire:
    """A whole system whose every call to a PSP goes through a recorder."""

    world: World
    recorder: Recorder

    async def paid_and_refunded(self, **fields: Any) -> list[Sent]:
        """Pay ten dollars, come back, give 2.50 of them back; all that was sent for it."""
        begun = len(self.recorder.sent)
        answer = await self.world.initiate(currency="USD", product_amount="10.00", locale="ar", **fields)
        assert answer.status_code == 201, answer.text
        draft_id = answer.json()["paymentDraftId"]
        await self.world.act(draft_id, "pay")
        psp = (await self.world.ledger(draft_id) or {})["psp"]
        await self.world.client.get(f"{self.world.api}/api/payments/return/{psp}/{draft_id}")
        await self.world.becomes(draft_id, "completed")
        headers = {"authorization": f"Bearer {OPERATOR_KEY}", "idempotency-key": str(uuid.uuid4())}
        refund = {"amount": "2.50", "reason": "مقاس"}
        url = f"{self.world.api}/api/payments/{draft_id}/refunds"
        asked = await self.world.client.post(url, json=refund, headers=headers)
        assert asked.status_code == 202, asked.text
        await self.world.becomes(draft_id, "partially_refunded")
        return self.recorder.sent[begun:]


@pytest.fixture(scope="module")
def running_wire(scratch: Path, new_database: NewDatabase) -> Iterator[Wire]:
    """One such system for all of these tests. Its client is not to be used."""
    with recording() as recorder:
        at = {"base_url": recorder.url}
        with system(scratch / "wire", asyncio.run(new_database()), paypal=at, stripe=at) as world:
            recorder.target = world.sandbox
            yield Wire(world, recorder)


@pytest.fixture
async def wire(running_wire: Wire) -> AsyncIterator[Wire]:
    """The system with a product and a client of the test's own."""
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        world = replace(running_wire.world, client=client)
        await world.put_product("tshirt", name={"en": "T-shirt", "ar": "تي شيرت"}, prices={"USD": "10.00"})
        yield replace(running_wire, world=world)
        await world.heal()


async def test_what_we_send_to_paypal_is_what_paypal_says_it_takes(wire: Wire) -> None:
    """A body built in a test proves less than one that was on the wire."""
    await wire.world.fault("webhook", "drop", psp="paypal", times=9)
    sent = [one for one in await wire.paid_and_refunded(payment_method="paypal") if one.path != "/v1/oauth2/token"]
    judged = [(judge_request(paypal(one), one), one) for one in sent]

    bodies = {operation: body for (operation, body), _ in judged}
    order = bodies["POST /v2/checkout/orders"]
    assert order["purchase_units"][0]["description"] == "تي شيرت"
    assert bodies["POST /v2/checkout/orders/{id}/capture"] in (None, {})
    refund = bodies["POST /v2/payments/captures/{capture_id}/refund"]
    assert refund["amount"] == {"currency_code": "USD", "value": "2.50"}
    keys = [one.headers["paypal-request-id"] for _, one in judged if one.method == "POST"]
    assert len(set(keys)) == len(keys) == 3, "each call that moves something has a key of its own"


async def test_what_we_send_to_stripe_is_what_stripe_says_it_takes(wire: Wire) -> None:
    """Forms have no types, so each text is read as the type that Stripe's file asks for, and as nothing else."""
    await wire.world.fault("webhook", "drop", psp="stripe", times=9)
    judged = [(judge_request(stripe(), one), one) for one in await wire.paid_and_refunded(payment_method="card")]

    bodies = {operation: body for (operation, body), _ in judged}
    session = bodies["POST /v1/checkout/sessions"]
    assert session["line_items"][0]["price_data"]["unit_amount"] == 1000, "a number of cents, in the type of the file"
    assert session["line_items"][0]["price_data"]["product_data"]["name"] == "تي شيرت"
    assert "GET /v1/checkout/sessions/{session}" in bodies, "the payer who came back had us look it up"
    assert (bodies["POST /v1/refunds"]["amount"], bodies["POST /v1/refunds"]["metadata"]["reason"]) == (250, "مقاس")
    versions = {one.headers["stripe-version"] for _, one in judged}
    assert versions == {"2026-10-28.endive"}
    keys = [one.headers["idempotency-key"] for _, one in judged if one.method == "POST"]
    assert len(set(keys)) == len(keys) == 2


async def test_how_we_search_stripe_for_what_was_lost_is_a_question_that_stripe_takes(wire: Wire) -> None:
    """A list is asked with nested parameters, in the address: the form that most easily goes wrong unseen."""
    begun = len(wire.recorder.sent)
    await wire.world.fault("register", "error_after_accept", psp="stripe")
    request = a_request(currency="USD", product_amount="10.00")

    async def again() -> bool:
        return (
            await wire.world.client.post(f"{wire.world.api}/api/payments/initiate", json=request)
        ).status_code == 201

    await eventually(again, "a 201 for the same key")
    question = next(one for one in wire.recorder.sent[begun:] if one.method == "GET")
    assert judge_request(stripe(), question)[0] == "GET /v1/checkout/sessions"
    asked = decoded(question.query)
    assert (set(asked), set(asked["created"])) == ({"created", "expand", "limit"}, {"gte", "lte"})


async def test_the_judge_of_requests_sees_what_is_wrong(wire: Wire) -> None:
    """A judge that takes everything would be no test."""
    sent = await wire.paid_and_refunded(payment_method="card")
    create = next(one for one in sent if one.path == "/v1/checkout/sessions" and one.method == "POST")
    for right, wrong in (
        (b"mode=payment", b"mode=gift"),
        (b"unit_amount%5D=1000", b"unit_amount%5D=10.00"),
        (b"success_url", b"succes_url"),
        (b"locale=", b"quantity="),
    ):
        assert right in create.body, create.body
        with pytest.raises(AssertionError, match="POST /v1/checkout/sessions: "):
            judge_request(stripe(), create._replace(body=create.body.replace(right, wrong)))
    with pytest.raises(AssertionError, match="has no POST /v1/checkout"):
        judge_request(stripe(), create._replace(path="/v1/checkout"))


def paypal(sent: Sent) -> Any:
    """The file of PayPal's that has this request."""
    name = "checkout_orders_v2" if sent.path.startswith("/v2/checkout") else "payments_payment_v2"
    return shared_json(f"openapi/paypal/{name}.json")


@cache
def stripe() -> Any:
    """Stripe's file, corrected to the version that we speak."""
    return corrected(shared_json("openapi/stripe/spec3_2023-09-12.json"), "stripe_deviations")
