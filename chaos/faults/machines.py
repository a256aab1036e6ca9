"""What a server stands on: its database, its cache, its disk, and the shop that it talks to."""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg
from redis.exceptions import RedisError

from chaos.cache import Cache
from chaos.disk import Disk
from chaos.faults.base import Fault

OTHERS: Final = """
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.6
"""


class DatabaseCrashes(Fault):
    """PostgreSQL is stopped at once, and comes back after a moment."""

    async def inject(self) -> None:
        """Crash, wait, start."""
        while True:
            await self.pause(2, 5)
            await self.system.postgres.crash()
            self.count += 1
            await self.pause(0.2, 2)
            await self.system.postgres.start()

    async def heal(self) -> None:
        """Bring it back."""
        await self.system.postgres.start()


class ConnectionsCut(Fault):
    """Connections to the database are cut, in the middle of whatever they do."""

    async def inject(self) -> None:
        """Cut about half of them, again and again."""
        while True:
            await self.pause(0.5, 2)
            try:
                async with self.system.connected() as connection:
                    self.count += len(await connection.fetch(OTHERS))
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                continue  # it is gone altogether, which is somebody else's doing


class CacheFault(Fault):
    """Something about the shared cache."""

    @property
    def cache(self) -> Cache:
        """The run's Redis, without which there is no such trouble."""
        assert self.system.cache is not None, "kinds that a machine cannot have are not chosen"
        return self.system.cache


class CacheFlushed(CacheFault):
    """It forgets everything."""

    async def inject(self) -> None:
        """Again and again."""
        while True:
            await self.pause(0.3, 1.5)
            with suppress(RedisError):  # it is gone altogether, which is somebody else's doing
                await self.cache.flush()
                self.count += 1


class CacheHung(CacheFault):
    """It takes questions and answers none."""

    async def inject(self) -> None:
        """For seconds at a time."""
        while True:
            await self.pause(0.5, 1.5)
            self.cache.freeze()
            self.count += 1
            await self.pause(1, 4)
            self.cache.thaw()

    async def heal(self) -> None:
        """Let it answer."""
        self.cache.thaw()


class CacheGone(CacheFault):
    """It is not there at all."""

    async def inject(self) -> None:
        """For seconds at a time, and empty when it comes back."""
        while True:
            await self.pause(0.5, 1.5)
            await self.cache.kill()
            self.count += 1
            await self.pause(1, 4)
            await self.cache.start()

    async def heal(self) -> None:
        """Bring it back."""
        await self.cache.kill()
        await self.cache.start()


class DiskFull(Fault):
    """Nothing more can be written to the data directory, until somebody makes room."""

    @property
    def disk(self) -> Disk:
        """The run's small disk, without which there is no such trouble."""
        assert self.system.disk is not None, "kinds that a machine cannot have are not chosen"
        return self.system.disk

    async def inject(self) -> None:
        """Fill it, wait, make room; where PostgreSQL has ended over it, start it as a supervisor would."""
        while True:
            await self.pause(2, 4)
            self.disk.fill()
            self.count += 1
            await self.pause(2, 5)
            await self._make_room()

    async def heal(self) -> None:
        """Make room for good."""
        await self._make_room()

    async def _make_room(self) -> None:
        self.disk.empty()
        await self.system.postgres.start()


class ShopRefuses(Fault):
    """The shop answers announcements with 500, 429 or 503, or says nothing."""

    _before = 0

    async def inject(self) -> None:
        """Be moody."""
        self._before = self.system.listener.refused.total()
        self.system.listener.moody = self.random
        await asyncio.Event().wait()

    async def heal(self) -> None:
        """Take everything from now on."""
        self.system.listener.moody = None
        self.count = self.system.listener.refused.total() - self._before
