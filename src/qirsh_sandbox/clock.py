"""The PSPs' clock: real time plus an offset that only grows and is remembered across restarts."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from .store import Store

MAX_ADVANCE_SECONDS: Final = 3650 * 86_400  # ten years at a time: dates stay within what every library can print

_CAIRO: Final = ZoneInfo("Africa/Cairo")
_OFFSET: Final = "clock.offset_seconds"


class Clock:
    """What time it is at the PSPs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offset = float(store.fact(_OFFSET, "0.0"))
        self._listeners: list[Callable[[], None]] = []

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Add who is told that the clock was moved: what ended in the meantime ends now."""
        self._listeners.append(listener)

    @property
    def offset_seconds(self) -> float:
        """How far this clock is ahead of the machine's."""
        return self._offset

    def now(self) -> float:
        """Return the present time in seconds since the epoch."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward. Backward would let an expired key live again, so it is refused.

        Raises:
            ValueError: `seconds` is negative, not a number, or more than ten years.
        """
        if not math.isfinite(seconds) or not 0 <= seconds <= MAX_ADVANCE_SECONDS:
            raise ValueError(f"advance_seconds must be between 0 and {MAX_ADVANCE_SECONDS}")
        self._offset += seconds
        self._store.remember(_OFFSET, repr(self._offset))
        for listener in self._listeners:
            listener()


def utc_iso(epoch: float) -> str:
    """Print an instant in UTC, with its offset."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds")


def utc_naive(epoch: float) -> str:
    """Print an instant in UTC without an offset, as inside Paymob's `data` block."""
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def cairo_naive(epoch: float) -> str:
    """Print an instant in Cairo's local time without an offset, as Paymob Egypt does; Egypt has summer time."""
    return datetime.fromtimestamp(epoch, _CAIRO).replace(tzinfo=None).isoformat(timespec="microseconds")


def cairo_date(epoch: float) -> str:
    """Print the day in Cairo, which bounds a void."""
    return datetime.fromtimestamp(epoch, _CAIRO).date().isoformat()
