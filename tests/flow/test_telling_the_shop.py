"""What the shop hears, and when: payments, refunds, in order, however long it is away and whatever it answers."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from standardwebhooks import Webhook

from qirsh.work.fulfilment import SCHEDULE
from world import FULFILMENT_SECRET, OPERATOR_KEY, World, eventually, problem_of

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
JITTERED: Final = 1.1


async def paid(world: World, **fields: Any) -> str:
    """A draft that was paid."""
    draft_id = str((await world.initiate(**fields)).json()["paymentDraftId"])
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    return draft_id


def told(world: World, draft_id: str) -> list[tuple[str, str, str]]:
    """What the shop was sent of a draft: the id, the type, and what was given back; its signature is good."""
    heard = []
    for headers, raw in world.shop.of(draft_id):
        said = Webhook(FULFILMENT_SECRET).verify(raw, headers)
        heard.append((headers["webhook-id"], said["type"], said["data"]["refunded"]))
    return heard


async def announcements(world: World, draft_id: str) -> list[dict[str, Any]]:
    """What the operator sees of a draft's announcements."""
    found: list[dict[str, Any]] = (await world.payment(draft_id))["fulfilments"]
    return found


async def stand(world: World, draft_id: str, *states: str) -> list[dict[str, Any]]:
    """Wait until the announcements of a draft are in these states."""

    async def there() -> list[dict[str, Any]] | None:
        found = await announcements(world, draft_id)
        return found if [one["status"] for one in found] == list(states) else None

    return await eventually(there, f"the announcements of {draft_id} to be {', '.join(states)}")


async def tried(world: World, draft_id: str, attempts: int) -> dict[str, Any]:
    """Wait until the payment was announced so often."""

    async def there() -> dict[str, Any] | None:
        first = (await announcements(world, draft_id))[0]
        return first if first["attempts"] == attempts else None

    return await eventually(there, f"try {attempts} to announce {draft_id}")


async def replay(world: World, fulfilment_id: str, headers: dict[str, str] = KEYED) -> httpx.Response:
    """Ask for an announcement to be made again."""
    return await world.client.post(f"{world.api}/api/fulfilments/{fulfilment_id}/replay", headers=headers)


async def test_a_refund_is_announced_after_its_payment(world: World) -> None:
    """A shop that is not told goes on sending goods for money that went back."""
    draft_id = await paid(world)
    await stand(world, draft_id, "delivered")
    await world.act(draft_id, "refund", amount_minor=10000)
    await stand(world, draft_id, "delivered", "delivered")
    await world.act(draft_id, "refund")
    await stand(world, draft_id, "delivered", "delivered", "delivered")

    heard = told(world, draft_id)

    assert [one[1:] for one in heard] == [
        ("payment.completed", "0.00"),
        ("payment.refunded", "100.00"),
        ("payment.refunded", "300.00"),
    ]
    assert len({one[0] for one in heard}) == 3


async def test_a_refund_waits_until_the_shop_has_heard_of_the_payment(world: World) -> None:
    """The shop hears the payment with what is back already, and then the refund itself, never the other way round."""
    world.shop.status = 500
    draft_id = await paid(world)
    await tried(world, draft_id, 1)
    await world.act(draft_id, "refund", amount_minor=10000)
    await world.becomes(draft_id, "partially_refunded")
    world.shop.status = 200

    async def delivered() -> bool:
        await world.advance(6)
        return [one["status"] for one in await announcements(world, draft_id)] == ["delivered", "delivered"]

    await eventually(delivered, "both announcements")

    first, *_ = heard = told(world, draft_id)
    assert first[1:] == ("payment.completed", "0.00"), "sent before the refund, and refused"
    assert heard[-2:] == [
        (first[0], "payment.completed", "100.00"),
        (heard[-1][0], "payment.refunded", "100.00"),
    ]
    assert [one[1] for one in heard].count("payment.refunded") == 1


async def test_a_shop_that_is_down_for_a_day_hears_of_its_payment(world: World) -> None:
    """By the last retry, under the id of the first try, and signed anew: an old signature would be refused."""
    world.shop.status = 503
    draft_id = await paid(world)
    for number, step in enumerate(SCHEDULE, 1):
        await tried(world, draft_id, number)
        if number == len(SCHEDULE):
            world.shop.status = 200
        await world.advance(step.total_seconds() * JITTERED + 1)
    await stand(world, draft_id, "delivered")

    heard = told(world, draft_id)

    assert len(heard) == len(SCHEDULE) + 1
    assert {one[:2] for one in heard} == {(heard[0][0], "payment.completed")}


