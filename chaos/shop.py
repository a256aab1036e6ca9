"""The shop's pages and its payers: they initiate, ask again with the same key, and then pay or do not."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Final

import aiohttp
import msgspec

from chaos.plan import GivenBack, Payer, Purchase
from chaos.system import System

PATIENCE_SECONDS: Final = 60.0
"""After which the most patient payer has closed the page."""
AGAIN_SECONDS: Final = 0.4
"""A page waits for so long before it asks again; Retry-After, which is whole seconds, is for people's machines."""
AT_ONCE: Final = 24
"""Purchases under way at a time."""
SENDS_BACK: Final = "4000 0000 0000 5126"
"""The number by which Stripe's test mode lets a refund fail after it had succeeded."""
AGAIN: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE})
"""What the contract lets a page ask again after, with the same key."""


@dataclass
class Sale:
    """What became of a purchase, as the shop and its payer know it."""

    purchase: Purchase
    round: str
    """During which round it was begun."""
    draft_ids: set[str] = field(default_factory=set)
    answers: set[bytes] = field(default_factory=set)
    """The distinct bodies of answers that were 201."""
    statuses: Counter[int] = field(default_factory=Counter)
    agreed_at: float | None = None
    """When the payer paid, or at PayPal approved; seconds since the epoch by the PSPs' clock."""
    agreed_in_time: bool = False
    """Whether the draft waited for that: who is late may find that nobody takes the money any more."""
    refunds: list["Asked"] = field(default_factory=list)
    given_back_by_dashboard_minor: int = 0
    was_sent_back: bool = False
    """What was given back came back: the payer's bank would not have it."""

    @property
    def draft_id(self) -> str | None:
        """The draft, where the page heard of one."""
        return next(iter(sorted(self.draft_ids)), None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A refund that an operator asked for, with a key of its own."""

    key: str
    status: int
    refund_ids: frozenset[str]
    amount_minor: int | None


class Shop:
    """Sells, over every server, to everybody who comes."""

    def __init__(self, system: System, random: Random) -> None:
        """Sell through this system; `random` picks servers and moments."""
        self._system = system
        self._random = random
        self.late: list[Sale] = []
        """Whose payers come when the round is over."""

    async def sell(self, purchases: Iterable[Purchase], round_name: str, seconds: float) -> list[Sale]:
        """Let many come within so many seconds; returns when the last of them has done what he will."""
        sales = [Sale(purchase, round_name) for purchase in purchases]
        places = asyncio.Semaphore(AT_ONCE)

        async def buy(sale: Sale) -> None:
            await asyncio.sleep(sale.purchase.comes_after * seconds)
            async with places:
                await self._buy(sale)

        async with asyncio.TaskGroup() as group:
            for sale in sales:
                group.create_task(buy(sale))
        return sales

    async def pay_late(self) -> None:
        """Let those pay who are late; most of their references are dead by now, and the PSP says so."""
        late, self.late = self.late, []
        for sale in late:
            await self._agree(sale, in_time=False)

    async def _buy(self, sale: Sale) -> None:
        purchase = sale.purchase
        pages = [asyncio.create_task(self._page(sale)) for _ in range(purchase.pages)]
        registered = [await page for page in pages]
        if not any(registered):
            return
        await asyncio.sleep(purchase.thinks_seconds)
        draft_id = sale.draft_id
        assert draft_id is not None
        match purchase.payer:
            case Payer.PAYS:
                await self._agree(sale)
            case Payer.IS_DECLINED_FIRST:
                await self._system.psps.act(draft_id, "decline")
                await asyncio.sleep(purchase.thinks_seconds)
                await self._agree(sale)
            case Payer.CANCELS:
                await self._system.psps.act(draft_id, "cancel")
            case Payer.PAYS_LATE:
                self.late.append(sale)
            case Payer.NEVER_PAYS:
                pass
        if purchase.comes_back:
            await self._come_back(draft_id, cancelled=purchase.payer is Payer.CANCELS)

    async def _page(self, sale: Sale) -> bool:
        """Ask until it is registered or refused; False where no payer is told how to pay."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            status, body = await self._initiate(sale.purchase)
            sale.statuses[status] += 1
            if status in {HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
                sale.draft_ids.add(msgspec.json.decode(body)["paymentDraftId"])
            if status == HTTPStatus.CREATED:
                sale.answers.add(body)
                return msgspec.json.decode(body)["paymentAction"] is not None
            if (status and status not in AGAIN) or not sale.purchase.is_patient or loop.time() > deadline:
                return False
            await asyncio.sleep(AGAIN_SECONDS * self._random.uniform(0.5, 1.5))

    async def _initiate(self, purchase: Purchase) -> tuple[int, bytes]:
        """One call to any of the servers: its status and body, 0 where there was no answer."""
        url = self._random.choice(self._system.server_urls)
        try:
            async with self._system.session.post(f"{url}/api/payments/initiate", json=purchase.body) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return 0, b""

    async def _agree(self, sale: Sale, *, in_time: bool = True) -> None:
        assert sale.draft_id is not None
        if await self._pay(sale):
            sale.agreed_at = self._system.psps.now()
            sale.agreed_in_time = in_time

    async def _pay(self, sale: Sale) -> bool:
        assert sale.draft_id is not None
        purchase = sale.purchase
        if (
            purchase.given_back is GivenBack.SENT_BACK
            and purchase.way.method == "card"
            and purchase.way.currency != "EGP"
        ):
            (answer,) = list(sale.answers)[:1]
            return await self._system.psps.pay_by_card(msgspec.json.decode(answer)["actionData"]["url"], SENDS_BACK)
        return await self._system.psps.act(sale.draft_id, "pay")

    async def _come_back(self, draft_id: str, *, cancelled: bool) -> None:
        """The payer's browser returns; whether anybody answers it changes nothing about the payment."""
        psp = self._random.choice(("paypal", "stripe", "fawry"))
        url = f"{self._system.public_url}/api/payments/return/{psp}/{draft_id}{'?cancelled=1' if cancelled else ''}"
        try:
            async with self._system.session.get(url, allow_redirects=False) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            pass
