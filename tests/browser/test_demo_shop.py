"""The demo shop of `qirsh dev`: a purchase from the product to the download, with the journal beside it."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from browser.payer import MILLISECONDS, Counter, Payer, Shopfront
from world import QIRSH, Process, Shop, World, free_port


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
    ("locale", "delivered"), [("en", "your order is delivered"), ("ar", "تم تسليم طلبك")], ids=["en", "ar"]
)
async def test_a_card_pays_for_a_download_that_the_shop_unlocks_when_it_hears_of_it(
    visitor: Payer, dev: Dev, locale: str, delivered: str
) -> None:
    """What a developer does in the first minute."""
    page = visitor.page
    await page.goto(f"{dev.shop}/?locale={locale}&product=ebook")
    await visitor.sees("methods")
    await visitor.pays("card")
    await visitor.frame.locator("button[value=pay]").click()
    await visitor.sees("completed")

    await expect(page.locator("#delivery")).to_contain_text(delivered, timeout=MILLISECONDS)
    async with page.expect_download() as download:
        await page.locator("#download").click()

    draft_id = await visitor.draft()
    assert draft_id in Path(await (await download.value).path()).read_text()
    journal = page.locator("#journal li")
    await expect(journal.last).to_contain_text("payment.completed → shop: delivered", timeout=MILLISECONDS)
    lines = await journal.all_inner_texts()  # the webhook and the payer's return race: one of them is a repeat
    assert lines[0].startswith("initiate: paymob says registered → applied")
    assert any("paymob says paid → applied, completed" in line for line in lines)


async def test_a_download_that_is_not_paid_stays_locked(visitor: Payer, dev: Dev) -> None:
    """The page's word is not the shop's: only the announcement unlocks."""
    await visitor.page.goto(f"{dev.shop}/?locale=en")
    await visitor.sees("methods")
    await visitor.pays("fawry")
    await visitor.sees("reference_code")
    await expect(visitor.page.locator("#delivery")).to_contain_text("waits for the payment", timeout=MILLISECONDS)
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
    await page.locator("#currency").click()
    await page.wait_for_url("**currency=USD**")
    await page.locator("#language").click()
    await page.wait_for_url("**locale=ar**")
    await visitor.sees("methods")
    await visitor.pays("paypal")

    await visitor.at_the_psp("approve")

    await visitor.sees("completed")
    assert {"product=mug", "currency=USD", "locale=ar"} <= set(page.url.partition("?")[2].split("&"))
    assert "كوب قهوة" in await visitor.element.locator(".product").inner_text()
