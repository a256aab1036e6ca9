"""Checks 9 to 12: webhooks are read as the PSP documents them, and believed only where a signature covers them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from qirsh.conformance.bench import Bench, secret_fields
from qirsh.conformance.drafts import Case, cases, methods, part_of
from qirsh.conformance.forging import (
    flipped_bodies,
    flips,
    signature_text,
    spans,
    with_signature_text,
    without,
)
from qirsh.conformance.golden import Golden, as_it_is, read_all, told
from qirsh.conformance.psp import CannotActError
from qirsh.conformance.story import Story, paid, registered
from qirsh.conformance.verdicts import expect
from qirsh.draft import GatewayEvent
from qirsh.errors import GatewayError, GatewayMisconfigured, WebhookError
from qirsh.gateways.base import Delivery, Gateway, Hint

UNKNOWN_WORD: Final = "qirsh.no_such_word"

Believed = frozenset[tuple[object, ...]]


async def golden_delivery_is_read(bench: Bench) -> None:
    """9. Deliveries from the PSP's documentation are verified where their keys are known, and read as it says."""
    goldens = [one for one in read_all(bench.golden) if not (one.wrong_environment or one.indistinct)]
    expect(
        any(one.expected for one in goldens),
        f"{bench.golden} has no delivery that says something: add one of a payment, from the PSP's documentation",
    )
    for golden in goldens:
        found = await told(bench, golden)
        expect(
            not isinstance(found, WebhookError),
            f"{golden.name} was refused ({found}): verify it as it is documented: {golden.source}",
        )
        _expect_same_facts(golden, found)
        if golden.unverifiable:
            delivery = await as_it_is(golden)
            expect(
                await _believed(bench.gateway, delivery) is None,
                f"{golden.name} was signed with keys that are not ours, and was believed: verify before reading",
            )


async def forged_delivery_is_refused(bench: Bench) -> None:
    """10. One flipped bit of what is signed, a missing signature or an empty secret: none of it is believed."""
    for case in methods(bench.profile):
        story = await paid(bench, case)
        for delivery in story.deliveries:
            await _expect_bound(bench, delivery)
        await _expect_bytes_bound(bench, story.deliveries[-1])
        await _expect_parts_bound(bench, story.deliveries[-1])
    _expect_no_empty_secret(bench)


async def event_ids_are_stable_and_distinct(bench: Bench) -> None:
    """11. What is delivered twice has one event id, and two events never share one."""
    seen: dict[str, object] = {}
    for case in cases(bench.profile):
        for _ in range(2):
            story = await _eventful(bench, case)
            first = await _read_again(story, story.deliveries)
            await bench.psp.resend(story.draft.id)
            again = list(await bench.psp.deliveries(story.draft.id))[len(story.deliveries) :]
            second = await _read_again(story, again)
            expect(
                [_repeatable(one) for one in first] == [_repeatable(one) for one in second],
                f"{case}: delivered again, an event has another id or says something else: "
                "take the id that the PSP gives the event, or make one from what it says, never from the delivery",
            )
            for one in first:
                # Told twice, a fact is the same event; a hint says too little to be known for the same.
                said = _fact(one) if isinstance(one, GatewayEvent) else object()
                expect(
                    seen.setdefault(one.event_id, said) == said,
                    f"{case}: the id {one.event_id!r} stands for two events, so the second would never be heard: "
                    "put into it all that tells them apart",
                )


async def unknown_event_says_nothing(bench: Bench) -> None:
    """12. An event that we do not know yields nothing, and a word that we do not know yields nothing new."""
    silent = [one for one in read_all(bench.golden) if not (one.expected or one.wrong_environment or one.indistinct)]
    expect(
        silent,
        f"{bench.golden} has no event that says nothing: add one that the PSP documents and no payment needs, "
        'with "expected": []',
    )
    for golden in silent:
        found = await told(bench, golden)
        expect(found == [], f"{golden.name} said {found}: an event that the gateway has no use for yields ()")
    for case in methods(bench.profile):
        story = await paid(bench, case)
        for delivery in story.deliveries:
            await _expect_nothing_new(bench, delivery)


def _expect_same_facts(golden: Golden, found: Any) -> None:  # noqa: ANN401  facts as plain values
    expect(
        len(found) == len(golden.expected),
        f"{golden.name} was read as {len(found)} facts where {len(golden.expected)} were documented: {found}",
    )
    for fact, wanted in zip(found, golden.expected, strict=True):
        got = {name: fact.get(name) for name in wanted}
        expect(got == wanted, f"{golden.name} was read as {got} where the PSP's documentation says {wanted}")


async def _expect_bound(bench: Bench, delivery: Delivery) -> None:
    """Whether the signature itself counts, to its last bit."""
    place = bench.profile.signature_place
    text = signature_text(delivery, place)
    expect(text, f"the signature is not in the {place.kind} {place.name!r}: say in the Profile where it stands")
    genuine = await _believed(bench.gateway, delivery)
    expect(genuine is not None, "a delivery that the PSP signed was refused: verify it as the PSP documents")
    for forged, what in ((None, "missing"), ("", "empty"), (without(text, None), "all zeros")):
        refused = await _believed(bench.gateway, with_signature_text(delivery, place, forged)) is None
        expect(refused, f"a delivery whose signature is {what} was believed: refuse it before anything is parsed")
    binding = []
    for span in spans(text):
        alone = without(text, span)
        if await _believed(bench.gateway, with_signature_text(delivery, place, alone)) is None:
            continue
        binding.append(span)
        for flipped in flips(alone, span):
            refused = await _believed(bench.gateway, with_signature_text(delivery, place, flipped)) is None
            expect(refused, "a delivery was believed with one bit of its signature changed: compare all of it")
    expect(binding, f"no signature was found in the {place.kind} {place.name!r}: say in the Profile where it stands")


