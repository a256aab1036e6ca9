"""What the sandbox is told at its start. Every credential has a default that names itself a sandbox's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymobConfig:
    """The merchant account at the fake Paymob: what its dashboard would show."""

    api_key: str = field(default="sandbox_paymob_api_key", repr=False)
    secret_key: str = field(default="sandbox_paymob_secret_key", repr=False)
    public_key: str = "sandbox_paymob_public_key"
    hmac_secret: str = field(default="sandbox_paymob_hmac_secret", repr=False)
    card_integration_id: int = 4_100_001
    wallet_integration_id: int = 4_100_002
    kiosk_integration_id: int = 4_100_003
    iframe_id: int = 810_001


@dataclass(frozen=True, slots=True, kw_only=True)
class PaypalConfig:
    """The application at the fake PayPal, and the id of its one webhook, which is a part of what is signed."""

    client_id: str = "sandbox_paypal_client_id"
    client_secret: str = field(default="sandbox_paypal_client_secret", repr=False)
    webhook_id: str = "SANDBOX-WEBHOOK-ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Where the sandbox listens, keeps its state, and reaches the payment server.

    `webhooks` and `returns` are addresses without the PSP's name, which is appended: `<webhooks>/paymob`.
    An empty `webhooks` records every webhook and sends none. An empty `returns` ends the payer at a page of the PSP.
    PayPal needs no `returns`: each order brings its own.
    Port 0 lets the system choose.
    """

    state_file: Path
    host: str = "127.0.0.1"
    port: int = 8001
    webhooks: str = ""
    returns: str = ""
    accounts: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)
    """By PSP, what its dashboard shows where that is not the sandbox's own."""
