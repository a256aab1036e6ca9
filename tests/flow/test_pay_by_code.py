"""Paying by a texted code, through the example plugin: right and wrong codes, guesses, lost answers and outages."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from conftest import NewDatabase
from qirsh.gateways.registry import installed
from world import OPERATOR_KEY, TLS, World, a_request, eventually, free_port, problem_of, serving, system, write_config

ROUTES: Final = {"mobile_wallet": {"EGP": ["textpay"]}}
"""TextPay comes first here, whoever else takes wallets."""
POOR, NO_WALLET, SLOW = "01000000002", "01000000003", "01000000004"
"""Phones whose fate the fake TextPay documents."""
MAX_TRIES: Final = 5


@pytest.fixture(scope="module")
def running_wallets(scratch: Path, new_database: NewDatabase) -> Iterator[World]:
    """A system of its own, which sends wallets to the plugin. Its client is not to be used."""
    assert "textpay" in installed(), "`make setup` installs examples/textpay: run it again"
    with system(scratch / "wallets", asyncio.run(new_database()), routes=ROUTES, textpay={}) as world:
        yield world


@pytest.fixture
async def wallets(running_wallets: World) -> AsyncIterator[World]:
    """The system with no faults left over, and a client of the test's own."""
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        world = replace(running_wallets, client=client)
        await world.heal()
        await world.put_product("tshirt")
        yield world
        await world.heal()


def a_wallet_request(phone: str = "01010101010", **fields: Any) -> dict[str, Any]:
    """A valid initiate for a wallet that is texted a code."""
    return a_request(payment_method="mobile_wallet", payer={"phone": phone}, **fields)


async def begun(world: World, **fields: Any) -> tuple[str, str]:
    """A draft whose code was texted, and the token of its action."""
    answer = await world.initiate(**a_wallet_request(**fields))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["paymentAction"] == "otp_token"
    assert body["actionData"].keys() == {"token", "digits"}
    return body["paymentDraftId"], body["actionData"]["token"]


async def texted(world: World, draft_id: str) -> str:
    """The code that stands on the payer's phone."""
    answer = await world.client.get(f"{world.sandbox}/textpay/texts", params={"merchant_reference": draft_id})
    (text,) = answer.json()
    return str(text["code"])


async def hand_in(world: World, draft_id: str, token: str, code: str, api: str = "") -> httpx.Response:
    """What the page posts."""
    url = f"{api or world.api}/api/payments/{draft_id}/otp"
    return await world.client.post(url, json={"token": token, "otp": code})


def wrong(code: str, nth: int = 1) -> str:
    """Another code than the right one, for each `nth` a different one."""
    return f"{(int(code) + nth) % 10**6:06}"


