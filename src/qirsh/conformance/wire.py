"""HTTP/1.1 on loopback, as little of it as the kit needs: the judge does not use the client that it judges."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536

_END_OF_HEAD: Final = b"\r\n\r\n"
_NO_BODY: Final = frozenset({"204", "304"})


@dataclass(frozen=True, slots=True)
class Message:
    """One request or response. Its repr shows the start line only: headers carry secrets, bodies payers' data."""

    start: str
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def status(self) -> int:
        """A response's status."""
        return int(self.start.split()[1])

    @property
    def target(self) -> str:
        """A request's path and query."""
        return self.start.split()[1]


def parse(data: bytes, *, ended: bool = False) -> Message | None:
    """The first message in some bytes, None while it is not whole. `ended` tells that no more will come."""
    head, found, rest = data.partition(_END_OF_HEAD)
    if not found:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body_and_size = _chunked(rest)
    elif "content-length" in headers:
        size = int(headers["content-length"])
        body_and_size = (rest[:size], size) if len(rest) >= size else None
    elif start.startswith("HTTP/") and start.split()[1] not in _NO_BODY:
        body_and_size = (rest, len(rest)) if ended else None
    else:
        body_and_size = (b"", 0)
    if body_and_size is None:
        return None
    body, size = body_and_size
    return Message(start, headers, body, data[: len(head) + len(_END_OF_HEAD) + size])


async def read_message(reader: asyncio.StreamReader, before: bytes = b"") -> tuple[Message, bytes] | None:
    """The next message and the bytes read beyond it; None when the other side has gone instead."""
    data = before
    while True:
        if found := parse(data):
            return found, data[len(found.raw) :]
        more = await reader.read(CHUNK_BYTES)
        if not more:
            last = parse(data, ended=True)
            return (last, b"") if last else None
        data += more


async def ask(method: str, url: str, body: object = None) -> tuple[int, bytes]:
    """Make one call with a JSON body, and return the status and the body of its answer."""
    parts = urlsplit(url)
    data = b"" if body is None else json.dumps(body).encode()
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.encode() + data)
        answer = await read_message(reader)
    finally:
        await hang_up(writer)
    if answer is None:
        raise ConnectionError(f"{parts.netloc} hung up without an answer")
    return answer[0].status, answer[0].body


def response(status: int, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """A response as it goes over the wire."""
    head = f"HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def served(answer: Callable[[Message], bytes]) -> AsyncIterator[str]:
    """A server that answers each request so; its origin."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest = b""
        while found := await read_message(reader, rest):
            request, rest = found
            writer.write(answer(request))
            await writer.drain()

    async with listening(talk) as origin:
        yield origin


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]],
) -> AsyncIterator[str]:
    """Talk so on every connection; the origin. Connections still open in the end are cut."""
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass  # the other side has gone: that is its business
        finally:
            await hang_up(writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(connected(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, HOST, 0)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        tasks = list(running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is."""
    writer.close()
    with suppress(ConnectionError):  # the other side was faster
        await writer.wait_closed()


@contextmanager
def closed_port() -> Iterator[str]:
    """An address where nobody listens; the port stays taken meanwhile, so that nobody else can."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield f"http://{HOST}:{taken.getsockname()[1]}"


def _chunked(data: bytes) -> tuple[bytes, int] | None:
    """A body in chunks, and how many bytes it took; None while it is not whole."""
    body, place = b"", 0
    while True:
        line, found, _ = data[place:].partition(b"\r\n")
        if not found:
            return None
        size = int(line.partition(b";")[0], 16)
        place += len(line) + 2
        if len(data) < place + size + 2:
            return None
        body += data[place : place + size]
        place += size + 2
        if not size:
            return body, place
