"""What the fake Stripe's dashboard shows."""

from dataclasses import dataclass, field
from typing import Final

_LIVE_KEYS: Final = ("sk_live_", "rk_live_")  # https://docs.stripe.com/keys


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeConfig:
    """The account at the fake Stripe, and the secrets of its one webhook endpoint: more than one while one is rolled.

    As at Stripe, the key tells the mode: one that begins with `sk_live_` or `rk_live_` makes objects of live mode.
    """

    secret_key: str = field(default="sandbox_stripe_secret_key", repr=False)
    webhook_secrets: tuple[str, ...] = field(default=("sandbox_stripe_webhook_secret",), repr=False)

    @property
    def livemode(self) -> bool:
        """Whether objects say that they are of live mode. No money moves either way."""
        return self.secret_key.startswith(_LIVE_KEYS)
