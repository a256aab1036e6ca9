"""Stripe's way of counting: a factor of ten or a hundred here would be money."""

from typing import Any

import pytest
from unit_stripe import draft_of, gateway_of, stripe_and_gateway
from unit_support import NOT_SHARED, SHARED, shared_json

from qirsh.errors import GatewayRejected
from qirsh.gateways.stripe.currencies import CURRENCIES, money_of, wire_amount
from qirsh.methods import Method
from qirsh.money import EXPONENTS, InvalidAmountError, Money

VECTORS = "vectors/stripe/currencies.json"


def vectors() -> list[Any]:
    """Every vector; one skipped parameter where there are none."""
    if not SHARED.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip(reason=NOT_SHARED))]
    found = shared_json(VECTORS)["vectors"]
    assert len(found) >= 18, "vectors are gone: what did they prove?"
    return [pytest.param(one, id=one["name"]) for one in found]


@pytest.mark.parametrize("vector", vectors())
def test_an_amount_is_counted_as_stripe_documents(vector: dict[str, Any]) -> None:
    """Stripe's own examples and its rules; what it would not take is refused by us, or by the money itself."""
    inputs, expected = vector["inputs"], vector["expected"]
    try:
        amount = wire_amount(Money.parse(inputs["amount"], inputs["currency"]))
    except (InvalidAmountError, GatewayRejected):
        assert not expected["ok"]
        return
    assert (amount, expected["ok"]) == (expected["unit_amount"], True)
    assert money_of(amount, expected["wire_currency"]) == Money.parse(inputs["amount"], inputs["currency"])


@pytest.mark.parametrize(
    ("money", "amount"),
    [
        (Money(1000, "USD"), 1000),
        (Money(500, "JPY"), 500),
        (Money(5120, "KWD"), 5120),
        (Money(5, "ISK"), 500),
        (Money(12300, "MGA"), 123),
        (Money(1045, "HUF"), 1045),
        (Money(12345, "EGP"), 12345),
    ],
)
def test_an_amount_goes_and_comes_back_the_same(money: Money, amount: int) -> None:
    """Each way of counting once, so that this suite proves it without the vectors."""
    assert wire_amount(money) == amount
    assert money_of(amount, money.currency.lower()) == money


@pytest.mark.parametrize("money", [Money(5124, "KWD"), Money(12345, "MGA"), Money(100, "UGX"), Money(1000, "IQD")])
async def test_what_stripe_cannot_take_is_refused_before_anything_is_sent(money: Money) -> None:
    """Rounded, the payer would be asked for another amount than was shown."""
    async with stripe_and_gateway() as (fake, gateway):
        with pytest.raises(GatewayRejected) as caught:
            await gateway.register(draft_of(money), key="k" * 16)
    assert caught.value.reason == "processing_error"
    assert fake.asked == []


@pytest.mark.parametrize(("amount", "currency"), [(550, "isk"), (1000, "xyz"), (-5, "usd"), (10**20, "usd"), (1, "")])
def test_an_amount_that_is_no_money_of_ours_equals_no_draft(amount: int, currency: str) -> None:
    """So that it ends in review and completes nothing."""
    assert money_of(amount, currency) == Money(0, "EGP")


def test_the_profile_offers_what_can_be_counted() -> None:
    """UGX is left out on purpose: Stripe's page has said two things about it."""
    profile = gateway_of().profile
    assert profile.currencies == CURRENCIES
    assert profile.methods == {Method.CARD, Method.APPLE_PAY, Method.GOOGLE_PAY}
    assert {"USD", "EUR", "SAR", "AED", "KWD", "JPY", "EGP"} <= CURRENCIES <= EXPONENTS.keys()
    assert "UGX" not in CURRENCIES
    if SHARED.is_dir():
        rules = shared_json(VECTORS)
        assert {*rules["zero_decimal"], *rules["three_decimal"]} - {"UGX"} <= CURRENCIES
