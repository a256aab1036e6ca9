"""Paymob (Accept, Egypt)."""

from qirsh.gateways.paymob.account import Credentials
from qirsh.gateways.paymob.gateway import Paymob

__all__ = ["Credentials", "Paymob"]
