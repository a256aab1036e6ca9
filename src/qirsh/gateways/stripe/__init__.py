"""Stripe (Checkout Sessions)."""

from qirsh.gateways.stripe.credentials import Credentials
from qirsh.gateways.stripe.gateway import Stripe

__all__ = ["Credentials", "Stripe"]
