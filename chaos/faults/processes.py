"""Processes that die, freeze, or believe that it is another time."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos.faults.base import Fault
from chaos.service import Service
from qirsh.fault_points import Step

REQUESTS: Final = tuple(step for step in Step if step.partition(".")[0] in {"initiate", "webhook", "lookup", "capture"})
"""What a server does: a payer who comes back has it look up and capture as well."""
WORK: Final = tuple(step for step in Step if step.partition(".")[0] != "webhook" and step is not Step.INITIATE_CLAIMED)
"""What a worker does: it finishes initiates as well."""
STEPS_AT_ONCE: Final = 3
"""Steps that are dangerous at a time: some are reached many times a second, and some by a refund only."""
PAST_LEASE_SECONDS: Final = 66.0
"""Longer than a worker's lease of 60 s, and than the 30 s after which PgQueuer gives a silent worker's jobs away."""
PAST_CLAIM_SECONDS: Final = 16.5
"""Longer than a claim."""
CLOCK_OFF_SECONDS: Final = 240
"""As far as a shop believes a signature's time, which is five minutes."""


class _Kills(Fault):
    """Ends processes at any moment."""

    def services(self) -> list[Service]:
        raise NotImplementedError

    async def inject(self) -> None:
        """Kill one, let it come up, and kill another."""
        while True:
            await self.pause(1.5, 4)
            self.count += self.random.choice(self.services()).kill()


class ServersKilled(_Kills):
    """`kill -9` of a server at any moment."""

    def services(self) -> list[Service]:
        """Those that may be killed."""
        return self.system.servers


class WorkersKilled(_Kills):
    """`kill -9` of a worker at any moment."""

    def services(self) -> list[Service]:
        """Those that may be killed."""
        return self.system.workers


class _KillsAtSteps(Fault):
    """Orders whoever reaches a step next to die there."""

    needs_seconds = 25.0
    role = ""
    steps: tuple[Step, ...] = ()

    async def inject(self) -> None:
        """Order it for some steps at a time, each in its turn; whoever comes first to one of them dies."""
        waiting: list[Step] = []
        while True:
            if len(waiting) < STEPS_AT_ONCE:
                waiting += self.random.sample(self.steps, len(self.steps))
            left = await self._kill_at(waiting[:STEPS_AT_ONCE])
            waiting = waiting[STEPS_AT_ONCE:] + left

    async def heal(self) -> None:
        """Nobody is to die any more."""
        for order in self._folder.iterdir():
            order.unlink(missing_ok=True)

    async def _kill_at(self, steps: Sequence[Step]) -> list[Step]:
        """Wait until one is reached, and return the others; steps that nobody reaches are left to their time."""
        for step in steps:
            (self._folder / step).touch()
        for _ in range(20):
            await asyncio.sleep(0.1)
            taken = [step for step in steps if not (self._folder / step).exists()]
            if taken:
                break
        await self.heal()
        if taken:
            self.count += len(taken)
            self.struck.update(taken)
            await self.pause(1, 2.5)  # it has to come up again, or all of them are down most of the time
        return [step for step in steps if step not in taken]

    @property
    def _folder(self) -> Path:
        return self.system.orders / self.role


class ServersKilledAtSteps(_KillsAtSteps):
    """`kill -9` of a server between two effects."""

    role, steps = "api", REQUESTS


class WorkersKilledAtSteps(_KillsAtSteps):
    """`kill -9` of a worker between two effects."""

    role, steps = "worker", WORK


class WorkerFrozen(Fault):
    """A worker that does nothing until its leases are over and others have taken its work, and then goes on."""

    needs_seconds = PAST_LEASE_SECONDS + 6

    async def inject(self) -> None:
        """Freeze one at a time, past its leases and the queue's patience."""
        while True:
            await self.pause(1, 3)
            worker = self.random.choice(self.system.workers)
            self.count += worker.freeze()
            try:
                await asyncio.sleep(PAST_LEASE_SECONDS)
            finally:
                worker.thaw()


class ServerFrozen(Fault):
    """A server that stops in the middle of what it does until its claims have lapsed, and then goes on."""

    needs_seconds = 2 * PAST_CLAIM_SECONDS

    async def inject(self) -> None:
        """Freeze one at a time; pages that wait for it ask the other."""
        while True:
            await self.pause(1, 3)
            server = self.random.choice(self.system.servers)
            self.count += server.freeze()
            try:
                await asyncio.sleep(PAST_CLAIM_SECONDS)
            finally:
                server.thaw()


class WorkerClockOff(Fault):
    """A worker whose clock is minutes behind or ahead of everybody's."""

    async def inject(self) -> None:
        """Set the clock of one, for all its lives."""
        worker = self.random.choice(self.system.workers)
        await worker.restart("--clock-off", str(self.random.choice((-1, 1)) * CLOCK_OFF_SECONDS))
        self.count += 1
        await asyncio.Event().wait()

    async def heal(self) -> None:
        """Set it right."""
        for worker in self.system.workers:
            if worker.options:
                await worker.restart()
