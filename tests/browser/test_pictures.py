"""A picture of every face: looked at by people (`make pictures`), and by a list that every picture must pass."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from browser.payer import MILLISECONDS, Counter, Payer

HEIGHT: Final = 800
LOOKS: Final = (Path(__file__).with_name("looks.js")).read_text("utf-8")
FOLDER: Final = os.environ.get("PICTURES")
"""Where `make pictures` wants them; otherwise they are taken and thrown away."""
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES: Final = {"runOnly": {"type": "tag", "values": TAGS}, "iframes": False}  # a PSP's form is not ours
EXPECTED: Final = ("422", "402", "409", "price_mismatch", "ERR_INTERNET_DISCONNECTED")
"""What the browser notes of the answers that some faces are about."""

Reach = Callable[[Payer, Counter, str], Awaitable[None]]


async def _begun(payer: Payer, locale: str, method: str, face: str, **query: str) -> str:
    await payer.opens(locale=locale, **query)
    await payer.pays(method)
    await payer.sees(face)
    return await payer.draft()


async def methods(payer: Payer, _: Counter, locale: str) -> None:
    """The first step, with the field that a wallet needs, and a number that is none."""
    await payer.opens(locale=locale)
    await payer.pays("mobile_wallet", phone="123")
    await expect(payer.step.locator(".error")).not_to_be_empty()


async def dollars(payer: Payer, _: Counter, locale: str) -> None:
    """Another currency, whose sign has other letters."""
    await payer.opens(locale=locale, currency="USD")


async def asking(payer: Payer, _: Counter, locale: str) -> None:
    """The PSP takes its time."""
    await payer.world.fault("register", "hang")
    await payer.opens(locale=locale)
    await payer.pays("card")
    await payer.sees("asking")


async def iframe(payer: Payer, _: Counter, locale: str) -> None:
    """The PSP's form in the page."""
    await _begun(payer, locale, "card", "iframe")
    await payer.frame.locator("button[value=pay]").wait_for()


async def redirect_url(payer: Payer, _: Counter, locale: str) -> None:
    """Back from the PSP's page without having paid."""
    await payer.opens(locale=locale)
    await payer.pays("vodafone_cash")
    await payer.page.wait_for_url(f"{payer.world.sandbox}/**")
    await payer.page.go_back()
    await payer.sees("redirect_url")


async def qr_code(payer: Payer, _: Counter, locale: str) -> None:
    """A code to scan."""
    await _begun(payer, locale, "wallet_qr", "qr_code")


async def reference_code(payer: Payer, _: Counter, locale: str) -> None:
    """A number to quote."""
    await _begun(payer, locale, "fawry", "reference_code")


async def kiosk(payer: Payer, _: Counter, locale: str) -> None:
    """A number of other length, for billers with a long name."""
    await _begun(payer, locale, "kiosk", "reference_code")


async def mobile_prompt(payer: Payer, _: Counter, locale: str) -> None:
    """A phone that rings."""
    await _begun(payer, locale, "mobile_wallet", "mobile_prompt")


async def otp_token(payer: Payer, counter: Counter, locale: str) -> None:
    """A code that was wrong."""
    await payer.opens(counter.texting, locale=locale)
    await payer.pays("mobile_wallet")
    await payer.sees("otp_token")
    await payer.step.locator("input").fill("000000")
    await payer.button.click()
    await expect(payer.step.locator(".error")).not_to_be_empty()


async def declined(payer: Payer, _: Counter, locale: str) -> None:
    """One try was refused."""
    await _begun(payer, locale, "card", "iframe")
    await payer.frame.locator("button[value=decline]").click()
    await payer.sees("declined")


async def completed(payer: Payer, _: Counter, locale: str) -> None:
    """Paid."""
    await payer.world.act(await _begun(payer, locale, "fawry", "reference_code"), "pay")
    await payer.sees("completed")


