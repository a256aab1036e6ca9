"""Checks 1 to 4: a registration is one action, the right money, our reference, and the same bytes each time."""

from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from qirsh.actions import MobilePrompt, OtpToken, PaymentAction, QrCode, RedirectUrl, ReferenceCode
from qirsh.conformance.bench import Bench
from qirsh.conformance.drafts import Case, cases, methods, new_draft
from qirsh.conformance.recorder import Exchange
from qirsh.conformance.story import Story, registered
from qirsh.conformance.verdicts import error_of, expect, some
from qirsh.conformance.wire import ask
from qirsh.draft import PaymentDraft, State
from qirsh.errors import GatewayOutcomeUnknown, PaymentError
from qirsh.money import EXPONENTS

MOST_STEPS: Final = 8
"""Calls of one registration that are tried one by one; no PSP is known to need more than three."""
WHOLE_UNITS: Final = 54_321
"""Major units, inside every limit that is known, for currencies that some PSP takes in whole units only."""
LATER_SECONDS: Final = 601
"""Long enough that a time, or anything counted from one, would differ in the bytes."""
_TRIES: Final = 3
_UNJUDGED: Final = frozenset({"host", "authorization"})
"""Headers that may differ: who is asked, and a token that the PSP hands out anew."""


async def registration_is_one_action(bench: Bench) -> None:
    """1. A registration returns the PSP's reference and one action that the payer's page can show."""
    for case in cases(bench.profile):
        story = Story(bench, new_draft(bench, case))
        registration = await story.register()
        reference = registration.transaction_reference_id
        expect(
            reference and type(reference) is str,
            f"{case}: transaction_reference_id is {reference!r}: return the PSP's id as text",
        )
        await _expect_shown(bench, story.draft, registration.action, case)
        row = await story.ledger()
        expect(
            (row["registered"], row["state"]) == (1, "open"),
            f"{case}: the PSP has {row['registered']} payable references in state {row['state']}: register one",
        )


async def registration_sends_the_exact_money(bench: Bench) -> None:
    """2. The PSP is told the exact minor amount and currency, in every currency that is claimed."""
    first = methods(bench.profile)[0].method
    shown = [(case, None) for case in cases(bench.profile)]
    whole = [
        (Case(first, currency), WHOLE_UNITS * 10 ** EXPONENTS[currency])
        for currency in sorted(bench.profile.currencies)
    ]
    for case, amount_minor in (*shown, *whole):
        story = Story(bench, new_draft(bench, case, amount_minor))
        await story.register()
        row, wanted = await story.ledger(), story.draft.amount
        expect(
            (row["amount_minor"], row["currency"]) == (wanted.amount_minor, wanted.currency),
            f"{case}: {wanted.amount_minor} {wanted.currency} became {row['amount_minor']} {row['currency']} at the "
            "PSP: convert by the currency's exponent and by the PSP's own exceptions, without floats",
        )


async def registration_carries_our_draft_id(bench: Bench) -> None:
    """3. The PSP knows the draft by our id, and two drafts apart, so that books can be compared."""
    for case in methods(bench.profile):
        stories = [await registered(bench, case) for _ in range(2)]
        rows = [await story.ledger() for story in stories]
        told = [row["merchant_reference"] for row in rows]
        expect(
            told == [str(story.draft.id) for story in stories],
            f"{case}: the PSP has {told}: send str(draft.id) as the merchant reference, and nothing else",
        )
        expect(
            len({row["transaction_reference_id"] for row in rows}) == len(rows),
            f"{case}: two drafts became one reference at the PSP: send each its own",
        )


async def registration_repeats_itself(bench: Bench) -> None:
    """4. The same row sends the same bytes, and however often it is sent one payable reference is left."""
    for case in cases(bench.profile):
        await _expect_same_bytes(bench, case)
    for case in methods(bench.profile):
        story = await registered(bench, case)
        await _expect_single(story, f"{case}, sent again after an answer that nobody wrote down")
        for kind in ("reset_after_accept", "error_after_accept", "error"):
            async for lost, _ in each_step(bench, case, kind):
                await _expect_single(lost, f"{case}, sent again after {kind}")


