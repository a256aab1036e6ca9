"""What Fawry's numbers mean: https://developer.fawrystaging.com, "Error codes"."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qirsh.draft import DeclineCode
from qirsh.errors import GatewayError, GatewayMisconfigured, GatewayOutcomeUnknown, GatewayRejected, GatewayUnavailable

SUCCESS: Final = "200"
NOT_FOUND: Final = "9938"
OUR_KEYS: Final = frozenset({"9901", "9929", "9946"})
"""The merchant code or the signature is not taken, so nothing was done."""

_CARD = (
    *("55006", "99901", "99903", "99904", "99905", "99907", "99914", "99915", "99931", "99937", "99939", "99941"),
    *("99942", "99943", "99949", "99956", "99957", "99962", "99963", "99970", "99971", "99975"),
)
_PROCESSING = (
    *("10045", "21004", "21010", "99908", "99910", "99912", "99913", "99922", "99930", "99958", "99976", "99977"),
    *("99978", "99979", "99980", "99981", "99984", "99985", "99986", "99987", "99988", "99989", "99991", "99992"),
    *("99994", "99996"),
)
DECLINES: Final[Mapping[str, DeclineCode]] = MappingProxyType(
    {
        **dict.fromkeys(_CARD, DeclineCode.CARD_DECLINED),
        **dict.fromkeys(_PROCESSING, DeclineCode.PROCESSING_ERROR),
        **dict.fromkeys(("99906", "99934", "99959", "99967"), DeclineCode.FRAUD_SUSPECTED),
        **dict.fromkeys(("99961", "99965"), DeclineCode.LIMIT_EXCEEDED),
        "99951": DeclineCode.INSUFFICIENT_FUNDS,
        "99954": DeclineCode.EXPIRED_CARD,  # and 9954 is an order that is not paid
        "99955": DeclineCode.WRONG_PIN,
    }
)
"""Fawry's reason to ours. A lost or stolen card is declined like any other: its holder needs no telling."""


DEFINITE_FOR_REFUNDS: Final = frozenset({"9935", NOT_FOUND, "9954", "21004", "21010"})
"""Too much, not found, not paid, and amounts that are none: no money moved. Whatever else Fawry says, some may have."""
_UNDECIDED: Final = frozenset({"408", "409", "425"})


def refusal_of(code: str) -> GatewayError:
    """What a `statusCode` other than success means on a call that moves something."""
    if code == "429":
        return GatewayUnavailable("Fawry asks us to slow down: try again with the same key.")
    if code in OUR_KEYS:
        return GatewayMisconfigured(f"Fawry refused our merchant code or signature ({code}): check fawry.security_key.")
    # An HTTP status inside the body: it failed half way.
    if code in _UNDECIDED or (len(code) == len(SUCCESS) and code.startswith("5")):
        return GatewayOutcomeUnknown(f"Fawry was asked and failed ({code}).")
    return GatewayRejected(
        f"Fawry refused the payment ({code}): offer another payment method.",
        reason=DECLINES.get(code, DeclineCode.UNKNOWN),
        psp_code=code,
    )


def is_definite(error: GatewayRejected) -> bool:
    """Whether a refusal surely is not "this reference exists already", whose code nobody has published."""
    return error.psp_code in DECLINES
