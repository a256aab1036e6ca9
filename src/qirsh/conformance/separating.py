"""Checks 15, 19 and 20: environments, secrets and merchants stay apart."""

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import msgspec
from pydantic import ValidationError
from structlog.testing import capture_logs

from qirsh.conformance.bench import Bench, secret_fields
from qirsh.conformance.drafts import methods, new_draft, refundable
from qirsh.conformance.forging import signature_text, spans, with_signature_text
from qirsh.conformance.golden import HINT, read_all, told
from qirsh.conformance.registering import MOST_STEPS
from qirsh.conformance.story import Story, paid, registered
from qirsh.conformance.verdicts import error_of, expect
from qirsh.draft import GatewayEvent
from qirsh.errors import GatewayError, PaymentError, WebhookError
from qirsh.gateways.base import Delivery, RefundOrder

SHORTEST_SECRET: Final = 6
"""A shorter text could stand anywhere by chance."""
MARK: Final = "ShowThisToNobody"
"""How the secrets of a bad configuration begin: pydantic shortens what it quotes, and half a secret is too much."""
_FAULTS: Final = (("error", 400), ("error", 401), ("error", 500), ("html", 502), ("reset", 500), ("rate_limit", 429))


async def wrong_environment_is_refused(bench: Bench) -> None:
    """15. A delivery of the PSP's other environment, or of another account, makes no fact."""
    async with bench.elsewhere() as other:
        for case in methods(bench.profile):
            story = await paid(other, case)
            for delivery in story.deliveries:
                read = await _read(bench, delivery)
                facts = [one for one in read if isinstance(one, GatewayEvent)]
                expect(
                    not facts,
                    f"{case}: a delivery signed for another account was believed ({[one.kind for one in facts]}): "
                    "verify with our own keys, and look at whose payment it is",
                )
    goldens = read_all(bench.golden)
    wrong = [one for one in goldens if one.wrong_environment]
    expect(
        wrong or any(one.indistinct for one in goldens),
        f'{bench.golden} has no delivery of the PSP\'s other environment: add one with "wrong_environment": true, '
        'or a file with "source" and "indistinct" that says why none can be told',
    )
    for golden in wrong:
        found = await told(bench, golden)
        facts_of = [] if isinstance(found, WebhookError) else [one["kind"] for one in found if one["kind"] != HINT]
        expect(not facts_of, f"{golden.name} is of the other environment, and was believed: {facts_of}")


async def secrets_stay_secret(bench: Bench) -> None:
    """19. No configured secret, no token and no valid signature is in a log, a repr, an exception or an answer."""
    with _logs() as lines:
        returned: list[str] = []
        raised: list[str] = []
        shown = {
            "the repr of the gateway or its profile": [repr(bench.gateway), str(bench.gateway), repr(bench.profile)],
            "the repr of the credentials": [repr(bench.credentials), str(bench.credentials)],
            "what is said of a bad configuration": list(_of_bad_credentials(bench)),
            "the repr of what the gateway returns": returned,
            "an exception or the PspAnswer in it": raised,
            "a log line": lines,
        }
        signatures: set[str] = set()
        for case in methods(bench.profile):
            story = await paid(bench, case)
            place = bench.profile.signature_place
            for delivery in story.deliveries:
                text = signature_text(delivery, place)
                valid = [text[span.start : span.end] for span in spans(text)]
                signatures.update(valid)
                forged = with_signature_text(delivery, place, text.replace(valid[-1], "0" * len(valid[-1])))
                raised += _of(await error_of(bench.gateway.read_webhook(forged), "read_webhook"))
            returned += [repr(one) for one in (story.draft.action, *story.facts, *story.hints)]
            raised += [text async for text in _of_disturbed(story)]
    secrets = {MARK[:SHORTEST_SECRET], *bench.secrets, *signatures, *_tokens(bench)}
    secrets |= {base64.b64encode(secret.encode()).decode() for secret in bench.secrets}
    for where, found in shown.items():
        leaked = any(secret in text for text in found for secret in secrets if len(secret) >= SHORTEST_SECRET)
        expect(
            not leaked,
            f"{where} holds a secret, a token or a valid signature: keep secrets in SecretStr, hide_input_in_errors "
            "in the credentials model, and raise errors `from None` where the cause quotes what was sent",
        )


