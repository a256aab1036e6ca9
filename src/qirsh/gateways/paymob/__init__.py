"""Paymob (Accept, Egypt)."""

from qirsh.gateways.paymob.credentials import Credentials
from qirsh.gateways.paymob.gateway import Paymob

__all__ = ["Credentials", "Paymob"]
