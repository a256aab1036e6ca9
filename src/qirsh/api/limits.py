"""Limits: how many new drafts one address may make, and how often one phone may be prompted.

Speed bumps, not promises: whatever keeps a counter from answering lets the payment through.
"""

import asyncio
import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

import structlog
from cachetools import TTLCache

from qirsh.api.clients import Clients
from qirsh.draft import DraftRequest
from qirsh.errors import TooManyRequests
from qirsh.methods import METHODS

if TYPE_CHECKING:
    from redis.asyncio import Redis

ADDRESS_SECONDS: Final = 60
PHONE_SECONDS: Final = 600

MAX_ENTRIES: Final = 10_000
"""10 MB in each process, 30 if all of them are at their limit; whose uses made room for newer ones begins anew."""
SHARED_SECONDS: Final = 0.05
"""A payment waits no longer for its counters."""

_NAMESPACE: Final = "QIRSH:limits:"

# The clock is Redis' own, so that servers need not agree about the time. A refused use is not counted: it would
# keep out for ever who only asks too often.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, name in ipairs(KEYS) do
  local most, kept = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local first = redis.call('LINDEX', name, most - 1)
  if first and tonumber(first) + kept > now then return {i, tonumber(first) + kept - now} end
end
for i, name in ipairs(KEYS) do
  redis.call('LPUSH', name, string.format('%.0f', now))
  redis.call('LTRIM', name, 0, ARGV[2 * i - 1] - 1)
  redis.call('PEXPIRE', name, ARGV[2 * i])
end
return false
"""

_log = structlog.get_logger("qirsh.api.limits")


@dataclass(frozen=True, slots=True)
class Use:
    """One use of something that may be used so many times in any so many seconds."""

    name: str
    most: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Full:
    """Which use has no room left, and in how many seconds it has."""

    use: Use
    seconds: float


class Counter(Protocol):
    """Counts uses. It never raises, and never takes long."""

    async def take(self, uses: Sequence[Use]) -> Full | None:
        """Count each use where all have room; count none where one has not, and say which."""
        ...


class ProcessCounter:
    """Counts in this process's memory, which is bounded."""

    def __init__(self, max_entries: int = MAX_ENTRIES, now: Callable[[], float] = time.monotonic) -> None:
        """Remember at most so many names for each length of time, by a clock in seconds that never goes back."""
        self._max_entries = max_entries
        self._now = now
        self._used: dict[int, TTLCache[str, deque[float]]] = {}

    async def take(self, uses: Sequence[Use]) -> Full | None:
        """Count each use where all have room; count none where one has not, and say which."""
        now = self._now()
        for use in uses:
            times = self._of(use.seconds).get(use.name)
            if times is not None and len(times) >= use.most and times[-use.most] + use.seconds > now:
                return Full(use, times[-use.most] + use.seconds - now)
        for use in uses:
            kept = self._of(use.seconds)
            times = kept.get(use.name) or deque(maxlen=use.most)
            times.append(now)
            kept[use.name] = times  # written anew, so that it is kept from its last use on
        return None

    def _of(self, seconds: int) -> TTLCache[str, deque[float]]:
        found = self._used.get(seconds)
        if found is None:
            found = self._used[seconds] = TTLCache(self._max_entries, seconds, self._now)
        return found


class SharedCounter:
    """Counts in Redis or Valkey for several servers together. One that is slow, broken or gone has room for all."""

    def __init__(self, redis: "Redis") -> None:
        """Count there; all uses of a request are one round trip."""
        self._script = redis.register_script(_TAKE)
        self._answers = True

    async def take(self, uses: Sequence[Use]) -> Full | None:
        """Count each use where all have room; count none where one has not, and say which."""
        names = [_NAMESPACE + use.name for use in uses]
        values = [value for use in uses for value in (use.most, use.seconds * 1000)]
        try:
            async with asyncio.timeout(SHARED_SECONDS):
                full = cast("list[int] | None", await self._script(keys=names, args=values))
        except Exception as error:  # noqa: BLE001  whatever a counter does wrong, a payment is worth more
            if self._answers:
                _log.warning("limits_not_counted", error=type(error).__name__)
            self._answers = False
            return None
        self._answers = True
        return None if full is None else Full(uses[full[0] - 1], full[1] / 1000)


class Limits:
    """Admits new drafts. A limit of 0 is none."""

    def __init__(
        self,
        counter: Counter,
        clients: Clients,
        *,
        drafts_per_minute: int,
        prompts_per_10_minutes: int,
        secret: str,
    ) -> None:
        """Count under names that only `secret` could lead back to an address or a phone number."""
        self._counter = counter
        self._clients = clients
        self._drafts = drafts_per_minute
        self._prompts = prompts_per_10_minutes
        self._secret = secret.encode()[: hashlib.blake2b.MAX_KEY_SIZE]

    async def admit(self, host: str | None, request: DraftRequest) -> None:
        """Count a new draft of a client, where it is known, and the prompt that it sends to a phone.

        Raises:
            TooManyRequests: there were too many; nothing was counted.
        """
        uses = []
        if self._drafts and host is not None and (address := self._clients.address_of(host)) is not None:
            uses.append(Use(self._name("address", address), self._drafts, ADDRESS_SECONDS))
        phone = request.payer.phone
        if self._prompts and phone is not None and METHODS[request.method].needs_phone:
            uses.append(Use(self._name("phone", phone), self._prompts, PHONE_SECONDS))
        full = await self._counter.take(uses) if uses else None
        if full is not None:
            raise TooManyRequests(_SENTENCES[full.use.seconds], retry_after_seconds=math.ceil(full.seconds))

    def _name(self, kind: str, value: str) -> str:
        """A plain hash would not do: there are so few phone numbers that all of them can be tried."""
        return f"{kind}:{hashlib.blake2b(value.encode(), digest_size=16, key=self._secret).hexdigest()}"


_SENTENCES: Final = {
    ADDRESS_SECONDS: "Too many new payments from this address: send the same again, with the same key, later.",
    PHONE_SECONDS: "Too many new payments for this phone number: send the same again, with the same key, later.",
}