async def _expect_bytes_bound(bench: Bench, delivery: Delivery) -> None:
    """Whether any flipped byte of the body makes the gateway believe something else."""
    genuine = await _believed(bench.gateway, delivery)
    for place, body in flipped_bodies(delivery.body):
        forged = await _believed(bench.gateway, replace(delivery, body=body))
        expect(
            not forged or (genuine and forged <= genuine),
            f"byte {place} of a signed delivery was changed and {forged} believed: "
            "a field that the signature does not cover makes a Hint at most",
        )


async def _expect_parts_bound(bench: Bench, delivery: Delivery) -> None:
    """The same for every other header and query parameter, gone or changed."""
    genuine = await _believed(bench.gateway, delivery)
    for forged, what in _without_parts(delivery):
        believed = await _believed(bench.gateway, forged)
        expect(
            not believed or (genuine and believed <= genuine),
            f"with {what}, something else was believed: take facts from what is signed alone",
        )


def _without_parts(delivery: Delivery) -> Iterator[tuple[Delivery, str]]:
    for name, value in delivery.headers.items():
        rest = {one: text for one, text in delivery.headers.items() if one != name}
        yield replace(delivery, headers=rest), f"the header {name} missing"
        for text in (value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :] for place in range(len(value))):
            yield replace(delivery, headers={**rest, name: text}), f"the header {name} changed"
    for name, value in delivery.query.items():
        rest = {one: text for one, text in delivery.query.items() if one != name}
        yield replace(delivery, query=rest), f"the query's {name} missing"
        yield replace(delivery, query={**rest, name: f"{value}0"}), f"the query's {name} changed"
    yield replace(delivery, body=b""), "no body"


def _expect_no_empty_secret(bench: Bench) -> None:
    """An empty secret would let anyone sign, or log in as nobody."""
    expect(bench.secrets, "the credentials hold no SecretStr: a secret in plain text ends in a log")
    for name, value in secret_fields(bench.credentials):
        empty = [""] if isinstance(value, list | tuple) else ""
        try:
            bench.kind.credentials(**{**bench.keys, name: empty})
        except (ValidationError, GatewayMisconfigured):
            continue
        raise AssertionError(f"the credentials take an empty {name}: give it Field(min_length=1)")


async def _believed(gateway: Gateway, delivery: Delivery) -> Believed | None:
    """What a gateway takes for facts; None where it refuses the delivery. Hints are no belief."""
    try:
        read = await gateway.read_webhook(delivery)
    except (WebhookError, GatewayError):
        return None
    return frozenset(_fact(one) for one in read if isinstance(one, GatewayEvent))


async def _eventful(bench: Bench, case: Case) -> Story:
    """A payment with as much before and after it as the PSP lets happen."""
    story = await registered(bench, case)
    for act in ("decline", "pay", "refund", "refund"):
        try:
            await story.act(act, amount_minor=part_of(story.draft.amount) if act == "refund" else None)
        except CannotActError:
            continue
    if not (await story.ledger())["paid_minor"]:
        story = await paid(bench, case)
    return story


async def _read_again(story: Story, deliveries: Iterable[Delivery]) -> list[GatewayEvent | Hint]:
    return [one for delivery in deliveries for one in await story.gateway.read_webhook(delivery)]


def _repeatable(one: GatewayEvent | Hint) -> tuple[object, ...]:
    """What must be the same in a repeat. A hint's id need not: heard twice, it costs one more look-up."""
    if isinstance(one, GatewayEvent):
        return one.event_id, _fact(one)
    return one.draft_id, one.transaction_reference_id, one.payment_reference


def _fact(one: GatewayEvent) -> tuple[object, ...]:
    return one.kind, one.draft_id, one.transaction_reference_id, one.payment_reference, one.amount


async def _expect_nothing_new(bench: Bench, delivery: Delivery) -> None:
    """Put a word that no PSP uses in the place of each text, sign that too, and compare what is believed."""
    try:
        body = json.loads(delivery.body)
    except ValueError:
        return  # a form: its words stand in golden files
    genuine = await _believed(bench.gateway, delivery) or frozenset()
    kinds = {str(fact[0]) for fact in genuine}
    for changed, where in _with_unknown_word(body):
        try:
            sent = await bench.psp.send(json.dumps(changed))
        except AssertionError:
            continue  # the simulator cannot sign it: neither could the PSP
        believed = await _believed(bench.gateway, sent) or frozenset()
        new = {str(fact[0]) for fact in believed} - kinds
        expect(
            not new,
            f"with an unknown word in {where}, {sorted(new)} was believed: "
            "only an explicit success is `paid` and only an explicit end is `failed`",
        )


def _with_unknown_word(body: Any) -> Iterator[tuple[Any, str]]:  # noqa: ANN401  JSON
    """The body with one of its texts replaced, and where that text stood."""
    match body:
        case Mapping():
            for name, value in body.items():
                for changed, where in _with_unknown_word(value):
                    yield {**body, name: changed}, f"{name}.{where}" if where else name
        case list():
            for place, value in enumerate(body):
                for changed, where in _with_unknown_word(value):
                    yield [*body[:place], changed, *body[place + 1 :]], f"{place}.{where}" if where else str(place)
        case str():
            yield UNKNOWN_WORD, ""
