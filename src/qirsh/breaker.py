"""A circuit breaker for each gateway: a PSP that is down is left alone, so that no payer waits to hear that it is."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import structlog

from qirsh.errors import GatewayError, GatewayMisconfigured, GatewayOutcomeUnknown, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import seconds_left
from qirsh.metrics import BREAKERS

FAILURES: Final = 5
"""In a row, with no success between: one lost answer is a hiccup, and five in a row are seen within seconds."""
OPEN_SECONDS: Final = 30.0
"""How long a PSP is left alone before one try asks whether it is back."""

_log = structlog.get_logger("qirsh.breaker")


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    """All of them do."""
    OPEN = "open"
    """None does; after a while the next one becomes the try of `half_open`."""
    HALF_OPEN = "half_open"
    """One is under way, and what becomes of it decides."""


class Breaker:
    """Counts failures in a row of calls to one gateway, in this process, and refuses calls while it is open."""

    def __init__(self, gateway: str, now: Callable[[], float]) -> None:
        """Begin closed; `now` is a clock in seconds that never goes back."""
        self._gateway = gateway
        self._now = now
        self._failures = 0
        self._opens_until = 0.0
        self._era = 0
        self._state = BreakerState.CLOSED
        self._show()

    @property
    def state(self) -> BreakerState:
        """The state as of the last call."""
        return self._state

    @contextmanager
    def guarding(self, *, repeats: bool) -> Iterator[None]:
        """Around one call; `repeats`: an earlier one of the same draft may have reached the PSP.

        Raises:
            GatewayUnavailable: the breaker is open, and nothing was sent.
        """
        era = self._enter()
        try:
            yield
        except BaseException as error:
            self._ended(era, _tells(error, repeats=repeats))
            raise
        self._ended(era, up=True)

    def _enter(self) -> int:
        """Let a call through, and return the era it belongs to: what ends in another one says nothing of it."""
        if self._state is BreakerState.OPEN:
            left = self._opens_until - self._now()
            if left > 0:
                raise self._refusal(math.ceil(left))
            self._move(BreakerState.HALF_OPEN)
        elif self._state is BreakerState.HALF_OPEN:
            raise self._refusal(None)
        return self._era

    def _refusal(self, retry_after_seconds: int | None) -> GatewayUnavailable:
        sentence = f"{self._gateway} is down and was not asked: try again with the same key."
        return GatewayUnavailable(sentence, retry_after_seconds=retry_after_seconds)

    def _ended(self, era: int, up: bool | None) -> None:  # noqa: FBT001  three answers, not a flag
        """Take note of a call: whether the PSP was up; None when the call does not tell."""
        if era != self._era:
            return
        if up:
            self._failures = 0
            if self._state is BreakerState.HALF_OPEN:
                self._move(BreakerState.CLOSED)
        elif up is None:
            if self._state is BreakerState.HALF_OPEN:
                self._move(BreakerState.OPEN)  # until long ago: the next call is the next try
        else:
            self._failures += 1
            if self._state is BreakerState.HALF_OPEN or self._failures >= FAILURES:
                self._opens_until = self._now() + OPEN_SECONDS
                self._move(BreakerState.OPEN)

    def _move(self, state: BreakerState) -> None:
        log = _log.info if state is BreakerState.CLOSED else _log.warning
        log("breaker", gateway=self._gateway, state=state, before=self._state)
        self._state = state
        self._era += 1
        self._failures = 0
        self._show()

    def _show(self) -> None:
        for state in BreakerState:
            BREAKERS.labels(self._gateway, state).set(state is self._state)


def _tells(error: BaseException, *, repeats: bool) -> bool | None:
    """Whether the PSP was up when a call ended so; None when that says nothing.

    Who answers 4xx is there, 429 and 409 among them, except for 408, which a proxy says when nobody behind it answers.
    """
    match error:
        case GatewayRejected() | GatewayMisconfigured():
            return True
        case GatewayUnavailable() | GatewayOutcomeUnknown():
            status = _status(error)
            if status is not None and 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004  4xx
                return True
            # A repeat can stay unknown by what the PSP does say, such as that somebody is paying just now.
            return None if repeats and isinstance(error, GatewayOutcomeUnknown) else False
        case asyncio.CancelledError() if seconds_left(math.inf) <= 0:
            return False  # cut off at the deadline, which the gateway did not keep by itself
        case _:
            return None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that a PSP answered with, also where an adapter says what it means in words of its own."""
    while isinstance(error, GatewayError):
        if error.answer is not None:
            return error.answer.status
        error = error.__cause__
    return None
