"""Amounts as PayPal writes them, kept as integers of the ISO currency's minor unit.

https://developer.paypal.com/reference/currency-codes/
"""

import re
from typing import Any, Final

_CODES: Final = "AUD BRL CAD CNY CZK DKK EUR HKD HUF ILS JPY MYR MXN TWD NZD NOK PHP PLN GBP RUB SGD SEK CHF THB USD"
CURRENCIES: Final = frozenset(_CODES.split())
WHOLE: Final = frozenset({"HUF", "JPY", "TWD"})  # no decimals at PayPal, although ISO gives two of them cents

_WITHOUT_CENTS: Final = frozenset({"JPY"})
_VALUE: Final = re.compile(r"(-?)([0-9]*)(?:[.]([0-9]+))?")
_DECIMALS: Final = 2
_MAX_MINOR: Final = 99_999_999_999_999_999  # PayPal's limit is 999999999999999.99


class BadAmount(Exception):
    """PayPal does not take this amount; `issue` says why."""

    def __init__(self, issue: str) -> None:
        self.issue = issue
        super().__init__(issue)


def step(currency: str) -> int:
    """Return how many minor units the smallest amount is that PayPal can write."""
    return 100 if currency in WHOLE - _WITHOUT_CENTS else 1


def parse(value: str, currency: str) -> int:
    """Return the minor units of a value that has PayPal's pattern. It may be zero or negative.

    Raises:
        BadAmount: another currency, too many decimals, or too much.
    """
    if currency not in CURRENCIES:
        raise BadAmount("INVALID_CURRENCY_CODE")
    match = _VALUE.fullmatch(value)
    assert match is not None, "the pattern was checked with the schema"
    sign, whole, decimals = match[1], match[2] or "0", match[3] or ""
    if currency in WHOLE and decimals:
        raise BadAmount("DECIMALS_NOT_SUPPORTED")
    if len(decimals) > _DECIMALS:
        raise BadAmount("DECIMAL_PRECISION")
    minor = int(whole) if currency in _WITHOUT_CENTS else int(whole + decimals.ljust(_DECIMALS, "0"))
    if minor > _MAX_MINOR:
        raise BadAmount("MAX_VALUE_EXCEEDED")
    return -minor if sign else minor


def money(minor: int, currency: str) -> dict[str, Any]:
    """Return an amount as it goes over the wire."""
    return {"currency_code": currency, "value": text(minor, currency)}


def text(minor: int, currency: str) -> str:
    """Return the value alone."""
    if currency in _WITHOUT_CENTS:
        return f"{minor}"
    sign, minor = "-" if minor < 0 else "", abs(minor)
    return f"{sign}{minor // 100}" if currency in WHOLE else f"{sign}{minor // 100}.{minor % 100:02}"


def fee(gross: int, currency: str) -> int:
    """Return what PayPal keeps: 3.4 % and 30 cents, as on its recorded answers, and never more than there is."""
    rounded = (gross * 34 + 500) // 1000 + 30
    return min(gross, rounded - rounded % step(currency))
