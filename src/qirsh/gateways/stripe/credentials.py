"""The credentials of one Stripe account, as its dashboard shows them."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_LIVE_KEYS: Final = ("sk_live_", "rk_live_")
"""Secret and restricted keys of live mode: https://docs.stripe.com/keys. Every other key moves no real money."""


class Credentials(BaseModel):
    """What the Stripe dashboard gives: https://dashboard.stripe.com/apikeys and https://dashboard.stripe.com/webhooks.

    `webhook_secrets` are those of our webhook endpoint, more than one while a secret is rolled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret_key: SecretStr = Field(min_length=1)
    # An empty secret would let anyone sign.
    webhook_secrets: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(min_length=1)
    base_url: str = "https://api.stripe.com"

    @property
    def livemode(self) -> bool:
        """Whether this key moves real money."""
        return self.secret_key.get_secret_value().startswith(_LIVE_KEYS)