async def each_step(
    bench: Bench, case: Case, kind: str, **more: object
) -> AsyncIterator[tuple[Story, PaymentError | None]]:
    """Disturb each call of a registration in turn: the draft, healed again, and what the gateway raised.

    Raises:
        AssertionError: the simulator has no call that such a fault hits.
    """
    for skip in range(MOST_STEPS):
        story = Story(bench, new_draft(bench, case))
        await bench.psp.fault("register", kind, skip=skip, times=MOST_STEPS, **more)
        error = await error_of(story.register(), f"register ({case}) under {kind} at call {skip + 1}")
        if not await bench.psp.heal():
            expect(skip, "no call of the simulator is called `register`: give its routes their operations")
            expect(error is None, f"{case}: the registration failed and no call of it was disturbed: {error}")
            return
        yield story, error


async def _expect_shown(bench: Bench, draft: PaymentDraft, action: PaymentAction, case: Case) -> None:
    """Whether the page can show this action, and leads somewhere."""
    match action:
        case RedirectUrl(url=url):
            parts = urlsplit(url)
            expect(parts.scheme in {"https", "http"} and parts.hostname, f"{case}: {parts.scheme!r} is no page's URL")
            if url.startswith(bench.recorder.origin):
                status, _ = await ask("GET", url)
                expect(status < 400, f"{case}: the payer's page answers {status}: hand out the PSP's own address")  # noqa: PLR2004  the errors of HTTP
        case ReferenceCode(code=code, amount=amount):
            expect(code, f"{case}: the reference code is empty: the payer has nothing to quote")
            expect(amount == draft.amount.major, f"{case}: the page would ask for {amount}: show draft.amount.major")
        case QrCode(image=image):
            expect(image.startswith("data:image/"), f"{case}: the QR code is no data URI: make one")
        case MobilePrompt(phone=phone):
            told = draft.request.payer.phone or ""
            expect(told not in phone, f"{case}: the prompt shows the whole phone number: mask it")
        case OtpToken(token=token, digits=digits):
            expect(token and digits > 0, f"{case}: a code can only be asked for with its token and its length")
        case _:
            raise AssertionError(f"{case}: {type(action).__name__} is no payment action: return one of qirsh.actions")


async def _expect_same_bytes(bench: Bench, case: Case) -> None:
    """Register once, then again as a new instance, later, with the PSP's answers played back."""
    async with bench.made() as gateway:
        story = Story(bench, new_draft(bench, case), gateway)
        before = len(bench.recorder.exchanges)
        await story.register()
        first = bench.recorder.exchanges[before:]
    row = msgspec.structs.replace(story.draft, state=State.PENDING, transaction_reference_id=None, action=None)
    await bench.advance(LATER_SECONDS)
    with bench.recorder.replaying(first):
        async with bench.made() as gateway:
            before = len(bench.recorder.exchanges)
            error = await error_of(gateway.register(row, key=story.key), f"register ({case}) of the same row")
            second = bench.recorder.exchanges[before:]
    expect(error is None, f"{case}: the same row, answered the same, was not registered again: {error}")
    for one, other in zip(first, second, strict=False):
        expect(
            _sent(one) == _sent(other),
            f"{case}: {one.request.start.split('?')[0]} was not the same bytes the second time: "
            "make requests from the row alone, without clock, chance or anything remembered",
        )
    expect(len(first) == len(second), f"{case}: {len(first)} calls the first time, {len(second)} the second")


def _sent(exchange: Exchange) -> Sequence[object]:
    request = exchange.request
    headers = {name: value for name, value in request.headers.items() if name not in _UNJUDGED}
    return request.start, headers, request.body


async def _expect_single(story: Story, what: str) -> None:
    """Register the row again as the server does in doubt: looked up first, and not once more when that tells."""
    row = msgspec.structs.replace(
        story.draft, state=State.PENDING, transaction_reference_id=None, action=None, in_doubt=True
    )
    error: PaymentError | None = None
    for _ in range(_TRIES):
        await story.gateway.lookup(row)
        error = await error_of(story.gateway.register(row, key=story.key), f"register ({what})")
        if error is None:
            break
        expect(isinstance(error, GatewayOutcomeUnknown), f"{what}: it raised {type(error).__name__}: it may be known")
    expect(error is None, f"{what}: after {_TRIES} tries the draft is still not handed out: {error}")
    ledger = some(await story.bench.psp.ledger(row.id), f"{what}: the PSP has nothing of it")
    expect(
        (ledger["registered"], ledger["amount_minor"]) == (1, row.amount.amount_minor),
        f"{what}: {ledger['registered']} payable references are left: in doubt, ask before sending, "
        "and send what the PSP takes only once",
    )
