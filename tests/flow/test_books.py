"""The operator's books: payments listed and found, and what is under review decided."""

import asyncio
import json
import uuid
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from flow_books import begun

from world import OPERATOR_KEY, World, eventually, problem_of

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}


async def listed(world: World, query: str) -> list[dict[str, Any]]:
    """All payments of a query, page after page."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = await get(world, f"/api/payments?{query}{after}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        page = answer.json()
        assert len(page["payments"]) <= 100
        found += page["payments"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def get(world: World, path: str, headers: dict[str, str] = KEYED) -> httpx.Response:
    """Ask as the operator."""
    return await world.client.get(world.api + path, headers=headers)


async def review(world: World, draft_id: str, resolution: object, **more: Any) -> httpx.Response:
    """Decide what is under review."""
    body = {"resolution": resolution, **more}
    return await world.client.post(f"{world.api}/api/payments/{draft_id}/review", json=body, headers=KEYED)


async def flagged(world: World, draft_id: str) -> dict[str, Any]:
    """Wait until a payment is under review, and nobody is about to look it up."""

    async def there() -> dict[str, Any] | None:
        payment = await world.payment(draft_id)
        return payment if payment["needs_review"] else None

    return await eventually(there, f"{draft_id} is under review")


async def test_every_payment_is_listed_once_newest_first_over_all_pages(world: World) -> None:
    """By keyset, so that payments begun meanwhile move nothing from one page to the next."""
    order = uuid.uuid4().hex
    drafts = [await begun(world, "fawry", order_reference=order) for _ in range(103)]

    found = await listed(world, f"order_reference={order}")

    assert [one["paymentDraftId"] for one in found] == drafts[::-1]


async def test_each_filter_takes_what_it_says(world: World) -> None:
    """An operator looks for one payment among a million."""
    order = uuid.uuid4().hex
    paid, waiting = [await begun(world, "paymob", order_reference=order) for _ in range(2)]
    elsewhere = await begun(world, "stripe", order_reference=order)
    await world.act(paid, "pay")
    await world.becomes(paid, "completed")
    begun_at = {one["paymentDraftId"]: one["createdAt"] for one in await listed(world, f"order_reference={order}")}

    async def found(query: str) -> list[str]:
        return [one["paymentDraftId"] for one in await listed(world, f"order_reference={order}&{query}")]

    assert await found("state=completed") == [paid]
    assert await found("state=awaiting_user_action") == [elsewhere, waiting]
    assert await found("gateway=stripe") == [elsewhere]
    assert await found("gateway=nobody") == []
    assert await found("needs_review=false") == [elsewhere, waiting, paid]
    assert await found("needs_review=true") == []
    # What is shown is cut to milliseconds, so a payment was begun at what is shown of it or less than 1 ms later.
    assert await found(f"created_since={quote(begun_at[waiting])}") == [elsewhere, waiting]
    assert await found(f"created_until={quote(begun_at[waiting])}") == [paid]
    assert await found("created_since=2000-01-01&created_until=2000-01-02") == []


async def test_a_listed_payment_is_the_payment_without_its_journal(world: World) -> None:
    """One view, so that a script that reads one reads the other."""
    draft_id = await begun(world, "paymob", order_reference=(order := uuid.uuid4().hex))
    whole = await world.payment(draft_id)
    (one,) = await listed(world, f"order_reference={order}")
    assert one == {name: value for name, value in whole.items() if name not in {"journal", "refunds", "fulfilments"}}


@pytest.mark.parametrize(
    "query",
    [
        *("state=paid", "state=", "needs_review=1", "needs_review=", "after=x", "after=%00", "gateway=%00"),
        *("order_reference=%00", f"order_reference={'x' * 201}", "created_since=yesterday", "created_until=%00"),
        *("created_since=0001-01-01T00:00:00%2B14:00", "created_until=9999-12-31T23:59:59-14:00"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_by_name(world: World, query: str) -> None:
    """A filter that is read as none would show everything as if it were the answer."""
    problem = problem_of(await get(world, f"/api/payments?{query}"), 400, "invalid_request")
    assert [one["pointer"] for one in problem["errors"]] == [f"?{query.partition('=')[0]}"]


@pytest.mark.parametrize(
    "path", ["/api/payments", "/api/webhook-deliveries", f"/api/webhook-deliveries/{uuid.UUID(int=1)}"]
)
async def test_nobody_reads_the_books_without_the_key(world: World, path: str) -> None:
    """They show every payer's payment."""
    problem_of(await get(world, path, {}), 401, "operator_key_required")


async def test_nobody_decides_without_the_key(world: World) -> None:
    """It moves money in our books."""
    draft_id = await begun(world, "paymob")
    url = f"{world.api}/api/payments/{draft_id}/review"
    problem_of(await world.client.post(url, json={"resolution": "accept"}), 401, "operator_key_required")


