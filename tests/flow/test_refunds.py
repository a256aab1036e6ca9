"""Giving money back: once, whatever is asked twice or lost on the way, and never more than was paid."""

import asyncio
import uuid
from typing import Any, Final

import httpx
import pytest

from world import OPERATOR_KEY, World, a_request, a_wallet_request, eventually, problem_of

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
PAYPAL: Final = {"payment_method": "paypal", "currency": "USD", "product_amount": "10.00"}
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "paymob": a_request(),
    "paymob wallet": a_wallet_request(),
    "paypal": a_request(**PAYPAL),
}
KEYLESS: Final = ["paymob", "paymob wallet"]

each_psp = pytest.mark.parametrize("psp", REQUESTS)


async def paid(world: World, psp: str) -> str:
    """A draft that is paid at this PSP."""
    begun = await world.initiate(**{**REQUESTS[psp], "idempotency_key": str(uuid.uuid4())})
    draft_id = str(begun.json()["paymentDraftId"])
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    return draft_id


async def ask(world: World, draft_id: str, key: str | None = None, **fields: Any) -> httpx.Response:
    """Ask for a refund, all of it unless `amount` says otherwise."""
    headers = {**KEYED, "idempotency-key": key or str(uuid.uuid4())}
    return await world.client.post(f"{world.api}/api/payments/{draft_id}/refunds", json=fields, headers=headers)


async def refunded(world: World, draft_id: str, **fields: Any) -> dict[str, Any]:
    """Ask for a refund and wait until it succeeded."""
    asked = await ask(world, draft_id, **fields)
    assert asked.status_code == 202, asked.text
    return await ended(world, draft_id, asked.json()["refundId"], "succeeded")


async def ended(world: World, draft_id: str, refund_id: str, state: str) -> dict[str, Any]:
    """Wait until a refund stands so."""

    async def there() -> dict[str, Any] | None:
        refunds = (await world.payment(draft_id))["refunds"]
        return next((one for one in refunds if (one["refundId"], one["status"]) == (refund_id, state)), None)

    return await eventually(there, f"refund {refund_id} is {state}")


async def failing(world: World, psp: str, kind: str, times: int = 1) -> None:
    """Let the PSP's refunds go wrong."""
    await world.fault("refund", kind, times=times, psp=psp.partition(" ")[0])


