"""The demo shop of `qirsh dev`: a purchase from the product to the download, with the journal beside it."""

import asyncio
import re
import tomllib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Route, expect

from browser.payer import MILLISECONDS, Counter, Payer, Shopfront
from world import QIRSH, Process, Shop, World, free_port

TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES: Final = {"runOnly": {"type": "tag", "values": TAGS}, "iframes": False}


@dataclass
class Dev:
    """A running `qirsh dev`."""

    shop: str
    sandbox: str
    home: Path


@pytest.fixture(scope="module")
def dev(scratch: Path) -> Iterator[Dev]:
    """Everything on this machine, as a developer starts it."""
    home = scratch / f"demo-{uuid.uuid4().hex[:8]}"
    port, sandbox_port = free_port(), free_port()
    process = Process(
        *(QIRSH, "dev", "--port", str(port), "--sandbox-port", str(sandbox_port), "--data-dir", str(home)),
        ready="is ready",
    )
    try:
        process.wait_ready()
        yield Dev(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}", home)
    finally:
        process.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(dev: Dev, chromium: Browser) -> AsyncIterator[Payer]:
    """Somebody who looks at the demo shop."""
    async with httpx.AsyncClient(timeout=30) as client:
        world = World(dev.shop, dev.sandbox, "", Shop(), dev.home / "qirsh.toml", client)
        async with Counter(world, "", Shopfront("", dev.home)).payer(chromium) as somebody:
            yield somebody


@pytest.mark.parametrize(
    ("locale", "width", "delivered", "journal"),
    [
        ("en", 360, "your order is delivered", ["Registered", "our request", "Shop told", "payment.completed"]),
        ("ar", 1280, "تم تسليم طلبك", ["سُجلت العملية", "طلبنا", "أُخبر المتجر", "payment.completed"]),
    ],
    ids=["en-phone", "ar"],
)
async def test_a_card_pays_for_a_download_that_the_shop_unlocks_when_it_hears_of_it(
    visitor: Payer, dev: Dev, locale: str, width: int, delivered: str, journal: list[str]
) -> None:
    """What a developer does in the first minute; the download is where the payer looks, also on a phone."""
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 740})
    await page.goto(f"{dev.shop}/?locale={locale}&product=ebook")
    await visitor.sees("methods")
    await expect(page.locator(".product img")).to_have_count(3)
    await visitor.pays("card")
    await visitor.frame.locator("button[value=pay]").click()
    await visitor.sees("completed")

    await expect(page.get_by_role("status").filter(has_text=delivered)).to_be_visible(timeout=MILLISECONDS)
    await expect(page.locator("#download")).to_be_in_viewport(ratio=1, timeout=MILLISECONDS)
    async with page.expect_download() as download:
        await page.locator("#download").click()

    draft_id = await visitor.draft()
    assert draft_id in Path(await (await download.value).path()).read_text()
    lines = page.locator("#journal li")
    await expect(lines.last).to_contain_text(journal[-1], timeout=MILLISECONDS)
    first, *_, last = await lines.all_inner_texts()  # the webhook and the payer's return race between these two
    assert all(said in first for said in (*journal[:2], "paymob", "awaiting_user_action"))
    assert all(said in last for said in journal[2:])
    assert re.search(r"\d\d:\d\d:\d\d", last), "Python, too, knows the digits of both languages"
    axe = await Axe().run(page, options=RULES)
    assert [f"{one['id']}: {one['help']}" for one in axe.response["violations"]] == []


async def test_a_download_that_is_not_paid_stays_locked(visitor: Payer, dev: Dev) -> None:
    """The page's word is not the shop's: only the announcement unlocks."""
    await visitor.page.goto(f"{dev.shop}/?locale=en")
    await visitor.sees("methods")
    await visitor.pays("fawry")
    await visitor.sees("reference_code")
    await expect(visitor.page.locator("#stands")).to_contain_text("waits for the payment", timeout=MILLISECONDS)
    draft_id = await visitor.draft()

    for path in (draft_id, str(uuid.uuid4())):
        locked = await visitor.world.client.get(f"{dev.shop}/demo/orders/{path}/download")
        assert locked.status_code == 403

    await expect(visitor.page.locator("#download")).to_be_hidden()


