"""Checks 5 to 8: what goes wrong on the way to the PSP becomes the error that says who must act."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import uuid4

from qirsh.actions import OtpToken
from qirsh.conformance.bench import Bench
from qirsh.conformance.drafts import Case, methods, new_draft, refundable
from qirsh.conformance.registering import MOST_STEPS, each_step
from qirsh.conformance.story import Story, paid, registered
from qirsh.conformance.verdicts import error_of, expect, expect_error
from qirsh.conformance.wire import closed_port
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
    PaymentError,
)
from qirsh.gateways.base import AsksForCode, Captures, Gateway, RefundOrder, deadline

Wanted = tuple[type[PaymentError], ...]

CUT_SECONDS: Final = 1.0
"""The deadline in place of the server's ten seconds: long enough for all that is not disturbed on a busy machine."""
CUT_PATIENCE_SECONDS: Final = 6.0
"""When a verb has missed that deadline: late enough for a busy machine, and before `gateways.http` gives up by itself,
which takes ten seconds."""

_UNKNOWN: Final[Wanted] = (GatewayOutcomeUnknown,)
_UNAVAILABLE: Final[Wanted] = (GatewayUnavailable,)
_SILENCES: Final = ("reset", "reset_after_accept")
_OF_MOVES: Final[Sequence[tuple[str, int, Wanted]]] = (
    ("error", 400, (GatewayRejected,)),
    ("error", 401, (GatewayMisconfigured,)),
    ("error", 403, (GatewayMisconfigured,)),
    ("error", 408, _UNKNOWN),
    ("error", 409, _UNKNOWN),
    ("error", 422, (GatewayRejected,)),
    ("error", 500, _UNKNOWN),
    ("error", 503, _UNKNOWN),
    ("html", 502, _UNKNOWN),
)
"""A status, and what it means on a call that registers or moves money."""
_OF_READS: Final[Sequence[tuple[str, int, Wanted]]] = (
    ("error", 400, (GatewayRejected, GatewayUnavailable)),  # a refused question is only unanswered
    ("error", 401, (GatewayMisconfigured,)),
    ("error", 403, (GatewayMisconfigured,)),
    ("error", 500, _UNAVAILABLE),
    ("error", 503, _UNAVAILABLE),
    ("html", 502, _UNAVAILABLE),
    ("rate_limit", 429, _UNAVAILABLE),
    ("reset", 500, _UNAVAILABLE),
)


async def refused_connection_is_unavailable(bench: Bench) -> None:
    """5. Where nobody listens, nothing was sent: every verb says so, and another gateway may be tried."""
    payable = [await registered(bench, case) for case in methods(bench.profile)]
    done = [await paid(bench, case) for case in refundable(bench.profile)[:1]]
    with closed_port() as nobody:
        keys = bench.moved(nobody)
        expect(keys, "no key of the configuration is the PSP's address: let `addresses` of the simulator give one")
        await _expect_all_unavailable(bench, keys, payable, done)


async def silence_after_sending_is_outcome_unknown(bench: Bench) -> None:
    """6. Once a call was sent that registers or moves money, silence decides nothing: it must be looked up."""
    for case in methods(bench.profile):
        for kind in _SILENCES:
            async for _, error in each_step(bench, case, kind):
                expect_error(error, _UNKNOWN, f"register ({case}) under {kind}")
    for kind in _SILENCES:
        for what, call in await _movers(bench, kind):
            expect_error(await error_of(call(), f"{what} under {kind}"), _UNKNOWN, f"{what} under {kind}")
            expect(await bench.psp.heal(), f"no call of the simulator is called `{what}`: name its operations")


async def answers_map_as_the_error_tree_says(bench: Bench) -> None:
    """7. A 4xx, a 401, a 5xx and a page of HTML become the errors of the tree, verb by verb."""
    for case in methods(bench.profile):
        await _expect_register_map(bench, case)
        await _expect_lookup_map(bench, case)
    await _expect_token_map(bench)
    for kind, status, wanted in (*_OF_MOVES, ("rate_limit", 429, _UNAVAILABLE)):
        for what, call in await _movers(bench, kind, status):
            told = f"{what} answered {status} ({kind})"
            expect_error(await error_of(call(), told), wanted, told)
            await bench.psp.heal()


async def slow_psp_is_cut_at_the_deadline(bench: Bench) -> None:
    """8. A PSP that hangs is left at the deadline, whatever the verb: a payer waits for no socket."""
    case = methods(bench.profile)[0]
    fresh, known = Story(bench, new_draft(bench, case)), await registered(bench, case)
    calls: list[tuple[str, Callable[[], Awaitable[object]], Wanted]] = [
        ("register", fresh.register, _UNKNOWN),
        ("lookup", known.look_up, _UNAVAILABLE),
        *((what, call, _UNKNOWN) for what, call in await _movers(bench, None)),
    ]
    for what in {what for what, _, _ in calls}:
        await bench.psp.fault(what, "hang", times=MOST_STEPS)
    errors = await asyncio.gather(*(_cut(call, what) for what, call, _ in calls))
    for (what, _, wanted), error in zip(calls, errors, strict=True):
        expect_error(error, wanted, f"{what} at a PSP that hangs")
    await bench.psp.heal()
    await bench.psp.fault("token", "hang", times=MOST_STEPS)
    async with bench.made() as gateway:
        story = Story(bench, new_draft(bench, case), gateway)
        error = await _cut(story.register, "token")
        if await bench.psp.heal():
            expect_error(error, _UNAVAILABLE, "register, while the PSP's token hangs,")


