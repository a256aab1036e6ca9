"""Money: an integer of minor units and an ISO 4217 currency. No float ever touches it."""

import re
from decimal import Decimal
from typing import Final

import msgspec

EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
        2: (
            "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
            "CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
            "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR "
            "MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD "
            "SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR "
            "ZMW ZWG"
        ),
        3: "BHD IQD JOD KWD LYD OMR TND",
    }.items()
    for code in codes.split()
}
"""Decimals of each currency (ISO 4217, list one). CLF and UYW, with four, are units of account that nobody pays in."""

MAX_AMOUNT_MINOR: Final = 10**15 - 1
"""What the amount grammar can say at three decimals; far inside PostgreSQL's bigint and JSON's exact integers."""

# Decimal alone would take "NaN", "1E999999999" and Arabic digits, so the text is matched before Decimal sees it.
_MAJOR_UNITS: Final = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,3})?\Z")


class InvalidAmountError(ValueError):
    """The text is not an amount of this currency."""


class Money(msgspec.Struct, frozen=True, order=True):
    """An amount in minor units (piastres, cents, fils) of an ISO 4217 currency."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        """Refuse what no payment can be.

        Raises:
            InvalidAmountError: the amount is no whole number in range, or the currency has no known exponent.
        """
        # bool is an int to Python and True is one piastre to nobody.
        if type(self.amount_minor) is not int or not 0 <= self.amount_minor <= MAX_AMOUNT_MINOR:
            raise InvalidAmountError(f"an amount is a whole number of minor units from 0 to {MAX_AMOUNT_MINOR}")
        if self.currency not in EXPONENTS:
            raise InvalidAmountError("the currency is not an ISO 4217 code in capitals, like EGP")

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Read major units written as text, such as "300.00".

        Raises:
            InvalidAmountError: not in the grammar of `major_units`, or more decimals than the currency has.
        """
        value = major_units(text)
        if currency not in EXPONENTS:
            raise InvalidAmountError("the currency is not an ISO 4217 code in capitals, like EGP")
        exponent = EXPONENTS[currency]
        decimals = len(text.partition(".")[2])
        if decimals > exponent:
            raise InvalidAmountError(f"{currency} has {exponent} decimals, not {decimals}")
        return cls(int(value.scaleb(exponent)), currency)

    @property
    def major(self) -> str:
        """The amount in major units with all the decimals of its currency: "300.00", "12.500", "150"."""
        exponent = EXPONENTS[self.currency]
        whole, minor = divmod(self.amount_minor, 10**exponent)
        return f"{whole}.{minor:0{exponent}d}" if exponent else str(whole)

    def __mul__(self, quantity: int) -> "Money":
        """So many of it, in the same currency."""
        return Money(self.amount_minor * quantity, self.currency)


def major_units(text: str) -> Decimal:
    r"""Read an amount in major units exactly, whatever its currency.

    Raises:
        InvalidAmountError: the text does not match `(0|[1-9][0-9]{0,11})(\.[0-9]{1,3})?`.
    """
    if not _MAJOR_UNITS.match(text):
        raise InvalidAmountError(
            "an amount is written in plain digits like 300 or 300.00: no sign, no exponent, no separators"
        )
    return Decimal(text)
