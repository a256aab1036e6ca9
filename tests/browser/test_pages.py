"""The element on a shop's own page, and our pages that hold it: who may frame them, and what they tell whom."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, expect

from browser.payer import MILLISECONDS, Counter, Payer
from world import eventually

README: Final = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
HEAR: Final = """<script>
  const heard = [];
  for (const name of ["qirsh-action", "qirsh-completed", "qirsh-failed"]) {
    document.addEventListener(name, (event) => heard.push([name, event.detail]));
  }
</script>"""


def two_lines(api: str) -> str:
    """What the README tells a shop to put into its page."""
    (lines,) = re.findall(r"```html\n(<script.*?)```", README, re.DOTALL)
    assert len(lines.strip().splitlines()) == 2
    return str(lines).replace("https://pay.example", api)


async def heard(payer: Payer) -> list[tuple[str, dict[str, Any]]]:
    """The events that the page around the element got."""
    return [(name, detail) for name, detail in await payer.page.evaluate("heard")]


async def test_a_static_page_of_another_origin_takes_a_payment_with_the_readmes_two_lines(
    payer: Payer, counter: Counter
) -> None:
    """The promise to a shop: a script and a tag."""
    page = counter.front.write("static.html", f"<!doctype html><title>Shop</title>{HEAR}{two_lines(counter.world.api)}")
    requested: list[str] = []
    payer.page.on("request", lambda request: requested.append(request.url))
    await payer.page.goto(page)
    await payer.sees("methods")
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    draft_id = await payer.draft()

    await payer.at_fawry("pay")

    await payer.sees("completed")
    assert [name for name, _ in await heard(payer)] == ["qirsh-action", "qirsh-completed"]
    assert {detail["paymentDraftId"] for _, detail in await heard(payer)} == {draft_id}
    hosts = {re.sub(r"(?<=\d)/.*", "", url) for url in requested if not url.startswith("data:")}
    assert hosts == {counter.front.url, counter.world.api}, "nobody else hears that somebody pays"


async def test_who_was_sent_away_comes_back_to_the_shops_own_page(payer: Payer, counter: Counter) -> None:
    """Without a return-url the page itself is where the payer belongs."""
    page = counter.front.write("away.html", f"<!doctype html><title>Shop</title>{two_lines(counter.world.api)}")
    await payer.page.goto(f"{page}?basket=7")
    await payer.sees("methods")
    await payer.pays("vodafone_cash")

    await payer.at_the_psp("pay")

    await payer.page.wait_for_url(f"{page}?basket=7")
    await payer.sees("completed")


async def test_a_frame_that_comes_back_to_the_shops_page_is_not_a_shop_in_a_shop(
    payer: Payer, counter: Counter
) -> None:
    """The PSP sends the frame to the return address: the page around it goes on instead."""
    page = counter.front.write("framed.html", f"<!doctype html><title>Shop</title>{two_lines(counter.world.api)}")
    await payer.page.goto(page)
    await payer.sees("methods")
    await payer.pays("card")
    await payer.sees("iframe")

    await payer.frame.locator("button[value=pay]").click()

    await payer.sees("completed")
    assert await payer.page.locator("iframe").count() == 0


async def test_the_element_obeys_start_and_reset_and_its_attributes(payer: Payer, counter: Counter) -> None:
    """A shop with a button of its own presses ours through it, and begins again."""
    api = counter.world.api
    tag = '<qirsh-checkout product-id="tshirt" locale="ar" order-reference="A-77"></qirsh-checkout>'
    script = f'<script type="module" src="{api}/checkout/qirsh-checkout.js"></script>'
    page = counter.front.write("own.html", f"<!doctype html><meta charset=utf-8><title>Shop</title>{HEAR}{script}{tag}")
    await payer.page.goto(page)
    await payer.sees("methods")

    await payer.element.evaluate("element => element.start('wallet_qr')")
    await payer.sees("qr_code")
    draft_id = await payer.draft()
    assert (await counter.world.payment(draft_id))["order_reference"] == "A-77"
    await payer.element.evaluate("element => element.setAttribute('locale', 'en')")
    await payer.page.get_by_text("Scan to pay").wait_for(timeout=MILLISECONDS)
    await payer.element.evaluate("element => element.reset()")
    await payer.sees("methods")

    assert "draft" not in await payer.entry()


async def test_a_price_that_is_not_the_catalogues_is_said_politely(payer: Payer) -> None:
    """A stale page, or a tampered one: nothing is begun, and the payer knows what to do."""
    payer.expected += ["409", "price_mismatch"]
    await payer.opens(amount="1.00")
    await payer.pays("wallet_qr")

    await payer.sees("dead_end")

    assert "price has changed" in await payer.says()
    assert "draft" not in await payer.entry()


async def test_the_shops_page_hears_of_what_could_not_be_begun(payer: Payer, counter: Counter) -> None:
    """It may have something better to say than we have."""
    payer.expected += ["409", "price_mismatch"]
    lines = two_lines(counter.world.api).replace("300.00", "1.00")
    await payer.page.goto(counter.front.write("stale.html", f"<!doctype html><title>Shop</title>{HEAR}{lines}"))
    await payer.sees("methods")

    await payer.pays("wallet_qr")

    await payer.sees("dead_end")
    assert await heard(payer) == [("qirsh-failed", {"paymentDraftId": None, "reason": "price_mismatch"})]


async def test_a_page_that_says_too_little_is_told_so(payer: Payer, counter: Counter) -> None:
    """An amount without its currency is no price."""
    payer.expected.append("product-id")
    tag = '<qirsh-checkout product-id="tshirt" amount="300.00" locale="en"></qirsh-checkout>'
    script = f'<script type="module" src="{counter.world.api}/checkout/qirsh-checkout.js"></script>'
    await payer.page.goto(counter.front.write("half.html", f"<!doctype html><title>Shop</title>{script}{tag}"))

    await payer.sees("dead_end")

    assert "tell the shop" in await payer.says()
    assert any("currency" in one for one in payer.complaints)


async def test_a_payment_that_was_begun_elsewhere_is_followed_at_its_own_page(payer: Payer, counter: Counter) -> None:
    """Where we send payers on after a PSP's return, where the shop named no address."""
    answer = await counter.world.initiate(payment_method="fawry")
    draft_id = answer.json()["paymentDraftId"]
    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")
    await payer.sees("reference_code")

    await counter.world.act(draft_id, "pay")

    await payer.sees("completed")
    await expect(payer.link).to_have_count(0)


