"""The clock: the machine's, plus an offset that is zero except where a sandbox's clock is followed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """What time it is. SQL adds `offset` to the database's own now()."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Read the machine's clock unless told otherwise."""
        self._now = now
        self.offset = timedelta(0)

    def now(self) -> datetime:
        """The time now, with its zone."""
        return self._now() + self.offset

    def monotonic(self) -> float:
        """Seconds since some moment, for what lasts: setting the machine's clock does not move it, the offset does."""
        return time.monotonic() + self.offset.total_seconds()
