"""PaymentMethodRouter: payment method × currency → gateways, in the order they are tried."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from qirsh.errors import MethodNotSupported
from qirsh.gateways.base import Profile
from qirsh.methods import Method
from qirsh.money import EXPONENTS

Routes = Mapping[Method, Mapping[str, Sequence[str]]]

ANY: Final = "*"
"""In a route: every currency that has no entry of its own."""

ROUTES: Final[Routes] = MappingProxyType(
    {
        Method.CARD: {"EGP": ("paymob", "fawry"), ANY: ("stripe",)},
        Method.VODAFONE_CASH: {"EGP": ("paymob", "fawry")},
        Method.MOBILE_WALLET: {"EGP": ("fawry",)},
        Method.WALLET_QR: {"EGP": ("fawry",)},
        Method.FAWRY: {"EGP": ("fawry",)},
        Method.KIOSK: {"EGP": ("paymob",)},
        Method.PAYPAL: {ANY: ("paypal",)},
        Method.APPLE_PAY: {"EGP": (), ANY: ("stripe",)},
        Method.GOOGLE_PAY: {"EGP": (), ANY: ("stripe",)},
    }
)


class PaymentMethodRouter:
    """Picks gateways by data alone: the routes, and what each configured gateway says it takes."""

    def __init__(self, profiles: Iterable[Profile], routes: Routes = ROUTES) -> None:
        """Keep of each route the gateways that are configured and take that method in that currency."""
        configured = {profile.name: profile for profile in profiles}
        self._routes = {
            (method, currency): gateways
            for method in Method
            for currency in EXPONENTS
            if (gateways := _possible(configured, routes, method, currency))
        }
        self._currencies = {
            method: frozenset(currency for routed, currency in self._routes if routed is method) for method in Method
        }

    def pick(self, method: Method, currency: str) -> Sequence[str]:
        """The gateways to try, in order; never empty.

        Raises:
            MethodNotSupported: no configured gateway takes this method in this currency.
        """
        gateways = self._routes.get((method, currency))
        if not gateways:
            raise MethodNotSupported(f"No configured gateway takes {method} in {currency}.")
        return gateways

    def currencies(self, method: Method) -> frozenset[str]:
        """The currencies in which this method can be taken."""
        return self._currencies[method]


def _possible(configured: Mapping[str, Profile], routes: Routes, method: Method, currency: str) -> tuple[str, ...]:
    by_currency = routes.get(method, {})
    names = by_currency.get(currency, by_currency.get(ANY, ()))
    return tuple(
        name
        for name in names
        if name in configured and method in configured[name].methods and currency in configured[name].currencies
    )
