"""What happens to a draft while somebody talks to its PSP about it is neither overwritten nor forgotten."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from flow_bench import AMOUNT, PSP, Bench, Nobody, Scripted, admit, bench_over

from qirsh.draft import DeclineCode, DraftRequest, GatewayEvent, Kind, PaymentDraft, State
from qirsh.errors import GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import Lookup, Registration, Standing, deadline
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.payments import Payments
from qirsh.routing import PaymentMethodRouter
from qirsh.store.refunds import RefundState

DAY = timedelta(days=1)


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """A bench over a database of the test's own."""
    async with bench_over(database_url) as ready:
        yield ready


async def hinted(bench: Bench, draft_id: uuid.UUID, payment_reference: str | None = None) -> None:
    """A delivery that proves nothing has come: the PSP is to be asked."""
    await bench.store.drafts.stage_lookup(bench.store.pool, draft_id, payment_reference)


async def is_due(bench: Bench, draft_id: uuid.UUID) -> bool:
    """Whether somebody asks about the draft at once."""
    wait = await bench.wait(draft_id)
    return wait is not None and wait <= timedelta(0)


async def test_a_hint_that_comes_while_the_psp_is_asked_is_asked_about_in_its_turn(bench: Bench) -> None:
    """The PSP's answer was written before the payer paid, and says again what is known already."""
    draft_id = await bench.draft(Method.KIOSK)
    bench.psp.tells = lambda draft: Lookup(Standing.OPEN, [bench.psp.event(draft, Kind.DECLINED)])
    await bench.works_on(draft_id)

    bench.psp.meanwhile = lambda _: hinted(bench, draft_id, "payment-1")
    await bench.works_on(draft_id)

    assert await is_due(bench, draft_id)
    assert (await bench.row(draft_id)).draft.hinted_payment_reference == "payment-1"


async def test_a_hint_that_another_worker_has_taken_is_not_taken_from_him(bench: Bench) -> None:
    """He has read the row under the version that the hint gave it, and must still find it so."""
    draft_id = await bench.draft(Method.KIOSK)
    versions: list[int] = []

    async def taken(_: PaymentDraft) -> None:
        await hinted(bench, draft_id)
        async with bench.store.transaction() as connection:
            (due,) = await bench.store.lease_due(connection, "drafts", timedelta(minutes=1), 10, [PSP])
        versions.append(due.version)

    bench.psp.tells = lambda draft: Lookup(Standing.OPEN, [bench.psp.event(draft, Kind.DECLINED)])
    await bench.works_on(draft_id)
    bench.psp.meanwhile = taken
    await bench.works_on(draft_id)

    assert [(await bench.row(draft_id)).version] == versions


@pytest.mark.parametrize("says", [True, False])
async def test_a_dispute_that_is_hinted_at_while_a_paid_draft_is_looked_at_is_asked_about(
    bench: Bench, *, says: bool
) -> None:
    """Nothing else ever asks about what was paid long ago."""
    draft_id = await bench.paid()
    bench.psp.tells = lambda draft: Lookup(Standing.CLOSED, [bench.psp.event(draft, Kind.PAID)] if says else [])
    bench.psp.meanwhile = lambda _: hinted(bench, draft_id)

    await bench.works_on(draft_id)

    assert await is_due(bench, draft_id)


async def refunded(bench: Bench) -> tuple[uuid.UUID, uuid.UUID]:
    """A payment that was given back, and the refund."""
    draft_id = await bench.paid()
    refund, _ = await bench.payments.refunder.request(draft_id, None, "", key=str(uuid.uuid4()))
    done = refund_of(draft_id, Kind.REFUNDED, AMOUNT, refund.id)
    await bench.payments.registrar.believe(await bench.row(draft_id), [done], source="refund")
    return draft_id, refund.id


def refund_of(draft_id: uuid.UUID, kind: Kind, total: Money, refund_id: uuid.UUID | None = None) -> GatewayEvent:
    """What a PSP says of a refund: how much is given back in all."""
    return GatewayEvent(
        kind=kind,
        gateway=PSP,
        event_id=f"{kind}-{total.amount_minor}",
        draft_id=draft_id,
        payment_reference=f"payment-{draft_id}",
        amount=total,
        refund_id=refund_id,
    )


