"""An answer as it goes over the wire."""

from http import HTTPStatus

import msgspec
from litestar.types import Receive, Scope, Send


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Status, headers and body: an ASGI application that sends just these, since the hot path needs no more."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json_answer(status: HTTPStatus, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    """An answer in JSON."""
    length = b"%d" % len(body)
    return Answer(status, ((b"content-type", b"application/json"), (b"content-length", length), *headers), body)
