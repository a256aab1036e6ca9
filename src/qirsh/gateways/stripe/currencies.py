"""Stripe's currencies, and how it counts each: https://docs.stripe.com/currencies.

Stripe's minor units are not always those of ISO 4217: MGA has none, ISK keeps two, and the third decimal of the dinars
and rials must be 0.
"""

from typing import Final

from qirsh.draft import DeclineCode
from qirsh.errors import GatewayRejected
from qirsh.money import EXPONENTS, InvalidAmountError, Money

CURRENCIES: Final = frozenset(EXPONENTS) & {
    *("AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF"),
    *("BMD", "BND", "BOB", "BRL", "BSD", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CVE"),
    *("CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GIP", "GMD", "GNF", "GTQ"),
    *("GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF"),
    *("KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP"),
    *("MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK"),
    *("PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SEK", "SGD", "SHP", "SLE"),
    *("SOS", "SRD", "STN", "SZL", "THB", "TJS", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UYU", "UZS", "VND"),
    *("VUV", "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR", "ZMW"),
    "USD",
}
"""What a card can be charged in. UGX is left out: Stripe's page has called it a currency without decimals and one with
two, and a guess would be wrong by a factor of a hundred."""
_NO_DECIMALS: Final = frozenset(
    {
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    }
)
_THREE_DECIMALS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})

_NO_AMOUNT: Final = Money(0, "EGP")
"""An amount that equals no draft's, so that what Stripe says in a way we cannot count ends in review."""


def wire_amount(money: Money) -> int:
    """An amount as Stripe counts it.

    Raises:
        GatewayRejected: not a currency of Stripe's, or decimals that it does not take.
    """
    if money.currency not in CURRENCIES:
        raise GatewayRejected("Stripe does not take this currency.", reason=DeclineCode.PROCESSING_ERROR)
    up, down = _factors(money.currency)
    amount, rest = divmod(money.amount_minor * up, down)
    if rest:
        raise GatewayRejected(
            f"Stripe takes whole amounts of {money.currency} only.", reason=DeclineCode.PROCESSING_ERROR
        )
    if money.currency in _THREE_DECIMALS and amount % 10:
        raise GatewayRejected(
            f"Stripe takes amounts of {money.currency} with two decimals only.", reason=DeclineCode.PROCESSING_ERROR
        )
    return amount


def is_taken(money: Money) -> bool:
    """Whether Stripe can count this amount."""
    try:
        wire_amount(money)
    except GatewayRejected:
        return False
    return True


def money_of(amount: int, currency: str) -> Money:
    """An amount that Stripe told; one that equals no draft's where it is no money we know."""
    code = currency.upper()
    if code not in CURRENCIES:
        return _NO_AMOUNT
    up, down = _factors(code)
    minor, rest = divmod(amount * down, up)
    try:
        return _NO_AMOUNT if rest else Money(minor, code)
    except InvalidAmountError:
        return _NO_AMOUNT


def _factors(currency: str) -> tuple[int, int]:
    """What our minor units are multiplied with and divided by to become Stripe's."""
    stripes = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return int(10**stripes), int(10 ** EXPONENTS[currency])
