"""PaymentMethodRouter: payment method × currency → gateways, in the order they are tried."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from qirsh.errors import MethodNotSupported
from qirsh.gateways.base import Profile
from qirsh.methods import Method
from qirsh.money import EXPONENTS, Money

Routes = Mapping[Method, Mapping[str, Sequence[str]]]

ANY: Final = "*"
"""In a route: every currency that has no entry of its own."""

NO_ROUTES: Final[Routes] = MappingProxyType({})

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

    def __init__(self, profiles: Iterable[Profile], written: Routes = NO_ROUTES) -> None:
        """Route each method in each currency, among the gateways that are configured and take it.

        The operator's `written` routes replace the built-in ones, each for its method and currency. Where nobody
        wrote anything, a gateway that no built-in route of the method names comes last, so that one installed
        beside Qirsh is used.
        """
        self._configured = configured = {profile.name: profile for profile in profiles}
        self._routes = {
            (method, currency): gateways
            for method in Method
            for currency in EXPONENTS
            if (gateways := _possible(configured, written.get(method, {}), method, currency))
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

    def takers(self, method: Method, amount: Money) -> Sequence[str]:
        """The gateways to try for this amount, in order; never empty.

        Raises:
            MethodNotSupported: no configured gateway takes this amount by this method.
        """
        takers = self._takers(method, amount)
        if not takers:
            raise MethodNotSupported(f"No configured gateway takes {amount.major} {amount.currency} by {method}.")
        return takers

    def can_take(self, method: Method, amount: Money) -> bool:
        """Whether any configured gateway takes this amount by this method."""
        return bool(self._takers(method, amount))

    def currencies(self, method: Method) -> frozenset[str]:
        """The currencies in which this method can be taken."""
        return self._currencies[method]

    def _takers(self, method: Method, amount: Money) -> Sequence[str]:
        gateways = self._routes.get((method, amount.currency), ())
        return [name for name in gateways if self._configured[name].takes(amount)]


def _possible(
    configured: Mapping[str, Profile], written: Mapping[str, Sequence[str]], method: Method, currency: str
) -> tuple[str, ...]:
    """The gateways of one route that can be used."""
    built_in = ROUTES[method]
    if currency in written:
        names = written[currency]
    elif currency not in built_in and ANY in written:
        names = written[ANY]
    else:
        names = _with_newcomers(configured, built_in, currency)
    return tuple(
        name
        for name in names
        if name in configured and method in configured[name].methods and currency in configured[name].currencies
    )


def _with_newcomers(
    configured: Mapping[str, Profile], built_in: Mapping[str, Sequence[str]], currency: str
) -> Sequence[str]:
    """A built-in route, and after it the gateways of which the method's built-in routes say nothing.

    A route that is built in empty stays empty: somebody thought about it.
    """
    names = built_in.get(currency, built_in.get(ANY))
    if names is not None and not names:
        return ()
    spoken_of = {name for route in built_in.values() for name in route}
    return (*(names or ()), *(name for name in configured if name not in spoken_of))
