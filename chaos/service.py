"""One process of the system, kept alive as a supervisor would: whoever ends it, it is started again."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

RESTART_SECONDS: Final = 0.3
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05


class NotReadyError(RuntimeError):
    """A process did not come up; the message is the end of its log."""


class Service:
    """A command of ours that is always running, except when somebody has just ended it."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Run the command; what it says goes to the log."""
        self.name = name
        self.log = log
        self.starts = 0
        self.always: tuple[str, ...] = ()
        """For `chaos.process`, at every start."""
        self.options: tuple[str, ...] = ()
        """The same, from the next start on."""
        self._command = command
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("QIRSH_")},
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start it and keep it running from now on; returns when it says that it is ready.

        Raises:
            NotReadyError: it does not come up.
        """
        began_at = self.log.stat().st_size if self.log.exists() else 0
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())
        await self.ready(began_at)

    async def ready(self, began_at: int) -> None:
        """Wait until its log says "ready" after this many bytes.

        Raises:
            NotReadyError: it does not say so in time.
        """
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while b"ready" not in self.log.read_bytes()[began_at:]:
            if asyncio.get_running_loop().time() > deadline:
                raise NotReadyError(f"{self.name}: {self.log.read_text(errors='replace')[-2000:]}")
            await asyncio.sleep(POLL_SECONDS)

    def kill(self) -> bool:
        """End it as a machine does that loses its power: no handler runs. False when it is not running just now."""
        return self._signal(signal.SIGKILL)

    def freeze(self) -> bool:
        """Let it do nothing more, and lose nothing of what it knows."""
        return self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, as if nothing had been."""
        self._signal(signal.SIGCONT)

    def memory_mb(self) -> float:
        """What it holds now, in megabytes."""
        try:
            return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6 if self._process else 0.0
        except psutil.Error:
            return 0.0

    async def restart(self, *options: str) -> None:
        """Begin a new life with these options, which all later ones have as well."""
        self.options = options
        self.kill()

    async def stop(self) -> None:
        """End it for good."""
        self._stopping = True
        self.thaw()
        self._signal(signal.SIGTERM)
        if self._process is not None:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
                await self._process.wait()
        if self._keeper is not None:
            self._keeper.cancel()

    async def _keep(self) -> None:
        while not self._stopping:
            assert self._process is not None
            await self._process.wait()
            await asyncio.sleep(RESTART_SECONDS)
            if not self._stopping:
                await self._spawn()

    async def _spawn(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chaos.process", *self.always, *self.options, *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )

    def _signal(self, number: signal.Signals) -> bool:
        if self._process is None or self._process.returncode is not None:
            return False
        try:
            os.kill(self._process.pid, number)  # Popen would look whether it has ended, and take that from asyncio
        except ProcessLookupError:
            return False
        return True