async def test_a_payment_that_is_none_is_said_politely(payer: Payer, counter: Counter) -> None:
    """A link that was cut short in a message."""
    payer.expected.append("404")
    await payer.page.goto(f"{counter.world.api}/pay/01a2?locale=en")
    await payer.sees("dead_end")
    assert "not found" in await payer.says()


async def test_the_code_is_copied_exactly_and_can_be_printed(payer: Payer) -> None:
    """Shown in groups, and one number all the same."""
    await payer.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await payer.opens(locale="ar")
    await payer.pays("fawry")
    await payer.sees("reference_code")
    code = (await payer.world.payment(await payer.draft()))["transaction_reference_id"]

    await payer.button.click()

    assert await payer.page.evaluate("navigator.clipboard.readText()") == code
    shown = payer.step.locator("output")
    assert await shown.evaluate("(one) => (getSelection().selectAllChildren(one), getSelection().toString())") == code


async def test_a_code_is_printed_by_itself_under_the_products_name(payer: Payer, counter: Counter) -> None:
    """From a shop's page too, where nothing of ours is remembered; paper does not change by itself."""
    lines = two_lines(counter.world.api)
    await payer.context.add_init_script("window.printed = 0; window.print = () => (window.printed += 1)")
    await payer.page.goto(counter.front.write("print.html", f"<!doctype html><title>Shop</title>{lines}"))
    await payer.sees("methods")
    await payer.pays("fawry")
    await payer.sees("reference_code")
    code = (await payer.world.payment(await payer.draft()))["transaction_reference_id"]

    async with payer.context.expect_page() as opened:
        await payer.step.locator("a.link").click()
    sheet = await opened.value
    await payer.sees("reference_code", sheet)
    assert await eventually(lambda: sheet.evaluate("window.printed"), "the sheet to be printed")

    await sheet.emulate_media(media="print")
    await expect(sheet.locator(".product")).to_have_text("T-shirt")
    shown = (await sheet.locator(".card").inner_text()).replace("\n", "")
    assert code in shown
    assert "Pay before" in shown
    for word in ("changes by itself", "Time left", "Copy", "Print", "Choose"):
        assert word not in shown
    assert await sheet.evaluate("window.printed") == 1
    assert await payer.page.evaluate("window.printed") == 0


