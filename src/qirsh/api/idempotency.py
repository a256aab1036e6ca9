"""IdempotencyMiddleware: a repeat hears its first answer without touching the database.

The draft row is the record; this cache in front of it is only speed. A cache that is slow, broken or gone is a miss.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog
from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.stores.base import StorageObject, Store
from litestar.stores.memory import MemoryStore
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from qirsh.api.requests import ReadRequest, ReturnRules, read_initiate
from qirsh.errors import PaymentError, UnsupportedContentType
from qirsh.metrics import INITIATES

if TYPE_CHECKING:
    from litestar.types import HTTPResponseStartEvent

CACHE_SECONDS: Final = 0.05
"""A cache slower than the database is no cache."""
KEPT: Final = timedelta(hours=24)
"""Pages repeat within minutes; after a day the row answers as well."""
MAX_ENTRIES: Final = 100_000
"""About 60 MB of the largest answers; then the oldest go."""
READ: Final = "initiate_request"
"""Where the handler finds the request that was read here."""

_CACHED: Final = frozenset({HTTPStatus.CREATED})
"""A refusal is read off its row each time: late money may turn it into a success."""

T = TypeVar("T")

_log = structlog.get_logger("qirsh.api.idempotency")


class Answer(msgspec.Struct, array_like=True):
    """A finished answer as the cache keeps it."""

    status: int
    content_type: bytes
    body: bytes


_ANSWER: Final = msgspec.msgpack.Decoder(Answer)


class IdempotencyMiddleware(ASGIMiddleware):
    """Reads the request of an initiate, answers a repeat from the cache, and keeps what is finished."""

    def __init__(self, cache: Store, rules: ReturnRules) -> None:
        """Keep finished answers in `cache`, under the key and the request's fingerprint."""
        self._cache = cache
        self._rules = rules

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer from the cache, or let the handler answer and keep that."""
        try:
            await self._handle(scope, receive, send, next_app)
        except PaymentError as error:
            INITIATES.labels(error.status).inc()
            raise

    async def _handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        if request.content_type[0] != "application/json":
            raise UnsupportedContentType
        read = read_initiate(await request.body(), request.headers.getall("idempotency-key", []), self._rules)
        name = f"{read.key}:{read.fingerprint.hex()}"
        if kept := await self._quick(self._kept(name)):
            INITIATES.labels(kept.status).inc()
            await _send(kept, send)
            return
        scope["state"][READ] = read
        answer = Answer(0, b"", b"")

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                INITIATES.labels(answer.status).inc()
                answer.content_type = _header(message, b"content-type")
            elif message["type"] == "http.response.body":
                answer.body += message["body"]
                if answer.status in _CACHED and not message.get("more_body"):
                    await self._quick(self._cache.set(name, msgspec.msgpack.encode(answer), KEPT))
            await send(message)

        await next_app(scope, receive, watched)

    async def _kept(self, name: str) -> Answer | None:
        found = await self._cache.get(name)
        return None if found is None else _ANSWER.decode(found)

    async def _quick(self, asked: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(CACHE_SECONDS):
                return await asked
        except Exception as error:  # noqa: BLE001  whatever a cache does wrong, the row has the answer
            _log.warning("cache_missed", error=type(error).__name__)
            return None


class BoundedMemoryStore(MemoryStore):
    """An in-process cache that forgets its oldest entries instead of growing without end."""

    __slots__ = ("_max_entries",)

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        """Hold at most so many entries."""
        super().__init__()
        self._max_entries = max_entries

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        """Keep a value; the oldest goes when there are too many."""
        async with self._lock:
            while len(self._store) >= self._max_entries and key not in self._store:
                del self._store[next(iter(self._store))]
            data = value.encode() if isinstance(value, str) else value
            self._store[key] = StorageObject.new(data=data, expires_in=expires_in)


def read_of(scope: Scope) -> ReadRequest:
    """The request as the middleware read it."""
    read = scope["state"][READ]
    assert isinstance(read, ReadRequest)
    return read


def _header(message: "HTTPResponseStartEvent", name: bytes) -> bytes:
    return next((value for header, value in message["headers"] if header.lower() == name), b"")


async def _send(answer: Answer, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"idempotent-replayed", b"true"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