async def tries(world: World, draft_id: str) -> int:
    """How many tries were counted."""
    return int(await world.fetchval("SELECT otp_tries FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id)))


async def paid_minor(world: World, draft_id: str) -> int:
    """What TextPay took."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    return int(ledger["paid_minor"])


async def test_the_code_pays_and_the_shop_hears_of_it_once(wallets: World) -> None:
    """The simple case: a text, a code, an order."""
    draft_id, token = await begun(wallets)

    answer = await hand_in(wallets, draft_id, token, await texted(wallets, draft_id))

    assert answer.status_code == 200, answer.text
    assert (answer.json()["paymentDraftId"], answer.json()["status"]) == (draft_id, "completed")
    await wallets.delivered(draft_id)
    await eventually(lambda: _announced(wallets, draft_id), "the announcement")
    assert len(wallets.shop.of(draft_id)) == 1
    assert await paid_minor(wallets, draft_id) == 30000


async def test_a_wrong_code_may_be_typed_again(wallets: World) -> None:
    """People mistype; the page says how often they still may."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)

    refused = problem_of(await hand_in(wallets, draft_id, token, wrong(code)), 422, "code_refused")

    assert refused["tries_left"] == MAX_TRIES - 1
    status = (await wallets.status(draft_id)).json()
    assert (status["status"], status["reason"]) == ("awaiting_user_action", "authentication_failed")
    assert (await hand_in(wallets, draft_id, token, code)).json()["status"] == "completed"


async def test_after_five_wrong_codes_even_the_right_one_is_not_asked_about(wallets: World) -> None:
    """Six digits are guessed by whoever may guess for long enough."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)

    answers = [await hand_in(wallets, draft_id, token, wrong(code, nth)) for nth in range(1, MAX_TRIES + 1)]

    left = [problem_of(answer, 422, "code_refused")["tries_left"] for answer in answers]
    assert left == [4, 3, 2, 1, 0]
    problem_of(await hand_in(wallets, draft_id, token, code), 409, "code_tries_used")
    assert await paid_minor(wallets, draft_id) == 0


async def test_twenty_guesses_at_once_are_five(wallets: World) -> None:
    """The try is counted before TextPay is asked, so nobody guesses faster than it is counted."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)

    answers = await asyncio.gather(*(hand_in(wallets, draft_id, token, wrong(code, nth)) for nth in range(1, 21)))

    counted = Counter((answer.status_code, answer.json()["code"]) for answer in answers)
    assert counted == {(422, "code_refused"): MAX_TRIES, (409, "code_tries_used"): 20 - MAX_TRIES}
    declined = [one for one in await wallets.deliveries(draft_id) if "charge.declined" in one["body"]]
    assert len(declined) == MAX_TRIES


async def test_a_code_sent_ten_times_at_once_is_one_try_and_one_payment(wallets: World) -> None:
    """An impatient finger must not use the tries up, nor be told to pay anew by the sixth of its own clicks."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("capture", "slow", psp="textpay", seconds=1)

    answers = await asyncio.gather(*(hand_in(wallets, draft_id, token, code) for _ in range(10)))

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "completed")] * 10
    assert await tries(wallets, draft_id) == 1
    assert await paid_minor(wallets, draft_id) == 30000


async def test_the_right_code_after_all_tries_and_the_payment_is_told_the_payment(wallets: World) -> None:
    """Who is told to start a new payment pays twice: a page that lost the answer asks again."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    for nth in range(1, MAX_TRIES):
        await hand_in(wallets, draft_id, token, wrong(code, nth))

    first = await hand_in(wallets, draft_id, token, code)
    again = await hand_in(wallets, draft_id, token, code)

    assert (first.status_code, first.json()["status"]) == (200, "completed")
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert await paid_minor(wallets, draft_id) == 30000


@pytest.mark.parametrize("kind", ["reset_after_accept", "error_after_accept"])
async def test_a_lost_answer_to_the_code_is_looked_up(wallets: World, kind: str) -> None:
    """The money may have moved: neither paid nor wrong, but asked, without waiting for a webhook."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("webhook", "drop", psp="textpay", times=9)
    await wallets.fault("capture", kind, psp="textpay")

    answer = await hand_in(wallets, draft_id, token, code)

    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] in {"awaiting_user_action", "completed"}
    await wallets.becomes(draft_id, "completed")
    assert [one["source"] for one in (await wallets.payment(draft_id))["journal"]] == ["initiate", "lookup"]


@pytest.mark.parametrize("kind", ["reset", "error", "html"])
async def test_a_code_that_never_arrived_can_be_sent_again(wallets: World, kind: str) -> None:
    """Nobody can tell that it did not arrive, so the try is used; the same code still pays."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("capture", kind, psp="textpay")

    unknown = await hand_in(wallets, draft_id, token, code)

    assert (unknown.status_code, unknown.json()["status"]) == (200, "awaiting_user_action")
    assert await tries(wallets, draft_id) == 1
    assert (await hand_in(wallets, draft_id, token, code)).json()["status"] == "completed"


async def test_a_refusal_that_nobody_knows_is_looked_into_and_not_believed(wallets: World) -> None:
    """An unknown 4xx is no wrong code: it may come from something between us and TextPay."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("webhook", "drop", psp="textpay", times=9)
    await wallets.fault("capture", "error_after_accept", psp="textpay", status=418)

    answer = await hand_in(wallets, draft_id, token, code)

    assert answer.status_code == 200, answer.text
    await wallets.becomes(draft_id, "completed")


async def test_too_many_requests_at_the_psp_give_the_try_back(wallets: World) -> None:
    """TextPay has not tried the code, so the payer has not either."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("capture", "rate_limit", psp="textpay", times=MAX_TRIES + 1)

    for _ in range(MAX_TRIES + 1):
        problem_of(await hand_in(wallets, draft_id, token, code), 503, "gateway_unavailable")

    assert await tries(wallets, draft_id) == 0
    assert (await hand_in(wallets, draft_id, token, code)).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"base_url": f"http://127.0.0.1:{free_port()}"}, "gateway_unavailable"),
        ({"api_key": "sandbox_of_somebody_else"}, "gateway_misconfigured"),
    ],
    ids=["unreachable", "wrong key"],
)
async def test_a_psp_that_cannot_be_asked_gives_the_try_back(
    wallets: World, tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    """An outage, or a key that somebody changed, must not cost the payer his tries."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)

    with serving(config_of(wallets, tmp_path, textpay=changes)) as server:
        for _ in range(MAX_TRIES + 1):
            problem_of(await hand_in(wallets, draft_id, token, code, server.api), 503, problem)

    assert await tries(wallets, draft_id) == 0
    assert (await hand_in(wallets, draft_id, token, code)).json()["status"] == "completed"


async def test_a_code_in_flight_when_the_server_dies_is_found_by_the_next_look_up(
    wallets: World, tmp_path: Path
) -> None:
    """The money moved, the webhook got lost, and who asked is dead: the draft is asked about all the same."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.fault("webhook", "drop", psp="textpay", times=9)
    await wallets.fault("capture", "hang_after_accept", psp="textpay")

    with serving(config_of(wallets, tmp_path)) as server:
        asked = asyncio.create_task(hand_in(wallets, draft_id, token, code, server.api))
        await eventually(lambda: paid_minor(wallets, draft_id), "the payment")
        server.process.process.kill()
        with pytest.raises(httpx.TransportError):
            await asked

    await wallets.advance(125)
    await wallets.becomes(draft_id, "completed")


async def test_another_token_is_refused_and_costs_no_try(wallets: World) -> None:
    """Who knows a draft's id only, or the token of another draft, has no say about its code."""
    draft_id, token = await begun(wallets)
    _, other = await begun(wallets)
    code = await texted(wallets, draft_id)

    for stranger in (other, token[:-1], f"{token}x", "ü"):
        problem_of(await hand_in(wallets, draft_id, stranger, code), 409, "code_not_awaited")

    assert await tries(wallets, draft_id) == 0


async def test_a_payment_without_a_code_awaits_none(wallets: World) -> None:
    """A card's draft has no token that anybody could know."""
    card = await wallets.initiate()
    problem_of(await hand_in(wallets, card.json()["paymentDraftId"], "x", "123456"), 409, "code_not_awaited")
    problem_of(await hand_in(wallets, str(uuid.uuid4()), "x", "123456"), 404, "draft_not_found")
    problem_of(await hand_in(wallets, "nothing", "x", "123456"), 404, "draft_not_found")


@pytest.mark.parametrize(
    "changes",
    [
        {"otp": "12345"},
        {"otp": "1234567"},
        {"otp": "12345a"},
        {"otp": "١٢٣٤٥٦"},
        {"otp": "123456\n"},
        {"otp": ""},
        {"otp": 123456},
        {"otp": None},
        {"token": ""},
        {"token": "x" * 501},
        {"more": 1},
    ],
    ids=str,
)
async def test_what_is_no_code_is_refused_before_it_counts(wallets: World, changes: dict[str, Any]) -> None:
    """A slip of the page, or somebody's try at something else."""
    draft_id, token = await begun(wallets)
    body = {"token": token, "otp": "123456", **changes}

    answer = await wallets.client.post(f"{wallets.api}/api/payments/{draft_id}/otp", json=body)

    problem_of(answer, 400, "invalid_request")
    assert await tries(wallets, draft_id) == 0


@pytest.mark.parametrize(
    ("content", "kind", "status", "problem"),
    [
        (b"{", "application/json", 400, "invalid_request"),
        (b"[" * 60_000, "application/json", 400, "invalid_request"),
        (b'"\xff"', "application/json", 400, "invalid_request"),
        (b'{"token": "\\ud800", "otp": "123456"}', "application/json", 400, "invalid_request"),
        (b"token=x&otp=123456", "application/x-www-form-urlencoded", 415, "unsupported_content_type"),
        (b" " * 70_000, "application/json", 413, "body_too_large"),
    ],
    ids=["cut", "deep", "no text", "half a letter", "form", "large"],
)
async def test_what_cannot_be_read_is_refused(
    wallets: World, content: bytes, kind: str, status: int, problem: str
) -> None:
    """Anybody can post anything here."""
    draft_id, _ = await begun(wallets)
    url = f"{wallets.api}/api/payments/{draft_id}/otp"
    answer = await wallets.client.post(url, content=content, headers={"content-type": kind})
    problem_of(answer, status, problem)


async def test_a_code_that_comes_too_late_is_told_that_it_expired(wallets: World) -> None:
    """TextPay's charge lives for ten minutes and tells nobody of its end."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    await wallets.advance(700)

    late = await hand_in(wallets, draft_id, token, code)

    assert (late.status_code, late.json()["status"], late.json()["reason"]) == (200, "failed", "expired")
    assert await paid_minor(wallets, draft_id) == 0


async def test_an_empty_wallet_is_no_wrong_code(wallets: World) -> None:
    """To type the code again would not help; the payer is told why, and can fill the wallet."""
    draft_id, token = await begun(wallets, phone=POOR)

    answer = await hand_in(wallets, draft_id, token, await texted(wallets, draft_id))

    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["reason"]) == ("awaiting_user_action", "insufficient_funds")


async def test_a_phone_without_a_wallet_is_refused_at_once(wallets: World) -> None:
    """No draft waits for a code that nobody was texted."""
    refused = await wallets.initiate(**a_wallet_request(phone=NO_WALLET))
    assert problem_of(refused, 402, "gateway_rejected")["reason"] == "wallet_not_found"


async def test_a_payer_who_gives_up_at_textpay_ends_the_draft(wallets: World) -> None:
    """Told by a webhook; the page that waits hears it, and the code has no more use."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)

    await wallets.act(draft_id, "cancel")

    assert (await wallets.becomes(draft_id, "failed"))["reason"] == "cancelled_by_payer"
    assert (await hand_in(wallets, draft_id, token, code)).json()["status"] == "failed"
    assert await paid_minor(wallets, draft_id) == 0


async def test_a_charge_that_textpay_locks_ends_the_draft(wallets: World) -> None:
    """TextPay counts tries too, and somebody else may have made them."""
    draft_id, token = await begun(wallets)
    code = await texted(wallets, draft_id)
    charge = (await wallets.payment(draft_id))["transaction_reference_id"]
    for nth in range(2, 9):
        await _at_textpay(wallets, charge, {"otp_token": token, "code": wrong(code, nth)})

    answer = await hand_in(wallets, draft_id, token, wrong(code))

    assert (answer.status_code, answer.json()["status"]) == (200, "failed"), answer.text
    assert answer.json()["reason"] == "authentication_failed"


async def test_a_wallet_whose_operator_takes_its_time_is_waited_for(wallets: World) -> None:
    """Right and not paid yet: neither a payment nor a wrong code, though a wrong one came before it."""
    draft_id, token = await begun(wallets, phone=SLOW)
    code = await texted(wallets, draft_id)
    problem_of(await hand_in(wallets, draft_id, token, wrong(code)), 422, "code_refused")

    answer = await hand_in(wallets, draft_id, token, code)

    assert (answer.status_code, answer.json()["status"]) == (200, "awaiting_user_action")
    await wallets.act(draft_id, "release")
    await wallets.becomes(draft_id, "completed")


async def test_the_webhook_alone_completes_a_draft(wallets: World) -> None:
    """The payer confirmed in TextPay's own app: the page learns of it from us."""
    draft_id, _ = await begun(wallets)
    await wallets.act(draft_id, "pay")
    await wallets.becomes(draft_id, "completed")
    assert [one["answer"] for one in await wallets.delivered(draft_id)] == [200]


async def test_a_webhook_with_a_wrong_signature_moves_nothing(wallets: World) -> None:
    """Anybody can post a payment."""
    draft_id, _ = await begun(wallets)
    await wallets.fault("webhook", "corrupt_signature", psp="textpay")
    await wallets.act(draft_id, "pay")
    assert [one["answer"] for one in await wallets.delivered(draft_id)] == [401]
    assert await wallets.state(draft_id) == "awaiting_user_action"


async def test_a_webhook_with_another_amount_is_for_a_person(wallets: World) -> None:
    """Signed and wrong: the draft does not complete by it, and is looked up."""
    draft_id, _ = await begun(wallets)
    await wallets.fault("webhook", "wrong_amount", psp="textpay")
    await wallets.act(draft_id, "pay")
    await wallets.becomes(draft_id, "completed")
    journal = (await wallets.payment(draft_id))["journal"]
    assert ("webhook", "amount_mismatch") in [(one["source"], one["review_reason"]) for one in journal]


async def test_a_lost_registration_texts_once(wallets: World) -> None:
    """The same key finds the charge that TextPay made, and the payer does not get a second code."""
    request = a_wallet_request()
    await wallets.fault("register", "reset_after_accept", psp="textpay")
    first = await wallets.initiate(**request)
    assert first.status_code == 202, first.text

    async def again() -> dict[str, Any] | None:
        answer = await wallets.initiate(**request)
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 201 else None

    body = await eventually(again, "a 201 for the same key")

    draft_id, token = body["paymentDraftId"], body["actionData"]["token"]
    assert (await hand_in(wallets, draft_id, token, await texted(wallets, draft_id))).json()["status"] == "completed"


@pytest.mark.parametrize("lost", [False, True], ids=["told", "lost answer"])
async def test_money_goes_back_in_parts_and_whole(wallets: World, *, lost: bool) -> None:
    """A refund is sent with its own key, so a lost answer is asked for again and gives back nothing more."""
    draft_id, token = await begun(wallets)
    await hand_in(wallets, draft_id, token, await texted(wallets, draft_id))
    if lost:
        await wallets.fault("refund", "reset_after_accept", psp="textpay")

    await _refunded(wallets, draft_id, "partially_refunded", amount="100.00")
    await _refunded(wallets, draft_id, "refunded")

    ledger = await wallets.ledger(draft_id)
    assert ledger is not None
    assert (ledger["state"], ledger["refunded_minor"]) == ("refunded", 30000)
    too_much = await _ask_back(wallets, draft_id)
    problem_of(too_much, 409, "refund_not_allowed")


async def test_a_refund_in_textpays_dashboard_is_told_by_its_webhook(wallets: World) -> None:
    """Not everything goes through us."""
    draft_id, token = await begun(wallets)
    await hand_in(wallets, draft_id, token, await texted(wallets, draft_id))
    await wallets.act(draft_id, "refund", amount_minor=250)
    assert (await wallets.becomes(draft_id, "partially_refunded"))["refunded"] == "2.50"


async def test_the_payer_is_offered_the_wallet_and_asked_for_its_phone(wallets: World) -> None:
    """What a plugin takes is offered as what we bring along."""
    answer = await wallets.client.get(f"{wallets.api}/api/payments/methods", params={"product_id": "tshirt"})
    (offer,) = [one for one in answer.json()["methods"] if one["payment_method"] == "mobile_wallet"]
    assert (offer["currency"], offer["fields"]) == ("EGP", ["payer.phone"])


async def test_the_developer_finds_the_code_on_a_page_and_the_api_does_not_tell_it(wallets: World) -> None:
    """Nobody has that phone; and a PSP that told the code to the shop would need no phone."""
    draft_id, _ = await begun(wallets)
    code = await texted(wallets, draft_id)
    page = await wallets.client.get(f"{wallets.sandbox}/textpay/phone")
    assert code in page.text
    assert code not in json.dumps(await wallets.payment(draft_id))


def config_of(world: World, folder: Path, **more: Any) -> Path:
    """A configuration like the system's, for one more server."""
    return write_config(
        folder / "qirsh.toml",
        database_url=world.database_url,
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        routes=ROUTES,
        **{"textpay": {}, **more},
    )


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))


async def _at_textpay(world: World, charge: str, body: dict[str, str]) -> None:
    """A try that does not come from us."""
    headers = {"authorization": "Bearer sandbox_textpay_api_key", "idempotency-key": str(uuid.uuid4())}
    url = f"{world.sandbox}/textpay/v1/charges/{charge}/confirm"
    answer = await world.client.post(url, json=body, headers=headers)
    assert answer.status_code == 422, answer.text


async def _ask_back(world: World, draft_id: str, **fields: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}", "idempotency-key": str(uuid.uuid4())}
    return await world.client.post(f"{world.api}/api/payments/{draft_id}/refunds", json=fields, headers=headers)


async def _refunded(world: World, draft_id: str, state: str, **fields: str) -> None:
    """Ask for a refund, and wait until its row has ended and the draft is in a state."""
    asked = await _ask_back(world, draft_id, **fields)
    assert asked.status_code == 202, asked.text

    async def ended() -> bool:
        refunds = {one["refundId"]: one["status"] for one in (await world.payment(draft_id))["refunds"]}
        if refunds[asked.json()["refundId"]] == "succeeded":
            return True
        await world.advance(130)
        return False

    await eventually(ended, "the refund")
    await world.becomes(draft_id, state)
