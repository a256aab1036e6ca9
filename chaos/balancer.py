"""The load balancer before the API processes: connections in turn, past those that nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

CHUNK_BYTES: Final = 65_536


class Balancer:
    """Passes each new connection on to the next backend that takes it."""

    def __init__(self, backends: Sequence[int]) -> None:
        """The backends' ports on this machine."""
        self._backends = list(backends)
        self._passing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Take connections on this port."""
        server = await asyncio.start_server(self._take, "127.0.0.1", port, backlog=1024)
        try:
            yield
        finally:
            server.close()
            for task in self._passing:
                task.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            pass  # the run is over
        finally:
            self._passing.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._backends:
            self._backends.append(self._backends.pop(0))
            with suppress(OSError):
                answers, requests = await asyncio.open_connection("127.0.0.1", self._backends[-1])
                try:
                    ways = [asyncio.create_task(_copy(reader, requests)), asyncio.create_task(_copy(answers, writer))]
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    for way in ways:
                        way.cancel()
                finally:
                    requests.close()
                return


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
