"""The courier: sends what the schedule owes, many at a time, and waits for the clock in between."""

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp

from .deliveries import Deliveries, DeliveryRow, Sender

_AT_ONCE: Final = 64  # a receiver that hangs holds up one of these, not the others
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)  # as long as PSPs commonly wait for a webhook's answer
_KEEP_ALIVE_SECONDS: Final = 2  # below every server's own, so that an idle connection is never closed under a webhook
_NAP_SECONDS: Final = 60.0  # the machine's clock may be set while we sleep; look again at least this often
_ANSWER_CHARACTERS: Final = 300


class Courier:
    """Sends webhooks in the background between `start` and `stop`."""

    def __init__(self, deliveries: Deliveries, senders: Mapping[str, Sender]) -> None:
        self._deliveries = deliveries
        self._senders = senders
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        deliveries.on_change(self._wake.set)

    async def start(self) -> None:
        """Begin to send, what an earlier run still owed first."""
        connector = aiohttp.TCPConnector(limit=_AT_ONCE, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        self._loop = asyncio.create_task(self._run(self._session), name="sandbox courier")

    async def stop(self) -> None:
        """Stop at once. What was on its way is owed again at the next start."""
        tasks = [*self._sending, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _run(self, session: aiohttp.ClientSession) -> None:
        while True:
            self._wake.clear()
            for row in self._deliveries.start_due(_AT_ONCE - len(self._sending)):
                task = asyncio.create_task(self._send(session, row), name=f"sandbox webhook {row.n}")
                self._sending.add(task)
                task.add_done_callback(self._sent)
            full = len(self._sending) >= _AT_ONCE  # then the next thing to happen is that one of them ends
            await self._sleep(None if full else self._deliveries.seconds_to_next())

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(_NAP_SECONDS if seconds is None else min(seconds, _NAP_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()

    async def _send(self, session: aiohttp.ClientSession, row: DeliveryRow) -> None:
        sealed = self._senders[row.psp].seal(row.body, corrupt=bool(row.corrupt))
        self._deliveries.sealed(row.n, sealed)
        answer: int | str
        try:
            async with session.post(
                sealed.url, data=sealed.body or row.body, headers=sealed.headers, allow_redirects=False
            ) as response:
                answer = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answer = f"{type(error).__name__}: {error}"[:_ANSWER_CHARACTERS]
        self._deliveries.answered(row, answer)
