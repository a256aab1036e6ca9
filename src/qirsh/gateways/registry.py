"""The gateways this release knows: a new one is one line here."""

from collections.abc import Callable
from typing import Any, Final

from qirsh.gateways.base import Gateway, Surroundings
from qirsh.gateways.paymob import Paymob
from qirsh.gateways.paypal import PayPal

GATEWAYS: Final[dict[str, Callable[[Any, Surroundings], Gateway]]] = {
    "paymob": Paymob,
    "paypal": PayPal,
}
"""Name in the configuration → what makes the gateway from its credentials and its surroundings."""
