"""Money that goes back: asked for by operators, each time with a key, and behind our back in the PSPs' dashboards."""

import asyncio
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from random import Random
from typing import Any, Final

import aiohttp
import msgspec

from chaos.plan import PRICES, GivenBack
from chaos.shop import Asked, Sale
from chaos.system import OPERATOR, System
from qirsh.money import Money

TRIES: Final = 60
AGAIN_SECONDS: Final = 0.5
AT_ONCE: Final = 8
SENT_BACK_BY: Final = frozenset({"card", "vodafone_cash", "paypal"})
"""Methods whose PSPs know of refunds that fail later."""
WAITS: Final = frozenset({"refund_in_flight"})
"""Another refund of the payment is on its way: an operator's program asks later."""


class RefundDesk:
    """Gives back what its sales were planned to give back."""

    def __init__(self, system: System, random: Random) -> None:
        """Ask any of the servers."""
        self._system = system
        self._random = random
        self._undecided: list[Sale] = []
        """What the payer's bank has not decided yet: the refund had not reached it."""

    async def bank_decides(self) -> None:
        """Send back what has come to the bank by now; a refund that nobody ever decides would wait for ever."""
        self._undecided = [sale for sale in self._undecided if not await self._is_sent_back(sale)]

    async def give_back(self, sales: Iterable[Sale], seconds: float) -> None:
        """See to all of these within so many seconds, some at a time."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(sale: Sale) -> None:
            await asyncio.sleep(sale.purchase.comes_after * seconds)
            async with places:
                await self._give_back(sale)

        async with asyncio.TaskGroup() as group:
            for sale in sales:
                if sale.purchase.given_back is not GivenBack.NOTHING and sale.agreed_at is not None:
                    group.create_task(one(sale))

    async def _give_back(self, sale: Sale) -> None:
        currency = sale.purchase.way.currency
        whole = Money.parse(PRICES[currency], currency).amount_minor
        match sale.purchase.given_back:
            case GivenBack.ALL:
                await self._ask(sale, None)
            case GivenBack.SENT_BACK:
                await self._system.psps.act(f"{sale.draft_id}", "review")  # at some PSPs a refund takes its time then
                await self._ask(sale, None)
                await self._send_back(sale)
            case GivenBack.A_PART:
                await self._ask(sale, _part(whole, 3, currency))
            case GivenBack.TWO_PARTS:
                await self._ask(sale, _part(whole, 3, currency))
                await self._ask(sale, _part(whole, 5, currency))
            case GivenBack.BY_DASHBOARD:
                await self._by_dashboard(sale, _part(whole, 4, currency))
            case GivenBack.BY_BOTH:
                await self._by_dashboard(sale, _part(whole, 4, currency))
                await self._ask(sale, _part(whole, 5, currency))

    async def _ask(self, sale: Sale, amount_minor: int | None) -> None:
        """Ask with one key until somebody answers."""
        key, currency = str(uuid.UUID(int=self._random.getrandbits(128), version=4)), sale.purchase.way.currency
        body: dict[str, Any] = {} if amount_minor is None else {"amount": Money(amount_minor, currency).major}
        ids: set[str] = set()
        status = 0
        for _ in range(TRIES):
            status, answer = await self._request(f"{sale.draft_id}", key, body)
            if status == HTTPStatus.ACCEPTED:
                ids.add(answer["refundId"])
            waits = status == HTTPStatus.CONFLICT and answer.get("code") in WAITS
            if status not in {0, HTTPStatus.SERVICE_UNAVAILABLE} and not waits:
                break
            await asyncio.sleep(AGAIN_SECONDS)
        sale.refunds.append(Asked(key, status, frozenset(ids), amount_minor))

    async def _request(self, draft_id: str, key: str, body: dict[str, Any]) -> tuple[int, Any]:
        url = f"{self._random.choice(self._system.server_urls)}/api/payments/{draft_id}/refunds"
        headers = {**OPERATOR, "idempotency-key": key}
        try:
            async with self._system.session.post(url, json=body, headers=headers) as response:
                return response.status, msgspec.json.decode(await response.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError):
            return 0, {}

    async def _send_back(self, sale: Sale) -> None:
        """The payer's bank refuses the money, once a refund is there to be refused."""
        if sale.purchase.way.method not in SENT_BACK_BY:
            return
        for _ in range(TRIES):
            if await self._is_sent_back(sale):
                return
            await asyncio.sleep(AGAIN_SECONDS)
        self._undecided.append(sale)

    async def _is_sent_back(self, sale: Sale) -> bool:
        sale.was_sent_back = await self._system.psps.act(f"{sale.draft_id}", "deny")
        return sale.was_sent_back

    async def _by_dashboard(self, sale: Sale, amount_minor: int) -> None:
        if await self._system.psps.act(f"{sale.draft_id}", "refund", amount_minor=amount_minor):
            sale.given_back_by_dashboard_minor += amount_minor


def _part(whole: int, of: int, currency: str) -> int:
    """A part that every PSP can write: Stripe wants the last digit of a dinar to be zero."""
    return whole // of // 10 * 10 if currency == "KWD" else whole // of
