"""PaymentMethodRouter: payment method × currency → gateways, in the order they are tried."""

from dataclasses import replace

import pytest
from unit_drafts import WHOLE

from qirsh.errors import MethodNotSupported
from qirsh.gateways.base import Profile, SignaturePlace
from qirsh.methods import METHODS, Method
from qirsh.money import EXPONENTS, Money
from qirsh.routing import ANY, ROUTES, PaymentMethodRouter, Routes

PAYPAL_CURRENCIES = frozenset({"USD", "EUR", "GBP"})


def profile(name: str, methods: set[Method], currencies: frozenset[str]) -> Profile:
    """What a gateway says of itself, as far as routing asks."""
    return Profile(
        name=name,
        methods=frozenset(methods),
        currencies=currencies,
        signature_place=SignaturePlace("header", f"{name}-signature"),
        found_by="merchant_reference",
    )


EGP = frozenset({"EGP"})
PAYMOB = profile("paymob", {Method.CARD, Method.VODAFONE_CASH, Method.KIOSK}, EGP)
FAWRY = profile("fawry", {Method.CARD, Method.VODAFONE_CASH, Method.MOBILE_WALLET, Method.WALLET_QR, Method.FAWRY}, EGP)
PAYPAL = profile("paypal", {Method.PAYPAL}, PAYPAL_CURRENCIES)
STRIPE = profile("stripe", {Method.CARD, Method.APPLE_PAY, Method.GOOGLE_PAY}, frozenset(EXPONENTS))

ALL = PaymentMethodRouter([STRIPE, PAYPAL, FAWRY, PAYMOB])

# The contract's table, word by word.
CONTRACT = [
    (Method.CARD, "EGP", ["paymob", "fawry"]),
    (Method.CARD, "USD", ["stripe"]),
    (Method.CARD, "KWD", ["stripe"]),
    (Method.CARD, "JPY", ["stripe"]),
    (Method.VODAFONE_CASH, "EGP", ["paymob", "fawry"]),
    (Method.MOBILE_WALLET, "EGP", ["fawry"]),
    (Method.WALLET_QR, "EGP", ["fawry"]),
    (Method.FAWRY, "EGP", ["fawry"]),
    (Method.KIOSK, "EGP", ["paymob"]),
    (Method.PAYPAL, "USD", ["paypal"]),
    (Method.PAYPAL, "EUR", ["paypal"]),
    (Method.APPLE_PAY, "USD", ["stripe"]),
    (Method.GOOGLE_PAY, "KWD", ["stripe"]),
]
REFUSED = [
    *((method, "USD") for method in (Method.VODAFONE_CASH, Method.MOBILE_WALLET, Method.WALLET_QR)),
    *((method, "USD") for method in (Method.FAWRY, Method.KIOSK)),
    (Method.APPLE_PAY, "EGP"),
    (Method.GOOGLE_PAY, "EGP"),
    (Method.PAYPAL, "EGP"),
    (Method.PAYPAL, "KWD"),
    (Method.CARD, "XXX"),
    (Method.CARD, "egp"),
    (Method.CARD, ""),
]


@pytest.mark.parametrize(("method", "currency", "gateways"), CONTRACT)
def test_the_built_in_routes_are_the_contracts(method: Method, currency: str, gateways: list[str]) -> None:
    """The order is who is tried first, and with whom the money lands."""
    assert list(ALL.pick(method, currency)) == gateways


@pytest.mark.parametrize(("method", "currency"), REFUSED)
def test_what_no_gateway_takes_is_not_supported(method: Method, currency: str) -> None:
    """Better no method than one that fails at the PSP; Apple Pay in pounds is nobody's, Stripe's range or not."""
    with pytest.raises(MethodNotSupported):
        ALL.pick(method, currency)


def test_every_method_has_a_route_and_can_be_shown() -> None:
    """A new method must be routed and labelled, or it exists for nobody."""
    assert ROUTES.keys() == METHODS.keys() == set(Method)
    for method, facts in METHODS.items():
        assert facts.label_en, method
        assert facts.label_ar, method
        assert facts.lifetime.total_seconds() > 0, method
        assert ALL.currencies(method), method


def test_a_gateway_without_credentials_is_not_offered() -> None:
    """Failover goes to who is there."""
    router = PaymentMethodRouter([FAWRY])
    assert list(router.pick(Method.CARD, "EGP")) == ["fawry"]
    with pytest.raises(MethodNotSupported):
        router.pick(Method.CARD, "USD")
    with pytest.raises(MethodNotSupported):
        PaymentMethodRouter([]).pick(Method.CARD, "EGP")


def test_a_gateway_is_asked_only_for_what_it_takes() -> None:
    """Paymob without a wallet integration cannot take a wallet, whatever the route says."""
    router = PaymentMethodRouter([profile("paymob", {Method.CARD}, EGP), FAWRY])
    assert list(router.pick(Method.CARD, "EGP")) == ["paymob", "fawry"]
    assert list(router.pick(Method.VODAFONE_CASH, "EGP")) == ["fawry"]


def test_a_route_of_the_operator_replaces_the_built_in_one() -> None:
    """Routes are configuration: another order, another gateway, a currency switched off."""
    written: Routes = {Method.CARD: {"EGP": ("fawry", "paymob"), "USD": (), "EUR": ("paymob", "stripe")}}
    router = PaymentMethodRouter([PAYMOB, FAWRY, STRIPE], written)
    assert list(router.pick(Method.CARD, "EGP")) == ["fawry", "paymob"]
    assert list(router.pick(Method.CARD, "EUR")) == ["stripe"]
    with pytest.raises(MethodNotSupported):
        router.pick(Method.CARD, "USD")
    assert "USD" not in router.currencies(Method.CARD)


