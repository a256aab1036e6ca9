"""The element in rough hands: locales, phone numbers, clipboards, clocks, attributes and addresses as they come."""

import json
from typing import Final

import pytest
from playwright.async_api import Page, Route, expect

from browser.payer import WALLET, Counter, Payer
from browser.test_interruptions import INITIATE, drafts, initiates
from browser.test_rough_ground import changed
from world import eventually

SCRIPT: Final = '<script type="module" src="{api}/checkout/qirsh-checkout.js"></script>'
TAG: Final = '<qirsh-checkout product-id="tshirt" amount="300.00" currency="EGP" locale="en"></qirsh-checkout>'
LATIN: Final = {0x0660 + digit: str(digit) for digit in range(10)} | {0x066B: ".", 0x066C: ","}
"""What Arabic digits and separators are here."""
VISUAL: Final = """(element) => {
  const letters = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (let index = 0; index < node.length; index += 1) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + 1);
      const box = range.getBoundingClientRect();
      if (box.width) letters.push([box.left, node.data[index]]);
    }
  }
  return letters.sort((a, b) => a[0] - b[0]).map(([, letter]) => letter).join("").trim();
}"""
"""An element's letters as they stand from left to right."""


async def shops_page(payer: Payer, counter: Counter, name: str, body: str) -> None:
    """Open a page of the shop's own."""
    script = SCRIPT.format(api=counter.world.api)
    page = f"<!doctype html><meta charset=utf-8><title>Shop</title>{script}{body}"
    await payer.page.goto(counter.front.write(name, page))
    await payer.sees("methods")


@pytest.mark.parametrize("locale", ["ar_EG", "en_US", "en-", "ar_EG.UTF-8"])
async def test_a_locale_as_servers_write_it_is_understood(payer: Payer, locale: str) -> None:
    """PHP and Java write an underscore; a payment was begun, and nothing of it was shown."""
    asked = initiates(payer)
    await payer.opens(locale=locale)

    await payer.pays("mobile_wallet")

    await payer.sees("mobile_prompt")
    await expect(payer.step.locator(".clock bdi")).not_to_be_empty()
    assert await payer.page.locator("section").get_attribute("lang") == locale[:2]
    assert len(asked) == 1


async def test_a_code_that_was_not_copied_is_not_said_to_be(payer: Payer) -> None:
    """A frame of another origin may not write to the clipboard; what is selected, the payer can copy."""
    await payer.page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new DOMException('no'))")
    await payer.opens()
    await payer.pays("fawry")
    await payer.sees("reference_code")

    await payer.button.click()

    await expect(payer.button).to_have_text("Selected – copy it")
    code = (await payer.world.payment(await payer.draft()))["transaction_reference_id"]
    assert await payer.page.evaluate("getSelection().toString()") == code


@pytest.mark.parametrize(
    "written",
    [
        "\u202a+20 101 010 1010\u202c",
        "201010101010",
        "0101.010.1010",
        "0101\u2011010\u20111010",
        "(010) 1010 1010",
        "1010101010",
        "0020 10 10101010",
        "\u0660\u0661\u0660\u0661\u0660\u0661\u0660\u0661\u0660\u0661\u0660",
    ],
    ids=["contacts", "bare country", "dots", "hyphens", "brackets", "no zero", "zeros", "arabic"],
)
async def test_a_phone_number_is_taken_as_people_paste_it(payer: Payer, written: str) -> None:
    """Address books write marks that nobody sees."""
    asked = initiates(payer)
    await payer.opens()

    await payer.pays("mobile_wallet", phone=written)

    await payer.sees("mobile_prompt")
    assert json.loads(asked[0].post_data or "")["payer"] == {"phone": WALLET}


@pytest.mark.parametrize("written", ["0101010101", "010101010101", "01310101010", "+1 010 101 0101", "010+10101010"])
async def test_what_is_no_mobile_number_is_said_to_be_none_until_it_is_corrected(payer: Payer, written: str) -> None:
    """And not a moment longer."""
    await payer.opens()
    await payer.pays("mobile_wallet", phone=written)
    error = payer.step.locator("#phone-error")
    await expect(error).to_contain_text("Check the number")

    await payer.step.locator("#phone").fill(WALLET)

    await expect(error).to_be_empty()
    assert await payer.step.locator("#phone").get_attribute("aria-invalid") == "false"


