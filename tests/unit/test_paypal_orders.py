"""PayPal's orders: what we send, byte for byte, and what each answer means. Over a real socket."""

import asyncio
from datetime import timedelta
from functools import cache
from typing import Any

import jsonschema
import pytest
import unit_psp
from unit_paypal import (
    DRAFT_ID,
    GOLDEN,
    KEY,
    ORDER_ID,
    TOKEN,
    Clock,
    credentials,
    draft_of,
    each_vector,
    gateway_at,
    paypal_and_gateway,
    registered,
)
from unit_psp import Behaviour, answer, closed_port, psp
from unit_support import shared_json

from qirsh.actions import RedirectUrl
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import Captures, deadline
from qirsh.gateways.paypal.requests import CURRENCIES, order_request, value_of
from qirsh.methods import Method
from qirsh.money import InvalidAmountError, Money

ORDERS = "/v2/checkout/orders"
CREATED = GOLDEN["answers"]["create-payer-action-required-minimal"]["body"]
APPROVE = "https://www.sandbox.paypal.com/checkoutnow?token=1788572669270162R"
BACK = f"https://pay.example/api/payments/return/paypal/{DRAFT_ID}"


def links(*pairs: tuple[str, str]) -> dict[str, Any]:
    """The created order with these links instead of its own."""
    return {**CREATED, "links": [{"rel": rel, "href": href, "method": "GET"} for rel, href in pairs]}


async def test_a_gateway_captures_and_says_what_it_is() -> None:
    """What the core must know without calling."""
    async with gateway_at(credentials()) as gateway:
        profile = gateway.profile
        assert isinstance(gateway, Captures)
    assert (profile.name, profile.found_by) == ("paypal", "own_id")
    assert profile.methods == {Method.PAYPAL}
    assert "EGP" not in profile.currencies
    assert profile.signature_place.name == "paypal-transmission-sig"
    hours, days = timedelta(hours=6), timedelta(days=45)
    assert profile.idempotent_for == {"register": hours, "capture": hours, "refund": days}


async def test_registering_makes_an_order_to_approve() -> None:
    """The whole request, since every word of it was chosen."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, CREATED
        made = await gateway.register(draft_of(product_name="T-shirt", locale="ar"), key=KEY)
    assert made.transaction_reference_id == ORDER_ID
    assert made.action == RedirectUrl(APPROVE, "redirect")
    (sent,) = fake.calls(ORDERS)
    assert sent.headers["paypal-request-id"] == KEY
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.json == {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "custom_id": str(DRAFT_ID),
                "description": "T-shirt",
                "amount": {"currency_code": "USD", "value": "10.00"},
            }
        ],
        "payment_source": {
            "paypal": {
                "experience_context": {
                    "return_url": BACK,
                    "cancel_url": f"{BACK}?cancelled=1",
                    "user_action": "PAY_NOW",
                    "shipping_preference": "NO_SHIPPING",
                    "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED",
                    "locale": "ar-EG",
                }
            }
        },
    }


async def test_the_same_row_sends_the_same_bytes() -> None:
    """A repeat is the same call, also in doubt and after the clock has moved: that is what the key promises."""
    clock = Clock()
    async with paypal_and_gateway(clock) as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, CREATED
        first = await gateway.register(draft_of(), key=KEY)
        clock.advance(timedelta(hours=1))
        assert await gateway.register(draft_of(in_doubt=True), key=KEY) == first
    one, two = fake.calls(ORDERS)
    assert one.body == two.body
    assert one.headers["paypal-request-id"] == two.headers["paypal-request-id"] == KEY


@cache
def orders_api() -> Any:
    """PayPal's own description of its orders, half a megabyte, read once."""
    return shared_json("openapi/paypal/checkout_orders_v2.json")


@pytest.mark.parametrize("locale", [None, "ar", "en", "fr", "ar-EG", "de-DE"])
@pytest.mark.parametrize("amount", [Money(1, "USD"), Money(250_000, "HUF"), Money(1000, "JPY"), Money(12_345, "EUR")])
@pytest.mark.parametrize("name", [None, "T-shirt", "قميص" * 100, "x" * 300, "شّ" * 63 + "x", "👕" * 99])
def test_requests_are_valid_by_paypals_own_schema(locale: str | None, amount: Money, name: str | None) -> None:
    """The OpenAPI file of PayPal judges, and the limits that its text alone mentions."""
    api = orders_api()
    schema = {"$ref": "#/components/schemas/order_request", "components": api["components"]}
    body = order_request(draft_of(amount, locale=locale, product_name=name), "https://pay.example")
    judge = jsonschema.Draft202012Validator(schema)
    judge.validate(body)
    assert not judge.is_valid({**body, "intent": "TAKE"}), "the judge judges"
    description = body["purchase_units"][0]["description"]
    assert 1 <= len(description.encode()) <= 127
    assert (name or "tshirt").startswith(description)
    context = body["payment_source"]["paypal"]["experience_context"]
    assert len(context.get("locale", "xx-XX")) == 5
    assert set(context) <= set(api["components"]["schemas"]["paypal_wallet_experience_context"]["properties"])


def test_our_currencies_are_paypals() -> None:
    """All 25, each with decimals that ISO 4217 knows."""
    currencies = shared_json("vectors/paypal/currencies.json")
    assert set(currencies["supported"]) == CURRENCIES


@pytest.mark.parametrize("vector", each_vector("vectors/paypal/currencies.json", "vectors"))
def test_amounts_are_written_as_paypal_takes_them(vector: dict[str, Any]) -> None:
    """What PayPal would refuse is refused before anything is sent."""
    inputs, expected = vector["inputs"], vector["expected"]
    try:
        written = value_of(Money.parse(inputs["amount"], inputs["currency"]))
    except (InvalidAmountError, GatewayRejected):
        written = None
    assert written == expected["value"]


@pytest.mark.parametrize("amount", [Money(250_050, "HUF"), Money(30_025, "TWD"), Money(12_345, "EGP")])
async def test_an_amount_that_paypal_does_not_take_is_never_sent(amount: Money) -> None:
    """Not even a token is asked for."""
    async with paypal_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayRejected):
            await gateway.register(draft_of(amount), key=KEY)
    assert fake.asked == []


FORMS = {
    "payer-action, 200": (200, links(("self", "https://api.paypal.com/x"), ("payer-action", APPROVE))),
    "payer-action, 201": (201, links(("payer-action", APPROVE))),
    "approve, 201": (201, {**links(("approve", APPROVE)), "status": "CREATED"}),
    "approved meanwhile, with a link": (200, {**links(("approve", APPROVE)), "status": "APPROVED"}),
    "links without method": (200, {**CREATED, "links": [{"rel": "payer-action", "href": APPROVE}]}),
}


@pytest.mark.parametrize("form", FORMS)
async def test_both_forms_of_the_answer_are_read(form: str) -> None:
    """PayPal answers 200 or 201, `payer-action` or `approve`, by the form of the request and its own mood."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = FORMS[form]
        made = await gateway.register(draft_of(), key=KEY)
    assert made.action == RedirectUrl(APPROVE, "redirect")


UNFIT_LINKS = [
    *("http://www.paypal.com/checkoutnow", "javascript:alert(1)", "//www.paypal.com/x", "/checkoutnow", "", "https://"),
    *("https://[", "ftp://www.paypal.com/x", f"https://www.paypal.com/{'x' * 2000}", "https://www.paypal.com/\n"),
    "http://127.0.0.1:1/checkoutnow",
]


@pytest.mark.parametrize("href", UNFIT_LINKS)
async def test_a_payer_is_sent_to_https_only(href: str) -> None:
    """A page of another kind is no page; the order may exist, so that the outcome is not known."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, links(("payer-action", href), ("self", "https://api.paypal.com/x"))
        with pytest.raises(GatewayProtocolError):
            await gateway.register(draft_of(), key=KEY)


async def test_in_development_the_sandbox_sends_the_payer_to_itself() -> None:
    """Plain http, and only where we talk to anyway."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, links(("payer-action", f"{fake.url}/checkoutnow?token=X"))
        made = await gateway.register(draft_of(), key=KEY)
    assert made.action == RedirectUrl(f"{fake.url}/checkoutnow?token=X", "redirect")


@pytest.mark.parametrize("status", ["APPROVED", "COMPLETED", "VOIDED", "NEW_WORD"])
async def test_a_repeat_that_finds_the_order_further_on_is_looked_up(status: str) -> None:
    """There is no page to hand out any more, and nothing else proves how it stands."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, {"id": ORDER_ID, "status": status, "links": []}
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(draft_of(), key=KEY)


@pytest.mark.parametrize("body", [{}, [], "order", {"id": "../../x", "links": []}, {"id": 7}, {"status": "CREATED"}])
async def test_an_order_that_cannot_be_read_is_a_doubt(body: Any) -> None:
    """It may have been made. Its id becomes part of paths, so a strange one is none."""
    async with paypal_and_gateway() as (fake, gateway):
        fake.answers["POST", ORDERS] = 200, body
        with pytest.raises(GatewayProtocolError):
            await gateway.register(draft_of(), key=KEY)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(500), GatewayOutcomeUnknown),
        (answer(409, b'{"name":"RESOURCE_CONFLICT"}'), GatewayOutcomeUnknown),
        (answer(429, b'{"name":"RATE_LIMIT_REACHED"}'), GatewayUnavailable),
        (answer(403, b'{"name":"NOT_AUTHORIZED"}'), GatewayMisconfigured),
        (answer(200, b"<html>"), GatewayOutcomeUnknown),
        (unit_psp.reset_after_reading, GatewayOutcomeUnknown),
        (unit_psp.hang, GatewayOutcomeUnknown),
    ],
)
@pytest.mark.parametrize("verb", ["register", "capture"])
async def test_a_broken_answer_is_a_doubt(behaviour: Behaviour, error: type[GatewayError], verb: str) -> None:
    """Only the call itself breaks here: the token came."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n")
        if b"/v1/oauth2/token" in head:
            behaved = answer(200, f'{{"access_token":"{TOKEN}","expires_in":3600}}'.encode())
        else:
            behaved = behaviour
        await behaved(reader, writer)

    async with psp(behave) as url, gateway_at(credentials(url)) as gateway:
        call = gateway.register(draft_of(), key=KEY) if verb == "register" else gateway.capture(registered(), key=KEY)
        with pytest.raises(error), deadline(0.3):
            await call


async def test_an_unreachable_paypal_was_sent_nothing() -> None:
    """Another gateway may be tried."""
    with closed_port() as url:
        async with gateway_at(credentials(url)) as gateway:
            with pytest.raises(GatewayUnavailable):
                await gateway.register(draft_of(), key=KEY)
