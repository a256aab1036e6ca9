"""The credentials of one Paymob merchant account, as its dashboard shows them."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, SecretStr, model_validator

from qirsh.methods import Method


class Credentials(BaseModel):
    """What the Paymob dashboard gives: https://developers.paymob.com/egypt/getting-started.

    `api_key` is needed in both flows: the inquiry and the list of orders take its token only, and its answer tells our
    user id, without which no webhook would be more than a hint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    flow: Literal["accept", "intention"] = "accept"
    api_key: SecretStr = Field(min_length=1)
    secret_key: SecretStr | None = Field(default=None, min_length=1)
    public_key: str | None = None
    hmac_secret: SecretStr = Field(min_length=1)  # an empty HMAC key would let anyone sign
    card_integration_id: PositiveInt | None = None
    iframe_id: PositiveInt | None = None
    wallet_integration_id: PositiveInt | None = None
    kiosk_integration_id: PositiveInt | None = None
    base_url: str = "https://accept.paymob.com"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.flow == "intention":
            missing = [f"paymob.{name}" for name in ("secret_key", "public_key") if not getattr(self, name)]
            if missing:
                raise ValueError(
                    f"paymob.flow is intention and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
                    "not set: copy from the dashboard's account settings, or set paymob.flow to accept"
                )
        elif (self.card_integration_id is None) != (self.iframe_id is None):
            other = "iframe_id" if self.iframe_id is None else "card_integration_id"
            raise ValueError(f"cards need both card_integration_id and iframe_id: set paymob.{other}")
        return self

    def integrations(self) -> Mapping[Method, int]:
        """The integration id of each method that has all it needs."""
        found: dict[Method, int] = {}
        if self.card_integration_id and (self.iframe_id or self.flow == "intention"):
            found[Method.CARD] = self.card_integration_id
        if self.wallet_integration_id:
            found[Method.VODAFONE_CASH] = self.wallet_integration_id
        if self.kiosk_integration_id:
            found[Method.KIOSK] = self.kiosk_integration_id
        return found
