"""The shop's server: takes announcements, checks who signed them, and is in a bad mood when told so."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  published, and of this test alone
PATH: Final = "/announcements"
REFUSALS: Final = 2
"""Each announcement is refused so often at most: a shop that never takes it is told nothing in the end."""
HANG_SECONDS: Final = 16.0
"""Longer than Qirsh waits for a shop."""
STOP_SECONDS: Final = 1.0


class Heard(msgspec.Struct, frozen=True):
    """One announcement as it arrived."""

    id: str
    type: str
    data: dict[str, Any]
    taken: bool
    authentic: bool


@dataclass
class Listener:
    """What the shop was told, in the order in which it came."""

    heard: list[Heard] = field(default_factory=list)
    moody: Random | None = None
    """While this is set, some announcements are not taken."""
    refused: Counter[str] = field(default_factory=Counter)
    url: str = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post(PATH, self._take)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        told = msgspec.json.decode(raw)
        name = request.headers.get("webhook-id", "")
        refusal = self._refusal(name)
        authentic = _is_authentic(raw, request)
        self.heard.append(Heard(name, told["type"], told["data"], refusal is None and authentic, authentic))
        if refusal is None:
            return web.Response(status=200 if authentic else 401)
        self.refused[name] += 1
        if not refusal:
            await asyncio.sleep(HANG_SECONDS)
            return web.Response(status=500)
        return web.Response(status=refusal, headers={"Retry-After": "3"} if refusal == 429 else {})  # noqa: PLR2004

    def _refusal(self, name: str) -> int | None:
        """The status to refuse an announcement with; 0: say nothing for a long time; None: take it."""
        if self.moody is None or self.refused[name] >= REFUSALS or self.moody.random() < 0.5:  # noqa: PLR2004
            return None
        return self.moody.choices((500, 429, 503, 0), (5, 3, 3, 1))[0]


def _is_authentic(raw: bytes, request: web.Request) -> bool:
    """Whether Qirsh signed it, within the five minutes that the standard allows."""
    try:
        Webhook(SECRET).verify(raw, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True
