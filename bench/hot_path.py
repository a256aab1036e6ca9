"""The hot path: each request that a shop's page or a PSP makes, by each contender in turn, round by round."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench.contenders import Contender, Ground
from bench.load import Measured, Requests, measured, middle, warm_up
from bench.rows import add_drafts, write_deliveries

CONNECTIONS: Final = 32
SLOW_CONNECTIONS: Final = 600
"""Enough that a PSP which takes 200 ms does not bound the requests: 3,000 a second."""
SLOW_MILLISECONDS: Final = 200
PREPARED: Final = 500
"""Drafts whose status is asked, and initiates that are replayed, in turn."""
WEBHOOKS_PER_SECOND: Final = 6_000
"""More than any contender takes, so that each delivery of a run is a fresh one."""


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do: how its requests come about, and how many connections send them."""

    name: str
    prepare: Callable[["Run", Contender], Awaitable[Requests]]
    connections: int = CONNECTIONS
    psp_milliseconds: int = 0
    status: int = 200
    """What each answer must say; wrk itself tells only refusals apart."""
    proof: str = ""
    """Counts what requests of this kind leave in the database: an answer that did no work measures nothing."""
    times_longer: int = 1
    """Where the first answers come late, so that they are not most of what is measured."""
    prepared_once: bool = True


class Run:
    """What the work of a run shares."""

    def __init__(self, ground: Ground, contenders: Sequence[Contender], *, rounds: int, seconds: int) -> None:
        """Let each contender do each work so many times, so many seconds each."""
        self.ground = ground
        self.contenders = contenders
        self.seconds = seconds
        self._rounds = rounds
        self._files = 0
        self._next_order = 1_000

    async def measure(self, work: Work, say: Callable[[str], None]) -> dict[str, Measured]:
        """The median of the rounds, by contender."""
        self.ground.delay(work.psp_milliseconds)
        found: dict[str, list[Measured]] = {contender.name: [] for contender in self.contenders}
        requests: dict[str, Requests] = {}
        for number in range(self._rounds):
            for contender in self.contenders:
                if contender.name not in requests or not work.prepared_once:
                    requests[contender.name] = await work.prepare(self, contender)
                wanted = requests[contender.name]
                if number == 0 and work.prepared_once:
                    await _check(work, contender, wanted)
                    await asyncio.to_thread(warm_up, contender.servers, wanted, connections=work.connections)
                one = await self._measured(work, contender, wanted)
                found[contender.name].append(one)
                say(f"{work.name}, round {number + 1}, {contender.name}: {one.per_second:,.0f}/s, {one.cpu_us:,.0f} µs")
        self.ground.delay(0)
        return {name: middle(rounds) for name, rounds in found.items()}

    async def _measured(self, work: Work, contender: Contender, requests: Requests) -> Measured:
        before = await self._counted(work, contender)
        one = await asyncio.to_thread(
            measured,
            contender.servers,
            requests,
            connections=work.connections,
            seconds=self.seconds * work.times_longer,
        )
        left = await self._counted(work, contender) - before
        if work.proof and left < one.requests:
            raise RuntimeError(f"{work.name}: {contender.name} answered {one.requests:,.0f} and did {left:,}.")
        return one

    async def _counted(self, work: Work, contender: Contender) -> int:
        """What the work has left in a contender's database so far."""
        if not work.proof:
            return 0
        async with contender.connected() as connection:
            count: int = await connection.fetchval(work.proof)
            return count

    def file(self, lines: Sequence[str] = ()) -> Path:
        """A new file of requests."""
        self._files += 1
        file = self.ground.folder / f"requests-{self._files}"
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    async def drafts(self, contender: Contender, count: int) -> tuple[int, list[uuid.UUID]]:
        """New drafts of a contender's: the first order number, and their ids."""
        first = self._next_order
        self._next_order += count
        async with contender.connected() as connection:
            return first, await add_drafts(connection, first, count)


async def _initiates(_run: Run, _contender: Contender) -> Requests:
    return Requests("initiate")


async def _replays(run: Run, contender: Contender) -> Requests:
    """Initiates that were answered, once more."""
    bodies = [json.dumps(an_initiate()) for _ in range(PREPARED)]
    async with _client(contender) as client:
        for body in bodies:
            (await client.post("/api/payments/initiate", content=body)).raise_for_status()
    head = f"POST\t{contender.replay_path}\tContent-Type: application/json\t"
    return Requests("requests", run.file([head + body for body in bodies]))


