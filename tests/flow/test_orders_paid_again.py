"""An order whose money went back, or was lost again, can be paid anew, and nothing is delivered for lost money."""

import uuid
from collections.abc import AsyncIterator, Mapping

import pytest
from flow_bench import AMOUNT, PSP, Bench, bench_over

from qirsh.draft import GatewayEvent, Kind, State
from qirsh.money import Money
from qirsh.work.fulfilment import Announcer
from qirsh.work.handlers import Announcement, Handler


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """A bench over a database of the test's own."""
    async with bench_over(database_url) as ready:
        yield ready


async def paid(bench: Bench, order: str = "A-1") -> uuid.UUID:
    """One more payment of the order."""
    bench.psp.paid = False
    return await bench.paid(order)


async def told(bench: Bench, draft_id: uuid.UUID, kind: Kind, total_minor: int) -> None:
    """The PSP says what is given back in all."""
    event = GatewayEvent(
        kind=kind,
        gateway=PSP,
        event_id=f"{kind}-{total_minor}",
        draft_id=draft_id,
        payment_reference=f"payment-{draft_id}",
        amount=Money(total_minor, AMOUNT.currency),
    )
    await bench.payments.fold(await bench.row(draft_id), [event], source="lookup")


async def lost(bench: Bench, draft_id: uuid.UUID) -> None:
    """The payer's bank took the money back, and a person accepted that."""
    gone = GatewayEvent(
        kind=Kind.FAILED, gateway=PSP, event_id="gone", draft_id=draft_id, payment_reference=f"payment-{draft_id}"
    )
    await bench.payments.fold(await bench.row(draft_id), [gone], source="lookup")
    await bench.payments.reviews.decide(draft_id, "accept", "gone")
    assert (await bench.row(draft_id)).draft.state is State.FAILED


async def duplicates(bench: Bench, *draft_ids: uuid.UUID) -> list[uuid.UUID | None]:
    """Whose duplicate each is announced as."""
    return [(await bench.store.fulfilments.of(draft_id))[0].duplicate_of for draft_id in draft_ids]


async def flags(bench: Bench, *draft_ids: uuid.UUID) -> list[bool]:
    """Which of them a person must look at."""
    return [(await bench.row(draft_id)).draft.needs_review for draft_id in draft_ids]


async def test_an_order_that_was_given_back_whole_is_paid_by_the_next_payment(bench: Bench) -> None:
    """The shop delivers for it: as a duplicate of what went back, it would be given back as well."""
    first = await paid(bench)
    await told(bench, first, Kind.REFUNDED, AMOUNT.amount_minor)

    second, third = await paid(bench), await paid(bench)

    assert await duplicates(bench, first, second, third) == [None, None, second]
    assert await flags(bench, first, second, third) == [False, False, True]


async def test_an_order_whose_money_was_lost_is_paid_by_the_next_payment(bench: Bench) -> None:
    """The same after a dispute."""
    first = await paid(bench)
    await lost(bench, first)

    second = await paid(bench)

    assert await duplicates(bench, second) == [None]
    assert await flags(bench, second) == [False]


async def test_an_order_that_a_duplicate_still_pays_stays_paid(bench: Bench) -> None:
    """Of two payments the first was given back: a third pays the order twice all the same."""
    first, second = await paid(bench), await paid(bench)
    await told(bench, first, Kind.REFUNDED, AMOUNT.amount_minor)

    third = await paid(bench)
    assert (await duplicates(bench, third)) != [None]
    await told(bench, second, Kind.REFUNDED, AMOUNT.amount_minor)
    await told(bench, third, Kind.REFUNDED, AMOUNT.amount_minor)

    assert await duplicates(bench, await paid(bench)) == [None]


async def test_an_order_that_was_given_back_in_part_stays_paid(bench: Bench) -> None:
    """The shop has delivered what was not given back."""
    first = await paid(bench)
    await told(bench, first, Kind.REFUNDED, 100)

    assert await duplicates(bench, await paid(bench)) == [first]


async def test_a_refund_that_failed_after_all_pays_its_order_again(bench: Bench) -> None:
    """The money never left: whoever pays now pays twice."""
    first = await paid(bench)
    await told(bench, first, Kind.REFUNDED, AMOUNT.amount_minor)
    await told(bench, first, Kind.REFUND_FAILED, 0)

    assert await duplicates(bench, await paid(bench)) == [first]


async def test_a_refund_that_failed_after_its_order_was_paid_anew_is_for_a_person(bench: Bench) -> None:
    """Both payments are money now, and the shop delivered for the second."""
    first = await paid(bench)
    await told(bench, first, Kind.REFUNDED, AMOUNT.amount_minor)
    second = await paid(bench)

    await told(bench, first, Kind.REFUND_FAILED, 0)

    assert [(await bench.row(one)).draft.state for one in (first, second)] == [State.COMPLETED] * 2
    assert await flags(bench, first, second) == [True, False]
    assert await duplicates(bench, first, second, await paid(bench)) == [None, None, second]


async def test_nothing_is_delivered_for_money_that_was_lost_before_the_shop_heard_of_it(bench: Bench) -> None:
    """The announcement ends as a dead letter, which is an alarm."""
    draft_id = await paid(bench)
    await lost(bench, draft_id)
    heard: list[Mapping[str, object]] = []

    async def take(announcement: Announcement) -> None:
        heard.append(announcement.data)

    await announce(bench, draft_id, take)

    assert heard == []
    (ended,) = await bench.store.fulfilments.of(draft_id)
    assert (ended.state, ended.last_error) == ("dead", "payment_gone")


async def test_a_payment_is_no_duplicate_of_one_that_the_shop_never_heard_of(bench: Bench) -> None:
    """It would be given back, and nothing delivered for the order."""
    first, second = await paid(bench), await paid(bench)
    await lost(bench, first)
    heard: list[Mapping[str, object]] = []

    async def take(announcement: Announcement) -> None:
        heard.append(announcement.data)

    for draft_id in (first, second):
        await announce(bench, draft_id, take)

    assert [(one["paymentDraftId"], "duplicate_of" in one) for one in heard] == [(str(second), False)]


async def announce(bench: Bench, draft_id: uuid.UUID, take: Handler) -> None:
    """Tell the shop of a payment, as a worker does."""
    (announcement,) = await bench.store.fulfilments.of(draft_id)
    due = await bench.store.fulfilments.get(announcement.id)
    assert due is not None
    announcer = Announcer("", [], allow_private=True, handlers=[take])
    await announcer.announce(bench.store, announcement.id, due.version)
