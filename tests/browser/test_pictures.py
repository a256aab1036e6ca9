"""A picture of every face: looked at by people (`make pictures`), and by a list that every picture must pass.

Each face is reached once for each language; width and colours change under it, which costs no payment and no page.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Frame, Page, Route, expect

from browser.payer import MILLISECONDS, Counter, Payer
from browser.test_interruptions import INITIATE

WINDOWS: Final = ((360, 800), (1280, 800), (320, 568))
"""A phone's, a desk's, and the narrowest that WCAG asks for."""
LOOKS: Final = (Path(__file__).with_name("looks.js")).read_text("utf-8")
FOLDER: Final = os.environ.get("PICTURES")
"""Where `make pictures` wants them; otherwise none is taken."""
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES: Final = {"runOnly": {"type": "tag", "values": TAGS}, "iframes": False}  # a PSP's form is not ours
EXPECTED: Final = {
    "otp_token": ["422"],
    "failed": ["402"],
    "dead_end": ["409", "price_mismatch"],
    "gone": ["404"],
    "offline": ["ERR_INTERNET_DISCONNECTED"],
    "lost": ["ERR_FAILED"],
    "unknown_action": ["is not a function"],
}
"""What the browser notes of the answers that some faces are about; each face but these is silent."""
HURRY: Final = "const set = setTimeout; window.setTimeout = (act, after) => set(act, after === 20_000 ? 1 : after);"
"""The one time that is so long is the one after which a provider is slow."""

Reach = Callable[[Payer, Counter, str], Awaitable[Frame | None]]


async def _never(_: Route) -> None:
    """Leave it unanswered."""


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


async def busy(payer: Payer, _: Counter, locale: str) -> None:
    """The button was pressed just now."""
    await payer.page.route(f"**{INITIATE}", _never)
    await payer.page.add_init_script(HURRY.replace("20_000", "1500").replace("? 1 :", "? 60_000 :"))
    await payer.opens(locale=locale)
    await payer.pays("card")
    await payer.button.locator(".spin").wait_for()


async def asking(payer: Payer, _: Counter, locale: str) -> None:
    """The PSP takes its time."""
    await payer.page.route(f"**{INITIATE}", _never)
    await payer.opens(locale=locale)
    await payer.pays("card")
    await payer.sees("asking")


async def slow(payer: Payer, counter: Counter, locale: str) -> None:
    """It takes too much of it."""
    await payer.page.add_init_script(HURRY)
    await asking(payer, counter, locale)
    await payer.link.wait_for()


async def checking(payer: Payer, counter: Counter, locale: str) -> None:
    """What became of a payment is asked for."""
    await payer.page.route("**/api/payments/status/**", _never)
    await payer.page.goto(f"{counter.world.api}/pay/0199?locale={locale}")
    await payer.sees("checking")


async def returned(payer: Payer, _: Counter, locale: str) -> None:
    """The frame came back, and nothing is known yet."""
    await payer.page.route("**/api/payments/status/**", _never)
    await _begun(payer, locale, "card", "iframe")
    await payer.frame.locator("button[value=decline]").click()
    await payer.sees("checking")
    await payer.button.wait_for()


async def handed_back(payer: Payer, counter: Counter, locale: str) -> Frame:
    """Our page in the frame that a PSP sent back."""
    link = f"{counter.world.api}/pay/0199?locale={locale}"
    style = "<style>body { margin: 0 } iframe { width: 100vw; height: 100vh; border: 0 }</style>"
    frame = f'<iframe name="qirsh-payment" title="Payment" src="{link}"></iframe>'
    await payer.page.goto(counter.front.write("back.html", f"<!doctype html><title>Shop</title>{style}{frame}"))
    await payer.frame.locator("form[data-face=handed_back]").wait_for()
    return payer.page.frames[1]


async def unknown_action(payer: Payer, _: Counter, locale: str) -> None:
    """What this release cannot draw."""

    async def odd(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace('"code":', '"code":0,"number":'))

    await payer.page.route(f"**{INITIATE}", odd)
    await payer.page.route("**/api/payments/status/**", odd)
    await payer.opens(locale=locale)
    await payer.pays("fawry")
    await payer.sees("unknown_action")


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


async def gone(payer: Payer, counter: Counter, locale: str) -> None:
    """A link that was cut short."""
    await payer.page.goto(f"{counter.world.api}/pay/01a2?locale={locale}")
    await payer.sees("dead_end")


async def lost(payer: Payer, _: Counter, locale: str) -> None:
    """The server is away."""
    await payer.page.route("**/api/payments/status/**", lambda route: route.abort())
    await _begun(payer, locale, "fawry", "reference_code")
    await expect(payer.page.locator(".notice")).to_be_visible(timeout=MILLISECONDS)


async def sheet(payer: Payer, counter: Counter, locale: str) -> None:
    """A code to print, as it is printed."""
    draft_id = (await counter.world.initiate(payment_method="fawry")).json()["paymentDraftId"]
    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale={locale}&product_id=tshirt")
    await payer.sees("reference_code")
    await payer.page.emulate_media(media="print")


async def offline(payer: Payer, _: Counter, locale: str) -> None:
    """No network, in the middle of it."""
    await _begun(payer, locale, "fawry", "reference_code")
    await payer.context.set_offline(offline=True)
    await expect(payer.page.locator(".notice")).to_be_visible(timeout=MILLISECONDS)


FACES: Final[dict[str, Reach]] = {
    reach.__name__: reach
    for reach in (
        *(methods, dollars, busy, asking, slow, iframe, redirect_url, qr_code, reference_code, kiosk, mobile_prompt),
        *(otp_token, declined, checking, returned, handed_back, completed, failed, expired, refunded, unknown_action),
        *(dead_end, gone, lost, offline, sheet),
    )
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("locale", ["en", "ar"])
async def test_every_face_passes_the_list_in_light_and_dark(counter: Counter, chromium: Browser, locale: str) -> None:
    """Nothing cut off or overlapping, contrast, digits in order, and amount and button where they always are."""
    wrong: list[str] = []
    places: dict[int, dict[str, Any]] = {width: {} for width, _ in WINDOWS}
    async with counter.payer(chromium) as payer:
        for name, reach in FACES.items():
            payer.page = await payer.context.new_page()
            payer.listen(payer.page)
            payer.expected = EXPECTED.get(name, [])
            await payer.page.set_viewport_size({"width": 360, "height": 800})
            framed = await reach(payer, counter, locale)
            await payer.page.mouse.move(0, 0)
            axe = await Axe().run(payer.page, context="body" if framed else "qirsh-checkout", options=RULES)
            wrong += [f"{name}-{locale}: {one['id']}: {one['help']}" for one in axe.response["violations"]]
            for width, height in WINDOWS:
                picture = f"{name}-{locale}-{width}"
                seen, found = await _seen(payer.page, framed or payer.page.main_frame, width, height, picture)
                wrong += found
                if name not in {"handed_back", "sheet"}:  # in a frame, and on paper
                    places[width][name] = seen
            await _put_away(payer)
    for width, seen in places.items():
        buttons = {name: looks["button"] for name, looks in seen.items() if looks["button"]}
        moved = _moved({name: looks["amount"] for name, looks in seen.items()}, ("y", "height"))
        moved += _moved(buttons, ("x", "width", "height", "below"))
        wrong += [f"{locale}-{width}: {one}" for one in moved]
    assert not wrong, "\n".join(dict.fromkeys(wrong))


async def _seen(page: Page, where: Frame, width: int, height: int, picture: str) -> tuple[dict[str, Any], list[str]]:
    """What the list says of a face in a window, at its top and at its end, and as high as the page is."""
    wrong: list[str] = []
    looks: dict[str, Any] = {}
    await page.set_viewport_size({"width": width, "height": height})
    for end in ("0", "document.scrollingElement.scrollHeight"):
        await where.evaluate(f"scrollTo(0, {end})")
        looks = await where.evaluate(LOOKS)
        wrong += [f"{picture}, in its window: {one}" for one in looks["wrong"]]
    # Where amount and button stand is compared where all of it is seen, and people look at that.
    whole = await where.evaluate("document.scrollingElement.scrollHeight")
    await page.set_viewport_size({"width": width, "height": max(whole, height)})
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        looks = await where.evaluate(LOOKS)
        wrong += [f"{picture}, {scheme}: {one}" for one in looks["wrong"]]
        if FOLDER and width > 320:
            await page.screenshot(path=Path(FOLDER) / f"{picture}-{scheme}.png", full_page=True)
    return looks, wrong


async def _put_away(payer: Payer) -> None:
    """Close the page; nothing of it is remembered, and it complained of nothing else than it may."""
    unexpected = [one for one in payer.complaints if not any(known in one for known in payer.expected)]
    assert not unexpected, unexpected
    await payer.context.set_offline(offline=False)
    # Taken away first: what is held until now is let go, and its answer would be remembered.
    await payer.page.evaluate("document.querySelector('qirsh-checkout')?.remove(); localStorage.clear()")
    await payer.page.unroute_all(behavior="ignoreErrors")
    await payer.page.close()
    payer.complaints.clear()  # of what was held until now
    payer.page = payer.context.pages[0]


def _moved(places: dict[str, dict[str, int]], fields: tuple[str, ...]) -> list[str]:
    """What does not stand where it stands on the first face."""
    (first, at), *others = places.items()
    return [
        f"{name}: {field} is {place[field]}, on {first} it is {at[field]}"
        for name, place in others
        for field in fields
        if place[field] != at[field]
    ]
