"""What a fault is: something that goes wrong again and again until it is healed, and is counted."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from random import Random
from types import TracebackType
from typing import Final, Self

from chaos.system import System

CANCEL_SECONDS: Final = 2.0


class Fault(ABC):
    """One kind of trouble. Inside its `async with` it happens; after it, all of it is mended."""

    needs_seconds = 12.0
    """How long a round must last for it to strike some times."""

    def __init__(self, system: System, random: Random) -> None:
        """Trouble this system; `random` picks when and whom."""
        self.system = system
        self.random = random
        self.count = 0
        """How often it has struck."""
        self.struck: Counter[str] = Counter()
        """Where, if that has names."""
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def inject(self) -> None:
        """Strike again and again, until cancelled."""

    async def heal(self) -> None:  # noqa: B027  most faults are over when they stop
        """Mend what is broken still."""

    async def pause(self, least: float, most: float) -> None:
        """Let the system be for some seconds."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.inject())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        ended = self._task.done()
        try:
            while not self._task.done():  # some client libraries take a cancellation for a time-out of theirs
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CANCEL_SECONDS)
            if not self._task.cancelled():
                self._task.result()
        finally:
            await self.heal()
        assert kind is not None or not ended, "a fault that ended by itself has troubled nobody since"
