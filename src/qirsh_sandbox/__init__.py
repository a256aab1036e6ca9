"""The PSPs as local servers. Imports nothing from qirsh: a shared mistake would prove nothing."""

from .app import Sandbox, start
from .config import PaymobConfig, PaypalConfig, SandboxConfig
from .registry import credentials
from .stripe_config import StripeConfig

__all__ = ["PaymobConfig", "PaypalConfig", "Sandbox", "SandboxConfig", "StripeConfig", "credentials", "start"]
