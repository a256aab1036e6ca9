"""The sandbox's control plane: the payers, the books, the clock, and what goes wrong at the PSPs."""

import asyncio
import time
from collections import Counter
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec

PSPS: Final = ("paymob", "paypal", "fawry", "stripe")
TIMEOUT: Final = aiohttp.ClientTimeout(total=60)


class LedgerRow(msgspec.Struct, frozen=True):
    """What really happened at a PSP under one of our references."""

    psp: str
    merchant_reference: str | None
    amount_minor: int
    currency: str
    state: str
    registered: int
    paid_minor: int
    refunded_minor: int


class Psps:
    """What a test of the PSPs may do and see."""

    def __init__(self, url: str) -> None:
        """The sandbox's address."""
        self._url = f"{url}/__sandbox"
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        self._offset_seconds = 0.0
        self._moving = asyncio.Lock()
        self.hit: Counter[str] = Counter()
        """Faults that were armed and hit something, by the sandbox's name of their kind."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    def now(self) -> float:
        """The time at the PSPs, in seconds since the epoch."""
        return time.time() + self._offset_seconds

    @property
    def offset(self) -> timedelta:
        """How far the PSPs' clock is ahead of the machine's."""
        return timedelta(seconds=self._offset_seconds)

    async def advance(self, seconds: float) -> None:
        """Move the PSPs' clock; every process of ours follows within a quarter of a second."""
        async with self._moving:
            answer = await self._call("POST", "clock", {"advance_seconds": seconds})
            self._offset_seconds = float(answer["offset_seconds"])

    async def act(self, reference: str, act: str, **more: object) -> bool:
        """Let the payer, or the merchant in the PSP's dashboard, do something; False where the PSP refuses."""
        body = {"merchant_reference": reference, "act": act, **more}
        async with self._session.post(f"{self._url}/payer", json=body) as response:
            if response.status not in {HTTPStatus.OK, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                raise RuntimeError(f"The sandbox answered {response.status}: {await response.text()}")
            return response.status == HTTPStatus.OK

    async def pay_by_card(self, page: str, number: str) -> bool:
        """Let the payer type a card's number into a hosted page; False where the page is over."""
        form = {"action": "pay", "card_number": number}
        async with self._session.post(page, data=form, allow_redirects=False) as response:
            return response.status < HTTPStatus.BAD_REQUEST

    async def arm(self, psp: str, operation: str, kind: str, **more: Any) -> None:  # noqa: ANN401  the sandbox's fields
        """Let a PSP misbehave once; that counts as one fault unless it is disarmed before it hits."""
        body = {"psp": psp, "operation": operation, "kind": kind, **more}
        await self._call("POST", "faults", body)
        self.hit[kind] += 1

    async def armed(self) -> list[dict[str, Any]]:
        """The faults that have hit nothing yet, as the sandbox shows them."""
        faults: list[dict[str, Any]] = await self._call("GET", "faults")
        return faults

    async def disarm(self) -> None:
        """No more faults: those that hit nothing are not counted."""
        self.hit -= Counter(fault["kind"] for fault in await self.armed())
        await self._call("DELETE", "faults")

    async def ledger(self) -> list[LedgerRow]:
        """The books of all PSPs."""
        return msgspec.convert(await self._call("GET", "ledger"), list[LedgerRow])

    async def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  whatever JSON it is
        async with self._session.request(method, f"{self._url}/{path}", json=body) as response:
            raw = await response.read()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise RuntimeError(f"The sandbox answered {response.status}: {raw[:500]!r}")
            return msgspec.json.decode(raw)
