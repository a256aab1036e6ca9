"""How long is kept what is not kept for ever: the section `retention` of the configuration."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LEAST_DAYS: Final = 30
"""Payments are still asked about, and paid, for weeks; nothing is taken away before."""


def _not_too_soon(days: int) -> int:
    if 0 < days < LEAST_DAYS:
        raise ValueError(f"must be at least {LEAST_DAYS}, or 0 to keep it for ever")
    return days


_Days = Annotated[int, Field(ge=0, le=36_500), AfterValidator(_not_too_soon)]


class RetentionSettings(BaseModel):
    """In days. 0: for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    journal_days: _Days = 400  # thirteen months, so that a year can be closed
    deliveries_days: _Days = 90
    payer_days: _Days = 30
    """After a payment's last change: the payer's name, e-mail and phone."""
