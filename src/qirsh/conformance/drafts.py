"""The drafts that the checks pay: one for each payment method and each number of decimals that a gateway claims."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from qirsh.conformance.bench import Bench
from qirsh.draft import DraftRequest, Payer, PaymentDraft
from qirsh.gateways.base import Profile
from qirsh.methods import METHODS, Method
from qirsh.money import EXPONENTS, Money

AMOUNTS: Final = MappingProxyType({0: 1234, 2: 12345, 3: 12340})
"""Minor units by decimals, no digit twice, so that an amount a hundred times too large or too small shows at once. With
three decimals the last is 0: some PSPs take no other."""
PHONE: Final = "01012345678"
_KNOWN: Final = ("EGP", "USD", "EUR", "GBP", "JPY", "KWD")
"""Tried first where they are claimed: some PSPs take some rarer currencies in whole units only."""


@dataclass(frozen=True, slots=True)
class Case:
    """One payment method in one currency."""

    method: Method
    currency: str

    def __str__(self) -> str:
        """As sentences name it."""
        return f"{self.method} in {self.currency}"


def cases(profile: Profile) -> Sequence[Case]:
    """Every method that is claimed, with one currency of each exponent that is claimed."""
    return [Case(method, currency) for method in sorted(profile.methods) for currency in _currencies(profile)]


def methods(profile: Profile) -> Sequence[Case]:
    """Every method that is claimed, each in one currency."""
    return [Case(method, _currencies(profile)[0]) for method in sorted(profile.methods)]


def refundable(profile: Profile) -> Sequence[Case]:
    """Every method whose money the gateway says it can give back, with one currency of each exponent."""
    return [case for case in cases(profile) if case.method not in profile.unrefundable]


def new_draft(bench: Bench, case: Case, amount_minor: int | None = None) -> PaymentDraft:
    """A draft as the server would have written it just now."""
    exponent = EXPONENTS[case.currency]
    amount = Money(AMOUNTS[exponent] if amount_minor is None else amount_minor, case.currency)
    facts, now = METHODS[case.method], bench.clock.now()
    return PaymentDraft(
        id=uuid4(),
        gateway=bench.name,
        amount=amount,
        request=DraftRequest(
            product_id="tshirt",
            amount=amount.major,
            method=case.method,
            currency=case.currency,
            order_reference="A-1001",
            payer=Payer(name="Nour Hassan", email="payer@example.com", phone=PHONE if facts.needs_phone else None),
            return_url="https://shop.example/thanks",
            locale="ar",
            product_name="تي شيرت",
        ),
        created_at=now,
        expires_at=now + facts.lifetime,
    )


def part_of(amount: Money) -> int:
    """About a tenth of an amount, in minor units that every PSP can write."""
    return amount.amount_minor // 100 * 10


def _currencies(profile: Profile) -> list[str]:
    """One of each exponent, the best known first."""
    return list(_one_of_each([*(one for one in _KNOWN if one in profile.currencies), *sorted(profile.currencies)]))


def _one_of_each(currencies: Sequence[str]) -> Iterator[str]:
    seen: set[int] = set()
    for currency in currencies:
        if EXPONENTS[currency] not in seen:
            seen.add(EXPONENTS[currency])
            yield currency
