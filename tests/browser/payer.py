"""A payer at a browser: opens a page, chooses, pays, and does at the sandbox's pages what payers do at PSPs'."""

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, FrameLocator, Locator, Page

from world import World

WALLET: Final = "01010101010"
MILLISECONDS: Final = 20_000
"""For each thing that must happen; nothing takes nearly as long unless it never comes."""


@dataclass
class Shopfront:
    """A static site."""

    url: str
    folder: Path

    def write(self, name: str, text: str) -> str:
        """Put a page there; return its address."""
        (self.folder / name).write_text(text, "utf-8")
        return f"{self.url}/{name}"


@contextmanager
def shopfront(folder: Path) -> Iterator[Shopfront]:
    """A static site on a free port, whose browser is not told to be quiet about anything."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    (folder / "favicon.ico").touch()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Shopfront(f"http://127.0.0.1:{server.server_port}", folder)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Counter:
    """A system to pay at. `texting` is a second server of it: wallets are texted a code, cards go to Fawry."""

    world: World
    texting: str
    front: Shopfront

    @asynccontextmanager
    async def payer(self, chromium: Browser, **browser: Any) -> AsyncIterator["Payer"]:
        """Somebody with a browser of their own: nothing is remembered from others."""
        context = await chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **browser})
        context.set_default_timeout(MILLISECONDS)
        try:
            payer = Payer(self.world, context, await context.new_page())
            payer.listen(payer.page)
            yield payer
            await payer.page.unroute_all(behavior="ignoreErrors")
            unexpected = [one for one in payer.complaints if not any(known in one for known in payer.expected)]
            assert not unexpected, unexpected
        finally:
            await context.close()


@dataclass
class Payer:
    """Whoever sits before a page with the element in it."""

    world: World
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    """What the browser had to say against the page."""
    expected: list[str] = field(default_factory=list)
    """What it may say: a browser notes every answer above 400, and every network that is gone."""

    def listen(self, page: Page) -> None:
        """Note what the console and scripts complain of; a sandbox's page is not ours."""

        def heard(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"} and self.world.sandbox not in message.location.get("url", ""):
                self.complaints.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def element(self) -> Locator:
        """The element."""
        return self.page.locator("qirsh-checkout")

    @property
    def step(self) -> Locator:
        """The step that is shown."""
        return self.page.locator("form[data-face]")

    @property
    def button(self) -> Locator:
        """The main button."""
        return self.step.locator(".button")

    @property
    def link(self) -> Locator:
        """What else can be done: below the main button."""
        return self.step.locator(".below button")

    @property
    def frame(self) -> FrameLocator:
        """The PSP's form in the page."""
        return self.page.frame_locator("iframe")

    async def opens(self, api: str = "", **query: str) -> None:
        """Follow a payment link, and wait for the methods."""
        asked = {"product_id": "tshirt", "currency": "EGP", "locale": "en", **query}
        await self.page.goto(f"{api or self.world.api}/pay?{urlencode(asked)}")
        await self.sees("methods")

    async def pays(self, method: str, phone: str = WALLET) -> None:
        """Choose a method, write what it needs, and press the button."""
        await self.step.locator(f"[data-method={method}]").click()
        field = self.step.locator("#phone")
        if await field.is_visible():
            await field.fill(phone)
        await self.button.click()

    async def sees(self, face: str, page: Page | None = None) -> None:
        """Wait for a step."""
        await (page or self.page).locator(f"form[data-face={face}]").wait_for(timeout=MILLISECONDS)

    async def entry(self) -> dict[str, Any]:
        """What the page remembers of the one purchase that this payer makes."""
        kept = await self.page.evaluate("Object.entries(localStorage).filter(([name]) => name.startsWith('qirsh:'))")
        assert len(kept) <= 1, kept
        found: dict[str, Any] = json.loads(kept[0][1]) if kept else {}
        return found

    async def draft(self) -> str:
        """The payment draft."""
        return str((await self.entry())["draft"])

    async def at_the_psp(self, action: str) -> None:
        """Press a button of the page that we were sent to."""
        await self.page.wait_for_url(f"{self.world.sandbox}/**")
        await self.page.locator(f"button[value={action}]").click()

    async def at_fawry(self, action: str) -> None:
        """Do at Fawry's till, or with its wallet, what is asked: with another browser."""
        number = (await self.world.payment(await self.draft()))["transaction_reference_id"]
        assert self.context.browser is not None
        till = await self.context.browser.new_context()
        page = await till.new_page()
        await page.goto(f"{self.world.sandbox}/__sandbox/fawry?number={number}", timeout=MILLISECONDS)
        await page.locator(f"button[value={action}]").click(timeout=MILLISECONDS)
        await till.close()

    async def types_the_code(self) -> None:
        """Read the code off the phone, and hand it in."""
        query = {"merchant_reference": await self.draft()}
        (text,) = (await self.world.client.get(f"{self.world.sandbox}/textpay/texts", params=query)).json()
        await self.step.locator("input").fill(text["code"])
        await self.button.click()

    async def says(self) -> str:
        """The words of the step, without the marks that keep directions apart."""
        return re.sub("[\u2066-\u2069\u200e\u200f\u061c]", "", await self.step.inner_text()).replace("\xa0", " ")
