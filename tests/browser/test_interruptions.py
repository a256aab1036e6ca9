"""Reloads, double clicks, the back button, more tabs than one, and networks that go: one purchase, one draft."""

import asyncio
from typing import Final

import pytest
from playwright.async_api import Request, Route, expect

from browser.payer import MILLISECONDS, Counter, Payer
from world import eventually

INITIATE: Final = "/api/payments/initiate"


def initiates(payer: Payer) -> list[Request]:
    """Every initiate that this payer's browser posts from now on."""
    seen: list[Request] = []
    payer.context.on("request", lambda request: seen.append(request) if request.url.endswith(INITIATE) else None)
    return seen


async def drafts(payer: Payer) -> int:
    """How many drafts there are of the order that this payer begins."""
    order = (await payer.entry())["order"]
    return int(await payer.world.fetchval("SELECT count(*) FROM payment_drafts WHERE order_reference = $1", order))


@pytest.mark.parametrize(
    ("method", "face"),
    [
        ("card", "iframe"),
        ("wallet_qr", "qr_code"),
        ("fawry", "reference_code"),
        ("kiosk", "reference_code"),
        ("mobile_wallet", "mobile_prompt"),
    ],
)
async def test_a_reload_at_every_step_goes_on_where_it_was(payer: Payer, method: str, face: str) -> None:
    """A phone that runs out of memory reloads without asking."""
    await payer.opens()
    await payer.page.reload()
    await payer.sees("methods")
    await payer.pays(method)
    await payer.sees(face)
    draft_id = await payer.draft()

    await payer.page.reload()
    await payer.sees(face)
    await payer.world.act(draft_id, "pay")
    await payer.sees("completed")
    await payer.page.reload()
    await payer.sees("completed")

    assert await payer.draft() == draft_id
    assert await drafts(payer) == 1


async def test_a_reload_while_a_code_is_awaited_asks_for_the_same_code(payer: Payer, counter: Counter) -> None:
    """A second text would make the first one wrong."""
    await payer.opens(counter.texting)
    await payer.pays("mobile_wallet")
    await payer.sees("otp_token")

    await payer.page.reload()
    await payer.sees("otp_token")

    await payer.types_the_code()
    await payer.sees("completed")


async def test_a_reload_before_the_answer_posts_the_same_again(payer: Payer) -> None:
    """The payer pressed the button, so it counts; the key was kept before the first byte was sent."""
    asked = initiates(payer)
    gone = asyncio.Event()

    async def lost(route: Route) -> None:
        if gone.is_set():
            await route.continue_()
            return
        await route.fetch()  # the server has it; the browser never hears of it
        gone.set()

    await payer.page.route(f"**{INITIATE}", lost)
    await payer.opens()
    await payer.pays("wallet_qr")
    await asyncio.wait_for(gone.wait(), 20)

    await payer.page.reload()

    await payer.sees("qr_code")
    assert len({request.post_data for request in asked}) == 1
    assert await drafts(payer) == 1


async def test_a_reload_after_the_way_there_offers_the_way_and_goes_nowhere_by_itself(payer: Payer) -> None:
    """Whoever came back wanted to see this page."""
    await payer.opens()
    await payer.pays("vodafone_cash")
    await payer.page.wait_for_url(f"{payer.world.sandbox}/**")
    await payer.page.go_back()
    await payer.sees("redirect_url")
    draft_id = await payer.draft()

    await payer.page.reload()
    await payer.sees("redirect_url")

    await payer.button.click()
    await payer.at_the_psp("pay")
    await payer.sees("completed")
    assert await payer.draft() == draft_id


