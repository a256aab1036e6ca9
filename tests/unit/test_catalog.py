"""The catalogue: the page's price is never believed, only compared."""

from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_support import thorough

from qirsh.catalog import Product, priced
from qirsh.draft import DraftRequest
from qirsh.errors import (
    CallerError,
    InvalidRequest,
    MethodNotSupported,
    PriceMismatch,
    ProductNotFound,
    ProductNotPurchasable,
)
from qirsh.methods import Method
from qirsh.money import Money

SHIRT = Product(
    "tshirt",
    {"en": "T-shirt", "ar": "\u062a\u064a \u0634\u064a\u0631\u062a"},
    {"EGP": 30_000, "USD": 1_000},
    purchasable=True,
)
BOTH = frozenset({"EGP", "USD"})


def asked(**changes: Any) -> DraftRequest:
    """A request for one shirt at its price, but for the changes."""
    return DraftRequest(
        **{"product_id": "tshirt", "amount": "300", "method": Method.CARD, "currency": "EGP", **changes}
    )


def pointer_of(product: Product, request: DraftRequest, currencies: Collection[str]) -> str:
    """The one field that the refusal names."""
    with pytest.raises(InvalidRequest) as refused:
        priced(product, request, currencies)
    (error,) = refused.value.errors
    return error.pointer


def test_the_price_that_the_payer_was_shown_is_collected() -> None:
    """The ordinary case, and the same with a quantity and in another currency."""
    assert priced(SHIRT, asked(), BOTH) == Money(30_000, "EGP")
    assert priced(SHIRT, asked(amount="900.00", quantity=3), BOTH) == Money(90_000, "EGP")
    assert priced(SHIRT, asked(amount="10", currency="USD"), BOTH) == Money(1_000, "USD")


@pytest.mark.parametrize("amount", ["0.01", "1", "299.99", "300.01", "30000", "3", "10", "600"])
def test_another_price_is_a_mismatch(amount: str) -> None:
    """A tampered page must never set its own price, and a stale one never surprise its payer."""
    with pytest.raises(PriceMismatch):
        priced(SHIRT, asked(amount=amount), BOTH)


@thorough
@given(st.integers(1, 10**6), st.integers(1, 10_000), st.integers(1, 10**12))
def test_only_price_times_quantity_is_collected(price: int, quantity: int, shown: int) -> None:
    """Whatever the numbers: either it is exactly the price, or nothing is collected."""
    product = Product("tshirt", {}, {"EGP": price}, purchasable=True)
    request = asked(amount=Money(shown, "EGP").major, quantity=quantity)
    if shown == price * quantity:
        assert priced(product, request, BOTH) == Money(shown, "EGP")
    else:
        with pytest.raises(PriceMismatch):
            priced(product, request, BOTH)
    right = asked(amount=Money(price * quantity, "EGP").major, quantity=quantity)
    assert priced(product, right, BOTH).amount_minor == price * quantity


def test_the_price_of_one_is_not_the_price_of_many() -> None:
    """A forgotten quantity would sell ten for the price of one."""
    with pytest.raises(PriceMismatch):
        priced(SHIRT, asked(quantity=10), BOTH)


def test_a_product_that_is_not_there_is_not_found() -> None:
    """The page is told which id was meant."""
    with pytest.raises(ProductNotFound, match="tshirt"):
        priced(None, asked(), BOTH)


def test_a_product_that_is_not_for_sale_is_not_sold() -> None:
    """Before any price is compared: a withdrawn product has none."""
    with pytest.raises(ProductNotPurchasable):
        priced(msgspec.structs.replace(SHIRT, purchasable=False), asked(amount="1"), BOTH)


def test_a_currency_without_price_is_a_mismatch() -> None:
    """300 EGP are not 300 KWD, and nobody converts."""
    with pytest.raises(PriceMismatch, match="KWD"):
        priced(SHIRT, asked(currency="KWD"), BOTH)


def test_the_only_possible_currency_need_not_be_named() -> None:
    """Method and product often leave one choice."""
    assert priced(SHIRT, asked(currency=None), {"EGP"}) == Money(30_000, "EGP")
    assert priced(SHIRT, asked(currency=None, amount="10"), {"USD", "KWD"}) == Money(1_000, "USD")


def test_of_several_currencies_one_must_be_named() -> None:
    """Guessing would charge 300 dollars for 300 pounds; the refusal names the field and the choices."""
    assert pointer_of(SHIRT, asked(currency=None), BOTH) == "#/currency"


def test_a_method_that_takes_no_currency_of_the_product_is_not_supported() -> None:
    """No change of the amount would mend that."""
    with pytest.raises(MethodNotSupported):
        priced(SHIRT, asked(currency=None), {"KWD"})
    with pytest.raises(MethodNotSupported):
        priced(SHIRT, asked(currency=None), frozenset())


def test_more_decimals_than_the_currency_has_name_the_amount() -> None:
    """When the request left the currency out, the catalogue is the first that can tell."""
    assert pointer_of(SHIRT, asked(currency=None, amount="300.001"), {"EGP"}) == "#/product_amount"


def test_every_refusal_is_the_callers_to_mend() -> None:
    """Nothing is stored before the price is right, so the key stays free."""
    for product, request in [(None, asked()), (SHIRT, asked(amount="1")), (SHIRT, asked(currency=None))]:
        with pytest.raises(CallerError) as refused:
            priced(product, request, BOTH)
        assert refused.value.retry == "never"


@pytest.mark.parametrize(
    ("name", "locale", "shown"),
    [
        ({"en": "Shirt", "ar": "\u0642\u0645\u064a\u0635"}, "ar", "\u0642\u0645\u064a\u0635"),
        ({"en": "Shirt", "ar": "\u0642\u0645\u064a\u0635"}, "ar-EG", "\u0642\u0645\u064a\u0635"),
        ({"en": "Shirt", "ar": "\u0642\u0645\u064a\u0635"}, None, "Shirt"),
        ({"en": "Shirt"}, "fr", "Shirt"),
        ({"ar": "\u0642\u0645\u064a\u0635"}, "fr", "\u0642\u0645\u064a\u0635"),
        ({}, "ar", "tshirt"),
    ],
)
def test_the_name_is_in_the_payers_language_where_there_is_one(
    name: dict[str, str], locale: str | None, shown: str
) -> None:
    """PSPs refuse an item without a name, so there is always one."""
    assert msgspec.structs.replace(SHIRT, name=name).name_in(locale) == shown
