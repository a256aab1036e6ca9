"""What a PSP's connection can do to us, and the one error that each of it becomes.

The table is the one under "Errors" in ARCHITECTURE.md. It is tried over real sockets: exception types alone do not tell
whether the PSP saw a request, and a patched client would only say what we think that it says.
"""

import ast
import asyncio
import inspect
import json
import ssl
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import aiohttp
import pytest
import unit_psp
from unit_psp import Behaviour, answer, closed_port, psp, raw

from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways import http
from qirsh.gateways.base import deadline
from qirsh.gateways.http import MAX_ANSWER_BYTES, Effect, PspClient

SECRET = "sk_live_4242_do_not_show"
PRIVATE = "payer sara, card 5123456789012346"
"""Stands in every body that a PSP answers with here, and may stand in no error."""
WORDS = json.dumps({"message": PRIVATE}).encode()
PATIENCE_SECONDS = 10.0
"""For behaviours that answer, which takes a millisecond on a machine that is not busy."""
SILENCE_SECONDS = 0.1
"""For those that never do."""


@dataclass(frozen=True)
class Case:
    """A behaviour, and what it becomes on a call that moves something and on one that reads."""

    behaviour: Behaviour
    moves: type[GatewayError]
    reads: type[GatewayError]
    seconds: float = PATIENCE_SECONDS


def unclear(behaviour: Behaviour, seconds: float = PATIENCE_SECONDS) -> Case:
    """It was sent and no clear answer came: unknown where something moves, asked again where nothing does."""
    return Case(behaviour, GatewayOutcomeUnknown, GatewayUnavailable, seconds)


def unreadable(behaviour: Behaviour) -> Case:
    """It answered that all is well, in words that cannot be read."""
    return Case(behaviour, GatewayProtocolError, GatewayUnavailable)


def clear(behaviour: Behaviour, error: type[GatewayError]) -> Case:
    """An answer that means the same on every call."""
    return Case(behaviour, error, error)


HTML = f"<html><body>{PRIVATE}</body></html>".encode()
SHORT_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + WORDS
CASES = {
    # The connection.
    "reset as soon as something came": unclear(unit_psp.reset_unread),
    "reset after the request": unclear(unit_psp.reset_after_reading),
    "hung up after the request": unclear(unit_psp.end_after_reading),
    "silence": unclear(unit_psp.hang, SILENCE_SECONDS),
    "silence in the middle of the body": unclear(unit_psp.hang_in_the_body, SILENCE_SECONDS),
    "reset in the middle of the body": unclear(unit_psp.reset_in_the_body),
    "body cut short": unclear(raw(SHORT_LENGTH)),
    "body without end": unclear(unit_psp.drip_without_end),
    "no HTTP": unclear(raw(b"220 mail.psp.example ESMTP " + WORDS + b"\r\n")),
    "broken chunks": unclear(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + WORDS + b"\r\n")),
    "broken compression": unclear(answer(200, WORDS, headers=("Content-Encoding: gzip",))),
    # An answer that says yes, in no language of ours.
    "200 html": unreadable(answer(200, HTML, headers=("Content-Type: text/html",))),
    "200 empty": unreadable(answer(200)),
    "204": unreadable(answer(204)),
    "200 half of a JSON text": unreadable(answer(200, WORDS[:-1])),
    "200 null": unreadable(answer(200, b"null")),
    "200 not UTF-8": unreadable(answer(200, b'"\xff\xfe"')),
    "200 nested without end": unreadable(answer(200, b"[" * 100_000)),
    "201 html": unreadable(answer(201, HTML)),
    # An answer that says neither yes nor no.
    "301": unclear(answer(301, WORDS, headers=("Location: http://127.0.0.1:9/",))),
    "302": unclear(answer(302, WORDS, headers=("Location: http://127.0.0.1:9/",))),
    "307": unclear(answer(307, WORDS, headers=("Location: http://127.0.0.1:9/",))),
    "408": unclear(answer(408, WORDS)),
    "409": unclear(answer(409, WORDS)),
    "425": unclear(answer(425, WORDS)),
    "500": unclear(answer(500, WORDS)),
    "500 html": unclear(answer(500, HTML)),
    "502": unclear(answer(502)),
    "503": unclear(answer(503, WORDS)),
    "504": unclear(answer(504, WORDS)),
    "599": unclear(answer(599, WORDS)),
    # An answer that says no.
    "400": clear(answer(400, WORDS), GatewayRejected),
    "402": clear(answer(402, WORDS), GatewayRejected),
    "404": clear(answer(404, WORDS), GatewayRejected),
    "406": clear(answer(406, WORDS), GatewayRejected),
    "422": clear(answer(422, WORDS), GatewayRejected),
    "400 html": clear(answer(400, HTML), GatewayRejected),
    "401": clear(answer(401, WORDS), GatewayMisconfigured),
    "403": clear(answer(403, WORDS), GatewayMisconfigured),
    "403 html": clear(answer(403, HTML), GatewayMisconfigured),
    "429": clear(answer(429, WORDS), GatewayUnavailable),
}


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("name", CASES)
async def test_each_behaviour_of_a_psp_becomes_the_error_of_the_table(name: str, effect: Effect) -> None:
    """Unknown taken for unavailable charges twice; unavailable taken for unknown makes the payer wait for nothing."""
    case = CASES[name]
    async with psp(case.behaviour) as url:
        error = await error_of(url, effect, case.seconds)
    assert type(error) is (case.moves if effect is Effect.MOVES else case.reads)


