"""Ten thousand pages that wait for their payment: what they cost, and how soon they hear of it."""

import asyncio
import resource
import time
from collections.abc import Sequence
from statistics import median
from typing import Final, cast
from urllib.parse import urlsplit

import httpx

from bench.contenders import Ground
from bench.hot_path import Run, contenders
from bench.rows import delivery
from bench.table import markdown

CLIENTS: Final = 10_000
WAIT_SECONDS: Final = 30
CONNECTING: Final = 250
"""At once: as many as fit into the server's backlog with room to spare."""
SAMPLED: Final = 100
"""Webhooks sent one after the other while everybody waits."""
SETTLE_SECONDS: Final = 4.0
"""The server reads ten thousand questions in one or two; memory is taken after that."""
ANSWER_SECONDS: Final = 25.0
FILES: Final = CLIENTS + 1_000


async def waiting(place: Ground) -> str:
    """Measure, and return the table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < FILES:
        return f"10,000 waiting clients: not measured, since this system allows {most} open files (ulimit -Hn)."
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with contenders(place, ["qirsh"]) as (qirsh,):
        run = Run(place, [qirsh], rounds=1, seconds=1)
        first_order, ids = await run.drafts(qirsh, CLIENTS)
        host = urlsplit(qirsh.server.url).netloc
        pages = [Page(str(draft_id), host) for draft_id in ids]
        alone = qirsh.server.resident_mb()
        await _all(pages)
        connected = qirsh.server.resident_mb()
        await _all_wait(pages)
        while_waiting = qirsh.server.resident_mb()

        async with httpx.AsyncClient(base_url=qirsh.server.url) as psp:
            each = [await _heard(psp, first_order + n, [pages[n]]) for n in range(SAMPLED)]
            shared_order, (shared,) = await run.drafts(qirsh, 1)
            for page in pages:
                page.close()
            pages = [Page(str(shared), host) for _ in range(CLIENTS)]
            await _all(pages)
            await _all_wait(pages)
            together = await _heard(psp, shared_order, pages)
        for page in pages:
            page.close()

    rows = [
        ["memory before anybody comes", f"{alone:,.0f} MB"],
        ["once everybody is connected", f"{connected:,.0f} MB"],
        ["while everybody waits", f"{while_waiting:,.0f} MB"],
        ["webhook to its page's answer, each waits for a draft of its own: median", f"{median(each) * 1e3:,.1f} ms"],
        [f"the slowest of {SAMPLED}", f"{max(each) * 1e3:,.1f} ms"],
        ["webhook to the last page's answer, all wait for one draft", f"{together:,.2f} s"],
    ]
    return markdown((f"{CLIENTS:,} waiting clients", ""), rows)


class Page(asyncio.Protocol):
    """A page with one connection: it asks how its draft stands, and then waits for another answer."""

    def __init__(self, draft_id: str, host: str) -> None:
        """Wait for this draft."""
        self._draft_id = draft_id
        self._host = host
        self._etag = ""
        self._transport: asyncio.WriteTransport | None = None
        self.changed = False
        """Whether the last answer told something new."""
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to ask."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Take an answer's head: it comes in one piece."""
        head = data.partition(b"\r\n\r\n")[0].decode()
        if head.startswith("HTTP/1.1") and not self.answered.done():
            self.changed = head.startswith("HTTP/1.1 200")
            self._etag = next(line[6:] for line in head.split("\r\n") if line.startswith("etag: "))
            self.answered.set_result(time.perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits for an answer shall not wait for ever."""
        if not self.answered.done():
            self.answered.set_exception(error or ConnectionResetError())

    def ask(self, wait_seconds: int = 0) -> None:
        """Ask now, or for what is newer than the last answer."""
        assert self._transport is not None
        self.answered = asyncio.get_running_loop().create_future()
        known = f"If-None-Match: {self._etag}\r\n" if wait_seconds else ""
        self._transport.write(
            f"GET /api/payments/status/{self._draft_id}?wait={wait_seconds} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n{known}\r\n".encode()
        )

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self.answered.cancel()
            self._transport.close()
            self._transport = None

    async def connect(self) -> None:
        """Connect, and ask once how the draft stands."""
        host, _, port = self._host.rpartition(":")
        await asyncio.get_running_loop().create_connection(lambda: self, host, int(port))
        self.ask()
        await self.answered


async def _all(pages: Sequence[Page]) -> None:
    """Let every page connect and read its draft."""
    for start in range(0, len(pages), CONNECTING):
        await asyncio.gather(*(page.connect() for page in pages[start : start + CONNECTING]))


async def _all_wait(pages: Sequence[Page]) -> None:
    """Let every page wait for its draft, and the server come to rest."""
    for page in pages:
        page.ask(WAIT_SECONDS)
    await asyncio.sleep(SETTLE_SECONDS)


async def _heard(psp: httpx.AsyncClient, order: int, pages: Sequence[Page]) -> float:
    """Seconds from the webhook that pays an order to the last of these pages' answers."""
    if any(page.answered.done() for page in pages):
        raise RuntimeError("A page was answered before anything happened: this machine is too slow for the waiting.")
    path, body = delivery(order)
    began = time.perf_counter()
    (await psp.post(path, content=body)).raise_for_status()
    async with asyncio.timeout(ANSWER_SECONDS):
        last = max(await asyncio.gather(*(page.answered for page in pages)))
    if not all(page.changed for page in pages):
        raise RuntimeError("A page was told that nothing changed.")
    return last - began
