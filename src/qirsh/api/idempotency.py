"""IdempotencyMiddleware: a repeat hears its first answer without touching the database.

The draft row is the record; the cache in front of it is only speed.
"""

from http import HTTPStatus
from typing import Any, Final

from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from qirsh.api.answer import Answer
from qirsh.api.answers import replayed
from qirsh.api.cache import AnswerCache
from qirsh.api.requests import ReadRequest, ReturnRules, read_initiate
from qirsh.errors import PaymentError, UnsupportedContentType
from qirsh.metrics import INITIATES

READ: Final = "initiate_request"
"""Where the handler finds the request that was read here."""

_CACHED: Final = frozenset({HTTPStatus.CREATED})
"""A refusal is read off its row each time: late money may turn it into a success."""


class IdempotencyMiddleware(ASGIMiddleware):
    """Reads the request of an initiate, answers a repeat from the cache, and keeps what is finished."""

    def __init__(self, cache: AnswerCache, rules: ReturnRules) -> None:
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
        keys = [value.decode("latin-1") for header, value in scope["headers"] if header == b"idempotency-key"]
        read = read_initiate(await request.body(), keys, self._rules)
        name = f"{read.key}:{read.fingerprint.hex()}"
        if kept := await self._cache.get(name):
            INITIATES.labels(kept.status).inc()
            await replayed(kept)(scope, receive, send)
            return
        scope["state"][READ] = read
        status = 0
        headers: tuple[tuple[bytes, bytes], ...] = ()

        async def watched(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], tuple(message["headers"])
                INITIATES.labels(status).inc()
            elif message["type"] == "http.response.body" and status in _CACHED:
                await self._cache.set(name, Answer(status, headers, message["body"]))
            await send(message)

        await next_app(scope, receive, watched)


def read_of(scope: Scope) -> ReadRequest:
    """The request as the middleware read it."""
    read = scope["state"][READ]
    assert isinstance(read, ReadRequest)
    return read
