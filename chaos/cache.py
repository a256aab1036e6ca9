"""The run's own Redis, where the machine has one."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis


class Cache:
    """A shared cache that can be emptied, frozen and taken away."""

    def __init__(self, folder: Path, port: int, program: str) -> None:
        """Listen on this port."""
        self.url = f"redis://127.0.0.1:{port}/0"
        self._command = (
            *(program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *("--dir", str(folder)),
        )
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, port: int, lacking: list[str]) -> AsyncIterator["Cache | None"]:
        """A running cache; None, and a sentence in `lacking`, where Redis is not installed."""
        program = shutil.which("redis-server")
        if program is None:
            lacking.append("redis-server is not on PATH: answers are kept in each process, and no cache is disturbed")
            yield None
            return
        cache = cls(folder, port, program)
        await cache.start()
        try:
            yield cache
        finally:
            cache.thaw()
            await cache.kill()

    async def start(self) -> None:
        """Start it empty."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        """End it: what it held is gone."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def freeze(self) -> None:
        """Let it answer nothing, and refuse nobody."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    async def flush(self) -> None:
        """Forget everything."""
        client: Redis = Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1)
        try:
            await client.flushall()
        finally:
            await client.aclose()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
