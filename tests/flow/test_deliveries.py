"""Webhook deliveries as the operator sees them: found, read as they came, and taken once more."""

import uuid
from typing import Any, Final

import httpx
import pytest
from flow_books import REQUESTS, begun

from world import OPERATOR_KEY, World, eventually, problem_of

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}


async def get(world: World, path: str) -> httpx.Response:
    """Ask as the operator."""
    return await world.client.get(world.api + path, headers=KEYED)


async def replay(world: World, delivery_id: str, headers: dict[str, str] = KEYED) -> httpx.Response:
    """Have a delivery taken once more."""
    return await world.client.post(f"{world.api}/api/webhook-deliveries/{delivery_id}/replay", headers=headers)


async def of(world: World, draft_id: str, query: str = "") -> list[dict[str, Any]]:
    """The kept deliveries about a payment, once there are some."""

    async def there() -> list[dict[str, Any]] | None:
        answer = await get(world, f"/api/webhook-deliveries?draft={draft_id}{query}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["deliveries"]
        return found or None

    return await eventually(there, f"a delivery about {draft_id}")


async def paid(world: World, psp: str) -> str:
    """A draft that a webhook of this PSP completed."""
    draft_id = await begun(world, psp)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await eventually(lambda: told(world, draft_id), "the shop to be told")
    return draft_id


async def told(world: World, draft_id: str) -> bool:
    """Whether the shop was told of a payment, after which nobody moves it."""
    return all(one["status"] == "delivered" for one in (await world.payment(draft_id))["fulfilments"])


@pytest.mark.parametrize("psp", REQUESTS)
async def test_a_delivery_is_found_read_and_verified_once_more(world: World, psp: str) -> None:
    """Whatever the PSP signs with is kept, or no replay could be believed; heard before, it moves nothing."""
    draft_id = await paid(world, psp)
    verdict = "capture" if psp == "paypal" else "applied"
    kept = (await of(world, draft_id, f"&gateway={psp}&verdict={verdict}"))[0]
    (recorded,) = [one for one in await world.deliveries(draft_id) if len(_bytes(one)) == kept["bytes"]][:1]

    shown = await get(world, f"/api/webhook-deliveries/{kept['id']}")
    before = await world.payment(draft_id)
    again = await replay(world, kept["id"])

    assert (kept["gateway"], kept["paymentDraftId"], kept["verdict"]) == (psp, draft_id, verdict)
    assert shown.headers["cache-control"] == "no-store"
    assert {name: shown.json()[name] for name in kept} == kept
    assert (shown.json()["encoding"], shown.json()["body"].encode()) == ("text", _bytes(recorded))
    assert (again.status_code, again.json()) == (200, {"verdicts": ["repeated"]})
    assert await world.payment(draft_id) == before


async def test_a_delivery_is_believed_however_long_after_it_came(world: World) -> None:
    """Stripe's signatures are refused when they are five minutes old: that is about when they came, not the replay."""
    draft_id = await paid(world, "stripe")
    kept = (await of(world, draft_id, "&gateway=stripe&verdict=applied"))[0]
    await world.advance(86_400)

    again = await replay(world, kept["id"])

    assert (again.status_code, again.json()) == (200, {"verdicts": ["repeated"]})


async def test_a_hint_that_is_replayed_is_asked_about_again(world: World) -> None:
    """Its first look-up may have come to nothing, and the PSP does not send it again."""
    draft_id = await paid(world, "paymob")
    await world.act(draft_id, "refund")
    await world.becomes(draft_id, "refunded")
    kept = (await of(world, draft_id, "&verdict=lookup"))[0]
    key = uuid.UUID(draft_id)
    before = await world.fetchval("SELECT version FROM payment_drafts WHERE id = $1", key)

    again = await replay(world, kept["id"])

    assert (again.status_code, again.json()) == (200, {"verdicts": ["lookup"]})
    assert await world.fetchval("SELECT version FROM payment_drafts WHERE id = $1", key) > before


async def test_a_delivery_whose_draft_was_not_there_is_folded_by_its_replay(world: World) -> None:
    """The one that nobody heard: taken once more, it does what it should have done."""
    draft_id, key = await begun(world, "paymob"), uuid.UUID(int=0)
    key = uuid.UUID(draft_id)
    order = await world.fetchval("SELECT transaction_reference_id FROM payment_drafts WHERE id = $1", key)
    await world.fault("lookup", "error", times=99)
    await world.fetchval("UPDATE payment_drafts SET transaction_reference_id = 'hidden' WHERE id = $1", key)
    await world.act(draft_id, "pay")
    (recorded,) = await world.delivered(draft_id)
    unmatched = (await get(world, "/api/webhook-deliveries?verdict=unmatched")).json()["deliveries"]
    (kept,) = [one for one in unmatched if one["bytes"] == len(_bytes(recorded)) and await _is_about(world, one, order)]
    await world.fetchval("DELETE FROM unmatched_events WHERE event_id = $1", kept["event_id"])
    await world.fetchval("UPDATE payment_drafts SET transaction_reference_id = $2 WHERE id = $1", key, order)

    again = await replay(world, kept["id"])

    assert (again.status_code, again.json()) == (200, {"verdicts": ["applied"]})
    assert await world.state(draft_id) == "completed"


async def test_a_delivery_that_was_changed_since_is_not_believed(world: World) -> None:
    """Verification included: whoever can write into the table still cannot sign."""
    draft_id = await paid(world, "paymob")
    (kept, *_) = await of(world, draft_id, "&verdict=applied")
    await world.fetchval(
        "UPDATE webhook_deliveries SET body = replace(convert_from(body, 'UTF8'), '30000', '1')::bytea WHERE id = $1",
        uuid.UUID(kept["id"]),
    )

    problem_of(await replay(world, kept["id"]), 401, "webhook_not_authentic")


async def test_a_repeat_whose_body_was_not_kept_cannot_be_taken_again(world: World) -> None:
    """Only the first was kept whole; the list says which that is."""
    draft_id = await paid(world, "paymob")
    (recorded, *_) = await world.deliveries(draft_id)
    assert (await world.post_webhook(recorded)).status_code == 200
    (repeat,) = await of(world, draft_id, "&verdict=repeated")
    assert repeat["bytes"] == 0

    problem_of(await replay(world, repeat["id"]), 409, "delivery_not_kept")


async def test_a_body_that_is_no_text_is_shown_in_base64(world: World) -> None:
    """A PSP may sign what is no UTF-8; JSON could not hold it."""
    (kept, *_) = await of(world, await paid(world, "paymob"))
    changed = "UPDATE webhook_deliveries SET body = '\\xff00'::bytea WHERE id = $1"
    await world.fetchval(changed, uuid.UUID(kept["id"]))

    shown = (await get(world, f"/api/webhook-deliveries/{kept['id']}")).json()

    assert (shown["encoding"], shown["body"], shown["bytes"]) == ("base64", "/wA=", 2)


async def test_the_list_goes_on_where_a_page_ends(world: World) -> None:
    """Newest first, each once."""
    draft_id = await paid(world, "paymob")
    (recorded, *_) = await world.deliveries(draft_id)
    for _ in range(101):
        await world.post_webhook(recorded)
    query = f"/api/webhook-deliveries?draft={draft_id}"

    first = (await get(world, query)).json()
    rest = (await get(world, f"{query}&after={first['next']}")).json()

    ids = [one["id"] for page in (first, rest) for one in page["deliveries"]]
    assert (len(first["deliveries"]), rest["next"]) == (100, None)
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == await world.fetchval(
        "SELECT count(*) FROM webhook_deliveries WHERE draft_id = $1", uuid.UUID(draft_id)
    )


@pytest.mark.parametrize("query", ["draft=x", "gateway=%00", "verdict=paid", "verdict=", "after=x", "draft=%00"])
async def test_a_filter_that_cannot_be_is_refused_by_name(world: World, query: str) -> None:
    """As in the list of payments."""
    problem = problem_of(await get(world, f"/api/webhook-deliveries?{query}"), 400, "invalid_request")
    assert [one["pointer"] for one in problem["errors"]] == [f"?{query.partition('=')[0]}"]


@pytest.mark.parametrize("delivery_id", ["none", "%00", "0199f000-0000-7000-8000-000000000000"])
async def test_a_delivery_that_is_not_there_is_not_found(world: World, delivery_id: str) -> None:
    """A mistyped id names nothing."""
    problem_of(await get(world, f"/api/webhook-deliveries/{delivery_id}"), 404, "delivery_not_found")
    problem_of(await replay(world, delivery_id), 404, "delivery_not_found")


async def test_nobody_takes_a_delivery_again_without_the_key(world: World) -> None:
    """It is the operator's."""
    problem_of(await replay(world, str(uuid.uuid4()), {}), 401, "operator_key_required")


def _bytes(recorded: dict[str, Any]) -> bytes:
    """A recorded delivery's body as it was sent."""
    return str(recorded["body"]).encode()


async def _is_about(world: World, kept: dict[str, Any], order: str) -> bool:
    shown = (await get(world, f"/api/webhook-deliveries/{kept['id']}")).json()
    return f'"id":{order}' in shown["body"].replace(" ", "")
