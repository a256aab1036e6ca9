"""The gateways: those of this release, and those that are installed beside it."""

from functools import cache
from importlib.metadata import entry_points
from typing import Final

from qirsh.gateways.base import GatewayKind
from qirsh.gateways.fawry import Credentials as FawryCredentials
from qirsh.gateways.fawry import Fawry
from qirsh.gateways.paymob import Credentials as PaymobCredentials
from qirsh.gateways.paymob import Paymob
from qirsh.gateways.paypal import Credentials as PaypalCredentials
from qirsh.gateways.paypal import PayPal
from qirsh.gateways.stripe import Credentials as StripeCredentials
from qirsh.gateways.stripe import Stripe

GATEWAYS: Final[dict[str, GatewayKind]] = {
    "paymob": GatewayKind(PaymobCredentials, Paymob),
    "paypal": GatewayKind(PaypalCredentials, PayPal),
    "fawry": GatewayKind(FawryCredentials, Fawry),
    "stripe": GatewayKind(StripeCredentials, Stripe),
}
"""Name in the configuration → how the gateway is made. A new one is one line here."""

GROUP: Final = "qirsh.gateways"


@cache
def installed() -> dict[str, GatewayKind]:
    """Every gateway by its name: ours first, then the outside ones, none of which can take the name of another."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return GATEWAYS | {point.name: point.load() for point in points if point.name not in GATEWAYS}