@pytest.mark.parametrize(("method", "face"), [("vodafone_cash", "redirect_url"), ("card", "iframe")])
async def test_a_reload_after_a_decline_tells_it_again_and_offers_the_same(
    payer: Payer, method: str, face: str
) -> None:
    """A wallet's next try is a new draft; a card's is another in its frame."""
    await payer.opens()
    await payer.pays(method)
    if face == "iframe":
        await payer.frame.locator("button[value=decline]").click()
    else:
        await payer.at_the_psp("cancel")
    await payer.sees("declined")
    first = await payer.draft()

    await payer.page.reload()
    await payer.sees("declined")
    await payer.button.click()

    if face == "iframe":
        await payer.sees("iframe")
    else:
        await payer.page.wait_for_url(f"{payer.world.sandbox}/**")
        await payer.page.go_back()
        await payer.sees("redirect_url")
    assert (await payer.draft() == first) is (face == "iframe")


async def test_what_has_not_changed_is_not_drawn_anew(payer: Payer) -> None:
    """A card form that is loaded again has lost what was typed into it."""
    asked: list[str] = []
    followed = asyncio.Event()

    def seen(request: Request) -> None:
        asked.append(request.url)
        if sum("/status/" in url for url in asked) > 1:
            followed.set()  # the first status was taken in before the second is asked for

    payer.page.on("request", seen)
    await payer.opens()
    await payer.pays("card")
    await payer.sees("iframe")
    await asyncio.wait_for(followed.wait(), 20)

    assert sum("/iframes/" in url for url in asked) == 1


async def test_a_double_click_registers_once(payer: Payer) -> None:
    """Everybody double-clicks."""
    asked = initiates(payer)
    await payer.opens()
    await payer.step.locator("[data-method=wallet_qr]").click()

    await payer.button.dblclick()

    await payer.sees("qr_code")
    assert len(asked) == 1
    assert await drafts(payer) == 1


async def test_a_lost_answer_is_asked_for_with_the_same_key(payer: Payer) -> None:
    """The PSP registered and we did not hear it: 202, waited out by the page."""
    await payer.world.fault("register", "reset_after_accept")
    asked = initiates(payer)
    await payer.opens()

    await payer.pays("card")

    await payer.sees("iframe")
    assert len(asked) > 1
    assert len({request.post_data for request in asked}) == 1
    assert await drafts(payer) == 1


async def test_the_back_button_after_a_redirect_offers_the_way_on_and_other_methods(payer: Payer) -> None:
    """Sent away again at once, a payer could never come back to choose something else."""
    await payer.opens()
    await payer.pays("vodafone_cash")
    await payer.page.wait_for_url(f"{payer.world.sandbox}/**")

    await payer.page.go_back()

    await payer.sees("redirect_url")
    assert await payer.button.get_attribute("href")
    await payer.link.click()
    await payer.sees("methods")


async def test_a_browser_that_keeps_nothing_pays_all_the_same(payer: Payer) -> None:
    """Where storage is closed to the page, the page remembers until it is gone."""
    await payer.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('closed') } })"
    )
    asked = initiates(payer)
    await payer.opens()
    async with payer.page.expect_response(f"**{INITIATE}") as answered:
        await payer.step.locator("[data-method=wallet_qr]").click()
        await payer.button.dblclick()
    await payer.sees("qr_code")

    await payer.world.act((await (await answered.value).json())["paymentDraftId"], "pay")

    await payer.sees("completed")
    assert len(asked) == 1


async def test_two_tabs_are_one_draft(payer: Payer) -> None:
    """A link opened twice, or a tab that was lost from sight."""
    await payer.opens(currency="EGP")
    other = await payer.context.new_page()
    payer.listen(other)
    await other.goto(payer.page.url)
    await payer.sees("methods", other)

    await payer.pays("wallet_qr")

    await payer.sees("qr_code")
    await payer.sees("qr_code", other)
    await payer.world.act(await payer.draft(), "pay")
    await payer.sees("completed")
    await payer.sees("completed", other)
    assert await drafts(payer) == 1