async def failed(payer: Payer, counter: Counter, locale: str) -> None:
    """Refused for good."""
    await payer.opens(counter.texting, locale=locale)
    await payer.pays("mobile_wallet", phone="01000000003")
    await payer.sees("failed")


async def expired(payer: Payer, _: Counter, locale: str) -> None:
    """Too late."""
    await payer.world.act(await _begun(payer, locale, "wallet_qr", "qr_code"), "expire")
    await payer.sees("expired")


async def refunded(payer: Payer, _: Counter, locale: str) -> None:
    """Paid, and given back in part."""
    draft_id = await _begun(payer, locale, "card", "iframe")
    await payer.world.act(draft_id, "pay")
    await payer.sees("completed")
    await payer.world.act(draft_id, "refund", amount_minor=1250)
    await payer.world.becomes(draft_id, "partially_refunded")
    await payer.page.reload()
    await payer.sees("refunded")


async def dead_end(payer: Payer, _: Counter, locale: str) -> None:
    """A price that is no longer the catalogue's."""
    await payer.opens(locale=locale, amount="1.00")
    await payer.pays("wallet_qr")
    await payer.sees("dead_end")


async def offline(payer: Payer, _: Counter, locale: str) -> None:
    """No network, in the middle of it."""
    await _begun(payer, locale, "fawry", "reference_code")
    await payer.context.set_offline(offline=True)
    await expect(payer.page.locator(".notice")).to_be_visible(timeout=MILLISECONDS)


FACES: Final[dict[str, Reach]] = {
    reach.__name__: reach
    for reach in (
        *(methods, dollars, asking, iframe, redirect_url, qr_code, reference_code, kiosk, mobile_prompt, otp_token),
        *(declined, completed, failed, expired, refunded, dead_end, offline),
    )
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("locale", ["en", "ar"])
async def test_every_face_passes_the_list_in_light_and_dark(
    counter: Counter, chromium: Browser, locale: str, width: int
) -> None:
    """Nothing cut off or overlapping, contrast, digits in order, and amount and button where they always are."""
    wrong: list[str] = []
    places: dict[str, dict[str, Any]] = {}
    for name, reach in FACES.items():
        async with counter.payer(chromium, viewport={"width": width, "height": HEIGHT}) as payer:
            payer.expected += EXPECTED
            await reach(payer, counter, locale)
            # As high as the page is: what stays at the bottom of a window would stand over what is scrolled to.
            height = await payer.page.evaluate("document.scrollingElement.scrollHeight")
            await payer.page.set_viewport_size({"width": width, "height": max(height, HEIGHT)})
            for scheme in ("light", "dark"):
                picture = f"{name}-{locale}-{scheme}-{width}"
                await payer.page.emulate_media(color_scheme=scheme)
                await payer.page.mouse.move(0, 0)
                looks = await payer.page.evaluate(LOOKS)
                places[name] = looks
                wrong += [f"{picture}: {one}" for one in looks["wrong"]]
                if FOLDER:
                    await payer.page.screenshot(path=Path(FOLDER) / f"{picture}.png", full_page=True)
                axe = await Axe().run(payer.page, context="qirsh-checkout", options=RULES)
                wrong += [f"{picture}: {one['id']}: {one['help']}" for one in axe.response["violations"]]
    wrong += _moved({name: looks["amount"] for name, looks in places.items()}, ("y", "height"))
    wrong += _moved(
        {name: looks["button"] for name, looks in places.items() if looks["button"]}, ("x", "width", "height", "below")
    )
    assert not wrong, "\n".join(wrong)


def _moved(places: dict[str, dict[str, int]], fields: tuple[str, ...]) -> list[str]:
    """What does not stand where it stands on the first face."""
    (first, at), *others = places.items()
    return [
        f"{name}: {field} is {place[field]}, on {first} it is {at[field]}"
        for name, place in others
        for field in fields
        if place[field] != at[field]
    ]