@pytest.mark.parametrize("effect", Effect)
async def test_a_closed_port_is_unavailable(effect: Effect) -> None:
    """Nothing was sent, so another gateway may be tried."""
    with closed_port() as url:
        assert type(await error_of(url, effect)) is GatewayUnavailable


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize(
    "url",
    [
        "http://does-not-exist.invalid",
        "http://127.0.0.1:99999",
        f"http://{'a' * 64}.invalid",
    ],
)
async def test_an_address_that_leads_nowhere_is_unavailable(url: str, effect: Effect) -> None:
    """A name that does not resolve, and a slip in the configuration: nothing was sent."""
    assert type(await error_of(url, effect)) is GatewayUnavailable


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize(
    ("behaviour", "seconds"),
    [
        (unit_psp.end_unread, PATIENCE_SECONDS),
        (unit_psp.reset_unread, PATIENCE_SECONDS),
        (unit_psp.refuse_tls, PATIENCE_SECONDS),
        (unit_psp.hang, SILENCE_SECONDS),
    ],
)
async def test_a_failed_tls_handshake_is_unavailable(behaviour: Behaviour, seconds: float, effect: Effect) -> None:
    """The request never left: what the other side saw was only a greeting it did not understand."""
    async with psp(behaviour) as url:
        assert type(await error_of(url.replace("http:", "https:"), effect, seconds)) is GatewayUnavailable


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_past_the_deadline_nothing_is_sent(seconds: float, effect: Effect) -> None:
    """The payer is no longer answered by it, so the PSP must not hear of it."""
    seen = []

    async def count(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        seen.append(1)

    async with psp(count) as url:
        assert type(await error_of(url, effect, seconds)) is GatewayUnavailable
    assert not seen


async def test_the_deadline_cuts_a_slow_psp() -> None:
    """An initiate answers within 12 s whatever the PSP does; each call has what is left of it."""
    loop = asyncio.get_running_loop()
    async with psp(unit_psp.hang) as url:
        began = loop.time()
        await error_of(url, Effect.MOVES, 0.05)
    assert 0.04 < loop.time() - began < 2


async def test_calls_share_one_deadline() -> None:
    """Token, order, key and pay together: four times the patience would be four times the wait."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with psp(unit_psp.hang) as url:
        with deadline(0.1):
            errors = [await error_of(url, Effect.MOVES, None) for _ in range(3)]
    assert [type(error) for error in errors] == [GatewayOutcomeUnknown, GatewayUnavailable, GatewayUnavailable]
    assert loop.time() - began < 2


async def test_an_inner_deadline_never_gives_more_time() -> None:
    """Whoever bounds a call by its own patience must not lengthen the caller's."""
    async with psp(unit_psp.hang) as url:
        with deadline(0.05), deadline(1.0):
            async with asyncio.timeout(0.5):
                await error_of(url, Effect.READS, None)


async def test_a_stale_connection_is_unknown_where_something_moves() -> None:
    """The PSP may have read the request before it hung up: only a PSP that honours keys could be asked again."""
    async with psp(unit_psp.answer_once_then_hang_up) as url:
        client = PspClient(url, psp="Psp", plain_http=True)
        try:
            assert await client.call("POST", "/first", effect=Effect.MOVES, json={}) == {}
            with pytest.raises(GatewayOutcomeUnknown):
                await client.call("POST", "/second", effect=Effect.MOVES, json={})
        finally:
            await client.aclose()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """It would carry our credentials to wherever the answer says, and could register a second time."""
    visits = []

    async def elsewhere(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        visits.append(1)

    async with psp(elsewhere) as other, psp(answer(status, headers=(f"Location: {other}/api/orders",))) as url:
        assert type(await error_of(url, Effect.MOVES)) is GatewayOutcomeUnknown
    assert not visits


async def test_a_cancelled_call_is_cancelled() -> None:
    """Whoever stops waiting must not be told of an error instead, or a shutdown would be swallowed."""
    async with psp(unit_psp.hang) as url:
        task = asyncio.create_task(error_of(url, Effect.MOVES, 10))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        pytest.param(
            "9" * 5000,
            None,
            id="a number too long to read",
        ),
    ],
)
@pytest.mark.parametrize("effect", Effect)
async def test_a_psp_that_is_too_busy_says_when(header: str, seconds: int | None, effect: Effect) -> None:
    """Its Retry-After goes on to the shop; one in words is no reason to fail."""
    async with psp(answer(429, WORDS, headers=(f"Retry-After: {header}",))) as url:
        error = await error_of(url, effect)
    assert isinstance(error, GatewayUnavailable)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [400, 401, 409, 422, 429, 500])
