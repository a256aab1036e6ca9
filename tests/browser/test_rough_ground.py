"""What no shop and no payer chose: refusals, slow providers, odd servers, odd locales, clocks and clipboards."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from playwright.async_api import Route, expect

from browser.payer import MILLISECONDS, WALLET, Counter, Payer
from browser.test_interruptions import INITIATE, drafts, initiates

Answer = Callable[[Route], Awaitable[None]]

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


def problem(status: int, code: str | None, retry: str = "same_key") -> Answer:
    """Answer so, in the server's place."""
    body = {"message": "no"} if code is None else {"code": code, "retry": retry, "status": status, "detail": "no"}

    async def answer(route: Route) -> None:
        await route.fulfill(status=status, json=body, headers={"Retry-After": "1"})

    return answer


async def shops_page(payer: Payer, counter: Counter, name: str, body: str) -> None:
    """Open a page of the shop's own."""
    script = SCRIPT.format(api=counter.world.api)
    page = f"<!doctype html><meta charset=utf-8><title>Shop</title>{script}{body}"
    await payer.page.goto(counter.front.write(name, page))
    await payer.sees("methods")


async def at_the_clock(payer: Payer, method: str, **query: str) -> None:
    """Pay on a page whose clock the test moves."""
    await payer.page.clock.install()
    await payer.opens(**query)
    await payer.pays(method)


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