async def _deliveries(run: Run, contender: Contender) -> Requests:
    """A signed webhook for each of many drafts."""
    count = run.seconds * WEBHOOKS_PER_SECOND
    first, _ = await run.drafts(contender, count)
    file = run.file()
    await asyncio.to_thread(write_deliveries, file, first, count)
    return Requests("once", file)


async def _statuses(run: Run, contender: Contender) -> Requests:
    _, ids = await run.drafts(contender, PREPARED)
    return Requests("requests", run.file([f"GET\t/api/payments/status/{one}\t\t" for one in ids]))


async def _known_statuses(run: Run, contender: Contender) -> Requests:
    """Asked by somebody who has the newest answer already."""
    _, ids = await run.drafts(contender, PREPARED)
    lines = []
    async with _client(contender) as client:
        for one in ids:
            answer = await client.get(f"/api/payments/status/{one}")
            tag = answer.raise_for_status().headers.get("etag", '"none"')
            lines.append(f"GET\t/api/payments/status/{one}\tIf-None-Match: {tag}\t")
    return Requests("requests", run.file(lines))


_REGISTERED: Final = (
    "SELECT count(*) FROM payment_drafts WHERE next_check_at IS NOT NULL AND state = 'awaiting_user_action'"
)
_PAID: Final = "SELECT count(*) FROM fulfilments JOIN payment_drafts d ON d.id = draft_id WHERE d.state = 'completed'"

INITIATE: Final = Work("initiate", _initiates, status=201, proof=_REGISTERED)
SLOW_INITIATE: Final = Work(
    f"initiate, PSP takes {SLOW_MILLISECONDS} ms",
    _initiates,
    connections=SLOW_CONNECTIONS,
    psp_milliseconds=SLOW_MILLISECONDS,
    status=201,
    proof=_REGISTERED,
    times_longer=2,
)
REPLAY: Final = Work("initiate, replayed", _replays, status=201)
WEBHOOK: Final = Work("webhook", _deliveries, proof=_PAID, prepared_once=False)
STATUS: Final = Work("status", _statuses)
KNOWN_STATUS: Final = Work("status, 304", _known_statuses, status=304)
WORKS: Final = (INITIATE, SLOW_INITIATE, REPLAY, WEBHOOK, STATUS, KNOWN_STATUS)


COMMANDS: Final = {
    "floor": ("floor",),
    "floor, tuned alike": ("floor", "--tuned-alike"),
    "usual": ("usual",),
}
"""The contenders of this package: a module, and its options."""


@asynccontextmanager
async def contenders(ground: Ground, names: Sequence[str]) -> AsyncIterator[list[Contender]]:
    """The contenders of these names, each with a new database."""
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            url = await ground.database(f"bench_{uuid.uuid4().hex[:8]}")
            if name == "qirsh":
                found.append(Contender(name, [stack.enter_context(ground.qirsh(url))], url))
            else:
                module, *options = COMMANDS[name]
                server = stack.enter_context(ground.other(module, url, *options))
                found.append(Contender(name, [server], url, "/replay"))
        yield found


def an_initiate() -> dict[str, Any]:
    """The same as load.lua makes."""
    return {
        "product_id": "tshirt",
        "product_amount": "300.00",
        "payment_method": "card",
        "currency": "EGP",
        "idempotency_key": str(uuid.uuid4()),
        "order_reference": "A-1001",
        "payer": {"name": "Mona Hassan", "email": "mona@example.com", "phone": "01012345678"},
        "return_url": "https://shop.example/thanks",
        "locale": "ar",
    }


async def _check(work: Work, contender: Contender, requests: Requests) -> None:
    """One request of the load, by a client that reads its answer: wrk tells only refusals apart."""
    head = ["POST", "/api/payments/initiate", "", json.dumps(an_initiate())]
    if requests.file is not None:
        head = requests.file.read_text().partition("\n")[0].split("\t")
    method, path, names, body = head
    headers = dict(name.split(": ", 1) for name in names.split(";") if name)
    async with _client(contender) as client:
        answer = await client.request(method, path, headers=headers, content=body)
    if answer.status_code != work.status:
        raise RuntimeError(f"{work.name}: {contender.name} answered {answer.status_code}, not {work.status}.")


def _client(contender: Contender) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=contender.server.url, headers={"Content-Type": "application/json"}, timeout=30)
