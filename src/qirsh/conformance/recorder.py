"""The way to the PSP, as a proxy that remembers every byte: what a gateway sends is judged, not what it says it sends.

It knows no PSP. Resets and silence pass through it as they are, since it hands on bytes and not messages.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from qirsh.conformance.wire import CHUNK_BYTES, Message, hang_up, listening, parse, read_message, response

_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends a reset, not an end


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and its answer where one came."""

    request: Message
    response: Message | None


@dataclass(slots=True)
class _Connection:
    """The bytes of one connection, both ways, with the moment at which each piece of a request came."""

    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, int]] = field(default_factory=list)
    """The place of a piece in `sent`, and its number among all pieces on all connections."""

    def moment(self, place: int) -> int:
        """When the byte at this place came."""
        return max(number for start, number in self.marks if start <= place)


class Recorder:
    """Every exchange with the PSP, oldest first. Made by `recording`."""

    def __init__(self, psp: str) -> None:
        """Hand on to this origin."""
        self.origin = ""
        self._psp = urlsplit(psp)
        self._connections: list[_Connection] = []
        self._pieces = 0
        self._script: list[bytes] | None = None

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """What went over the wire so far, in the order in which the requests left."""
        found = [one for connection in self._connections for one in _exchanges(connection)]
        return [exchange for _, exchange in sorted(found, key=lambda one: one[0])]

    @contextmanager
    def replaying(self, exchanges: Sequence[Exchange]) -> Iterator[None]:
        """Answer new connections with these answers again, in their order, without the PSP."""
        self._script = [one.response.raw for one in exchanges if one.response is not None]
        try:
            yield
        finally:
            self._script = None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on one connection, or answer it from the script."""
        connection = _Connection()
        self._connections.append(connection)
        if self._script is not None:
            await self._replay(connection, self._script, reader, writer)
            return
        there_reader, there = await asyncio.open_connection(self._psp.hostname, self._psp.port)
        out = asyncio.create_task(self._hand_on(reader, there, connection, request=True))
        back = asyncio.create_task(self._hand_on(there_reader, writer, connection, request=False))
        try:
            await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
            if back.done() and isinstance(back.exception(), ConnectionResetError):
                _reset(writer)
        finally:
            there.close()  # before anything that is waited for, since the end of the bench may cut that short
            for task in (out, back):
                task.cancel()
            await asyncio.gather(out, back, return_exceptions=True)
            await hang_up(there)

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, *, request: bool
    ) -> None:
        while piece := await reader.read(CHUNK_BYTES):
            self._note(connection, piece, request=request)
            writer.write(piece)
            await writer.drain()

    async def _replay(
        self, connection: _Connection, script: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        rest = b""
        while found := await read_message(reader, rest):
            request, rest = found
            answer = script.pop(0) if script else response(503)
            self._note(connection, request.raw, request=True)
            self._note(connection, answer, request=False)
            writer.write(answer)
            await writer.drain()

    def _note(self, connection: _Connection, piece: bytes, *, request: bool) -> None:
        if request:
            connection.marks.append((len(connection.sent), self._pieces))
            self._pieces += 1
            connection.sent += piece
        else:
            connection.answered += piece


@asynccontextmanager
async def recording(psp: str) -> AsyncIterator[Recorder]:
    """A recorder in front of a PSP's origin."""
    recorder = Recorder(psp)
    async with listening(recorder.talk) as origin:
        recorder.origin = origin
        yield recorder


def _exchanges(connection: _Connection) -> Iterator[tuple[int, Exchange]]:
    """The exchanges of one connection, each with the moment of its request. A request cut short counts for none."""
    place, requests = 0, []
    while request := parse(bytes(connection.sent[place:])):
        requests.append((connection.moment(place), request))
        place += len(request.raw)
    place = 0
    for moment, request in requests:
        answer = parse(bytes(connection.answered[place:]), ended=True)
        place += len(answer.raw) if answer else 0
        yield moment, Exchange(request, answer)


def _reset(writer: asyncio.StreamWriter) -> None:
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    writer.transport.abort()
