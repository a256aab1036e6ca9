"""Golden deliveries: webhooks from the PSP's documentation, or recorded from it, and what each must be read as.

One JSON file each. `source` says where it is from. `headers`, `query` and `body` are the delivery; `credentials` the
keys it was signed under, where they are known, and `received_at` the time of its signature. `unverifiable` says why it
was not: its body is then signed by the simulator, so that only its reading is proved. `answers` are what the PSP is to
answer meanwhile, by "GET /path"; `{psp}` in credentials and headers is where it answers. A key of the credentials that
is null is left out, so that the gateway's own default counts and not the simulator's.

`expected` is a list of facts, each with the fields that matter; a fact of kind `hint` is a Hint, and an empty list an
event that says nothing. Where `wrong_environment` is true, the delivery is of the PSP's other environment, and no fact
may come of it. A file with `indistinct` alone says why no delivery shows its environment.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from qirsh.conformance.bench import Bench, replaced
from qirsh.conformance.verdicts import some
from qirsh.conformance.wire import Message, response, served
from qirsh.draft import GatewayEvent
from qirsh.errors import WebhookError
from qirsh.gateways.base import Delivery, Gateway, Hint

HINT: Final = "hint"
_PLACE: Final = "{psp}"


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What the PSP answers to one call."""

    status: int = 200
    body: Any = None
    """JSON, or the text itself when it is text."""


class Golden(msgspec.Struct, forbid_unknown_fields=True):
    """One file."""

    source: str
    name: str = ""
    body: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    credentials: dict[str, Any] = msgspec.field(default_factory=dict)
    received_at: datetime | None = None
    unverifiable: str = ""
    answers: dict[str, Answer] = msgspec.field(default_factory=dict)
    expected: list[dict[str, Any]] = msgspec.field(default_factory=list)
    wrong_environment: bool = False
    indistinct: str = ""


def read_all(folder: Path | None) -> Sequence[Golden]:
    """Every golden delivery in a folder, by name.

    Raises:
        AssertionError: there is no folder, nothing in it, or a file that cannot be read.
    """
    where = some(folder, "give the folder of the PSP's own deliveries: opened(…, golden=Path(…))")
    files = sorted(where.glob("*.json"))
    if not files:
        raise AssertionError(f"{where} has no *.json: put a delivery from the PSP's documentation there")
    return [_read(file) for file in files]


async def told(bench: Bench, golden: Golden) -> Sequence[Mapping[str, Any]] | WebhookError:
    """What the gateway makes of a golden delivery; the refusal where it refuses it."""
    async with _answering(golden) as place:
        delivery = await _delivery(bench, golden, place)
        async with _reader(bench, golden, place) as gateway:
            try:
                return [plain(one) for one in await gateway.read_webhook(delivery)]
            except WebhookError as error:
                return error


async def as_it_is(golden: Golden) -> Delivery:
    """The delivery with its own signature, whoever could verify that."""
    async with _answering(golden) as place:
        return _recorded(golden, place)


def plain(told: GatewayEvent | Hint) -> Mapping[str, Any]:
    """A fact as golden files write it: texts, and the amount in minor units beside its currency."""
    if isinstance(told, Hint):
        return {"kind": HINT, **{name: None if one is None else str(one) for name, one in asdict(told).items()}}
    fields: dict[str, Any] = msgspec.to_builtins(told)
    return {**fields, **fields.pop("amount", {})}


def _read(file: Path) -> Golden:
    try:
        golden = msgspec.convert(json.loads(file.read_text("utf-8")), Golden)
    except (ValueError, msgspec.ValidationError) as error:
        raise AssertionError(f"{file} is no golden delivery: {error}") from None
    golden.name = file.name
    return golden


async def _delivery(bench: Bench, golden: Golden, place: str) -> Delivery:
    if golden.unverifiable:
        return await bench.psp.send(golden.body)
    return _recorded(golden, place)


def _recorded(golden: Golden, place: str) -> Delivery:
    headers = {name.lower(): text.replace(_PLACE, place) for name, text in golden.headers.items()}
    return Delivery(golden.body.encode(), headers, golden.query)


@asynccontextmanager
async def _reader(bench: Bench, golden: Golden, place: str) -> AsyncIterator[Gateway]:
    """The gateway as the one who received it. One that the simulator signed is received now."""
    at = None if golden.unverifiable else golden.received_at
    keys = {name: replaced(value, _PLACE, place) for name, value in golden.credentials.items()}
    async with bench.made(keys, now=None if at is None else lambda: at) as gateway:
        yield gateway


@asynccontextmanager
async def _answering(golden: Golden) -> AsyncIterator[str]:
    def answer(request: Message) -> bytes:
        method, target = request.start.split()[:2]
        found = golden.answers.get(f"{method} {target}")
        if found is None:
            return response(404, b"{}")
        if isinstance(found.body, str):
            return response(found.status, found.body.encode(), "text/plain")
        return response(found.status, json.dumps(found.body).encode())

    async with served(answer) as place:
        yield place
