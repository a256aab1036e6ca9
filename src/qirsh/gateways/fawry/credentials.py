"""The credentials of one Fawry merchant account."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Path = Annotated[str, Field(pattern=r"\A/[!-~]*\z")]


class Credentials(BaseModel):
    """What Fawry gives a merchant: https://developer.fawrystaging.com, "Access FawryPay account"."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    merchant_code: str = Field(min_length=1)
    security_key: SecretStr = Field(min_length=1)  # an empty key would let anyone sign
    base_url: str = "https://www.atfawry.com"
    wallet_charge_path: Path = "/ECommerceWeb/api/payments/charge"
    """Where wallets are charged. Of four clients two use this path and two the one of reference numbers,
    `/ECommerceWeb/Fawry/payments/charge`; this is the one of a client that is in production."""
    encode_query: bool = True
    """Whether a status question is percent-encoded. One client says that Fawry reads the merchant code's `=` and `+`
    raw only; two others encode."""
