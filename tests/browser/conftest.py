"""Fixtures of the browser's tests: one Chromium and one running system per test process, one clean payer per test."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, async_playwright

from browser.payer import Counter, Payer, Shopfront, shopfront
from conftest import NewDatabase
from world import serving, system, write_config

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all: a browser that is started once lives in it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, else Playwright's own."""
    async with async_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            why = error.message.partition("\n")[0]
            said = f"no Chromium runs here, so what payers see is NOT TESTED: `make browser` gets one ({why})"
            assert not os.environ.get("BROWSER_IS_A_MUST"), said
            pytest.skip(said)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopfront]:
    """A shop on another origin than the server's: static files, nothing more."""
    with shopfront(tmp_path_factory.mktemp("shop")) as listening:
        yield listening


@pytest.fixture(scope="session")
def running_counter(scratch: Path, new_database: NewDatabase, front: Shopfront) -> Iterator[Counter]:
    """A system that the shopfront may call; its second server sends wallets to the plugin, and cards to Fawry."""
    home = scratch / "browser"
    with ExitStack() as stack:
        shared: dict[str, Any] = {"shop_origins": [front.url], "textpay": {}}
        world = stack.enter_context(system(home, asyncio.run(new_database()), **shared, routes=_routes("fawry")))
        config = write_config(
            home / "texting.toml",
            database_url=world.database_url,
            api=world.api,
            sandbox=world.sandbox,
            shop_url=world.shop.url,
            psps=world.psps,
            **shared,
            routes={**_routes("textpay"), "card": {"EGP": ["fawry"]}},
        )
        texting = stack.enter_context(serving(config))
        yield Counter(world, texting.api, front)


@pytest_asyncio.fixture(loop_scope="session")
async def counter(running_counter: Counter) -> AsyncIterator[Counter]:
    """The system with no faults left over, its product as it was, and a client of the test's own."""
    async with httpx.AsyncClient(timeout=30) as client:
        world = replace(running_counter.world, client=client)
        await world.heal()
        await world.put_product(
            "tshirt", name={"en": "T-shirt", "ar": "تي شيرت"}, prices={"EGP": "300.00", "USD": "10.00"}
        )
        yield replace(running_counter, world=world)
        await world.heal()


@pytest_asyncio.fixture(loop_scope="session")
async def payer(counter: Counter, chromium: Browser) -> AsyncIterator[Payer]:
    """Somebody at a computer, whose browser must not complain."""
    async with counter.payer(chromium) as somebody:
        yield somebody


def _routes(wallets: str) -> dict[str, dict[str, list[str]]]:
    """Vodafone Cash at Paymob, which sends the payer away; other wallets where they are asked for."""
    egp = {"card": ["paymob"], "vodafone_cash": ["paymob"], "mobile_wallet": [wallets]}
    return {method: {"EGP": gateways} for method, gateways in egp.items()}
