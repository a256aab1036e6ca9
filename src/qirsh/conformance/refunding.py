"""Checks 13 and 18: money that goes back is counted once, in sums that hold all of it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from qirsh.conformance.bench import Bench
from qirsh.conformance.drafts import Case, part_of, refundable
from qirsh.conformance.psp import CannotActError
from qirsh.conformance.story import Story, paid
from qirsh.conformance.verdicts import NotApplicable, error_of, expect, expect_error
from qirsh.draft import GatewayEvent, Kind, State
from qirsh.errors import GatewayOutcomeUnknown, GatewayRejected
from qirsh.gateways.base import Hint

NOTHING_GOES_BACK: Final = NotApplicable("the profile says that the money of no method can be given back")
REFUND: Final = "refund"
"""The name of the operation in `Profile.idempotent_for`, and of the fault."""


async def refund_amounts_are_cumulative(bench: Bench) -> NotApplicable | None:
    """13. Every `refunded` tells the total given back so far, the dashboard's refunds included."""
    found = refundable(bench.profile)
    for case in found:
        story = await paid(bench, case)
        parts = [part_of(story.draft.amount)] * 2 if bench.profile.partial_refunds else []
        for amount_minor in (*parts, None):
            try:
                heard = await story.act("refund", amount_minor=amount_minor)
            except CannotActError as error:
                raise AssertionError(f"{case}: the PSP refuses a refund ({error}): put it into unrefundable") from None
            await _expect_totals(story, heard, f"{case}: refunded in the PSP's dashboard")
        if parts:
            await _expect_ours_on_top(bench, case)
    return None if found else NOTHING_GOES_BACK


async def refund_happens_once(bench: Bench) -> NotApplicable | None:
    """18. A refund happens once, also after a lost answer; in parts only if declared, and never too much."""
    found = refundable(bench.profile)
    for case in found:
        await _expect_whole(bench, case)
        await _expect_too_much_refused(bench, case)
        if bench.profile.partial_refunds:
            await _expect_parts(bench, case)
        if REFUND in bench.profile.idempotent_for:
            await _expect_once_under_key(bench, case)
        for kind in ("reset_after_accept", "error_after_accept"):
            await _expect_once_after_lost_answer(bench, case, kind)
    return None if found else NOTHING_GOES_BACK


async def _expect_totals(story: Story, heard: Sequence[GatewayEvent | Hint], what: str) -> None:
    """Deliveries and the look-up, each against the ledger. A PSP that tells no sum is not to be made to tell one."""
    total = (await story.ledger())["refunded_minor"]
    told = [one for one in heard if isinstance(one, GatewayEvent)]
    found = (await story.look_up()).events
    expect(
        heard or any(one.kind is Kind.REFUNDED for one in found), f"{what}: neither a webhook nor a look-up told of it"
    )
    for source in (told, found):
        sums = [event.amount.amount_minor for event in source if event.kind is Kind.REFUNDED and event.amount]
        expect(
            not sums or (sums == sorted(sums) and sums[-1] == total),
            f"{what}: the events say {sums} where {total} went back in all: report the PSP's cumulative sums in their "
            "order, or no amount where it tells none",
        )


async def _expect_ours_on_top(bench: Bench, case: Case) -> None:
    """A refund of ours after one of the dashboard's: its answer may tell that one alone, its event may not."""
    story = await paid(bench, case)
    part = part_of(story.draft.amount)
    await story.act("refund", amount_minor=part)
    known = story.draft.refunded_minor
    events = await story.refund(part)
    total = (await story.ledger())["refunded_minor"]
    for event in events:
        told = event.amount.amount_minor if event.amount else None
        expect(
            told in {total, known + part},
            f"{case}: after {known} the refund of {part} was reported as {told}: report RefundOrder.total_minor, "
            "or the PSP's own sum",
        )


