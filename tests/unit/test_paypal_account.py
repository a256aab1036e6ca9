"""PayPal's token, and the refusals of a new order: what nothing came of, and whose turn it is."""

import asyncio
import base64
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
from unit_paypal import (
    CLIENT,
    GOLDEN,
    KEY,
    NOW,
    SECRET,
    TOKEN,
    Asked,
    Clock,
    credentials,
    draft_of,
    fake_paypal,
    gateway_at,
    paypal_and_gateway,
)
from unit_psp import hang, psp
from unit_support import shared_json

from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import deadline
from qirsh.gateways.paypal.issues import issue_of

ORDERS = "/v2/checkout/orders"
CREATED = GOLDEN["answers"]["create-payer-action-required-minimal"]["body"]


async def test_a_token_is_asked_for_once() -> None:
    """By a form and Basic, by many callers together."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, CREATED
        await asyncio.gather(*(gateway.register(draft_of(), key=KEY) for _ in range(10)))
    (asked,) = fake.calls("/v1/oauth2/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"]}
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"


async def test_a_token_is_kept_for_what_is_left_of_its_life() -> None:
    """PayPal hands a cached token out again with its remaining life, less a minute for the way."""
    clock = Clock()
    async with paypal_and_gateway(clock) as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, CREATED
        for advance, fetched in ((0, 1), (32103 - 61, 1), (1, 2)):
            clock.advance(timedelta(seconds=advance))
            await gateway.register(draft_of(), key=KEY)
            assert len(fake.calls("/v1/oauth2/token")) == fetched
    assert clock.at > NOW


async def test_who_waits_for_a_token_keeps_to_its_own_deadline() -> None:
    """Another caller, with more time, is fetching it from a PayPal that says nothing."""
    async with psp(hang) as url, gateway_at(credentials(url)) as gateway:
        patient = asyncio.create_task(gateway.register(draft_of(), key=KEY))
        await asyncio.sleep(0.05)
        with pytest.raises(GatewayUnavailable), deadline(0.1):
            await gateway.register(draft_of(), key=KEY)
        assert not patient.done()
        patient.cancel()


REFUSED_TOKEN = {"error": "invalid_token", "error_description": "Token signature verification failed"}


@pytest.mark.parametrize("body", [REFUSED_TOKEN, {"name": "AUTHENTICATION_FAILURE"}])
async def test_a_refused_token_is_replaced_once(body: Any) -> None:
    """And the call repeated once, with the same key: a refused call has done nothing."""
    async with paypal_and_gateway() as (fake, gateway):
        refusals = [(401, body), (200, CREATED)]
        fake.answers["POST", ORDERS] = lambda _: refusals.pop(0)
        await gateway.register(draft_of(), key=KEY)
        assert len(fake.calls("/v1/oauth2/token")) == 2
        assert {one.headers["paypal-request-id"] for one in fake.calls(ORDERS)} == {KEY}


@pytest.mark.parametrize(("status", "tokens"), [(401, 2), (403, 1)])
async def test_a_refusal_that_lasts_is_the_operators(status: int, tokens: int) -> None:
    """A fresh token cannot mend what is forbidden."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = status, {"name": "NOT_AUTHORIZED"}
        with pytest.raises(GatewayMisconfigured):
            await gateway.register(draft_of(), key=KEY)
    assert len(fake.calls("/v1/oauth2/token")) == tokens


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ((401, {"error": "invalid_client", "error_description": "Client Authentication failed"}), GatewayMisconfigured),
        ((200, {"access_token": TOKEN}), GatewayUnavailable),
        ((200, {"access_token": "a\r\nX: y", "expires_in": 1}), GatewayUnavailable),
        ((200, {"access_token": "", "expires_in": 1}), GatewayUnavailable),
        ((200, {"access_token": TOKEN, "expires_in": 10**30}), GatewayUnavailable),
        ((500, {}), GatewayUnavailable),
    ],
)
async def test_no_token_means_nothing_was_sent(token: tuple[int, Any], error: type[GatewayError]) -> None:
    """Whatever the reason, the payment was not touched; no secret is in the words."""
    async with fake_paypal() as fake, gateway_at(credentials(fake.url)) as gateway:
        fake.token = token
        with pytest.raises(error) as caught:
            await gateway.register(draft_of(), key=KEY)
    assert fake.calls(ORDERS) == []
    assert SECRET not in f"{caught.value!r}{caught.value.detail}"


# Refusals of a new order.


def create_issues() -> list[Any]:
    """Every 400 and 422 that PayPal's own file lists for a new order."""
    tables = each_vector_table("/v2/checkout/orders", "POST")
    return [(table["status"], one["issue"]) for table in tables for one in table["issues"] if table["status"] != 401]


def each_vector_table(path: str, method: str) -> list[Any]:
    """The tables of one operation."""
    tables = shared_json("vectors/paypal/error_issues.json")["tables"]
    return [table for table in tables if (table["path"], table["method"]) == (path, method)]


async def test_every_refusal_of_a_new_order_is_final_and_keeps_its_word() -> None:
    """Nothing was made, whatever the issue; the payer's word for it is one of ours, PayPal's is kept beside it."""
    issues = create_issues()
    assert len(issues) > 100
    async with paypal_and_gateway() as (fake, gateway):
        for status, issue in issues:
            fake.answers["POST", ORDERS] = status, {"name": "X", "details": [{"issue": issue, "description": "…"}]}
            with pytest.raises(GatewayRejected) as caught:
                await gateway.register(draft_of(), key=KEY)
            assert caught.value.psp_code == issue
            assert caught.value.reason != "unknown"


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        (None, None),
        ([], None),
        ({"error": "invalid_client"}, None),
        ({"name": "INVALID_REQUEST"}, "INVALID_REQUEST"),
        ({"name": "INVALID_REQUEST", "details": None}, "INVALID_REQUEST"),
        ({"name": "X", "details": [{"issue": "AMOUNT_MISMATCH"}, {"issue": "OTHER"}]}, "AMOUNT_MISMATCH"),
        ({"name": "X", "details": ["odd", {"field": "/x"}, {"issue": "A_B"}]}, "A_B"),
        ({"name": "<script>", "details": [{"issue": "a sentence"}]}, None),
    ],
)
def test_an_issue_is_a_word(body: object, issue: str | None) -> None:
    """Decided on `issue`, never on a text; what is no word is not kept."""
    assert issue_of(body) == issue


async def test_another_draft_has_another_custom_id() -> None:
    """The merchant reference is the draft's own."""

    def echoed(asked: Asked) -> tuple[int, Any]:
        assert asked.json["purchase_units"][0]["custom_id"] == str(UUID(int=7))
        return 200, CREATED

    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = echoed
        await gateway.register(draft_of(id=UUID(int=7)), key=KEY)
