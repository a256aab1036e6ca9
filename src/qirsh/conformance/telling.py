"""Checks 14, 16 and 17: what can still be paid is not failed, and look-ups tell what webhooks told."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from qirsh.conformance.bench import Bench
from qirsh.conformance.drafts import Case, cases, methods, new_draft, part_of
from qirsh.conformance.psp import CannotActError
from qirsh.conformance.story import Story, paid, registered
from qirsh.conformance.verdicts import NotApplicable, expect
from qirsh.draft import GatewayEvent, Kind, State
from qirsh.gateways.base import Cancels, Standing

STORIES: Final = (
    ("pay",),
    ("decline",),
    ("decline", "pay"),
    ("expire",),
    ("deny",),
    ("pay", "part"),
    ("pay", "refund"),
)
"""What payers, dashboards and PSPs do, act by act. One that a PSP does not know is left out of its story."""
_TOLD_TWICE: Final = frozenset({Kind.PAID, Kind.FAILED, Kind.REFUNDED})
"""What webhooks and look-ups must agree on. Of tries that were declined a PSP may show the newest alone."""


async def retriable_decline_is_not_failed(bench: Bench) -> NotApplicable | None:
    """14. While the PSP still takes money for a reference, no declined try makes its draft `failed`."""
    tried = False
    for case in cases(bench.profile):
        for act in ("decline", "cancel"):
            story = await registered(bench, case)
            if not await _acted(story, act):
                continue
            found = await story.look_up()
            if (await story.ledger())["state"] != "open":
                continue
            tried = True
            expect(
                story.draft.state is not State.FAILED,
                f"{case}: after `{act}` the PSP still takes the money, and the draft is failed: report `declined`",
            )
            expect(
                found.standing in {Standing.OPEN, Standing.IN_PROGRESS},
                f"{case}: after `{act}` the PSP still takes the money, and the look-up says {found.standing}",
            )
            if await _acted(story, "pay"):
                expect(
                    story.draft.state is State.COMPLETED,
                    f"{case}: paid after a declined try, and the draft is {story.draft.state}: report the payment",
                )
    return None if tried else NotApplicable("no try at this PSP can be declined and its reference stay payable")


async def lookup_tells_what_webhooks_told(bench: Bench) -> None:
    """16. A look-up and the webhooks of the same payment tell the same facts, amounts and references."""
    for case in cases(bench.profile):
        for acts in STORIES:
            story = await registered(bench, case)
            what = f"{case}, after {' and '.join(acts)}"
            for act in acts:
                await _acted(story, act)
            looked_up = msgspec.structs.replace(story.draft)
            found = await story.look_up()
            expect(
                story.draft.state is looked_up.state or story.hints,
                f"{what}: webhooks left the draft {looked_up.state}, the look-up {story.draft.state}, and no hint "
                "said that there was more to ask",
            )
            _expect_same(story.facts, found.events, what, "the webhooks told it and the look-up does not")
            if not story.hints:
                _expect_same(found.events, story.facts, what, "the look-up tells it and no webhook did, nor hinted")


async def standings_are_told_apart(bench: Bench) -> None:
    """17. `unknown`, `open`, `in_progress` (where the PSP has such a thing) and `closed` are told apart."""
    for case in methods(bench.profile):
        stranger = Story(bench, new_draft(bench, case))
        await _expect_standing(stranger, Standing.UNKNOWN, f"{case}, never registered")
        story = await registered(bench, case)
        await _expect_standing(story, Standing.OPEN, f"{case}, just registered")
        await _expect_found_in_doubt(story, case)
        done = await paid(bench, case)
        await _expect_standing(done, Standing.CLOSED, f"{case}, paid")
        slow = await registered(bench, case)
        if await _acted(slow, "review"):
            await _expect_standing(slow, Standing.IN_PROGRESS, f"{case}, under the PSP's review")
            expect(
                slow.draft.state in {State.AWAITING_USER_ACTION, State.PENDING},
                f"{case}: under review nothing is decided, and the draft is {slow.draft.state}",
            )
        await _expect_cancelled(bench, case)


async def _expect_standing(story: Story, wanted: Standing, what: str) -> None:
    found = await story.look_up()
    expect(found.standing is wanted, f"{what}: the look-up says {found.standing} where it is {wanted}")


async def _expect_found_in_doubt(story: Story, case: Case) -> None:
    """A registration whose answer was lost left no reference in the row."""
    row = msgspec.structs.replace(
        story.draft, state=State.PENDING, transaction_reference_id=None, action=None, in_doubt=True
    )
    found = await story.gateway.lookup(row)
    wanted = Standing.OPEN if story.bench.profile.found_by == "merchant_reference" else Standing.UNKNOWN
    expect(
        found.standing is wanted,
        f"{case}, registered and its answer lost: the look-up says {found.standing}, and Profile.found_by "
        f"promises {wanted}",
    )


async def _expect_cancelled(bench: Bench, case: Case) -> None:
    if not isinstance(bench.gateway, Cancels):
        return
    story = await registered(bench, case)
    for _ in range(2):  # the second finds nothing to end, which is no error
        await bench.gateway.cancel(story.draft)
    found = await bench.gateway.lookup(story.draft)
    expect(found.standing is not Standing.OPEN, f"{case}: cancelled, and the look-up says that it can still be paid")


def _expect_same(some: Iterable[GatewayEvent], others: Iterable[GatewayEvent], what: str, complaint: str) -> None:
    """Whether each of these facts is among the others, as far as both name it."""
    others = list(others)
    for event in some:
        if event.kind in _TOLD_TWICE:
            expect(
                any(_agree(event, other) for other in others),
                f"{what}: {event.kind} of {event.amount} by {event.payment_reference}: {complaint}",
            )


def _agree(one: GatewayEvent, other: GatewayEvent) -> bool:
    if one.kind is not other.kind:
        return False
    pairs: list[tuple[Any, Any]] = [
        (one.payment_reference, other.payment_reference),
        (one.transaction_reference_id, other.transaction_reference_id),
        (one.draft_id, other.draft_id),
        (one.amount, other.amount),
    ]
    return all(first is None or second is None or first == second for first, second in pairs)


async def _acted(story: Story, act: str) -> bool:
    """Let it happen; False where the PSP knows no such thing, or not now."""
    profile = story.bench.profile
    amount_minor: int | None = None
    if act in {"part", "refund"} and story.draft.request.method in profile.unrefundable:
        return False
    if act == "part":
        if not profile.partial_refunds:
            return False
        act, amount_minor = "refund", part_of(story.draft.amount)
    try:
        await story.act(act, amount_minor=amount_minor)
    except CannotActError:
        return False
    return True