async def _expect_whole(bench: Bench, case: Case) -> None:
    story = await paid(bench, case)
    amount, order_id = story.draft.amount, uuid4()
    events = await story.refund(amount.amount_minor, order_id)
    row = await story.ledger()
    expect(
        row["refunded_minor"] == amount.amount_minor,
        f"{case}: {amount.amount_minor} was to go back, and {row['refunded_minor']} did",
    )
    for event in events:
        told = (event.kind, event.amount, event.refund_id)
        expect(
            told == (Kind.REFUNDED, amount, order_id),
            f"{case}: the whole refund was reported as {told}: report `refunded` with the total and the order's id",
        )
    expect(
        not events or story.draft.state is State.REFUNDED,
        f"{case}: all was given back and the draft is {story.draft.state}",
    )


async def _expect_too_much_refused(bench: Bench, case: Case) -> None:
    story = await paid(bench, case)
    error = await error_of(story.refund(story.draft.amount.amount_minor * 2), "refund of too much")
    expect_error(error, (GatewayRejected,), f"{case}: a refund of twice the payment")
    gone = (await story.ledger())["refunded_minor"]
    expect(not gone, f"{case}: {gone} went back although the refund was refused")


async def _expect_parts(bench: Bench, case: Case) -> None:
    """Two refunds of one amount are two refunds."""
    story = await paid(bench, case)
    part = part_of(story.draft.amount)
    for number in (1, 2):
        await story.refund(part)
        gone = (await story.ledger())["refunded_minor"]
        expect(
            gone == part * number,
            f"{case}: {number} refunds of {part} gave back {gone}: each has a key of its own, and sends its own amount",
        )


async def _expect_once_under_key(bench: Bench, case: Case) -> None:
    """The profile says that the PSP honours the key, so the core will repeat it."""
    story = await paid(bench, case)
    row, order_id = story.draft, uuid4()
    amount_minor = row.amount.amount_minor if not bench.profile.partial_refunds else part_of(row.amount)
    told = []
    for _ in range(2):
        story.draft = row  # the row as it stood when the PSP was asked
        told.append([event.amount for event in await story.refund(amount_minor, order_id)])
    gone = (await story.ledger())["refunded_minor"]
    expect(
        gone == amount_minor,
        f"{case}: the same refund under the same key gave back {gone} instead of {amount_minor}: send `key` as it is",
    )
    expect(told[0] == told[1], f"{case}: the same refund under the same key was told as {told[0]} and then {told[1]}")


async def _expect_once_after_lost_answer(bench: Bench, case: Case, kind: str) -> None:
    """The money went back and nobody heard: no verb may send it again, but under a key that the PSP honours."""
    story = await paid(bench, case)
    row, order_id, amount = story.draft, uuid4(), story.draft.amount.amount_minor
    await bench.psp.fault(REFUND, kind, times=1)
    error = await error_of(story.refund(amount, order_id), f"refund under {kind}")
    await bench.psp.heal()
    if error is not None:
        expect_error(error, (GatewayOutcomeUnknown,), f"{case}: a refund whose answer was lost ({kind})")
        await _expect_found_out(story, order_id, f"{case}: after {kind}")
    story.draft = row
    await story.gateway.lookup(row)
    gone = (await story.ledger())["refunded_minor"]
    expect(gone == amount, f"{case}: {gone} of {amount} went back after {kind}: never send a refund blindly again")


async def _expect_found_out(story: Story, order_id: UUID, what: str) -> None:
    """As the server settles doubt: by the key where it is honoured, else by the total that a look-up shows."""
    profile, row = story.bench.profile, story.draft
    if REFUND in profile.idempotent_for:
        events = await story.refund(row.amount.amount_minor, order_id)
        expect(events, f"{what}: the same key again did not tell that the refund is done")
    elif profile.shows_refunds:
        totals = [event.amount for event in (await story.look_up()).events if event.kind is Kind.REFUNDED]
        expect(
            row.amount in totals,
            f"{what}: the look-up shows {totals}: the profile says that it shows what was given back, and compares",
        )