async def instances_share_nothing(bench: Bench) -> None:
    """20. Two instances for two merchants, used at once, use their own keys and know nothing of each other."""
    async with bench.elsewhere() as other:
        benches = (bench, other)
        for case in methods(bench.profile):
            await asyncio.gather(*(registered(each, case) for each in benches))
            stories = await asyncio.gather(*(paid(each, case) for each in benches))
            for story, elsewhere in zip(stories, reversed(benches), strict=True):
                row = await elsewhere.psp.ledger(story.draft.id)
                expect(row is None, f"{case}: one merchant's payment is in the other's books: keep nothing in globals")
        for each, elsewhere in (benches, tuple(reversed(benches))):
            foreign = {*elsewhere.secrets, *_tokens(elsewhere)} - {*each.secrets, *_tokens(each)}
            sent = [exchange.request.raw.decode("latin-1") for exchange in each.recorder.exchanges]
            leaked = any(secret in text for text in sent for secret in foreign if len(secret) >= SHORTEST_SECRET)
            expect(not leaked, "one merchant's secret or token was sent for the other: keep nothing in globals")


async def _read(bench: Bench, delivery: Delivery) -> Iterable[object]:
    try:
        return await bench.gateway.read_webhook(delivery)
    except (WebhookError, GatewayError):
        return ()


async def _of_disturbed(story: Story) -> AsyncIterator[str]:
    """The errors of every verb under every fault."""
    bench, draft = story.bench, story.draft
    fresh = Story(bench, new_draft(bench, methods(bench.profile)[0]))
    order = RefundOrder(uuid4(), draft, draft.amount.amount_minor, "Wrong size")
    given_back = [case for case in refundable(bench.profile) if case.method is draft.request.method]
    for kind, status in _FAULTS:
        for operation in ("token", "register", "lookup", "refund"):
            await bench.psp.fault(operation, kind, times=MOST_STEPS, status=status)
        async with bench.made() as gateway:
            errors = [
                await error_of(gateway.register(fresh.draft, key=fresh.key), "register"),
                await error_of(bench.gateway.register(fresh.draft, key=fresh.key), "register"),
                await error_of(bench.gateway.lookup(draft), "lookup"),
            ]
            if given_back:
                errors.append(await error_of(bench.gateway.refund(order, key=str(order.id)), "refund"))
        await bench.psp.heal()
        for error in errors:
            for text in _of(error):
                yield text


def _of(error: PaymentError | None) -> Iterator[str]:
    """Everything that could be printed of an error, its causes and the PSP's answer included."""
    if error is None:
        return
    yield from (str(error), repr(error), "".join(traceback.format_exception(error)))
    answer = error.answer if isinstance(error, GatewayError) else None
    if answer is not None:
        yield repr(answer)
        yield msgspec.json.encode(answer.body).decode()


def _of_bad_credentials(bench: Bench) -> Iterator[str]:
    """What is said of a configuration with one key missing, empty or unknown: operators paste that into mails."""
    marked = {**bench.keys, **{name: _marked(value) for name, value in secret_fields(bench.credentials)}}
    for name in marked:
        rest = {one: value for one, value in marked.items() if one != name}
        for keys in (rest, {**rest, name: ""}, {**rest, f"{name}_": "x"}):
            try:
                bench.kind.credentials(**keys)
            except ValidationError as error:
                yield str(error)
                yield repr(error)


def _marked(value: object) -> object:
    return [f"{MARK}0123456789"] if isinstance(value, list | tuple) else f"{MARK}0123456789"


def _tokens(bench: Bench) -> set[str]:
    """The credentials that were sent as such: bearer tokens, and whatever else a PSP hands out."""
    headers = [exchange.request.headers.get("authorization", "") for exchange in bench.recorder.exchanges]
    return {header.rpartition(" ")[2] for header in headers} - {""}


@contextmanager
def _logs() -> Iterator[list[str]]:
    """Every line that structlog or the standard library would have written, debug lines too."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {record.exc_info}")

    root, keeper = logging.getLogger(), Keeper()
    level = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    try:
        with capture_logs() as entries:
            yield lines
        lines += [repr(entry) for entry in entries]
    finally:
        root.removeHandler(keeper)
        root.setLevel(level)