async def test_two_tabs_that_press_at_once_are_one_draft(payer: Payer) -> None:
    """Both have the key since they showed the methods, so both post it."""
    await payer.opens()
    other = await payer.context.new_page()
    payer.listen(other)
    await other.goto(payer.page.url)
    await payer.sees("methods", other)
    for page in (payer.page, other):
        await page.locator("[data-method=wallet_qr]").click()

    payer.expected.append("409")  # a request of the key still ran
    press = "document.querySelector('qirsh-checkout').start()"  # a real click would bring its tab to the front first
    await asyncio.gather(payer.page.evaluate(press), other.evaluate(press))

    await payer.sees("qr_code")
    await payer.sees("qr_code", other)
    assert await drafts(payer) == 1


async def test_offline_is_shown_as_offline_and_goes_on_by_itself(payer: Payer) -> None:
    """A train enters a tunnel; nothing was lost by it."""
    await payer.opens()
    await payer.pays("fawry")
    await payer.sees("reference_code")
    draft_id = await payer.draft()

    payer.expected.append("ERR_INTERNET_DISCONNECTED")
    await payer.context.set_offline(True)
    await expect(payer.element.get_by_text("You are offline").first).to_be_visible(timeout=MILLISECONDS)
    await payer.world.act(draft_id, "pay")
    await payer.context.set_offline(False)

    await payer.sees("completed")
    await expect(payer.page.locator(".notice")).to_be_hidden()


async def test_a_payment_begun_offline_is_made_when_the_network_is_back(payer: Payer) -> None:
    """The same request with the same key, as often as it takes."""
    await payer.opens()
    payer.expected.append("ERR_INTERNET_DISCONNECTED")
    await payer.context.set_offline(True)
    await payer.pays("wallet_qr")
    await expect(payer.element.get_by_text("You are offline").first).to_be_visible(timeout=MILLISECONDS)

    await payer.context.set_offline(False)

    await payer.sees("qr_code")
    assert await drafts(payer) == 1


async def test_nothing_is_asked_while_the_page_is_hidden(payer: Payer) -> None:
    """A tab that is forgotten for a day asks for nothing all day."""
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    draft_id = await payer.draft()
    ended = asyncio.Event()
    payer.page.on("requestfailed", lambda request: ended.set() if "/status/" in request.url else None)
    asked: list[str] = []

    await _hide(payer, hidden=True)
    await asyncio.wait_for(ended.wait(), 20)
    payer.page.on("request", lambda request: asked.append(request.url))
    await payer.world.act(draft_id, "pay")
    await payer.world.becomes(draft_id, "completed")
    assert asked == []
    await _hide(payer, hidden=False)

    await payer.sees("completed")


async def test_the_server_that_was_restarted_is_found_again(payer: Payer) -> None:
    """Answers that never come are asked for again, and the payer hears that nobody answers."""
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    draft_id = await payer.draft()
    payer.expected.append("ERR_FAILED")
    await payer.page.route("**/status/**", lambda route: route.abort())
    await _hide(payer, hidden=True)
    await _hide(payer, hidden=False)
    await expect(payer.element.get_by_text("No answer from the payment server").first).to_be_visible(
        timeout=MILLISECONDS
    )

    await payer.page.unroute("**/status/**")
    await payer.world.act(draft_id, "pay")

    await payer.sees("completed")


async def test_who_pays_again_begins_a_new_order(payer: Payer) -> None:
    """The next purchase of the same product is not the first one once more."""
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    first = await payer.entry()
    await payer.world.act(first["draft"], "pay")
    await payer.sees("completed")

    await payer.link.click()
    await payer.sees("methods")
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")

    second = await payer.entry()
    assert {first["key"], first["order"]}.isdisjoint({second["key"], second["order"]})
    assert await eventually(lambda: _told(payer, first["draft"]), "the announcement")


async def _told(payer: Payer, draft_id: str) -> bool:
    return bool(payer.world.shop.of(draft_id))


async def _hide(payer: Payer, *, hidden: bool) -> None:
    """What a browser tells a page whose tab is put away: a headless one shows all its tabs."""
    await payer.page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )
