"""What the fake PayPal takes for an order, and with which issue it refuses the rest."""

from pathlib import Path
from typing import Any

import pytest
from sandbox_paypal_bench import ORDERS, issue_of, order_body, paypal_shop


@pytest.mark.parametrize(
    ("value", "currency", "issue"),
    [
        ("10.00", "EGP", "INVALID_CURRENCY_CODE"),
        ("12.345", "KWD", "INVALID_CURRENCY_CODE"),
        ("10.00", "usd", "INVALID_CURRENCY_CODE"),
        ("123.456", "USD", "DECIMAL_PRECISION"),
        ("1000.50", "JPY", "DECIMAL_PRECISION"),
        ("2500.5", "HUF", "DECIMAL_PRECISION"),
        ("300.25", "TWD", "DECIMAL_PRECISION"),
        ("0.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("-1", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("9999999999999999.99", "USD", "MAX_VALUE_EXCEEDED"),
    ],
)
async def test_amounts_that_paypal_does_not_take(tmp_path: Path, value: str, currency: str, issue: str) -> None:
    """422 with PayPal's issue; nothing is registered."""
    async with paypal_shop(tmp_path) as shop:
        assert issue_of(await shop.create(value=value, currency=currency)) == (422, issue)
        assert await shop.ledger() == []


@pytest.mark.parametrize(
    ("value", "currency", "written", "minor"),
    [
        ("10", "USD", "10.00", 1000),
        (".5", "EUR", "0.50", 50),
        ("1000", "JPY", "1000", 1000),
        ("2500", "HUF", "2500", 250_000),
        ("99999999.99", "USD", "99999999.99", 9_999_999_999),
    ],
)
async def test_amounts_are_written_as_paypal_writes_them(
    tmp_path: Path, value: str, currency: str, written: str, minor: int
) -> None:
    """The ledger counts in ISO's minor units, also where PayPal takes no decimals."""
    async with paypal_shop(tmp_path) as shop:
        capture = await shop.paid(value=value, currency=currency)
        assert capture["amount"]["value"] == written
        assert [(row["amount_minor"], row["paid_minor"]) for row in await shop.ledger()] == [(minor, minor)]


def _changed(**changes: Any) -> dict[str, Any]:
    return {**order_body(), **changes}


def _units(*units: dict[str, Any]) -> dict[str, Any]:
    return _changed(purchase_units=list(units))


DOLLAR = {"currency_code": "USD", "value": "1.00"}
BAD_BODIES = [
    (_changed(payment_source={}), 422, "NO_PAYMENT_SOURCE_PROVIDED"),
    (_changed(payment_source={"card": {}}), 422, "PAYMENT_SOURCE_CANNOT_BE_USED"),
    (_changed(intent=""), 400, "MISSING_REQUIRED_PARAMETER"),
    (_changed(intent="GIVE"), 400, "INVALID_PARAMETER_VALUE"),
    (_changed(purchase_units=None), 400, "MISSING_REQUIRED_PARAMETER"),
    (_changed(purchase_units=[]), 400, "INVALID_ARRAY_MIN_ITEMS"),
    (_changed(purchase_units=[{}] * 11), 400, "INVALID_ARRAY_MAX_ITEMS"),
    (_changed(purchase_units="x"), 400, "INVALID_PARAMETER_SYNTAX"),
    (_units({}), 400, "MISSING_REQUIRED_PARAMETER"),
    (_units({"amount": {"value": "1.00"}}), 400, "MISSING_REQUIRED_PARAMETER"),
    (_units({"amount": {"currency_code": "USD", "value": 1}}), 400, "INVALID_PARAMETER_SYNTAX"),
    (_units({"amount": {"currency_code": "USD", "value": "1,00"}}), 400, "INVALID_PARAMETER_SYNTAX"),
    (_units({"amount": {"currency_code": "USDX", "value": "1"}}), 400, "INVALID_STRING_LENGTH"),
    (_units({"amount": DOLLAR, "custom_id": "x" * 128}), 400, "INVALID_STRING_LENGTH"),
    (_units({"amount": DOLLAR, "soft_descriptor": "x" * 23}), 400, "INVALID_STRING_LENGTH"),
    (_units({"amount": {**DOLLAR, "breakdown": {"item_total": {**DOLLAR, "value": "2"}}}}), 422, "AMOUNT_MISMATCH"),
    (_units({"amount": DOLLAR}, {"amount": DOLLAR}), 422, "REFERENCE_ID_REQUIRED"),
    (_units(*[{"amount": DOLLAR, "reference_id": "a"}] * 2), 422, "DUPLICATE_REFERENCE_ID"),
    (
        _units(
            {"amount": DOLLAR, "reference_id": "a"},
            {"amount": {**DOLLAR, "currency_code": "EUR"}, "reference_id": "b"},
        ),
        422,
        "MULTI_CURRENCY_ORDER",
    ),
    (
        _changed(payment_source={"paypal": {"experience_context": {"user_action": "PAY"}}}),
        400,
        "INVALID_PARAMETER_VALUE",
    ),
    (
        _changed(payment_source={"paypal": {"experience_context": {"return_url": "shop"}}}),
        400,
        "INVALID_PARAMETER_SYNTAX",
    ),
]


@pytest.mark.parametrize(("body", "status", "issue"), BAD_BODIES)
async def test_orders_that_paypal_does_not_take(tmp_path: Path, body: dict[str, Any], status: int, issue: str) -> None:
    """Schema first, then business: the client decides on the issue."""
    async with paypal_shop(tmp_path) as shop:
        assert issue_of(await shop.send(ORDERS, body, "once")) == (status, issue)
        assert await shop.ledger() == []


async def test_a_body_must_be_json_and_every_fault_of_it_is_named(tmp_path: Path) -> None:
    """Several fields, one answer; a JSON pointer to each."""
    async with paypal_shop(tmp_path) as shop:
        assert issue_of(await shop.send(ORDERS, b"{", "once")) == (400, "MALFORMED_REQUEST_JSON")
        assert (await shop.send(ORDERS, {}, Content_Type="text/plain")).status == 415
        answer = await shop.send(ORDERS, {"purchase_units": [{"amount": {"currency_code": "", "value": "1"}}]})
        assert [each["field"] for each in answer.body["details"]] == [
            "/intent",
            "/purchase_units/0/amount/currency_code",
        ]
        assert issue_of(await shop.send(ORDERS, order_body())) == (400, "PAYPAL_REQUEST_ID_REQUIRED")
        assert issue_of(await shop.send(ORDERS, order_body(), "x" * 109)) == (400, "INVALID_STRING_LENGTH")


async def test_a_breakdown_that_adds_up_and_two_units_are_taken(tmp_path: Path) -> None:
    """Each unit gets a capture of its own, and the ledger the sum."""
    async with paypal_shop(tmp_path) as shop:
        parts = {"item_total": {**DOLLAR, "value": "1.50"}, "discount": {**DOLLAR, "value": "0.50"}}
        first = {"amount": {**DOLLAR, "breakdown": parts}, "reference_id": "a", "custom_id": "draft-1"}
        second = {"amount": DOLLAR, "reference_id": "b", "custom_id": "draft-1"}
        order_id = (await shop.send(ORDERS, _units(first, second), "once")).body["id"]
        await shop.act("pay")
        answer = await shop.capture(order_id, Prefer="return=representation")
        assert answer.body["purchase_units"][0]["amount"]["breakdown"] == parts
        assert [len(unit["payments"]["captures"]) for unit in answer.body["purchase_units"]] == [1, 1]
        assert [(row["amount_minor"], row["paid_minor"]) for row in await shop.ledger()] == [(200, 200)]


async def test_an_authorization_is_not_captured_here(tmp_path: Path) -> None:
    """PayPal captures it elsewhere; a client that mixes the two is told."""
    async with paypal_shop(tmp_path) as shop:
        order_id = (await shop.send(ORDERS, _changed(intent="AUTHORIZE"), "once")).body["id"]
        await shop.act("pay")
        assert issue_of(await shop.capture(order_id)) == (422, "ACTION_DOES_NOT_MATCH_INTENT")