async def test_a_refusal_keeps_the_psps_answer_for_the_adapter(status: int) -> None:
    """Only the adapter knows that a 422 "duplicate" means that the order is there."""
    async with psp(answer(status, b'{"message": "duplicate"}')) as url:
        error = await error_of(url, Effect.MOVES)
    assert error.answer is not None
    assert (error.answer.status, error.answer.body) == (status, {"message": "duplicate"})


@pytest.mark.parametrize("size", [MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1])
async def test_an_answer_over_the_limit_is_not_read(size: int) -> None:
    """A PSP, or who pretends to be one, must not fill our memory; up to the limit every byte is read."""
    body = b'"' + b"x" * (size - 2) + b'"'
    async with psp(answer(200, body)) as url:
        client = PspClient(url, psp="Psp", plain_http=True)
        try:
            if size <= MAX_ANSWER_BYTES:
                assert await client.call("GET", "/", effect=Effect.READS) == "x" * (size - 2)
            else:
                with pytest.raises(GatewayUnavailable):
                    await client.call("GET", "/", effect=Effect.READS)
        finally:
            await client.aclose()


@pytest.mark.parametrize(
    ("status", "body", "value"),
    [(200, b"{}", {}), (200, b"[]", []), (201, b'{"id": 1}', {"id": 1}), (200, b"0", 0), (202, b'""', "")],
)
async def test_a_clear_yes_is_returned(status: int, body: bytes, value: object) -> None:
    """Every 2xx with a JSON body is a yes, empty values included."""
    async with psp(answer(status, body)) as url:
        client = PspClient(url, psp="Psp", plain_http=True)
        try:
            assert await client.call("POST", "/", effect=Effect.MOVES, json={"a": 1}) == value
        finally:
            await client.aclose()


