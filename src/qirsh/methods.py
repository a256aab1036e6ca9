"""Payment methods: what the payer picks, and what the core must know of each before any gateway is asked."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Method(StrEnum):
    """A payment method by its name on the wire."""

    CARD = "card"
    VODAFONE_CASH = "vodafone_cash"
    MOBILE_WALLET = "mobile_wallet"
    WALLET_QR = "wallet_qr"
    FAWRY = "fawry"
    KIOSK = "kiosk"
    PAYPAL = "paypal"
    APPLE_PAY = "apple_pay"
    GOOGLE_PAY = "google_pay"


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """How a method is shown and what it needs. `lifetime` is how long a payer may take."""

    label_en: str
    label_ar: str
    needs_phone: bool
    lifetime: timedelta


_ONLINE = timedelta(hours=1)  # Paymob's payment keys live an hour; a payer at a page needs minutes
_CASH = timedelta(days=2)  # a payer with a reference code walks to a shop, perhaps after a weekend day

METHODS: Final = MappingProxyType(
    {
        Method.CARD: MethodFacts("Card", "بطاقة", needs_phone=False, lifetime=_ONLINE),
        Method.VODAFONE_CASH: MethodFacts("Vodafone Cash", "فودافون كاش", needs_phone=True, lifetime=_ONLINE),
        Method.MOBILE_WALLET: MethodFacts("Mobile wallet", "محفظة إلكترونية", needs_phone=True, lifetime=_ONLINE),
        Method.WALLET_QR: MethodFacts("Wallet QR code", "رمز QR للمحفظة", needs_phone=False, lifetime=_ONLINE),
        Method.FAWRY: MethodFacts("Fawry", "فوري", needs_phone=False, lifetime=_CASH),
        Method.KIOSK: MethodFacts("Kiosk (Aman, Masary)", "منفذ دفع (أمان، مصاري)", needs_phone=False, lifetime=_CASH),
        Method.PAYPAL: MethodFacts("PayPal", "باي بال", needs_phone=False, lifetime=_ONLINE),
        Method.APPLE_PAY: MethodFacts("Apple Pay", "أبل باي", needs_phone=False, lifetime=_ONLINE),
        Method.GOOGLE_PAY: MethodFacts("Google Pay", "جوجل باي", needs_phone=False, lifetime=_ONLINE),
    }
)