async def test_an_accepted_payment_of_another_amount_completes_and_is_announced(world: World) -> None:
    """The payer paid what he paid: once a person agrees, the shop delivers, once."""
    draft_id = await begun(world, "paymob")
    await world.fault("lookup", "error", times=99)  # or the PSP's books would tell the right amount
    await world.fault("webhook", "wrong_amount")
    await world.act(draft_id, "pay")
    reviewed = await flagged(world, draft_id)
    assert reviewed["status"] == "awaiting_user_action"

    answer = await review(world, draft_id, "accept", note="Agreed by telephone")

    assert answer.status_code == 200, answer.text
    payment = answer.json()
    assert (payment["status"], payment["needs_review"]) == ("completed", False)
    assert payment["payment_reference"]
    entry = payment["journal"][-1]
    assert (entry["source"], entry["verdict"], entry["state"]) == ("operator", "applied", "completed")
    decision = {"resolution": "accept", "review_reason": "amount_mismatch", "note": "Agreed by telephone"}
    assert entry["event"]["decision"] == decision
    assert await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)) == 1
    problem_of(await review(world, draft_id, "accept"), 409, "nothing_to_review")

    await world.heal()
    again = await world.client.post(f"{world.api}/api/payments/{draft_id}/reconcile", headers=KEYED)
    assert (again.json()["status"], again.json()["needs_review"]) == ("completed", False)


async def test_an_accepted_payment_of_another_amount_is_not_put_under_review_again(world: World) -> None:
    """The PSP's books tell that amount for ever; a person has said once what to think of it."""
    draft_id = await begun(world, "paymob")
    await world.fetchval(
        "UPDATE payment_drafts SET amount_minor = 29999 WHERE id = $1", uuid.UUID(draft_id)
    )  # as if the PSP took another sum than we asked for
    await world.act(draft_id, "pay")
    await flagged(world, draft_id)

    accepted = await review(world, draft_id, "accept")

    assert accepted.json()["status"] == "completed"
    again = await world.client.post(f"{world.api}/api/payments/{draft_id}/reconcile", headers=KEYED)
    assert (again.status_code, again.json()["needs_review"]) == (200, False)
    assert again.json()["journal"] == accepted.json()["journal"]


async def test_a_dismissed_review_only_loses_its_flag(world: World) -> None:
    """The delivery lied about the amount and the PSP's books did not: there is nothing to do but to say so."""
    draft_id = await begun(world, "paymob")
    await world.fault("webhook", "wrong_amount")
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    before = await flagged(world, draft_id)

    answer = await review(world, draft_id, "dismiss", note="Looked up")

    assert answer.status_code == 200
    changed = {"needs_review", "journal", "updatedAt", "fulfilments"}  # the shop may be told meanwhile
    assert {name: value for name, value in answer.json().items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }
    assert answer.json()["needs_review"] is False
    assert answer.json()["journal"][-1]["event"]["decision"]["resolution"] == "dismiss"


@pytest.mark.parametrize(("resolution", "status"), [("accept", "failed"), ("dismiss", "completed")])
async def test_what_was_decided_about_a_dispute_stays_decided(world: World, resolution: str, status: str) -> None:
    """Stripe tells each time it is asked that the payment was paid, and that it is disputed."""
    draft_id = await begun(world, "stripe")
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await world.act(draft_id, "reverse")
    await flagged(world, draft_id)

    assert (await review(world, draft_id, resolution)).json()["status"] == status
    for _ in range(2):
        path = f"{world.api}/api/payments/{draft_id}/reconcile"
        asked = (await world.client.post(path, headers=KEYED)).json()
        assert (asked["status"], asked["needs_review"]) == (status, False)


async def test_two_decisions_at_once_are_one(world: World) -> None:
    """Two operators, or one who clicks twice: the second reads what the first decided."""
    draft_id = await begun(world, "paymob")
    await world.fault("webhook", "wrong_amount")
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await flagged(world, draft_id)

    answers = await asyncio.gather(*(review(world, draft_id, one) for one in ("accept", "dismiss") * 5))

    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    journal = (await world.payment(draft_id))["journal"]
    assert [one["source"] for one in journal].count("operator") == 1


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], None, {"resolution": "maybe"}, {"resolution": None}, {"resolution": "accept", "extra": 1}),
        *({"resolution": "accept", "note": note} for note in (5, "a\x00b", "a\nb", "x" * 256)),
    ],
)
async def test_a_decision_that_cannot_be_read_is_refused(world: World, body: object) -> None:
    """Nobody knows what was meant."""
    draft_id = await begun(world, "paymob")
    headers = {**KEYED, "content-type": "application/json"}
    url = f"{world.api}/api/payments/{draft_id}/review"
    answer = await world.client.post(url, content=json.dumps(body), headers=headers)
    problem_of(answer, 400, "invalid_request")


async def test_a_payment_that_is_not_there_or_not_under_review_has_nothing_to_decide(world: World) -> None:
    """A decision on the wrong payment must not look like one."""
    problem_of(await review(world, str(uuid.uuid4()), "accept"), 404, "draft_not_found")
    problem_of(await review(world, await begun(world, "paymob"), "accept"), 409, "nothing_to_review")