async def given_back(world: World, draft_id: str) -> int:
    """What the PSP's books say was given back, in minor units."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    return int(ledger["refunded_minor"])


@each_psp
async def test_all_of_a_payment_goes_back(world: World, psp: str) -> None:
    """The simple case: one request, and the payer has the money."""
    draft_id = await paid(world, psp)

    asked = await ask(world, draft_id, reason="Torn seam")

    amount = (await world.payment(draft_id))["amount"]
    assert asked.status_code == 202
    assert asked.json() == {"refundId": asked.json()["refundId"], "status": "requested", "amount": amount}
    await ended(world, draft_id, asked.json()["refundId"], "succeeded")
    status = await world.becomes(draft_id, "refunded")
    assert status["refunded"] == status["amount"]
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert ledger["refunded_minor"] == ledger["paid_minor"]
    problem_of(await ask(world, draft_id), 409, "refund_not_allowed")


@each_psp
async def test_parts_go_back_one_after_another_and_never_more_than_was_paid(world: World, psp: str) -> None:
    """Totals are cumulative; what would be too much never reaches the PSP."""
    draft_id = await paid(world, psp)
    await refunded(world, draft_id, amount="4.00")
    assert await given_back(world, draft_id) == 400
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "4.00"

    too_much = problem_of(await ask(world, draft_id, amount="300.00"), 409, "refund_not_allowed")

    assert "At most" in too_much["detail"]
    await refunded(world, draft_id, amount="1.50")
    await refunded(world, draft_id)
    status = await world.becomes(draft_id, "refunded")
    assert status["refunded"] == status["amount"]
    assert len((await world.payment(draft_id))["refunds"]) == 3


@each_psp
async def test_one_key_is_one_refund_however_often_and_at_once(world: World, psp: str) -> None:
    """An operator's impatient clicks give the money back once."""
    draft_id, key = await paid(world, psp), str(uuid.uuid4())

    answers = await asyncio.gather(*(ask(world, draft_id, key, amount="2.00") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {202}
    (refund_id,) = {answer.json()["refundId"] for answer in answers}
    await ended(world, draft_id, refund_id, "succeeded")
    assert (await ask(world, draft_id, key, amount="2.00")).json()["status"] == "succeeded"
    problem_of(await ask(world, draft_id, key, amount="3.00"), 422, "idempotency_conflict")
    assert await given_back(world, draft_id) == 200


@each_psp
async def test_ten_keys_at_once_are_one_refund_and_nine_refusals(world: World, psp: str) -> None:
    """Two refunds in flight would leave nobody able to tell whose the total is."""
    draft_id = await paid(world, psp)
    await failing(world, psp, "slow")

    answers = await asyncio.gather(*(ask(world, draft_id, amount="1.00") for _ in range(10)))

    (taken,) = [answer for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer is not taken:
            problem_of(answer, 409, "refund_in_flight")
    await ended(world, draft_id, taken.json()["refundId"], "succeeded")
    assert await given_back(world, draft_id) == 100


@each_psp
@pytest.mark.parametrize("kind", ["reset_after_accept", "error_after_accept"])
async def test_a_lost_answer_gives_the_money_back_once(world: World, psp: str, kind: str) -> None:
    """Settled by the PSP's key or by its books; a second partial refund would be money lost."""
    draft_id = await paid(world, psp)
    await failing(world, psp, kind)
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)
    if psp in KEYLESS:  # PayPal's webhook may have told of it by now
        problem_of(await ask(world, draft_id, amount="2.00"), 409, "refund_in_flight")

    await world.advance(130)

    await ended(world, draft_id, refund_id, "succeeded")
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "2.00"
    assert await given_back(world, draft_id) == 200


@pytest.mark.parametrize("kind", ["reset", "error", "html"])
async def test_a_refund_that_never_arrived_is_sent_again_under_its_key(world: World, kind: str) -> None:
    """PayPal gives it back once however often it is asked."""
    draft_id = await paid(world, "paypal")
    await failing(world, "paypal", kind)
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)

    await world.advance(130)

    await ended(world, draft_id, refund_id, "succeeded")
    assert await given_back(world, draft_id) == 200


@pytest.mark.parametrize("psp", KEYLESS)
@pytest.mark.parametrize("kind", ["reset", "error", "html"])
async def test_a_refund_that_never_arrived_where_no_key_is_honoured_fails_and_may_be_asked_for_anew(
    world: World, psp: str, kind: str
) -> None:
    """Sent again by itself it might go back twice; the books show that it was not done, and a person decides."""
    draft_id = await paid(world, psp)
    await failing(world, psp, kind)
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)

    await world.advance(130)
    await ended(world, draft_id, refund_id, "sent")
    await world.advance(3_700)

    refund = await ended(world, draft_id, refund_id, "failed")
    assert refund["error"] == "not_done"
    assert await given_back(world, draft_id) == 0
    await refunded(world, draft_id, amount="2.00")
    assert await given_back(world, draft_id) == 200


@each_psp
async def test_a_psp_that_is_too_busy_is_asked_again_soon(world: World, psp: str) -> None:
    """Nothing was sent, so there is no doubt to settle."""
    draft_id = await paid(world, psp)
    await failing(world, psp, "rate_limit")
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await with_error(world, draft_id, refund_id, "gateway_unavailable")

    await world.advance(6)

    await ended(world, draft_id, refund_id, "succeeded")
    assert await given_back(world, draft_id) == 200