async def test_who_pays_away_from_the_shop_comes_back_to_the_same_product(visitor: Payer, dev: Dev) -> None:
    """In dollars and Arabic, through PayPal's page."""
    page = visitor.page
    await page.goto(f"{dev.shop}/?product=mug")
    await visitor.sees("methods")
    await page.locator("#currency button[value=USD]").click()
    await page.wait_for_url("**currency=USD**")
    await page.locator("#language").click()
    await page.wait_for_url("**locale=ar**")
    await visitor.sees("methods")
    await visitor.pays("paypal")

    await visitor.at_the_psp("approve")

    await visitor.sees("completed")
    assert {"product=mug", "currency=USD", "locale=ar"} <= set(page.url.partition("?")[2].split("&"))
    assert "كوب قهوة" in await visitor.element.locator(".product").inner_text()


async def test_a_quick_hand_changes_the_language_before_the_products_are_there(visitor: Payer, dev: Dev) -> None:
    """A slow catalogue made the button do nothing, with an error in the console."""
    page, here = visitor.page, asyncio.Event()

    async def late(route: Route) -> None:
        await here.wait()
        await route.continue_()

    await page.route("**/demo/products", late, times=1)
    await page.goto(f"{dev.shop}/?product=mug&currency=USD")
    await page.locator("#language").click()
    await page.wait_for_url("**locale=ar**", wait_until="commit")
    here.set()

    await visitor.sees("methods")
    assert {"product=mug", "currency=USD"} <= set(page.url.partition("?")[2].split("&"))


async def test_who_is_too_late_is_told_so_and_may_order_again(visitor: Payer, dev: Dev) -> None:
    """The shop waited for the payment for ever, it said, and the download stayed where it was."""
    page = visitor.page
    await page.goto(f"{dev.shop}/?locale=en&product=mug")
    await visitor.sees("methods")
    await visitor.pays("fawry")
    await visitor.sees("reference_code")
    draft_id = await visitor.draft()
    async with page.expect_popup() as opened:
        await page.locator("a[href='/demo/sandbox']").click()
    sandbox = await opened.value
    await sandbox.locator(".dues .card", has_text=draft_id).get_by_role("link").click()
    await sandbox.locator("button[value=expire]").click()

    await visitor.sees("expired")
    await expect(page.locator("#stands")).to_contain_text("time to pay ran out", timeout=MILLISECONDS)
    await expect(page.locator("#download")).to_be_hidden()
    await page.locator("#retry").click()

    await visitor.sees("methods")
    await expect(page.locator("#standing")).to_be_hidden()


async def test_only_currencies_that_a_product_has_are_offered(visitor: Payer, dev: Dev) -> None:
    """A product without a price in dollars was sold for `$NaN`."""
    key = tomllib.loads((dev.home / "qirsh.toml").read_text("utf-8"))["operator_key"]
    poster = {"name": {"en": "Poster"}, "prices": {"EGP": "80.00"}, "purchasable": True}

    async def put(**changes: object) -> None:
        address, headers = f"{dev.shop}/api/products/poster", {"authorization": f"Bearer {key}"}
        assert (await visitor.world.client.put(address, json={**poster, **changes}, headers=headers)).is_success

    await put()
    page = visitor.page
    await page.goto(f"{dev.shop}/?locale=en&product=poster&currency=USD")
    await visitor.sees("methods")
    shown = await page.locator("main").inner_text()
    assert ("NaN" in shown, "undefined" in await page.content()) == (False, False)
    assert await page.locator("#currency button").all_inner_texts() == ["EGP"]
    assert await visitor.element.get_attribute("amount") == "80.00"

    await page.locator(".product", has_text="mug").click()
    await page.wait_for_url("**product=mug**")
    await visitor.sees("methods")
    assert await page.locator("#currency button").all_inner_texts() == ["EGP", "USD"]
    assert await page.locator(".product", has_text="Poster").all_inner_texts() == ["Poster\nEGP\xa080.00"]
    await put(purchasable=False)