async def test_a_refund_that_failed_days_later_is_not_forgotten_where_two_deliveries_tell_of_it(bench: Bench) -> None:
    """Stripe tells it twice: the second comes while the first is looked into."""
    draft_id, refund_id = await refunded(bench)
    bench.clock.offset += 5 * DAY
    failed = refund_of(draft_id, Kind.REFUND_FAILED, Money(0, "EGP"), refund_id)
    bench.psp.tells = lambda draft: Lookup(Standing.CLOSED, [bench.psp.event(draft, Kind.PAID), failed])
    bench.psp.meanwhile = lambda _: hinted(bench, draft_id)
    await bench.works_on(draft_id)
    assert await is_due(bench, draft_id)

    bench.psp.meanwhile = None
    await bench.works_on(draft_id)

    draft = (await bench.row(draft_id)).draft
    assert (draft.state, draft.refunded_minor, draft.needs_review) == (State.COMPLETED, 0, True)
    refund = await bench.store.refunds.get(refund_id)
    assert refund is not None
    assert refund.state is RefundState.FAILED


@pytest.mark.parametrize("fails", [True, False])
async def test_two_look_ups_of_a_refund_at_once_come_to_an_end(bench: Bench, *, fails: bool) -> None:
    """Each hears that the other moved the draft, and neither may send the other back to the PSP for that."""
    draft_id, refund_id = await refunded(bench)
    told = refund_of(draft_id, Kind.REFUNDED, AMOUNT, refund_id)
    if fails:
        told = refund_of(draft_id, Kind.REFUND_FAILED, Money(0, "EGP"), refund_id)
    bench.psp.tells = lambda draft: Lookup(Standing.CLOSED, [bench.psp.event(draft, Kind.PAID), told])
    bench.psp.asked = 0
    is_asked, goes_on = asyncio.Event(), asyncio.Event()
    others: list[asyncio.Task[None]] = []

    async def meanwhile(_: PaymentDraft) -> None:
        if others:
            is_asked.set()
            await goes_on.wait()
            return
        await hinted(bench, draft_id)
        others.append(asyncio.create_task(bench.works_on(draft_id)))
        await is_asked.wait()

    bench.psp.meanwhile = meanwhile
    await bench.works_on(draft_id)
    goes_on.set()
    await others[0]

    assert bench.psp.asked == 2
    assert await bench.wait(draft_id) is None
    draft = (await bench.row(draft_id)).draft
    assert (draft.state, draft.refunded_minor) == ((State.COMPLETED, 0) if fails else (State.REFUNDED, 30_000))


async def test_what_was_decided_about_another_payments_refund_differs_no_more(bench: Bench) -> None:
    """Books that nobody can settle hide the ones that somebody could."""
    draft_id, _ = await refunded(bench)
    other = msgspec.structs.replace(refund_of(draft_id, Kind.REFUND_FAILED, Money(0, "EGP")), payment_reference="other")
    bench.psp.tells = lambda draft: Lookup(Standing.CLOSED, [bench.psp.event(draft, Kind.PAID), other])
    await bench.works_on(draft_id)
    await bench.payments.reviews.decide(draft_id, "dismiss", "not ours")

    told = bench.payments.reconciler.differences([draft_id], dry_run=True)

    assert [one async for batch in told for one in batch] == []


async def test_who_has_no_time_left_blames_no_psp(bench: Bench) -> None:
    """The database took all of it: were that a failure of the PSP's, five of them would keep everybody from it."""
    request = DraftRequest(product_id="tshirt", amount="300", method=Method.CARD, currency="EGP")
    keys = [str(uuid.uuid4()) for _ in range(6)]
    for key in keys:
        with pytest.raises(GatewayUnavailable), deadline(0.0):
            await bench.payments.initiate(request, key=key, fingerprint=b"f" * 32, admit=admit)

    for key in keys:
        answer = await bench.payments.initiate(request, key=key, fingerprint=b"f" * 32, admit=admit)
        assert answer.row.draft.state is State.AWAITING_USER_ACTION


async def test_reconciliation_tells_of_a_failed_refund_that_it_could_not_fold(bench: Bench) -> None:
    """What is passed over in silence, nobody looks at again."""
    draft_id, refund_id = await refunded(bench)
    failed = refund_of(draft_id, Kind.REFUND_FAILED, Money(0, "EGP"), refund_id)
    bench.psp.tells = lambda draft: Lookup(Standing.CLOSED, [bench.psp.event(draft, Kind.PAID), failed])
    bench.psp.meanwhile = lambda _: hinted(bench, draft_id)

    told = bench.payments.reconciler.differences([draft_id], dry_run=False)
    found = [(one.field, one.ours, one.theirs) async for batch in told for one in batch if one.stays]

    assert found == [("refunded_minor", "30000", "0")]
    assert await is_due(bench, draft_id)