async def test_an_element_that_is_taken_away_ticks_no_more(payer: Payer) -> None:
    """Pages that swap their parts for hours would count down for each."""
    await payer.page.clock.install()
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    clock = await payer.step.locator(".clock bdi").element_handle()
    await payer.page.clock.pause_at(await payer.page.evaluate("Date.now() + 2000"))
    ticking = await clock.text_content()
    await payer.page.clock.run_for(2_000)
    assert (stopped := await clock.text_content()) != ticking

    await payer.element.evaluate("element => element.remove()")
    await payer.page.clock.run_for(5_000)

    assert await clock.text_content() == stopped


async def test_start_presses_only_a_button_that_is_there(payer: Payer) -> None:
    """A shop's own button is pressed at any time; a second draft of what is under way, or paid, helps nobody."""
    asked = initiates(payer)
    await payer.opens()
    await payer.element.evaluate("element => element.start('gold_bars')")
    await payer.sees("methods")
    assert not asked
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    first = await payer.entry()

    await payer.element.evaluate("element => element.start('fawry')")
    await payer.sees("qr_code")
    await payer.world.act(first["draft"], "pay")
    await payer.sees("completed")
    await payer.element.evaluate("element => element.start()")
    await payer.sees("completed")

    assert len(asked) == 1
    assert (await payer.entry())["draft"] == first["draft"]


@pytest.mark.parametrize(
    ("locale", "currency", "amount", "seen"),
    [
        ("en", "EGP", "300.00", "EGP\xa0300.00"),
        ("en", "USD", "10.00", "$10.00"),
        ("en", "EUR", "10.00", "€10.00"),
        ("en", "KWD", "3.250", "KWD\xa03.250"),
        ("en", "JPY", "1500", "¥1,500"),
        # From left to right, so what is written in Arabic letters stands backwards.
        ("ar", "EGP", "300.00", ".م.ج\xa0300.00"),
        ("ar", "USD", "10.00", "US$\xa010.00"),
        ("ar", "EUR", "10.00", "€\xa010.00"),
        ("ar", "KWD", "3.250", ".ك.د\xa03.250"),
        ("ar", "JPY", "1500", "JP¥\xa01,500"),
    ],
)
async def test_money_is_read_as_it_is_written(
    payer: Payer, counter: Counter, locale: str, currency: str, amount: str, seen: str
) -> None:
    """The sign of a currency has a direction of its own, and was torn apart: $US."""
    payer.expected += ["404", "422"]
    query = f"product_id=tshirt&amount={amount}&currency={currency}&locale={locale}"
    await payer.page.goto(f"{counter.world.api}/pay?{query}")
    shown = payer.page.locator(".amount")
    await expect(shown).not_to_be_empty()

    read = str(await shown.evaluate(VISUAL)).replace(" ", "\xa0")
    assert read.translate(LATIN) == seen


async def test_an_attribute_that_changes_moves_nothing_and_loses_nothing(payer: Payer, counter: Counter) -> None:
    """A shop that switches its language at the top of the page does not throw the payer to the bottom."""
    await shops_page(payer, counter, "quiet.html", f"<p style='height: 4000px'>Shirts</p>{TAG}")
    await payer.step.locator("[data-method=mobile_wallet] input").evaluate("input => input.click()")
    await payer.step.locator("#phone").evaluate("(input) => (input.value = '0101010')")
    await payer.page.evaluate("scrollTo(0, 0)")

    await payer.element.evaluate("element => element.setAttribute('locale', 'ar')")
    await payer.step.get_by_text("كيف تود").first.wait_for(state="attached")
    await expect(payer.step.locator("#phone")).to_have_value("0101010")

    assert await payer.page.evaluate("scrollY") == 0
    assert await payer.step.locator("[data-method=mobile_wallet] input").is_checked()


async def test_focus_follows_the_steps_inside_of_a_shops_own_component(payer: Payer, counter: Counter) -> None:
    """The document sees no further than the outermost shadow root."""
    component = (
        "<shop-basket></shop-basket><script>customElements.define('shop-basket', class extends HTMLElement {"
        f" connectedCallback() {{ this.attachShadow({{ mode: 'open' }}).innerHTML = `{TAG}`; }} }})</script>"
    )
    await shops_page(payer, counter, "component.html", component)
    await payer.step.locator("[data-method=wallet_qr] input").focus()
    await payer.page.keyboard.press("Space")
    await payer.page.keyboard.press("Enter")

    await payer.sees("qr_code")

    focused = await payer.element.evaluate("element => element.shadowRoot.activeElement?.localName")
    assert focused == "h2"


