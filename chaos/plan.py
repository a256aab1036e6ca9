"""What shops and payers are going to do, all of it drawn from the seed."""

import uuid
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

PRODUCT: Final = "chaos"
PRICES: Final = {"EGP": "300.00", "USD": "10.00", "EUR": "9.50", "JPY": "1500", "KWD": "3.050"}
PAYER: Final = {"name": "Mona Hassan", "email": "mona@example.com", "phone": "01010101010"}


class Way(NamedTuple):
    """One way to pay."""

    method: str
    currency: str


WAYS: Final = (
    *(Way("card", "EGP"), Way("card", "EGP"), Way("vodafone_cash", "EGP"), Way("kiosk", "EGP")),
    *(Way("mobile_wallet", "EGP"), Way("wallet_qr", "EGP"), Way("fawry", "EGP")),
    *(Way("paypal", "USD"), Way("paypal", "EUR")),
    *(Way("card", "USD"), Way("card", "JPY"), Way("apple_pay", "KWD"), Way("google_pay", "EUR")),
)


class Payer(StrEnum):
    """What the payer does once the page says how to pay."""

    PAYS = "pays"
    IS_DECLINED_FIRST = "is declined first"
    CANCELS = "cancels"
    NEVER_PAYS = "never pays"
    PAYS_LATE = "pays late"
    """After everything else of the round; often the reference is dead by then."""


class GivenBack(StrEnum):
    """What goes back of a payment, once it is paid."""

    NOTHING = "nothing"
    SENT_BACK = "all, and the payer's bank sends it back"
    ALL = "all"
    A_PART = "a part"
    TWO_PARTS = "two parts"
    BY_DASHBOARD = "by the dashboard"
    BY_BOTH = "by the dashboard and by the operator"


class Purchase(msgspec.Struct, frozen=True):
    """One idempotency key of a shop's page, and the people around it."""

    key: str
    way: Way
    payer: Payer
    given_back: GivenBack
    pages: int
    """How many pages send the same key at once."""
    is_patient: bool
    """An impatient payer is gone after the first answer that is none."""
    comes_back: bool
    """Whether the payer's browser returns to the server."""
    order: str | None
    """The purchase as the shop knows it, which other keys may pay as well."""
    thinks_seconds: float
    comes_after: float
    """Which part of the round is over by then."""

    @property
    def body(self) -> dict[str, Any]:
        """What the page sends."""
        body = {
            "product_id": PRODUCT,
            "product_amount": PRICES[self.way.currency],
            "payment_method": self.way.method,
            "currency": self.way.currency,
            "idempotency_key": self.key,
            "payer": PAYER,
        }
        return body if self.order is None else {**body, "order_reference": self.order}


def purchases(random: Random, count: int) -> Sequence[Purchase]:
    """So many purchases; some are two tries to pay for one order."""
    made: list[Purchase] = []
    while len(made) < count:
        order = f"order-{_uuid(random)}" if random.random() < 0.5 else None  # noqa: PLR2004  half of the shops say
        tries = 2 if order and random.random() < 0.1 else 1  # noqa: PLR2004  a payer with two tabs
        made += [_purchase(random, order) for _ in range(tries)]
    return made[:count]


def _purchase(random: Random, order: str | None) -> Purchase:
    return Purchase(
        key=_uuid(random),
        way=random.choice(WAYS),
        payer=random.choices(list(Payer), (68, 12, 6, 9, 5))[0],
        given_back=random.choices(list(GivenBack), (77, 3, 6, 6, 3, 3, 2))[0],
        pages=random.choices((1, 2, 3), (80, 15, 5))[0],
        is_patient=random.random() < 0.95,  # noqa: PLR2004
        comes_back=random.random() < 0.4,  # noqa: PLR2004
        order=order,
        thinks_seconds=random.uniform(0, 1),
        comes_after=random.random(),
    )


def _uuid(random: Random) -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))