async def test_the_refusal_that_a_server_hears_after_its_claim_lapsed_ends_nothing(bench: Bench) -> None:
    """Another server has made the draft payable meanwhile, which is why the PSP refuses a second registration."""
    claimed, thaw = asyncio.Event(), asyncio.Event()
    psp = bench.psp

    class Late(Scripted):
        async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  the protocol's
            claimed.set()
            await thaw.wait()
            raise GatewayRejected(reason=DeclineCode.UNKNOWN)

    router = PaymentMethodRouter([psp.profile], {Method.CARD: {"EGP": (PSP,)}})
    frozen = Payments(bench.store, {PSP: Late()}, router, bench.clock, Nobody())
    request = DraftRequest(product_id="tshirt", amount="300", method=Method.CARD, currency="EGP")
    initiate: dict[str, Any] = {"key": str(uuid.uuid4()), "fingerprint": b"f" * 32, "admit": admit}
    first = asyncio.create_task(frozen.initiate(request, **initiate))
    await claimed.wait()
    await bench.store.pool.execute("UPDATE payment_drafts SET claimed_until = now() - interval '1 s'")
    bench.psp.looks = (Standing.UNKNOWN,)
    second = await bench.payments.initiate(request, **initiate)
    assert second.row.draft.state is State.AWAITING_USER_ACTION

    thaw.set()

    answers = (await first).row.draft, second.row.draft
    assert [(one.state, one.action) for one in answers] == [(State.AWAITING_USER_ACTION, second.row.draft.action)] * 2


async def test_a_withdrawal_that_was_lost_is_made_again(bench: Bench) -> None:
    """An expired reference that stays payable invites a payment that nobody waits for."""
    draft_id = await bench.draft()
    bench.clock.offset += timedelta(hours=2)
    bench.psp.cancels = GatewayUnavailable
    await bench.works_on(draft_id)
    assert (await bench.row(draft_id)).draft.state is State.FAILED

    bench.psp.cancels = None
    await bench.works_on(draft_id)

    assert bench.psp.cancelled == 1


async def test_an_ended_sibling_that_may_be_payable_is_withdrawn_when_its_order_is_paid(bench: Bench) -> None:
    """Its own withdrawal was lost, and its next look is days away."""
    ended = await bench.draft(order="A-1")
    bench.clock.offset += timedelta(hours=2)
    bench.psp.cancels = GatewayUnavailable
    await bench.works_on(ended)
    bench.psp.cancels = None
    paid = await bench.paid(order="A-1")

    await bench.store.orders.stage_siblings((await bench.row(paid)).draft)

    assert await is_due(bench, ended)


async def test_who_comes_back_while_the_psp_is_down_is_asked_about_by_a_worker(bench: Bench) -> None:
    """His payment may be the one that he was sent away for."""
    draft_id = await bench.draft(Method.KIOSK)
    await bench.works_on(draft_id)
    assert not await is_due(bench, draft_id)
    bench.psp.looks = (GatewayUnavailable,)

    await bench.payments.come_back_to(PSP, draft_id, cancelled=False)

    assert await is_due(bench, draft_id)


async def test_who_comes_back_to_an_expired_draft_is_asked_about(bench: Bench) -> None:
    """He pressed the button a moment before it expired."""
    draft_id = await bench.draft()
    bench.clock.offset += timedelta(hours=2)
    bench.psp.looks = (Standing.CLOSED,)
    await bench.works_on(draft_id)
    assert (await bench.row(draft_id)).draft.state is State.FAILED
    bench.psp.paid = True

    row = await bench.payments.come_back_to(PSP, draft_id, cancelled=False)

    assert row is not None
    assert row.draft.state is State.COMPLETED


async def test_a_draft_that_failed_long_ago_is_not_asked_about_by_whoever_opens_its_address(bench: Bench) -> None:
    """The address is open to everybody, for ever."""
    draft_id = await bench.draft()
    bench.clock.offset += timedelta(hours=2)
    bench.psp.looks = (Standing.CLOSED,)
    await bench.works_on(draft_id)
    bench.clock.offset += 8 * DAY
    asked = bench.psp.asked

    await bench.payments.come_back_to(PSP, draft_id, cancelled=False)

    assert bench.psp.asked == asked