@pytest.mark.parametrize("psp", KEYLESS)
@pytest.mark.parametrize("other_minor", [150, 5000])
async def test_a_lost_refund_beside_one_of_the_dashboard_is_for_a_person(
    world: World, psp: str, other_minor: int
) -> None:
    """The total has grown, and by something else: whether ours is in it nobody here can tell."""
    draft_id = await paid(world, psp)
    await failing(world, psp, "reset")
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)
    await world.act(draft_id, "refund", amount_minor=other_minor)
    await world.becomes(draft_id, "partially_refunded")

    await world.advance(130)

    refund = await ended(world, draft_id, refund_id, "review")
    assert refund["error"]
    assert await given_back(world, draft_id) == other_minor
    problem_of(await ask(world, draft_id, amount="2.00"), 409, "refund_undecided")
    decided = await decide(world, draft_id, refund_id, "dismiss")
    assert (decided.status_code, decided.json()["status"]) == (200, "failed")
    await refunded(world, draft_id, amount="2.00")
    assert await given_back(world, draft_id) == other_minor + 200


async def test_a_refund_that_a_person_found_done_counts(world: World) -> None:
    """Fawry never says how much went back: once its dashboard was read, the draft says so too."""
    begun = await world.initiate(payment_method="fawry")
    draft_id = begun.json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await failing(world, "fawry", "reset_after_accept")
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)
    problem_of(await decide(world, draft_id, refund_id, "accept"), 409, "refund_not_allowed")
    for _ in range(3):
        await world.advance(90_000)
        if (await world.payment(draft_id))["refunds"][0]["status"] == "review":
            break
    await ended(world, draft_id, refund_id, "review")

    decided = await decide(world, draft_id, refund_id, "accept")

    assert (decided.status_code, decided.json()["status"]) == (200, "succeeded")
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "2.00"
    assert await given_back(world, draft_id) == 200


@pytest.mark.parametrize("amount", ["2.00", None])
async def test_fawry_gives_back_all_or_parts(world: World, amount: str | None) -> None:
    """Its notification comes without a sum, and perhaps before our own answer is written: neither raises an alarm."""
    begun = await world.initiate(payment_method="fawry")
    draft_id = begun.json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    await refunded(world, draft_id, **({} if amount is None else {"amount": amount}))

    await world.delivered(draft_id, 3)  # new, paid, given back
    status = await world.becomes(draft_id, "refunded" if amount is None else "partially_refunded")
    assert status["refunded"] == (amount or "300.00")
    assert (await world.payment(draft_id))["needs_review"] is False


async def test_what_fawrys_dashboard_gave_back_is_not_taken_for_a_refund_that_was_not_sent_yet(world: World) -> None:
    """Fawry tells no sum: once ours is sent as well, nobody could tell from its books that there are two."""
    begun = await world.initiate(payment_method="fawry")
    draft_id = begun.json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await world.fault("webhook", "drop", psp="fawry")
    await world.act(draft_id, "refund", amount_minor=1000)

    await refunded(world, draft_id, amount="2.00")

    seen = await world.payment(draft_id)
    assert await given_back(world, draft_id) == 1200
    assert (seen["refunded"], seen["needs_review"]) == ("2.00", True)
    reviews = [one["review_reason"] for one in seen["journal"] if one["verdict"] == "review"]
    assert reviews == ["refunded_unknown_amount"]


