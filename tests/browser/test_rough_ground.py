"""What no shop and no payer chose: refusals, slow providers, declines that are repeated, and odd servers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Route, expect

from browser.payer import MILLISECONDS, WALLET, Counter, Payer
from browser.test_interruptions import INITIATE, drafts, initiates

Answer = Callable[[Route], Awaitable[None]]


def problem(status: int, code: str | None, retry: str = "same_key") -> Answer:
    """Answer so, in the server's place."""
    body = {"message": "no"} if code is None else {"code": code, "retry": retry, "status": status, "detail": "no"}

    async def answer(route: Route) -> None:
        await route.fulfill(status=status, json=body, headers={"Retry-After": "1"})

    return answer


async def at_the_clock(payer: Payer, method: str, **query: str) -> None:
    """Pay on a page whose clock the test moves."""
    await payer.page.clock.install()
    await payer.opens(**query)
    await payer.pays(method)


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


async def test_a_button_that_was_busy_works_again_after_a_refusal(payer: Payer) -> None:
    """And says so to screen readers."""
    payer.expected.append("429")
    await payer.page.route(f"**{INITIATE}", problem(429, "too_many_requests"))
    await payer.opens()
    await payer.pays("wallet_qr")
    await payer.step.get_by_role("alert").first.wait_for()

    assert await payer.button.get_attribute("aria-disabled") != "true"
    await expect(payer.button.locator(".spin")).to_have_count(0)


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
    await changed(payer, lambda body: body.update(reason=reason))

    await payer.page.goto(f"{counter.world.api}/pay/{draft_id}?locale=en")

    await payer.step.locator("h2").wait_for()
    await expect(payer.step.locator(".quiet").first).to_be_visible()
    await payer.sees("expired" if reason == "expired" else "failed")
    assert ("No money was taken" in await payer.says()) is taken


async def changed(payer: Payer, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the status says."""

    async def answered(route: Route) -> None:
        answer = await route.fetch()
        if answer.status != 200:
            await route.fulfill(response=answer)
            return
        body = await answer.json()
        change(body)
        await route.fulfill(response=answer, json=body)

    await payer.page.route("**/api/payments/status/**", answered)
