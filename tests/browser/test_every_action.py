"""Every payment action in both languages, from the methods to its final face, through the sandbox's own pages."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from playwright.async_api import Route, expect

from browser.payer import Counter, Payer
from world import eventually

Act = Callable[[Payer], Awaitable[None]]

LOCALES: Final = ["en", "ar"]
METHODS: Final = {
    "card": "iframe",
    "vodafone_cash": "redirect_url",
    "paypal": "redirect_url",
    "wallet_qr": "qr_code",
    "fawry": "reference_code",
    "kiosk": "reference_code",
    "mobile_wallet": "mobile_prompt",
    "texted": "otp_token",
}
"""What each shows: `texted` is a wallet at the second server."""
ABROAD: Final = {"card": "pay", "apple_pay": "apple_pay", "google_pay": "google_pay"}
"""What is paid in dollars on Stripe's page, and by which button there."""
WORDS: Final = {
    "declined": {"en": "declined the payment", "ar": "رفض البنك أو المحفظة"},
    "expired": {"en": "Time is up", "ar": "انتهى الوقت"},
    "unknown": {"en": "cannot be shown", "ar": "لا يمكن عرض"},
}


async def _in_the_frame(payer: Payer) -> None:
    await payer.frame.locator("button[value=pay]").click()


async def _at_the_kiosk(payer: Payer) -> None:
    await payer.world.act(await payer.draft(), "pay")


PAID: Final[dict[str, Act]] = {
    "card": _in_the_frame,
    "vodafone_cash": lambda payer: payer.at_the_psp("pay"),
    "paypal": lambda payer: payer.at_the_psp("approve"),
    "wallet_qr": lambda payer: payer.at_fawry("pay"),
    "fawry": lambda payer: payer.at_fawry("pay"),
    "kiosk": _at_the_kiosk,
    "mobile_wallet": lambda payer: payer.at_fawry("pay"),
    "texted": lambda payer: payer.types_the_code(),
}


async def begins(payer: Payer, counter: Counter, method: str, **query: str) -> None:
    """Open the link, choose and press the button; then the action is there."""
    api, asked = (counter.texting, "mobile_wallet") if method == "texted" else ("", method)
    await payer.opens(api, currency="USD" if method == "paypal" else "EGP", **query)
    await payer.pays(asked)
    if METHODS[method] != "redirect_url":
        await payer.sees(METHODS[method])


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("method", METHODS)
async def test_each_action_ends_at_the_successful_face_and_the_shop_hears_of_it(
    payer: Payer, counter: Counter, method: str, locale: str
) -> None:
    """The promise of the element: whatever the payer must do, it leads there and is told there."""
    await begins(payer, counter, method, locale=locale)

    await PAID[method](payer)

    await payer.sees("completed")
    assert {"en": "Payment successful", "ar": "تم الدفع بنجاح"}[locale] in await payer.says()
    draft_id = await payer.draft()
    assert await payer.world.state(draft_id) == "completed"
    await eventually(lambda: _announced(payer, draft_id), "the announcement")
    assert "request" not in await payer.entry(), "the payer's phone has no more use"


@pytest.mark.parametrize("locale", LOCALES)
async def test_a_declined_card_may_be_tried_again_in_the_frame(payer: Payer, counter: Counter, locale: str) -> None:
    """The same draft: Paymob's payment key is good for another try, and nothing is registered anew."""
    await begins(payer, counter, "card", locale=locale)
    draft_id = await payer.draft()
    await payer.frame.locator("button[value=decline]").click()
    await payer.sees("declined")
    assert WORDS["declined"][locale] in await payer.says()

    await payer.button.click()
    await payer.sees("iframe")
    await payer.frame.locator("button[value=pay]").click()

    await payer.sees("completed")
    assert await payer.draft() == draft_id


async def test_a_frame_that_shows_nothing_has_a_way_out(payer: Payer, counter: Counter) -> None:
    """A PSP may refuse to be framed, and no page can see that: the payer can."""
    payer.expected += ["X-Frame-Options", "chrome-error", "ERR_BLOCKED_BY_RESPONSE"]

    async def refused(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, headers={**answer.headers, "x-frame-options": "DENY"})

    await payer.page.route(f"{payer.world.sandbox}/api/acceptance/iframes/**", refused)
    await begins(payer, counter, "card")
    draft_id = await payer.draft()
    assert await eventually(lambda: _is_refused(payer), "the browser refuses the frame")
    await expect(payer.frame.locator("button[value=pay]")).to_have_count(0)
    await payer.page.unroute(f"{payer.world.sandbox}/api/acceptance/iframes/**")

    await payer.step.locator("a.link").click()
    await payer.at_the_psp("pay")

    await payer.sees("completed")
    assert await payer.draft() == draft_id


async def test_a_declined_wallet_is_tried_again_as_a_new_draft_of_the_same_order(
    payer: Payer, counter: Counter
) -> None:
    """Paymob's wallet page is over after one try, so the same address again would be a dead end."""
    await begins(payer, counter, "vodafone_cash")
    await payer.at_the_psp("cancel")
    await payer.sees("declined")
    first = await payer.entry()

    await payer.button.click()
    await payer.at_the_psp("pay")

    await payer.sees("completed")
    second = await payer.entry()
    assert second["draft"] != first["draft"]
    assert second["order"] == first["order"]
    assert second["key"] != first["key"]


