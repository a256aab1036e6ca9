"""The wire between a server's processes and whom they call, in the test's own hands: it counts calls and keeps answers.

What a fault of the sandbox cannot show is an answer that the PSP gave long ago and that its caller reads only now.
"""

import asyncio
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import tomli_w
from aiohttp import web

from world import World

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"})


@dataclass
class Kept:
    """One answer that is kept from its caller until it is let go."""

    path: str
    given: asyncio.Event = field(default_factory=asyncio.Event)
    """The other side has answered: what it did is done."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Wire:
    """What went over it, and what is kept from going over it."""

    url: str
    delay_seconds: float = 0.0
    """How long every call takes at least."""
    under_way: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """By path: how many calls were under way at the same time, at most."""
    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    """By path: what was sent, one for each call."""
    kept: list[Kept] = field(default_factory=list)

    def keep(self, path: str) -> Kept:
        """Keep the answer to the next call whose path holds this."""
        kept = Kept(path)
        self.kept.append(kept)
        return kept


@asynccontextmanager
async def wired(world: World) -> AsyncIterator[Wire]:
    """A wire to the sandbox and to the shop of a world."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        wire = Wire("")

        async def carry(request: web.Request) -> web.Response:
            path = request.path
            wire.bodies.setdefault(path, []).append(await request.read())
            wire.under_way[path] += 1
            wire.most[path] = max(wire.most[path], wire.under_way[path])
            try:
                await asyncio.sleep(wire.delay_seconds)
                return await _carried(session, wire, request, world)
            finally:
                wire.under_way[path] -= 1

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", carry)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        wire.url = f"http://{host}:{port}"
        try:
            yield wire
        finally:
            for kept in wire.kept:
                kept.let_go.set()
            await runner.cleanup()


def over(wire: Wire, world: World) -> Path:
    """A configuration for processes that call PSPs and shop over the wire; everything else is the world's."""
    config = tomllib.loads(world.config.read_text())
    for psp in ("paymob", "paypal", "fawry", "stripe"):
        config[psp]["base_url"] = wire.url
    config["fulfilment_url"] = f"{wire.url}/fulfilments"
    file = world.config.with_name("over-the-wire.toml")
    file.write_text(tomli_w.dumps(config))
    return file


async def _carried(session: aiohttp.ClientSession, wire: Wire, request: web.Request, world: World) -> web.Response:
    """The answer of the other side, as soon as it may be given."""
    target = world.shop.url if request.path == "/fulfilments" else f"{world.sandbox}{request.raw_path}"
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    async with session.request(
        request.method, target, data=await request.read(), headers=headers, allow_redirects=False
    ) as answer:
        body = await answer.read()
    kept = next((one for one in wire.kept if one.path in request.path and not one.given.is_set()), None)
    if kept is not None:
        kept.given.set()
        await kept.let_go.wait()
    passed = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
    return web.Response(status=answer.status, body=body, headers=passed)