def test_what_the_operator_did_not_write_stays_as_it_is_built_in() -> None:
    """Turning two gateways round must not switch every other payment off."""
    router = PaymentMethodRouter([STRIPE, PAYPAL, FAWRY, PAYMOB], {Method.CARD: {"EGP": ("fawry", "paymob")}})
    for method, currency, gateways in CONTRACT:
        if (method, currency) != (Method.CARD, "EGP"):
            assert list(router.pick(method, currency)) == gateways


def test_a_star_of_the_operator_replaces_the_built_in_star_alone() -> None:
    """`*` is every currency that has no entry of its own, and card in pounds has one."""
    written: Routes = {Method.CARD: {ANY: ()}, Method.APPLE_PAY: {ANY: ("stripe",)}}
    router = PaymentMethodRouter([STRIPE, PAYMOB, FAWRY], written)
    assert router.currencies(Method.CARD) == EGP
    assert router.currencies(Method.APPLE_PAY) == EXPONENTS.keys() - EGP


NEWCOMER = profile("newcomer", {Method.CARD, Method.KIOSK, Method.APPLE_PAY}, frozenset({"EGP", "USD"}))


def test_a_gateway_that_no_route_names_comes_last() -> None:
    """A plugin that is installed and configured is used, without a table of ours knowing of it."""
    router = PaymentMethodRouter([NEWCOMER, PAYMOB, STRIPE])
    assert list(router.pick(Method.CARD, "EGP")) == ["paymob", "newcomer"]
    assert list(router.pick(Method.CARD, "USD")) == ["stripe", "newcomer"]
    assert list(router.pick(Method.KIOSK, "USD")) == ["newcomer"]
    assert list(router.pick(Method.APPLE_PAY, "USD")) == ["stripe", "newcomer"]
    with pytest.raises(MethodNotSupported):
        router.pick(Method.KIOSK, "EUR")


def test_newcomers_keep_the_order_in_which_they_are_registered() -> None:
    """Two plugins must not change places between two starts."""
    later = profile("another", {Method.CARD}, EGP)
    assert list(PaymentMethodRouter([NEWCOMER, later]).pick(Method.CARD, "EGP")) == ["newcomer", "another"]
    assert list(PaymentMethodRouter([later, NEWCOMER]).pick(Method.CARD, "EGP")) == ["another", "newcomer"]


@pytest.mark.parametrize("written", [{"EGP": ("paymob",)}, {"EGP": ()}])
def test_a_newcomer_does_not_join_a_route_that_the_operator_wrote(written: dict[str, tuple[str, ...]]) -> None:
    """Who wrote a list meant that list."""
    router = PaymentMethodRouter([NEWCOMER, PAYMOB], {Method.CARD: written})
    assert ("EGP" in router.currencies(Method.CARD)) is bool(written["EGP"])
    if written["EGP"]:
        assert list(router.pick(Method.CARD, "EGP")) == ["paymob"]
    assert list(router.pick(Method.CARD, "USD")) == ["newcomer"]


def test_a_newcomer_does_not_join_a_route_that_is_built_in_empty() -> None:
    """Apple Pay in pounds is nobody's on purpose."""
    with pytest.raises(MethodNotSupported):
        PaymentMethodRouter([NEWCOMER]).pick(Method.APPLE_PAY, "EGP")


def test_a_gateway_of_ours_stays_out_of_the_currencies_that_are_anothers() -> None:
    """Stripe can charge pounds; its place in the routes of `card` says that it is not asked to."""
    assert list(PaymentMethodRouter([STRIPE, PAYMOB]).pick(Method.CARD, "EGP")) == ["paymob"]


def test_an_unknown_gateway_in_a_route_is_passed_over() -> None:
    """An operator who names a gateway before its credentials are there loses nothing."""
    router = PaymentMethodRouter([FAWRY], {Method.CARD: {"EGP": ("newcomer", "fawry")}})
    assert list(router.pick(Method.CARD, "EGP")) == ["fawry"]


def test_the_currencies_of_a_method_are_those_that_pick_takes() -> None:
    """The catalogue decides by them when the page names no currency; both must say the same."""
    for method in Method:
        taken = set()
        for currency in EXPONENTS:
            try:
                assert ALL.pick(method, currency)
            except MethodNotSupported:
                continue
            taken.add(currency)
        assert ALL.currencies(method) == taken
    assert ALL.currencies(Method.CARD) == EXPONENTS.keys()
    assert ALL.currencies(Method.VODAFONE_CASH) == {WHOLE.currency}


def test_what_was_picked_cannot_change_the_route() -> None:
    """Registration walks the list while others pick from it."""
    assert isinstance(ALL.pick(Method.CARD, "EGP"), tuple)


def test_a_gateway_that_cannot_take_the_amount_is_passed_over() -> None:
    """Some PSPs take fewer decimals than a currency has; a payer must not be offered what would be refused."""

    def even(amount: Money) -> bool:
        return amount.amount_minor % 10 == 0

    router = PaymentMethodRouter([replace(PAYMOB, takes=even), FAWRY])
    assert list(router.takers(Method.CARD, Money(1010, "EGP"))) == ["paymob", "fawry"]
    assert list(router.takers(Method.CARD, Money(1011, "EGP"))) == ["fawry"]
    alone = PaymentMethodRouter([replace(PAYMOB, takes=even)])
    assert alone.can_take(Method.CARD, Money(1010, "EGP"))
    assert not alone.can_take(Method.CARD, Money(1011, "EGP"))
    with pytest.raises(MethodNotSupported, match=r"10\.11 EGP"):
        alone.takers(Method.CARD, Money(1011, "EGP"))