async def _expect_all_unavailable(
    bench: Bench, keys: Mapping[str, object], payable: Sequence[Story], done: Sequence[Story]
) -> None:
    async with bench.made(keys) as gateway:
        for story in payable:
            what = f"({story.draft.request.method}) with nobody listening"
            fresh = Story(bench, new_draft(bench, Case(story.draft.request.method, story.draft.amount.currency)))
            error = await error_of(gateway.register(fresh.draft, key=fresh.key), f"register {what}")
            expect_error(error, _UNAVAILABLE, f"register {what}")
            expect_error(await error_of(gateway.lookup(story.draft), "lookup"), _UNAVAILABLE, f"lookup {what}")
        for story in done:
            error = await error_of(_refunding(gateway, story), "refund")
            expect_error(error, _UNAVAILABLE, "refund with nobody listening")


async def _expect_register_map(bench: Bench, case: Case) -> None:
    for kind, status, wanted in _OF_MOVES:
        async for story, error in each_step(bench, case, kind, status=status):
            expect_error(error, wanted, f"register ({case}) answered {status} ({kind})")
            await _expect_nothing_left(story, error, f"{case}: {status}")
    first = True
    async for story, error in each_step(bench, case, "rate_limit"):
        # Once something stands at the PSP, "nothing was sent" would be untrue.
        expect_error(error, _UNAVAILABLE if first else (*_UNAVAILABLE, *_UNKNOWN), f"register ({case}) answered 429")
        await _expect_nothing_left(story, error, f"{case}: 429")
        if first:
            told = error.retry_after_seconds if error else None
            expect(told == 1, f"{case}: Retry-After: 1 came back as {told}: raise what PspClient raises")
        first = False


async def _expect_nothing_left(story: Story, error: PaymentError | None, what: str) -> None:
    """`Unavailable` lets another gateway register the same draft, so it must be true."""
    if isinstance(error, GatewayUnavailable):
        row = await story.bench.psp.ledger(story.draft.id)
        expect(
            row is None or not row["registered"],
            f"{what}: GatewayUnavailable, and the PSP has a payable reference: raise GatewayOutcomeUnknown instead",
        )


async def _expect_lookup_map(bench: Bench, case: Case) -> None:
    story = await registered(bench, case)
    for kind, status, wanted in _OF_READS:
        await bench.psp.fault("lookup", kind, times=MOST_STEPS, status=status)
        told = f"lookup ({case}) answered {status} ({kind})"
        expect_error(await error_of(story.look_up(), told), wanted, told)
        expect(await bench.psp.heal(), "no call of the simulator is called `lookup`: give its routes their operations")


async def _expect_token_map(bench: Bench) -> None:
    """Where the PSP hands out tokens: a fresh instance has none yet."""
    for kind, status, wanted in _OF_READS[1:]:
        async with bench.made() as gateway:
            await bench.psp.fault("token", kind, times=MOST_STEPS, status=status)
            story = Story(bench, new_draft(bench, methods(bench.profile)[0]), gateway)
            told = f"register, while the PSP's token answers {status} ({kind}),"
            error = await error_of(story.register(), told)
            if await bench.psp.heal():
                expect_error(error, wanted, told)


async def _movers(
    bench: Bench, kind: str | None, status: int = 500
) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    """What moves money, each with a payment of its own, disturbed when it is called: refund, capture, a texted code."""
    found: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    def disturbed(what: str, call: Callable[[], Awaitable[object]]) -> None:
        async def disturb() -> object:
            if kind is not None:
                await bench.psp.fault(what, kind, times=MOST_STEPS, status=status)
            return await call()

        found.append((what, disturb))

    given_back = refundable(bench.profile)
    if given_back:
        story = await paid(bench, given_back[0])
        disturbed("refund", lambda: _refunding(bench.gateway, story))
    if isinstance(bench.gateway, Captures):
        approved = await registered(bench, methods(bench.profile)[0])
        await approved.act("pay", captures=False)
        disturbed("capture", approved.capture)
    if isinstance(bench.gateway, AsksForCode):
        disturbed("capture", partial(_submitting, bench.gateway, await registered(bench, methods(bench.profile)[0])))
    return found


async def _submitting(gateway: AsksForCode, story: Story) -> object:
    """A wrong code: what the PSP makes of it does not matter, since its answer is lost."""
    action = story.draft.action
    if not isinstance(action, OtpToken):
        raise AssertionError("the gateway has `submit_code`, and its action is no OtpToken: return one")  # noqa: TRY004  as every complaint
    key = str(uuid4())
    return await gateway.submit_code(story.draft, token=action.token, code="0" * action.digits, key=key)


async def _refunding(gateway: Gateway, story: Story) -> object:
    order = RefundOrder(uuid4(), story.draft, story.draft.amount.amount_minor, "Wrong size")
    return await gateway.refund(order, key=str(order.id))


async def _cut(call: Callable[[], Awaitable[object]], what: str) -> PaymentError | None:
    with deadline(CUT_SECONDS):
        return await error_of(call(), f"{what} at a PSP that hangs", CUT_PATIENCE_SECONDS)
