"""Several payments for one purchase: whoever pays first pays for it, and what else is open is withdrawn."""

import json
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pytest
from flow_books import command, lines_about

from world import OPERATOR_KEY, World, eventually

BY_CARD: Final[Mapping[str, Any]] = MappingProxyType({})
BY_REFERENCE: Final[Mapping[str, Any]] = MappingProxyType(
    {"payment_method": "fawry", "payer": {"phone": "01010101010", "email": "mona@example.com"}}
)
BY_STRIPE: Final[Mapping[str, Any]] = MappingProxyType({"currency": "USD", "product_amount": "10.00"})


@pytest.fixture
def order() -> str:
    """An order of the test's own."""
    return f"order-{uuid.uuid4()}"


async def begun(world: World, order: str, how: Mapping[str, Any] = BY_CARD) -> str:
    """A draft of an order that waits for its payer."""
    answer = await world.initiate(order_reference=order, **how)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["paymentDraftId"])


async def announced(world: World, draft_id: str) -> dict[str, Any]:
    """What the shop heard first of a draft."""

    async def there() -> list[tuple[dict[str, str], bytes]]:
        return world.shop.of(draft_id)

    (_, raw), *_ = await eventually(there, "the announcement")
    data: dict[str, Any] = json.loads(raw)["data"]
    return data


async def test_the_second_payment_of_an_order_completes_is_flagged_and_names_the_first(
    world: World, order: str
) -> None:
    """The payer had two tabs. The shop must not deliver twice, and a person must give one of the payments back."""
    first, second = await begun(world, order), await begun(world, order)
    await world.act(first, "pay")
    await world.becomes(first, "completed")
    await world.act(second, "pay")
    await world.becomes(second, "completed")

    paid = {draft_id: await world.payment(draft_id) for draft_id in (first, second)}
    assert [one["needs_review"] for one in paid.values()] == [False, True]
    told = [(one["verdict"], one["review_reason"]) for one in paid[second]["journal"]]
    assert ("applied", "order_paid_twice") in told
    assert [one["duplicate_of"] for one in paid[second]["fulfilments"]] == [first]
    assert "duplicate_of" not in await announced(world, first)
    assert (await announced(world, second))["duplicate_of"] == first


async def test_an_order_paid_twice_is_decided_by_a_person_and_the_journal_explains_both(
    world: World, order: str
) -> None:
    """Whoever gave one of the payments back says so, and is not told of it for ever."""
    first, second = await begun(world, order), await begun(world, order)
    for draft_id in (first, second):
        await world.act(draft_id, "pay")
        await world.becomes(draft_id, "completed")
    key = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    path = f"{world.api}/api/payments/{second}/review"

    flagged = lines_about((await command(world, "journal", "verify"))[1], second)
    decided = await world.client.post(path, headers=key, json={"resolution": "accept", "note": "both wanted"})

    assert (decided.status_code, decided.json()["status"]) == (200, "completed")
    assert decided.json()["needs_review"] is False
    last = decided.json()["journal"][-1]["event"]["decision"]
    assert last == {"resolution": "accept", "review_reason": "order_paid_twice", "note": "both wanted"}
    assert [flagged, lines_about((await command(world, "journal", "verify"))[1], second)] == [[], []]


@pytest.mark.parametrize(
    ("how", "reason", "state"),
    [
        pytest.param(BY_REFERENCE, "cancelled_by_payer", "voided", id="fawry"),
        pytest.param(BY_STRIPE, "expired", "expired", id="stripe"),
    ],
)
async def test_what_is_open_of_a_paid_order_is_withdrawn_where_the_psp_lets_us(
    world: World, order: str, how: Mapping[str, Any], reason: str, state: str
) -> None:
    """A reference that the payer still has in his pocket must not be paid at the next kiosk."""
    sibling, other = await begun(world, order, how), await begun(world, f"{order}-2", how)
    first = await begun(world, order)
    await world.act(first, "pay")
    await world.becomes(first, "completed")

    ended = await world.becomes(sibling, "failed")

    assert ended["reason"] == reason
    ledger = await world.ledger(sibling)
    assert ledger is not None
    assert (ledger["state"], ledger["paid_minor"]) == (state, 0)
    assert not (await world.payment(sibling))["needs_review"]
    assert await world.state(other) == "awaiting_user_action"


async def test_a_sibling_that_cannot_be_withdrawn_stays_open_and_is_flagged_when_it_is_paid(
    world: World, order: str
) -> None:
    """Paymob cancels nothing: there the money that comes all the same is what a person hears of."""
    sibling, first = await begun(world, order), await begun(world, order, BY_REFERENCE)
    await world.act(first, "pay")
    await world.becomes(first, "completed")
    await eventually(lambda: _looked_at(world, sibling), "the look-up of the sibling")
    assert await world.state(sibling) == "awaiting_user_action"

    await world.act(sibling, "pay")
    await world.becomes(sibling, "completed")

    assert (await world.payment(sibling))["needs_review"]


async def test_a_sibling_that_was_begun_after_the_payment_is_withdrawn_by_its_first_look_up(
    world: World, order: str
) -> None:
    """A page that was left open asks for another payment of an order that is paid."""
    first = await begun(world, order)
    await world.act(first, "pay")
    await world.becomes(first, "completed")
    late = await begun(world, order, BY_REFERENCE)

    await world.advance(125)

    await world.becomes(late, "failed")


async def test_an_order_that_was_given_back_may_be_paid_again(world: World, order: str) -> None:
    """Who got his money back and buys after all must not find his reference dead."""
    first = await begun(world, order)
    await world.act(first, "pay")
    await world.becomes(first, "completed")
    await world.act(first, "refund")
    await world.becomes(first, "refunded")
    again = await begun(world, order, BY_REFERENCE)

    await world.advance(125)
    await eventually(lambda: _looked_at(world, again), "the look-up")

    assert await world.state(again) == "awaiting_user_action"


async def test_a_draft_that_expires_leaves_its_paid_sibling_alone(world: World, order: str) -> None:
    """What expires is withdrawn at the PSP, and only that: its sibling's money is the shop's."""
    expiring, first = await begun(world, order), await begun(world, order, BY_REFERENCE)
    await world.act(first, "pay")
    await world.becomes(first, "completed")

    await world.advance(3700)
    await world.becomes(expiring, "failed")

    assert await world.state(first) == "completed"
    ledger = await world.ledger(first)
    assert ledger is not None
    assert (ledger["state"], ledger["paid_minor"], ledger["refunded_minor"]) == ("paid", 30000, 0)
    assert not (await world.payment(first))["needs_review"]


async def test_a_psp_that_does_not_withdraw_now_is_asked_again(world: World, order: str) -> None:
    """Nobody knows whether an unanswered cancel was heard; the next look-up asks, and cancels what is open still."""
    sibling, first = await begun(world, order, BY_REFERENCE), await begun(world, order)
    await world.fault("register", "error", psp="fawry", path="cancel-unpaid-order")
    await world.act(first, "pay")
    await world.becomes(first, "completed")
    await eventually(lambda: _looked_at(world, sibling), "the look-up of the sibling")
    assert await world.state(sibling) == "awaiting_user_action"

    await world.advance(605)

    await world.becomes(sibling, "failed")


async def _looked_at(world: World, draft_id: str) -> bool:
    looked: bool = await world.fetchval("SELECT attempts > 0 FROM payment_drafts WHERE id = $1", uuid.UUID(draft_id))
    return looked
