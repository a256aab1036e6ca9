"""One client for all PSPs, their bearer tokens, and the only translator of what goes wrong on the wire."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from pydantic import SecretStr

from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
    PspAnswer,
)
from qirsh.gateways.base import seconds_left

T = TypeVar("T")

CALL_SECONDS: Final = 10.0
"""The longest single call; within an initiate the shared deadline is what binds."""
KEEP_ALIVE_SECONDS: Final = 10.0
"""Shorter than what PSPs' load balancers are known to keep, since a POST on a stale connection fails unseen."""
MAX_ANSWER_BYTES: Final = 1_000_000
MAX_CONNECTIONS: Final = 1_000

_SECONDS: Final = re.compile(r"[0-9]{1,5}")  # a day at most; Retry-After may also be a date, which nobody here needs

_UNKNOWN_STATUSES: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY},
)


class Effect(Enum):
    """What a call does at the PSP, which decides what a broken answer means."""

    READS = "reads"
    """Tokens, look-ups, lists: asking again costs nothing."""
    MOVES = "moves"
    """Registers something or moves money: a lost answer leaves the outcome unknown."""


class PspClient:
    """An HTTP client for one PSP account: JSON in, JSON out, errors translated."""

    def __init__(self, base_url: str, *, psp: str, plain_http: bool) -> None:
        """Talk to `base_url`; `psp` is the name that error messages say.

        Credentials travel over https; `plain_http`, for what is never a PSP's own address, is `Surroundings.dev`.

        Raises:
            GatewayMisconfigured: `base_url` is no address, or plain http where that is not allowed.
        """
        if complaint := _complaint(base_url, plain_http=plain_http):
            raise GatewayMisconfigured(f"{psp.lower()}.base_url {complaint}.")  # not quoted: it may hold a password
        self._base_url = base_url.rstrip("/")
        self._psp = psp
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        effect: Effect,
        json: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401  what a PSP answers has no better type until the adapter reads it
        """Send one request and return the parsed JSON of a 2xx answer. The body is `json` or `form`.

        Raises:
            GatewayUnavailable: nothing was sent, or it was a read and the answer is broken, or 429.
            GatewayOutcomeUnknown: it was sent, may have moved something, and no clear answer came.
            GatewayMisconfigured: 401 or 403.
            GatewayRejected: any other 4xx; `answer` holds the status and the parsed body.
        """
        body = _parsed(
            await self.call_raw(method, path, effect=effect, json=json, form=form, headers=headers, params=params)
        )
        if body is None:
            raise self._unreadable(effect)
        return body

    async def call_raw(
        self,
        method: str,
        path: str,
        *,
        effect: Effect,
        json: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        """As `call`, with the body of a 2xx answer as it came: text, or JSON whose numbers must not become floats."""
        kind, data = "application/json", None if json is None else msgspec.json.encode(json)
        if form is not None:
            kind, data = "application/x-www-form-urlencoded", urlencode(form).encode()
        status, retry_after, raw = await self._exchange(
            effect,
            method,
            path,
            data=data,
            headers={"Content-Type": kind, "Accept": "application/json", **(headers or {})},
            params=params,
        )
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return raw
        raise self._refusal(effect, PspAnswer(status, _parsed(raw)), retry_after)

    async def fetch(
        self, path: str, *, at_most_bytes: int, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Read a small public file as it is, with its status: nothing is followed, parsed or judged.

        What is longer comes back cut, one byte over `at_most_bytes`, so that the caller can tell.

        Raises:
            GatewayUnavailable: no answer came.
        """
        status, _, raw = await self._exchange(Effect.READS, "GET", path, at_most_bytes=at_most_bytes, headers=headers)
        return status, raw

    async def aclose(self) -> None:
        """Close pooled connections."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(
        self,
        effect: Effect,
        method: str,
        path: str,
        data: bytes | None = None,
        **request: Any,  # noqa: ANN401  those of `_transfer`, which says what they are
    ) -> tuple[int, str | None, bytes]:
        """Send a request as `_transfer` does; where no answer came, say what that means."""
        body = None if data is None else _Body(data)
        assert body is not None or effect is Effect.READS, "a call that moves something needs a body to tell by"
        try:
            return await self._transfer(method, path, body, **request)
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError, UnicodeError):
            # Not chained: a parser's complaint quotes what the PSP sent. UnicodeError: a name that is no host's.
            raise self._broken(effect, sent=body is not None and body.left) from None

    async def _transfer(
        self,
        method: str,
        path: str,
        body: "_Body | None",
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        at_most_bytes: int | None = None,
    ) -> tuple[int, str | None, bytes]:
        left = seconds_left(CALL_SECONDS)
        if left <= 0:
            raise TimeoutError
        async with self._open().request(
            method,
            self._base_url + path,
            data=body,
            headers=headers,
            params=params,
            timeout=aiohttp.ClientTimeout(total=left),
            allow_redirects=False,
        ) as response:
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if at_most_bytes is not None and len(raw) > at_most_bytes:
                    return response.status, None, bytes(raw[: at_most_bytes + 1])
                if len(raw) > MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError("answer too large")
            return response.status, response.headers.get("Retry-After"), bytes(raw)

    def _open(self) -> aiohttp.ClientSession:
        """The session belongs to the running loop, so it is made on first use."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _broken(self, effect: Effect, *, sent: bool) -> GatewayError:
        """Exception types alone do not tell whether the PSP saw the request; whether its body began to leave does."""
        if not sent:
            return GatewayUnavailable(f"{self._psp} could not be reached: try again with the same key.")
        if effect is Effect.READS:
            return GatewayUnavailable(f"{self._psp} did not answer: try again with the same key.")
        return GatewayOutcomeUnknown(f"{self._psp} was asked and did not answer.")

    def _unreadable(self, effect: Effect) -> GatewayError:
        if effect is Effect.READS:
            return GatewayUnavailable(f"{self._psp}'s answer could not be read: try again with the same key.")
        return GatewayProtocolError(f"{self._psp}'s answer could not be read.")

    def _refusal(self, effect: Effect, answer: PspAnswer, retry_after: str | None) -> GatewayError:
        error: GatewayError
        match answer.status:
            case HTTPStatus.TOO_MANY_REQUESTS:
                seconds = int(retry_after) if retry_after and _SECONDS.fullmatch(retry_after) else None
                error = GatewayUnavailable(
                    f"{self._psp} asks us to slow down: try again with the same key.", retry_after_seconds=seconds
                )
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                error = GatewayMisconfigured(f"{self._psp} refused our credentials: the operator must check them.")
            case status if status in _UNKNOWN_STATUSES or not 400 <= status < 500:  # noqa: PLR2004  the 4xx range
                error = self._broken(effect, sent=True)
            case status:
                error = GatewayRejected(f"{self._psp} refused the request (HTTP {status}).", psp_code=str(status))
        error.answer = answer
        return error


class BearerToken:
    """The token of one PSP account, shared by all of its calls."""

    def __init__(
        self,
        psp: str,
        fetch: Callable[[], Awaitable[tuple[str, float]]],
        now: Callable[[], float],
        *,
        refused_by: Collection[int],
    ) -> None:
        """`fetch` returns a token and its life in seconds by `now`; `refused_by` are the statuses that refuse it."""
        self._psp = psp
        self._fetch = fetch
        self._now = now
        self._refused_by = refused_by
        self._kept: tuple[SecretStr, float] | None = None
        self._lock = asyncio.Lock()

    async def use(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Call with the token; when it is refused, once more with a fresh one: a refused call has done nothing.

        Raises:
            GatewayMisconfigured: a fresh token is refused as well.
            GatewayUnavailable: no token came in time.
        """
        token = await self.value()
        try:
            return await call(token)
        except GatewayMisconfigured as error:
            if error.answer is None or error.answer.status not in self._refused_by:
                raise
        return await call(await self.value(refused=token))

    async def value(self, refused: str | None = None) -> str:
        """The token; many callers that find it gone or refused fetch one together."""
        async with self._turn():
            now = self._now()
            if self._kept is not None and now < self._kept[1]:
                kept = self._kept[0].get_secret_value()
                if kept != refused:
                    return kept
            token, life_seconds = await self._fetch()
            self._kept = (SecretStr(token), now + life_seconds)
            return token

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One fetches for all; whoever waits for it keeps to its own deadline."""
        try:
            async with asyncio.timeout(seconds_left(CALL_SECONDS)):
                await self._lock.acquire()
        except TimeoutError:
            raise GatewayUnavailable(
                f"{self._psp}'s token did not come in time: try again with the same key."
            ) from None
        try:
            yield
        finally:
            self._lock.release()


class _Body(aiohttp.BytesPayload):
    """A request's body that knows whether it began to leave: without it a PSP has nothing to act upon."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write it, as aiohttp does once a connection is there."""
        self.left = True
        await super().write_with_length(writer, content_length)


def _complaint(base_url: str, *, plain_http: bool) -> str | None:
    """What keeps credentials from travelling to this address, if anything does."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc and not parts.query
    except ValueError:
        usable = False
    if not usable:
        return "is no address: write it like https://api.psp.example"
    return None if plain_http or parts.scheme == "https" else "is plain http, which only `qirsh dev` may use"


def _parsed(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