@pytest.mark.parametrize("name", CASES)
async def test_no_error_says_a_secret_or_the_psps_words(name: str) -> None:
    """Errors are logged and answered: they may say what happened, not what was sent or heard."""
    case = CASES[name]
    async with psp(case.behaviour) as url:
        error = await error_of(url, Effect.MOVES, case.seconds)
    said = f"{error} {error!r} {error.detail} {error.answer!r} {error.args}"
    assert SECRET not in said
    assert PRIVATE not in said
    assert "sara" not in said
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("name", CASES)
async def test_no_traceback_quotes_the_psps_words(name: str) -> None:
    """A traceback is printed with the causes of its error, and the HTTP parser quotes what it could not parse."""
    case = CASES[name]
    async with psp(case.behaviour) as url:
        error = await error_of(url, Effect.MOVES, case.seconds)
    assert PRIVATE not in "".join(traceback.format_exception(error))


def subclasses(error: type[Exception]) -> Iterator[type[Exception]]:
    """An error and all that descend from it."""
    yield error
    for child in error.__subclasses__():
        yield from subclasses(child)


@pytest.mark.parametrize(
    "error",
    [
        *dict.fromkeys(subclasses(aiohttp.ClientError)),
        *(TimeoutError, asyncio.TimeoutError, asyncio.IncompleteReadError),
        *(
            OSError,
            ConnectionResetError,
            ConnectionRefusedError,
            BrokenPipeError,
            ssl.SSLError,
            ssl.SSLCertVerificationError,
        ),
    ],
    ids=lambda error: error.__name__,
)
def test_every_error_of_the_client_library_is_translated(error: type[Exception]) -> None:
    """A new release may raise a class that no behaviour here provokes: the translator must name an ancestor of it."""
    assert issubclass(error, translated())


def test_the_translator_catches_no_bug() -> None:
    """A KeyError of ours is not the PSP's silence."""
    for bug in (KeyError, AttributeError, TypeError, AssertionError, asyncio.CancelledError, KeyboardInterrupt):
        assert not issubclass(bug, translated())


def translated() -> tuple[type[BaseException], ...]:
    """What the one `except` around the exchange names, read from the source."""
    (handler,) = (node for node in ast.walk(ast.parse(inspect.getsource(http))) if _is_translator(node))
    assert handler.type is not None
    found = eval(compile(ast.Expression(handler.type), "http.py", "eval"), vars(http))  # noqa: S307  our own source
    assert isinstance(found, tuple)
    return found


def _is_translator(node: ast.AST) -> TypeGuard[ast.ExceptHandler]:
    return isinstance(node, ast.ExceptHandler) and "_broken" in ast.dump(node)


async def error_of(url: str, effect: Effect, seconds: float | None = PATIENCE_SECONDS) -> GatewayError:
    """The error that a call there ends in."""
    client = PspClient(url, psp="Psp", plain_http=True)
    try:
        if seconds is None:
            return await _raised(client, effect)
        with deadline(seconds):
            return await _raised(client, effect)
    finally:
        await client.aclose()


async def _raised(client: PspClient, effect: Effect) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await client.call(
            "POST",
            "/api/orders",
            effect=effect,
            json={"api_key": SECRET},
            headers={"Authorization": f"Bearer {SECRET}"},
        )
    return raised.value


@pytest.mark.parametrize("plain_http", [True, False])
@pytest.mark.parametrize(
    "base_url", ["ftp://psp.example", "psp.example", "", "http://", "https://u:p@psp.example", "https://["]
)
def test_what_is_no_address_is_refused_at_the_start(base_url: str, *, plain_http: bool) -> None:
    """Each call would fail, or carry a name and a password that somebody put there; neither is quoted."""
    with pytest.raises(GatewayMisconfigured, match=r"^psp\.base_url is no address") as caught:
        PspClient(base_url, psp="Psp", plain_http=plain_http)
    assert "u:p" not in str(caught.value)


def test_credentials_travel_over_https() -> None:
    """Whoever writes a gateway could forget to say so; the client of all of them does not."""
    with pytest.raises(GatewayMisconfigured, match="plain http"):
        PspClient("http://psp.example", psp="Psp", plain_http=False)