@pytest.mark.parametrize("minutes", [-70, 70])
async def test_a_clock_that_is_wrong_does_not_say_that_time_is_up(payer: Payer, minutes: int) -> None:
    """Phones whose clock was set by hand are an hour wrong at every change of summer time."""
    await payer.page.add_init_script(
        f"{{ const now = Date.now; Date.now = () => now.call(Date) + {minutes} * 60_000; }}"
    )
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")

    left = (await payer.step.locator(".clock bdi").text_content() or "").split(":")

    status = (await payer.world.status(await payer.draft())).json()
    truth = await payer.page.evaluate(f"(new Date('{status['expiresAt']}') - Date.now()) / 1000 + {minutes} * 60")
    seconds = sum(int(part) * 60**power for power, part in enumerate(reversed(left)))
    assert seconds == pytest.approx(truth, abs=10)


async def test_days_are_counted_as_well(payer: Payer) -> None:
    """A cash code may be paid for days: its date, and how long that is."""
    for locale, words in (("en", "1 day"), ("ar", "يوم")):
        await payer.opens(locale=locale)
        await payer.pays("kiosk")
        await payer.sees("reference_code")
        await changed(payer, lambda body: body.update(expiresAt="2099-01-01T00:00:00Z"))
        await payer.page.reload()
        await payer.sees("reference_code")
        assert words.removeprefix("1 ") in await payer.step.locator(".clock").inner_text()
        assert await payer.step.locator(".clock + *, :has(+ .clock)").first.is_visible()
        await payer.element.evaluate("element => element.reset()")
        await payer.sees("methods")


async def test_a_choice_while_the_button_is_busy_leaves_it_busy(payer: Payer) -> None:
    """The spinner said that something was under way, and went."""
    await _held(payer)
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.button.locator(".spin").wait_for()

    await payer.step.locator("[data-method=fawry]").click()

    await expect(payer.button.locator(".spin")).to_be_visible()


async def test_a_code_is_taken_as_people_paste_it(payer: Payer, counter: Counter) -> None:
    """Messages write codes in groups; a field that is as long as the code cut the last digit off."""
    await payer.opens(counter.texting)
    await payer.pays("mobile_wallet")
    await payer.sees("otp_token")
    query = {"merchant_reference": await payer.draft()}
    (text,) = (await payer.world.client.get(f"{payer.world.sandbox}/textpay/texts", params=query)).json()

    await payer.step.locator("input").focus()
    await payer.page.keyboard.insert_text(f"{text['code'][:3]} {text['code'][3:]}")
    await payer.button.click()

    await payer.sees("completed")


async def test_an_address_of_another_visit_is_the_same_purchase(payer: Payer, counter: Counter) -> None:
    """Links in messages carry marks of where they were found; the key of a purchase does not depend on them."""
    asked = initiates(payer)
    await shops_page(payer, counter, "utm.html", TAG)
    other = await payer.context.new_page()
    payer.listen(other)
    await other.goto(f"{payer.page.url}?utm_source=mail")
    await payer.sees("methods", other)
    press = "document.querySelector('qirsh-checkout').start('wallet_qr')"
    payer.expected.append("409")  # a request of the key still ran
    await _held(payer)

    await payer.page.evaluate(press)
    await eventually(lambda: _has_request(other), "the other tab to know of the request")
    await other.evaluate(press)

    await payer.sees("qr_code")
    await payer.sees("qr_code", other)
    assert len({request.post_data for request in asked}) == 1
    assert await drafts(payer) == 1


async def test_an_address_that_is_too_long_to_come_back_to_is_left_out(payer: Payer, counter: Counter) -> None:
    """The server takes 2,000 characters; a payment is worth more than the way back."""
    asked = initiates(payer)
    page = counter.front.write(
        "long.html", f"<!doctype html><title>Shop</title>{SCRIPT.format(api=counter.world.api)}{TAG}"
    )
    await payer.page.goto(f"{page}?utm={'x' * 2000}")
    await payer.sees("methods")

    await payer.pays("wallet_qr")

    await payer.sees("qr_code")
    assert "return_url" not in json.loads(asked[0].post_data or "")


async def _has_request(page: Page) -> bool:
    return "idempotency_key" in str(await page.evaluate("JSON.stringify({ ...localStorage })"))


async def _held(payer: Payer) -> None:
    """Nobody answers an initiate."""

    async def held(_: Route) -> None:
        """Nothing."""

    await payer.page.route(f"**{INITIATE}", held)
