"""PayPal (Orders v2)."""

from qirsh.gateways.paypal.account import Credentials
from qirsh.gateways.paypal.gateway import PayPal

__all__ = ["Credentials", "PayPal"]