async def test_stripe_gives_back_all_or_parts(world: World) -> None:
    """Under the refund's id as key, which its answers and look-ups give back."""
    begun = await world.initiate(payment_method="card", currency="USD", product_amount="10.00")
    draft_id = begun.json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await failing(world, "stripe", "reset_after_accept")
    refund_id = (await ask(world, draft_id, amount="4.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)
    await world.advance(130)
    await ended(world, draft_id, refund_id, "succeeded")
    await refunded(world, draft_id)
    assert (await world.becomes(draft_id, "refunded"))["refunded"] == "10.00"
    assert await given_back(world, draft_id) == 1000


@each_psp
async def test_refunds_of_the_dashboard_and_ours_add_up(world: World, psp: str) -> None:
    """Whoever gives money back, the draft says how much the payer has."""
    draft_id = await paid(world, psp)
    await world.act(draft_id, "refund", amount_minor=300)
    assert (await world.becomes(draft_id, "partially_refunded"))["refunded"] == "3.00"

    refund = await refunded(world, draft_id)

    status = await world.becomes(draft_id, "refunded")
    assert status["refunded"] == status["amount"]
    assert float(refund["amount"]) == float(status["amount"]) - 3


@each_psp
@pytest.mark.parametrize(("act", "state", "minor"), [("release", "succeeded", 200), ("deny", "failed", 0)])
async def test_a_refund_that_waits_is_followed_to_its_end(
    world: World, psp: str, act: str, state: str, minor: int
) -> None:
    """Banks take days: nothing is given back until the PSP says so, and nothing is sent twice meanwhile."""
    draft_id = await paid(world, psp)
    await world.act(draft_id, "review")
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await ended(world, draft_id, refund_id, "sent")
    await world.advance(130)
    assert await world.state(draft_id) == "completed"

    await world.act(draft_id, act)
    await world.advance(8 * 86_400)

    refund = await ended(world, draft_id, refund_id, "review" if psp in KEYLESS and act == "deny" else state)
    assert refund["amount"] == "2.00"
    assert await given_back(world, draft_id) == minor
    assert float((await world.status(draft_id)).json()["refunded"]) == minor / 100


@pytest.mark.parametrize("psp", KEYLESS)
async def test_a_lost_answer_to_a_refund_that_waits_is_not_sent_again(world: World, psp: str) -> None:
    """The total has not grown, and the PSP is at it: the one sign by which a second refund is kept from being made."""
    draft_id = await paid(world, psp)
    await world.act(draft_id, "review")
    await failing(world, psp, "reset_after_accept")
    refund_id = (await ask(world, draft_id, amount="2.00")).json()["refundId"]
    await in_doubt(world, draft_id, refund_id)
    for _ in range(3):
        await world.advance(700)
        await ended(world, draft_id, refund_id, "sent")

    await world.act(draft_id, "release")
    await world.advance(90_000)

    await ended(world, draft_id, refund_id, "succeeded")
    assert await given_back(world, draft_id) == 200


async def test_a_refund_that_fails_after_it_was_done_is_taken_back_and_flagged(world: World) -> None:
    """The payer has not got the money, whatever PayPal said first: somebody must see to it."""
    draft_id = await paid(world, "paypal")
    refund_id = (await refunded(world, draft_id, amount="4.00"))["refundId"]
    await world.becomes(draft_id, "partially_refunded")

    await world.act(draft_id, "deny")

    await ended(world, draft_id, refund_id, "failed")
    status = await world.becomes(draft_id, "completed")
    assert status["refunded"] == "0.00"
    assert (await world.payment(draft_id))["needs_review"] is True
    assert await given_back(world, draft_id) == 0


async def test_a_delivery_that_is_older_than_a_failure_does_not_outlive_it(world: World) -> None:
    """PayPal delivers for three days: what it said of a refund may not be true any more, and its books tell."""
    draft_id = await paid(world, "paypal")
    await world.fault("webhook", "drop", psp="paypal")
    await refunded(world, draft_id, amount="4.00")
    await world.act(draft_id, "deny")
    await world.becomes(draft_id, "completed")
    (late,) = [one for one in await world.deliveries(draft_id) if one["answer"] is None]

    sent = await world.client.post(f"{world.sandbox}/__sandbox/deliveries/{late['n']}/resend")

    assert sent.status_code == 200, sent.text
    await eventually(lambda: _applied(world, draft_id, "webhook", "refunded"), "the old delivery to be folded")
    assert (await world.becomes(draft_id, "completed"))["refunded"] == "0.00"


async def test_a_bill_paid_at_a_kiosk_says_that_it_cannot_be_refunded(world: World) -> None:
    """Paymob has no way back for cash: the shop must find its own."""
    begun = await world.initiate(payment_method="kiosk")
    draft_id = begun.json()["paymentDraftId"]
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")

    refusal = problem_of(await ask(world, draft_id), 409, "refund_not_allowed")

    assert "kiosk" in refusal["detail"]
    assert (await world.payment(draft_id))["refunds"] == []


async def test_what_is_not_paid_cannot_be_refunded(world: World) -> None:
    """Nothing is there to give back."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    problem_of(await ask(world, draft_id), 409, "refund_not_allowed")


@pytest.mark.parametrize(
    ("fields", "headers", "status", "code"),
    [
        ({"amount": "0"}, {}, 400, "invalid_request"),
        ({"amount": "1.001"}, {}, 400, "invalid_request"),
        ({"amount": "-1"}, {}, 400, "invalid_request"),
        ({"amount": 1}, {}, 400, "invalid_request"),
        ({"amount": "1", "currency": "USD"}, {}, 400, "invalid_request"),
        ({"reason": "x" * 256}, {}, 400, "invalid_request"),
        ({}, {"idempotency-key": "short"}, 400, "invalid_request"),
        ({}, {"authorization": "Bearer wrong"}, 401, "operator_key_required"),
        ({}, {"content-type": "text/plain"}, 415, "unsupported_content_type"),
    ],
    ids=str,
)
async def test_a_refund_that_cannot_be_read_is_refused(
    world: World, fields: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    """An amount that is read wrongly is money given away."""
    draft_id = await paid(world, "paymob")
    url = f"{world.api}/api/payments/{draft_id}/refunds"
    keyed = {**KEYED, "idempotency-key": str(uuid.uuid4()), **headers}
    problem_of(await world.client.post(url, json=fields, headers=keyed), status, code)
    assert (await world.payment(draft_id))["refunds"] == []


async def test_a_refund_of_no_payment_is_not_found(world: World) -> None:
    """A typing error in an id refunds nobody."""
    problem_of(await ask(world, str(uuid.uuid4())), 404, "draft_not_found")


async def test_a_refund_without_a_key_is_refused(world: World) -> None:
    """Without one, a repeat would be a second refund."""
    draft_id = await paid(world, "paymob")
    answer = await world.client.post(f"{world.api}/api/payments/{draft_id}/refunds", json={}, headers=KEYED)
    problem_of(answer, 400, "invalid_request")


async def decide(world: World, draft_id: str, refund_id: str, resolution: str) -> httpx.Response:
    """Say what the PSP's dashboard shows of a refund."""
    url = f"{world.api}/api/payments/{draft_id}/refunds/{refund_id}/review"
    return await world.client.post(url, json={"resolution": resolution, "note": "as the dashboard says"}, headers=KEYED)


async def in_doubt(world: World, draft_id: str, refund_id: str) -> None:
    """Wait until a refund was sent and its answer lost; where webhooks name it, that may be over already."""

    async def there() -> bool:
        refunds = (await world.payment(draft_id))["refunds"]
        (refund,) = [one for one in refunds if one["refundId"] == refund_id]
        return refund["status"] == "succeeded" or bool(refund["status"] == "sent" and refund["error"])

    await eventually(there, f"refund {refund_id} is in doubt")


async def with_error(world: World, draft_id: str, refund_id: str, code: str) -> None:
    """Wait until a refund could not be sent for this reason."""

    async def there() -> bool:
        refunds = (await world.payment(draft_id))["refunds"]
        return any((one["refundId"], one["error"]) == (refund_id, code) for one in refunds)

    await eventually(there, f"refund {refund_id} says {code}")


async def _applied(world: World, draft_id: str, source: str, kind: str) -> bool:
    journal = (await world.payment(draft_id))["journal"]
    return any((entry["source"], entry["event"]["kind"]) == (source, kind) for entry in journal)
