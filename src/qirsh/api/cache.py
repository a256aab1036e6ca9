"""Finished answers, kept so that a repeat needs no database. Only speed: a cache that has nothing changes no answer."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, Protocol, TypeVar

import msgspec
import structlog
from cachetools import TTLCache
from litestar.stores.base import Store

from qirsh.api.answer import Answer

KEPT: Final = timedelta(hours=24)
"""Pages repeat within minutes; after a day the row answers as well."""
MAX_ENTRIES: Final = 10_000
"""About 12 MB in each process; whose answer made room for newer ones is answered by the row."""
SHARED_SECONDS: Final = 0.05
"""A cache slower than the database is no cache."""

T = TypeVar("T")

_log = structlog.get_logger("qirsh.api.cache")


class AnswerCache(Protocol):
    """Keeps answers by name. It never raises, and never takes long."""

    async def get(self, name: str) -> Answer | None:
        """The answer of this name, if it is still there."""
        ...

    async def set(self, name: str, answer: Answer) -> None:
        """Keep an answer for a while."""
        ...


class ProcessCache:
    """Answers in this process's memory: bounded, and each for a day at most."""

    def __init__(self, max_entries: int = MAX_ENTRIES, seconds: float = KEPT.total_seconds()) -> None:
        """Hold at most so many answers, each so long."""
        self._answers: TTLCache[str, Answer] = TTLCache(max_entries, seconds)

    async def get(self, name: str) -> Answer | None:
        """The answer of this name, if it is still there."""
        return self._answers.get(name)

    async def set(self, name: str, answer: Answer) -> None:
        """Keep an answer; the longest unused goes when there are too many."""
        self._answers[name] = answer


class SharedCache:
    """Answers in a store that several processes share. One that is slow, broken or gone has nothing."""

    def __init__(self, store: Store) -> None:
        """Keep them in Redis or Valkey, behind Litestar's interface."""
        self._store = store

    async def get(self, name: str) -> Answer | None:
        """The answer of this name, if it comes in time."""
        return await self._in_time(self._read(name))

    async def set(self, name: str, answer: Answer) -> None:
        """Keep an answer, if that is done in time."""
        await self._in_time(self._store.set(name, msgspec.msgpack.encode(answer), KEPT))

    async def _read(self, name: str) -> Answer | None:
        found = await self._store.get(name)
        return None if found is None else _ANSWER.decode(found)

    async def _in_time(self, asked: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(SHARED_SECONDS):
                return await asked
        except Exception as error:  # noqa: BLE001  whatever a cache does wrong, the row has the answer
            _log.warning("cache_missed", error=type(error).__name__)
            return None


_ANSWER: Final = msgspec.msgpack.Decoder(Answer)
