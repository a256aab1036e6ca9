"""The sandbox's pages in a real browser: in a shop's frame, on a wide screen, light and dark, in both languages."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe

from browser.payer import WALLET, Payer

FOLDER: Final = os.environ.get("PICTURES")
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FRAME_WIDTH: Final = 300
FRAME_HEIGHT: Final = 576
"""Of the frame in which the checkout shows a card form on a phone, in pixels."""
ASKED: Final[dict[str, dict[str, Any]]] = {
    "card": {"payment_method": "card"},
    "wallet": {"payment_method": "vodafone_cash", "payer": {"phone": WALLET}},
    "paypal": {"payment_method": "paypal", "currency": "USD", "product_amount": "10.00"},
    "stripe": {"payment_method": "card", "currency": "USD", "product_amount": "10.00"},
    "kiosk": {"payment_method": "kiosk"},
    "fawry": {"payment_method": "fawry"},
}


@pytest.mark.parametrize(
    ("locale", "scheme", "width"),
    [("en", "light", FRAME_WIDTH), ("ar", "dark", FRAME_WIDTH), ("ar", "light", 1280)],
    ids=["en-light-300", "ar-dark-300", "ar-light-1280"],
)
async def test_every_page_can_be_read_and_used_by_everybody(payer: Payer, locale: str, scheme: str, width: int) -> None:
    """Nothing wider than the window, contrast, names, landmarks; and what pays is seen before the form is."""
    page, sandbox = payer.page, payer.world.sandbox
    places = {"index": "/", "till": "/__sandbox/fawry", "kiosk": "/__sandbox/paymob", "phone": "/textpay/phone"}
    pages = {name: f"{sandbox}{path}" for name, path in places.items()}
    for name, asked in ASKED.items():
        answer = (await payer.world.initiate(idempotency_key=f"looks-{name}-{locale}-{scheme}-{width}", **asked)).json()
        if url := answer["actionData"].get("url"):
            pages[name] = url
    await page.set_viewport_size({"width": width, "height": FRAME_HEIGHT})
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    wrong: list[str] = []
    for name, url in pages.items():
        await page.goto(f"{url}{'&' if '?' in url else '?'}lang={locale}")
        assert await page.locator("html").get_attribute("lang") == locale
        if await page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            wrong.append(f"{name}: wider than the window")
        if FOLDER:
            picture = Path(FOLDER) / f"sandbox-{name}-{locale}-{scheme}-{width}.png"
            await page.screenshot(path=picture, full_page=True)
        axe = await Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
        wrong += [f"{name}: {one['id']}: {one['help']}" for one in axe.response["violations"]]
        if name == "card" and width == FRAME_WIDTH:
            hint, pay = page.locator(".test"), page.locator("button[value=pay]")
            for seen in (hint, pay):
                box = await seen.bounding_box()
                assert box is not None
                assert box["y"] + box["height"] <= FRAME_HEIGHT, "below the fold of the checkout's frame"
            await page.keyboard.press("Tab")
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.name") == "card_number"
    assert not wrong, "\n".join(wrong)
