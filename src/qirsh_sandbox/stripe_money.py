"""How Stripe counts money, and how the ledger does: https://docs.stripe.com/currencies."""

from typing import Final

_NO_DECIMALS: Final = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
_THREE_DECIMALS: Final = "bhd jod kwd omr tnd"
_TWO_DECIMALS: Final = (
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc "
    "cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr isk jmd kes kgs khr "
    "kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk "
    "php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd stn szl thb tjs top try ttd twd tzs uah usd uyu "
    "uzs wst xcd yer zar zmw"
)
_DECIMALS: Final = {
    code: decimals
    for decimals, codes in ((0, _NO_DECIMALS), (2, _TWO_DECIMALS), (3, _THREE_DECIMALS))
    for code in codes.split()
}
_ISO_DIFFERS: Final = {"isk": (1, 100), "mga": (100, 1)}  # ISO 4217: no decimals for the first, two for the second

SMALLEST: Final = 50  # half a dollar or what is near it; the real minimum depends on the rate of the day


def is_known(currency: str) -> bool:
    """Whether Stripe charges in this currency, written in small letters."""
    return currency in _DECIMALS


def step(currency: str) -> int:
    """Return what every amount is a multiple of: the third decimal must be 0."""
    return 10 if _DECIMALS[currency] == 3 else 1  # noqa: PLR2004 - three decimals


def is_too_small(amount: int, currency: str) -> bool:
    """Whether Stripe refuses the amount as too small. Played for the currencies that are worth most only."""
    return currency in {"usd", "eur", "gbp", "chf", "cad", "aud"} and amount < SMALLEST


def ledger_amount(amount: int, currency: str) -> int:
    """Return an amount of Stripe's in the minor units of ISO 4217."""
    up, down = _ISO_DIFFERS.get(currency, (1, 1))
    return amount * up // down


def wire_amount(amount_minor: int, currency: str) -> int:
    """Return an amount in the minor units of ISO 4217 as Stripe counts it."""
    up, down = _ISO_DIFFERS.get(currency, (1, 1))
    return amount_minor * down // up


def text(amount: int, currency: str) -> str:
    """Print an amount for the payer."""
    decimals = _DECIMALS[currency]
    whole, rest = divmod(amount, 10**decimals)
    return f"{currency.upper()} {whole}" + (f".{rest:0{decimals}d}" if decimals else "")
