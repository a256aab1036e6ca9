"""Fawry (FawryPay, Egypt)."""

from qirsh.gateways.fawry.credentials import Credentials
from qirsh.gateways.fawry.gateway import Fawry

__all__ = ["Credentials", "Fawry"]