async def test_after_the_last_retry_it_is_a_dead_letter_that_an_operator_can_send(world: World) -> None:
    """A shop that was away for longer than the schedule has lost nothing but time."""
    world.shop.status = 500
    draft_id = await paid(world)
    for number, step in enumerate(SCHEDULE, 1):
        await tried(world, draft_id, number)
        await world.advance(step.total_seconds() * JITTERED + 1)
    (dead,) = await stand(world, draft_id, "dead")
    assert (dead["attempts"], dead["error"], dead["nextTryAt"]) == (len(SCHEDULE) + 1, "HTTP 500", None)
    world.shop.status = 200

    answer = await replay(world, dead["fulfilmentId"])

    assert answer.status_code == 202
    assert {**answer.json(), "nextTryAt": None} == {**dead, "status": "due", "attempts": 0, "error": None}
    (delivered,) = await stand(world, draft_id, "delivered")
    assert delivered["attempts"] == 1
    assert {one[:2] for one in told(world, draft_id)} == {(told(world, draft_id)[0][0], "payment.completed")}


async def test_gone_ends_one_announcement_and_no_other(world: World) -> None:
    """The shop wants no more of this one; what went back of it waits, and the next payment is told as ever."""
    world.shop.status = 410
    draft_id = await paid(world)
    (dead,) = await stand(world, draft_id, "dead")
    assert (dead["attempts"], dead["error"]) == (1, "HTTP 410")
    world.shop.status = 200
    await world.act(draft_id, "refund")
    await world.becomes(draft_id, "refunded")

    other = await paid(world)
    await stand(world, other, "delivered")

    await eventually(lambda: _put_off(world, draft_id), "the refund to wait")
    assert [one[1] for one in told(world, draft_id)] == ["payment.completed"]
    await replay(world, dead["fulfilmentId"])
    await stand(world, draft_id, "delivered", "delivered")
    assert [one[1:] for one in told(world, draft_id)[1:]] == [
        ("payment.completed", "300.00"),
        ("payment.refunded", "300.00"),
    ]


async def test_a_busy_shop_is_left_alone_for_as_long_as_it_asks(world: World) -> None:
    """The schedule would come back after five seconds, just when the shop is at its weakest."""
    world.shop.status, world.shop.headers = 429, {"Retry-After": "3600"}
    draft_id = await paid(world)
    await tried(world, draft_id, 1)
    world.shop.status, world.shop.headers = 200, {}
    other = await paid(world)

    await world.advance(3500)
    await stand(world, other, "delivered")
    assert len(told(world, draft_id)) == 1
    await world.advance(110)

    await stand(world, draft_id, "delivered")
    assert len(told(world, draft_id)) == 2


async def test_a_delivered_announcement_can_be_made_again(world: World) -> None:
    """A shop that lost its database asks for what it had; the id tells another shop that it has this already."""
    draft_id = await paid(world)
    (delivered,) = await stand(world, draft_id, "delivered")

    answers = await asyncio.gather(*(replay(world, delivered["fulfilmentId"]) for _ in range(3)))

    assert [answer.status_code for answer in answers] == [202] * 3
    await eventually(_heard_again(world, draft_id), "the announcement once more")
    await stand(world, draft_id, "delivered")
    assert len(set(told(world, draft_id))) == 1


async def test_only_an_operator_replays_and_only_what_there_is(world: World) -> None:
    """Whoever could replay at will could make a shop deliver late orders on any day he likes."""
    draft_id = await paid(world)
    (delivered,) = await stand(world, draft_id, "delivered")

    for fulfilment_id in (str(uuid.uuid4()), "0", "%00", draft_id):
        problem_of(await replay(world, fulfilment_id), 404, "fulfilment_not_found")
    for headers in ({}, {"authorization": "Bearer wrong"}):
        problem_of(await replay(world, delivered["fulfilmentId"], headers), 401, "operator_key_required")
    assert len(told(world, draft_id)) == 1


async def test_the_operator_sees_what_the_shop_was_told(world: World) -> None:
    """Whether goods were sent is the first question after whether the money came."""
    draft_id = await paid(world)
    (shown,) = await stand(world, draft_id, "delivered")

    assert set(shown) == {
        *("fulfilmentId", "type", "status", "attempts", "error", "duplicate_of"),
        *("createdAt", "deliveredAt", "nextTryAt"),
    }
    assert (shown["type"], shown["attempts"], shown["error"]) == ("payment.completed", 1, None)
    assert (shown["duplicate_of"], shown["nextTryAt"]) == (None, None)
    assert shown["createdAt"] <= shown["deliveredAt"]
    ((headers, raw),) = world.shop.of(draft_id)
    assert headers["webhook-id"] == f"msg_{shown['fulfilmentId'].replace('-', '')}"
    assert json.loads(raw)["timestamp"][:19] == shown["createdAt"][:19]


def _heard_again(world: World, draft_id: str) -> Callable[[], Awaitable[bool]]:
    async def heard() -> bool:
        return len(told(world, draft_id)) > 1

    return heard


async def _put_off(world: World, draft_id: str) -> bool:
    waits: bool = await world.fetchval(
        "SELECT version > 0 AND attempts = 0 FROM fulfilments WHERE draft_id = $1 AND kind = 'payment.refunded'",
        uuid.UUID(draft_id),
    )
    return waits