async def test_the_try_before_is_followed_no_more(payer: Payer, counter: Counter) -> None:
    """Its end would be drawn over the payment that goes on."""
    await begins(payer, counter, "vodafone_cash")
    await payer.at_the_psp("cancel")
    await payer.sees("declined")
    first = await payer.draft()
    await payer.page.route("**/api/payments/initiate", lambda route: route.abort())
    payer.expected.append("ERR_FAILED")
    asked: list[str] = []

    await payer.button.click()
    await payer.sees("asking")
    payer.page.on("request", lambda request: asked.append(request.url))
    await payer.page.wait_for_event("requestfailed", lambda request: request.url.endswith("/initiate"))
    await payer.page.wait_for_event("requestfailed", lambda request: request.url.endswith("/initiate"))

    assert not [url for url in asked if first in url]


async def test_another_method_is_another_key_for_the_same_order(payer: Payer, counter: Counter) -> None:
    """The first draft stays payable at a shop; were both paid, the order tells that one is too many."""
    await begins(payer, counter, "fawry")
    first = await payer.entry()

    await payer.link.click()
    await payer.sees("methods")
    await payer.pays("wallet_qr")
    await payer.sees("qr_code")

    second = await payer.entry()
    assert second["order"] == first["order"]
    assert second["key"] != first["key"]
    orders = {(await payer.world.payment(one["draft"]))["order_reference"] for one in (first, second)}
    assert orders == {first["order"]}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    ("method", "act", "face", "words"),
    [
        ("fawry", "expire", "expired", "expired"),
        ("wallet_qr", "decline", "failed", "declined"),
        ("mobile_wallet", "decline", "failed", "declined"),
    ],
)
async def test_what_is_not_paid_ends_with_a_reason_and_a_way_on(
    payer: Payer, counter: Counter, method: str, act: str, face: str, words: str, locale: str
) -> None:
    """A payer who reads only "failed" pays nothing more here; a reload tells the same."""
    await begins(payer, counter, method, locale=locale)

    await payer.at_fawry(act)

    await payer.sees(face)
    assert WORDS[words][locale] in await payer.says()
    await payer.page.reload()
    await payer.sees(face)
    await payer.button.click()
    await payer.sees("methods")


async def test_a_refused_wallet_says_why_and_the_next_try_has_a_new_key(payer: Payer, counter: Counter) -> None:
    """402: the same key would only hear the same."""
    payer.expected.append("402")
    await payer.opens(counter.texting)
    await payer.pays("mobile_wallet", phone="01000000003")
    await payer.sees("failed")
    assert "no wallet" in await payer.says()
    before = await payer.entry()

    await payer.button.click()
    await payer.sees("methods")
    await payer.pays("mobile_wallet")

    await payer.sees("otp_token")
    assert (await payer.entry())["key"] != before["key"]


async def test_a_wrong_code_may_be_typed_again(payer: Payer, counter: Counter) -> None:
    """People mistype; the page says how often they still may, and keeps the field."""
    payer.expected.append("422")
    await begins(payer, counter, "texted")
    await payer.step.locator("input").fill(6 * chr(0x0660))  # what an Arabic keyboard types
    await payer.button.click()
    await payer.step.get_by_text("Tries left").wait_for()
    assert "4" in await payer.says()

    await payer.types_the_code()

    await payer.sees("completed")


@pytest.mark.parametrize("locale", LOCALES)
async def test_an_action_of_a_newer_server_is_a_polite_dead_end(payer: Payer, locale: str) -> None:
    """Shops do not reload their payers' pages when a server learns something new."""

    async def renamed(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace('"qr_code"', '"fly_to_cairo"'))

    await payer.page.route("**/api/payments/initiate", renamed)
    await payer.page.route("**/api/payments/status/**", renamed)
    await payer.opens(locale=locale)
    await payer.pays("wallet_qr")

    await payer.sees("unknown_action")
    assert WORDS["unknown"][locale] in await payer.says()
    await payer.link.click()
    await payer.sees("methods")


@pytest.mark.parametrize("method", ABROAD)
async def test_dollars_are_paid_on_stripes_page(payer: Payer, method: str) -> None:
    """A card abroad, and the wallets of phones."""
    await payer.opens(currency="USD")
    await payer.pays(method)

    await payer.at_the_psp(ABROAD[method])

    await payer.sees("completed")
    assert (await payer.world.payment(await payer.draft()))["payment_method"] == method


async def test_a_card_is_paid_on_fawrys_page(payer: Payer, counter: Counter) -> None:
    """Where a shop sends cards to Fawry, the payer goes there with the whole page."""
    await payer.opens(counter.texting)
    await payer.pays("card")

    await payer.at_the_psp("pay")

    await payer.sees("completed")
    draft_id = payer.page.url.partition("/pay/")[2]  # at the server's public address, which is the first server's
    assert (await payer.world.payment(draft_id))["gateway"] == "fawry"


async def _is_refused(payer: Payer) -> bool:
    return any("X-Frame-Options" in one for one in payer.complaints)


async def _announced(payer: Payer, draft_id: str) -> bool:
    return bool(payer.world.shop.of(draft_id))
