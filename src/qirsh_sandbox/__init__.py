"""The PSPs as local servers. Imports nothing from qirsh: a shared mistake would prove nothing."""

from .app import Sandbox, start
from .config import PaymobConfig, PaypalConfig, SandboxConfig
from .registry import credentials

__all__ = ["PaymobConfig", "PaypalConfig", "Sandbox", "SandboxConfig", "credentials", "start"]