async def test_what_cannot_be_drawn_is_said_and_the_payment_is_followed(payer: Payer) -> None:
    """An exception in the middle of a face left a spinner for good, and a payment that nobody watched."""

    async def odd(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        if body.get("actionData"):
            body["actionData"]["code"] = 123
        await route.fulfill(response=answer, json=body)

    await payer.page.route(f"**{INITIATE}", odd)
    await payer.page.route("**/api/payments/status/**", odd)
    payer.expected.append("is not a function")
    await payer.opens()
    await payer.pays("fawry")
    await payer.sees("unknown_action")
    assert "cannot be shown" in await payer.says()

    await payer.world.act(await payer.draft(), "pay")

    await payer.sees("completed")
    assert await payer.page.locator(".notice").is_hidden()


@pytest.mark.parametrize("times", [2, 3])
async def test_each_decline_in_the_frame_is_shown_though_it_is_the_same_again(payer: Payer, times: int) -> None:
    """Who is declined twice for one reason read "Checking your payment" until the end of the draft."""
    await payer.opens()
    await payer.pays("card")
    await payer.sees("iframe")
    for _ in range(times):
        await payer.frame.locator("button[value=decline]").click()
        await payer.sees("declined")
        await payer.button.click()
        await payer.sees("iframe")

    await payer.frame.locator("button[value=pay]").click()
    await payer.sees("completed")
    assert await drafts(payer) == 1


async def test_a_declined_payment_that_was_begun_elsewhere_offers_nothing_that_is_dead(
    payer: Payer, counter: Counter
) -> None:
    """Its page does not know what was asked, so it cannot ask again; the provider's page may take another try."""
    wallet: dict[str, Any] = {"payment_method": "vodafone_cash", "payer": {"phone": WALLET}}
    draft_id = (await counter.world.initiate(**wallet)).json()["paymentDraftId"]
    await counter.world.act(draft_id, "decline")

    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")
    await payer.sees("declined")

    assert (await payer.button.get_attribute("href") or "").startswith(counter.world.sandbox)
    await expect(payer.link).to_have_count(0)
    assert await payer.entry() == {}


async def test_a_declined_card_that_was_begun_elsewhere_is_tried_again_in_its_frame(
    payer: Payer, counter: Counter
) -> None:
    """The draft takes another try, whoever began it."""
    draft_id = (await counter.world.initiate()).json()["paymentDraftId"]
    await counter.world.act(draft_id, "decline")
    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")
    await payer.sees("declined")

    await payer.button.click()
    await payer.sees("iframe")
    await payer.frame.locator("button[value=pay]").click()

    await payer.sees("completed")


async def test_a_failed_payment_that_was_begun_elsewhere_has_no_button(payer: Payer, counter: Counter) -> None:
    """Nothing can be done about it on that page."""
    draft_id = (await counter.world.initiate(payment_method="wallet_qr")).json()["paymentDraftId"]
    await counter.world.act(draft_id, "decline")

    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")

    await payer.sees("failed")
    await expect(payer.step.locator("button")).to_have_count(0)


@pytest.mark.parametrize(("status", "code"), [(429, "too_many_requests"), (503, "gateway_unavailable")])
async def test_what_was_refused_is_not_posted_again_by_a_page_that_is_opened_later(
    payer: Payer, status: int, code: str
) -> None:
    """Who comes back after an hour has asked for nothing; who presses again asks with the same key."""
    payer.expected.append(str(status))
    asked = initiates(payer)
    await payer.page.route(f"**{INITIATE}", problem(status, code))
    await payer.opens()
    await payer.pays("vodafone_cash")
    await payer.step.get_by_role("alert").first.wait_for()
    await payer.page.unroute(f"**{INITIATE}")
    before = len(asked)

    await payer.page.reload()
    await payer.sees("methods")
    await payer.page.wait_for_load_state("networkidle")
    assert len(asked) == before

    await payer.pays("vodafone_cash")
    await payer.page.wait_for_url(f"{payer.world.sandbox}/**")
    assert len({request.post_data for request in asked}) == 1


async def _pressed_and_unanswered(payer: Payer, method: str) -> None:
    """Press the button; the server hears it, and its answer is lost."""
    gone = asyncio.Event()

    async def lost(route: Route) -> None:
        if gone.is_set():
            await route.continue_()
            return
        await route.fetch()
        gone.set()

    await payer.page.route(f"**{INITIATE}", lost)
    await payer.opens()
    await payer.pays(method)
    await asyncio.wait_for(gone.wait(), 20)


async def test_a_page_that_is_only_loaded_sends_nobody_away(payer: Payer) -> None:
    """It asks what became of the try before; where to go on is the payer's to press."""
    await _pressed_and_unanswered(payer, "vodafone_cash")

    await payer.page.reload()

    await payer.sees("redirect_url")
    assert payer.page.url.startswith(payer.world.api)
    assert await drafts(payer) == 1


async def test_what_was_never_answered_is_posted_by_itself_for_some_minutes_alone(payer: Payer) -> None:
    """A tab that is restored the day after does not begin yesterday's payment."""
    asked = initiates(payer)
    await _pressed_and_unanswered(payer, "wallet_qr")
    await payer.page.evaluate(
        "for (const [name, text] of Object.entries(localStorage))"
        " localStorage.setItem(name, JSON.stringify({ ...JSON.parse(text), asked: Date.now() - 600_000 }))"
    )

    await payer.page.reload()
    await payer.sees("methods")
    await payer.page.wait_for_load_state("networkidle")
    assert len(asked) == 1

    await payer.pays("wallet_qr")
    await payer.sees("qr_code")
    assert await drafts(payer) == 1


async def test_a_provider_that_is_slow_is_said_to_be_and_has_a_way_out(payer: Payer) -> None:
    """A 202 may last for two days."""

    async def later(route: Route) -> None:
        body = {"paymentDraftId": None, "paymentAction": None, "actionData": None, "expiresAt": None}
        await route.fulfill(status=202, json=body, headers={"Retry-After": "2"})

    await payer.page.route(f"**{INITIATE}", later)
    await at_the_clock(payer, "wallet_qr")
    await payer.page.clock.fast_forward(2_000)
    await payer.sees("asking")
    await expect(payer.link).to_have_count(0)
    first = await payer.entry()

    await payer.page.clock.fast_forward(21_000)
    await expect(payer.step.get_by_text("provider is slow")).to_be_visible(timeout=MILLISECONDS)
    await payer.page.unroute(f"**{INITIATE}")
    await payer.link.click()
    await payer.sees("methods")
    await payer.pays("fawry")

    await payer.sees("reference_code")
    assert (await payer.entry())["key"] != first["key"]


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


async def test_two_tabs_with_two_methods_do_not_take_each_others_key(payer: Payer) -> None:
    """The answer to the first would be kept as the draft of the second's request."""
    held = asyncio.Event()
    await payer.opens()
    other = await payer.context.new_page()
    payer.listen(other)
    await other.goto(payer.page.url)
    await payer.sees("methods", other)

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        await asyncio.wait_for(held.wait(), 20)
        await route.fulfill(response=answer)

    async def also_hold(route: Route) -> None:
        await asyncio.sleep(1.5)
        await route.continue_()

    await payer.page.route(f"**{INITIATE}", hold)
    await other.route(f"**{INITIATE}", also_hold)
    await payer.page.evaluate("document.querySelector('qirsh-checkout').start('wallet_qr')")
    first = await payer.entry()
    await other.evaluate("document.querySelector('qirsh-checkout').start('fawry')")
    second = await payer.entry()
    assert second["key"] != first["key"]
    held.set()
    await payer.sees("qr_code")

    kept = await payer.entry()
    assert kept["key"] == second["key"]
    assert kept["request"]["payment_method"] == "fawry"
    assert "draft" not in kept
    await payer.sees("reference_code", other)


async def test_trouble_that_is_not_ours_counts_as_no_answer(payer: Payer) -> None:
    """A balancer's JSON has no code; it left a spinner for good."""
    payer.expected.append("502")
    await payer.page.route(f"**{INITIATE}", problem(502, None))
    await payer.opens()
    await payer.pays("wallet_qr")
    await expect(payer.element.get_by_text("No answer from the payment server").first).to_be_visible(
        timeout=MILLISECONDS
    )

    await payer.page.unroute(f"**{INITIATE}")

    await payer.sees("qr_code")
    assert await drafts(payer) == 1


async def test_a_refusal_that_is_not_ours_is_told(payer: Payer) -> None:
    """Whatever a firewall says, something can be tried."""
    payer.expected.append("403")
    await payer.page.route(f"**{INITIATE}", problem(403, None))
    await payer.opens()

    await payer.pays("wallet_qr")

    await expect(payer.step.get_by_role("alert").first).to_contain_text("Something went wrong")


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
        await _changed(payer, lambda body: body.update(expiresAt="2099-01-01T00:00:00Z"))
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


async def test_a_button_that_was_busy_works_again_after_a_refusal(payer: Payer) -> None:
    """And says so to screen readers."""
    payer.expected.append("429")
    await payer.page.route(f"**{INITIATE}", problem(429, "too_many_requests"))
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.step.get_by_role("alert").first.wait_for()

    assert await payer.button.get_attribute("aria-disabled") != "true"
    await expect(payer.button.locator(".spin")).to_have_count(0)


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


@pytest.mark.parametrize(
    ("reason", "taken"), [("never_registered", False), ("expired", False), ("card_declined", True)]
)
async def test_nobody_is_promised_what_nobody_knows(
    payer: Payer,
    counter: Counter,
    reason: str,
    taken: bool,  # noqa: FBT001  a parameter
) -> None:
    """Of a payment that was never answered it is not known whether money was taken."""
    draft_id = (await counter.world.initiate(payment_method="wallet_qr")).json()["paymentDraftId"]
    await counter.world.act(draft_id, "decline")
    await counter.world.becomes(draft_id, "failed")
    await _changed(payer, lambda body: body.update(reason=reason))

    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")

    await payer.step.locator("h2").wait_for()
    await expect(payer.step.locator(".quiet").first).to_be_visible()
    await payer.sees("expired" if reason == "expired" else "failed")
    assert ("No money was taken" in await payer.says()) is taken


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

    await asyncio.gather(payer.page.evaluate(press), other.evaluate(press))

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


async def _changed(payer: Payer, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the status says."""

    async def changed(route: Route) -> None:
        answer = await route.fetch()
        if answer.status != 200:
            await route.fulfill(response=answer)
            return
        body = await answer.json()
        change(body)
        await route.fulfill(response=answer, json=body)

    await payer.page.route("**/api/payments/status/**", changed)


async def _held(payer: Payer) -> None:
    """Nobody answers an initiate."""

    async def held(_: Route) -> None:
        """Nothing."""

    await payer.page.route(f"**{INITIATE}", held)