@pytest.mark.parametrize("path", ["/pay?product_id=tshirt", "/pay/01a2"])
async def test_our_pages_run_no_script_of_others_and_tell_nobody_where_the_payer_was(
    counter: Counter, path: str
) -> None:
    """Headers are the part of a page that reviews forget."""
    answer = await counter.world.client.get(counter.world.api + path)

    policy = answer.headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert "unsafe" not in policy
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == ["'self'", counter.front.url]
    assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
    assert "<script>" not in answer.text
    assert "style=" not in answer.text


async def test_only_the_shops_pages_may_frame_a_payment(payer: Payer, counter: Counter) -> None:
    """A frame around a pay button is how clicks are stolen."""
    link = f"{counter.world.api}/pay?product_id=tshirt&currency=EGP&locale=en"
    page = counter.front.write("frames.html", f'<!doctype html><title>Shop</title><iframe src="{link}"></iframe>')

    await payer.page.goto(page)
    await payer.page.frame_locator("iframe").locator("form[data-face=methods]").wait_for(timeout=MILLISECONDS)

    payer.expected.append("frame-ancestors")
    await payer.page.goto(page.replace("127.0.0.1", "localhost"))  # another origin, which is not the shop's
    assert await eventually(lambda: _refused(payer), "the browser refuses the frame")


async def test_a_payment_is_made_with_the_keyboard_alone(payer: Payer) -> None:
    """Arrows choose, Tab goes on, Enter pays; focus follows the steps."""
    await payer.opens()
    keyboard = payer.page.keyboard
    await keyboard.press("Tab")
    await _reach(payer, "wallet_qr")
    await keyboard.press("Enter")
    await payer.sees("qr_code")
    assert await _focused(payer) == "h2"
    draft_id = await payer.draft()
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await payer.sees("methods")
    assert await _focused(payer) == "h2"

    await keyboard.press("Tab")
    await _reach(payer, "mobile_wallet")
    await keyboard.press("Tab")
    await keyboard.type("01010101010")
    await keyboard.press("Enter")

    await payer.sees("mobile_prompt")
    assert await payer.draft() != draft_id
    await payer.at_fawry("pay")
    await payer.sees("completed")
    assert await _focused(payer) == "h2"


async def test_the_element_takes_no_focus_from_the_shops_page(payer: Payer, counter: Counter) -> None:
    """Somebody is writing an address beside it."""
    lines = two_lines(counter.world.api)
    page = counter.front.write("focus.html", f"<!doctype html><title>Shop</title><input id=mine>{lines}")
    await payer.page.goto(page)
    await payer.sees("methods")
    await payer.page.locator("#mine").focus()

    await payer.element.evaluate("element => element.start('wallet_qr')")
    await payer.sees("qr_code")

    assert await payer.page.evaluate("document.activeElement.id") == "mine"
    await expect(payer.page.locator(".unseen[role=status]")).to_have_text("Scan to pay")


async def test_a_payer_who_wants_less_motion_gets_less(counter: Counter, chromium: Browser) -> None:
    """A spinner is the only thing that moves."""
    async with counter.payer(chromium, reduced_motion="reduce") as payer:
        await payer.opens()
        await payer.pays("mobile_wallet")
        await payer.sees("mobile_prompt")
        duration = await payer.step.locator(".spin").evaluate(
            "one => parseFloat(getComputedStyle(one).animationDuration)"
        )
        assert duration > 5


async def test_the_methods_fit_the_narrowest_phone(counter: Counter, chromium: Browser) -> None:
    """320 px: what WCAG asks of every page."""
    async with counter.payer(chromium, viewport={"width": 320, "height": 568}) as payer:
        for locale in ("ar", "en"):
            await payer.opens(locale=locale)
            assert await payer.page.evaluate("document.scrollingElement.scrollWidth") == 320
            await expect(payer.button).to_be_in_viewport()
            radius = await payer.page.locator(".card").evaluate("card => getComputedStyle(card).borderRadius")
            assert radius == "0px", "the card is the page"


async def _reach(payer: Payer, method: str) -> None:
    """Arrow down to a method."""
    offered = await payer.step.locator("[data-method]").count()
    for _ in range(offered):
        if await payer.step.locator(f"[data-method={method}] input").is_checked():
            return
        await payer.page.keyboard.press("ArrowDown")
    raise AssertionError(f"{method} cannot be reached")


async def _focused(payer: Payer) -> str:
    return str(await payer.element.evaluate("element => element.shadowRoot.activeElement?.localName"))


async def _refused(payer: Payer) -> bool:
    return any("frame-ancestors" in one for one in payer.complaints)
