"""The circuit breaker: what opens it, what does not, and how one try finds out whether the PSP is back."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import prometheus_client
import pytest
from structlog.testing import capture_logs

from qirsh.breaker import FAILURES, OPEN_SECONDS, Breaker
from qirsh.clock import Clock
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
    PspAnswer,
)
from qirsh.gateways.base import deadline

UNREACHABLE = GatewayUnavailable("not reached")


@dataclass
class Time:
    """A clock that stands still until it is moved."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.seconds


def call(breaker: Breaker, error: BaseException | None = None, *, repeats: bool = False) -> None:
    """One call that ends so."""
    with breaker.guarding(repeats=repeats):
        if error is not None:
            raise error


def fail(breaker: Breaker, times: int = FAILURES, error: BaseException = UNREACHABLE) -> None:
    """So many calls that end so."""
    for _ in range(times):
        with pytest.raises(type(error)):
            call(breaker, error)


def state(breaker: Breaker) -> str:
    """Its state as of now, which a type checker would remember from before."""
    return breaker.state


def answered(error: GatewayError, status: int) -> GatewayError:
    """An error that comes from an answer with this status."""
    error.answer = PspAnswer(status, None)
    return error


def wrapped(cause: GatewayError) -> GatewayError:
    """How an adapter says what another call's error means for its own."""
    error = GatewayOutcomeUnknown("the order stands")
    error.__cause__ = cause
    return error


DOWN = [
    GatewayUnavailable("refused, or no token in time"),
    GatewayOutcomeUnknown("no answer"),
    GatewayProtocolError("a page in HTML"),
    answered(GatewayUnavailable("a look-up"), 503),
    answered(GatewayOutcomeUnknown("an order"), 500),
    answered(GatewayOutcomeUnknown("a proxy waited in vain"), 408),
    wrapped(GatewayUnavailable("the key after the order")),
]
UP = [
    GatewayRejected("no such card"),
    GatewayMisconfigured("no such key"),
    answered(GatewayUnavailable("slow down"), 429),
    answered(GatewayOutcomeUnknown("that order is being changed"), 409),
    wrapped(answered(GatewayUnavailable("slow down"), 429)),
]


@pytest.mark.parametrize("error", DOWN, ids=str)
def test_a_psp_that_is_down_opens_it(error: GatewayError) -> None:
    """After five in a row nobody waits for the sixth: it is told at once that nothing was sent, and when to ask."""
    breaker = Breaker("paymob", Time())
    fail(breaker, FAILURES - 1, error)
    assert state(breaker) == "closed"
    fail(breaker, 1, error)
    assert state(breaker) == "open"
    with pytest.raises(GatewayUnavailable, match="was not asked") as refused:
        call(breaker)
    assert refused.value.retry_after_seconds == OPEN_SECONDS


@pytest.mark.parametrize("error", UP, ids=str)
def test_a_psp_that_says_no_is_up(error: GatewayError) -> None:
    """Refusals, limits and wrong credentials are answers; they also show that earlier trouble is over."""
    breaker = Breaker("paymob", Time())
    fail(breaker, FAILURES - 1)
    fail(breaker, 3 * FAILURES, error)
    fail(breaker, FAILURES - 1)
    assert state(breaker) == "closed"


def test_a_success_between_them_forgets_the_failures() -> None:
    """A PSP that loses every other call is worth asking."""
    breaker = Breaker("paymob", Time())
    for _ in range(3 * FAILURES):
        fail(breaker, FAILURES - 1)
        call(breaker)
    assert state(breaker) == "closed"


@pytest.mark.parametrize("error", [ValueError("a bug of ours"), asyncio.CancelledError()], ids=repr)
def test_what_says_nothing_of_the_psp_counts_neither_way(error: BaseException) -> None:
    """A bug, or a server that stops, must neither take a PSP away nor call it well."""
    breaker = Breaker("paymob", Time())
    fail(breaker, 3 * FAILURES, error)
    fail(breaker, FAILURES - 1)
    fail(breaker, FAILURES, error)
    assert state(breaker) == "closed"
    fail(breaker, 1)
    assert state(breaker) == "open"


async def test_a_call_that_is_cut_off_at_the_deadline_is_a_failure() -> None:
    """A gateway that does not keep the deadline by itself is cancelled there, and its PSP did hang."""
    breaker = Breaker("outside", Time())
    for _ in range(FAILURES):
        with suppress(TimeoutError), deadline(0.001):
            async with asyncio.timeout(0.002):
                with breaker.guarding(repeats=False):
                    await asyncio.Event().wait()
    assert state(breaker) == "open"


def test_one_draft_in_doubt_cannot_take_the_psp_away_from_the_others() -> None:
    """A page repeats it every two seconds, and what makes it doubtful may be that its payer pays just now."""
    breaker = Breaker("paymob", Time())
    for _ in range(3 * FAILURES):
        with pytest.raises(GatewayOutcomeUnknown):
            call(breaker, GatewayOutcomeUnknown("Paymob has a payment for this order"), repeats=True)
    assert state(breaker) == "closed"
    for _ in range(FAILURES):
        with pytest.raises(GatewayUnavailable):
            call(breaker, UNREACHABLE, repeats=True)
    assert state(breaker) == "open"


def test_one_try_goes_through_after_a_while_and_closes_it() -> None:
    """A PSP that comes back is not met by everybody at once."""
    time = Time()
    breaker = Breaker("paymob", time)
    fail(breaker)
    time.seconds += OPEN_SECONDS - 1
    with pytest.raises(GatewayUnavailable) as refused:
        call(breaker)
    assert refused.value.retry_after_seconds == 1
    time.seconds += 1
    with breaker.guarding(repeats=False):
        assert state(breaker) == "half_open"
        for _ in range(10):
            with pytest.raises(GatewayUnavailable, match="was not asked"):
                call(breaker)
    assert state(breaker) == "closed"
    fail(breaker, FAILURES - 1)
    assert state(breaker) == "closed"


def test_a_try_that_fails_leaves_it_open_for_as_long_again() -> None:
    """One call each half minute is all that a PSP that stays down costs."""
    time = Time()
    breaker = Breaker("paymob", time)
    fail(breaker)
    for _ in range(3):
        time.seconds += OPEN_SECONDS
        fail(breaker, 1)
        assert state(breaker) == "open"
        time.seconds += OPEN_SECONDS - 1
        with pytest.raises(GatewayUnavailable, match="was not asked"):
            call(breaker)
        time.seconds += 1 - OPEN_SECONDS


def test_a_try_that_tells_nothing_leaves_the_next_call_to_try() -> None:
    """A try that a bug ended must not keep the gateway away for good."""
    time = Time()
    breaker = Breaker("paymob", time)
    fail(breaker)
    time.seconds += OPEN_SECONDS
    fail(breaker, 1, ValueError("a bug of ours"))
    assert state(breaker) == "open"
    call(breaker)
    assert state(breaker) == "closed"


def test_calls_from_before_say_nothing_of_now() -> None:
    """Hundreds may hang when it opens: their ends, good or bad, belong to the time before."""
    time = Time()
    breaker = Breaker("paymob", time)
    late_good, late_bad, error = breaker.guarding(repeats=False), breaker.guarding(repeats=False), GatewayUnavailable()
    late_good.__enter__()
    late_bad.__enter__()
    fail(breaker)
    late_good.__exit__(None, None, None)
    assert state(breaker) == "open"
    time.seconds += OPEN_SECONDS
    with breaker.guarding(repeats=False):
        late_bad.__exit__(GatewayUnavailable, error, None)
        assert state(breaker) == "half_open"
    assert state(breaker) == "closed"


def test_each_change_is_logged_and_shown() -> None:
    """An operator must see a PSP that is down before the shop asks."""
    time = Time()

    def shown() -> dict[str, float | None]:
        labels = ({"gateway": "shown", "state": state} for state in ("closed", "open", "half_open"))
        return {
            one["state"]: prometheus_client.REGISTRY.get_sample_value("qirsh_gateway_breaker", one) for one in labels
        }

    breaker = Breaker("shown", time)
    assert shown() == {"closed": 1, "open": 0, "half_open": 0}
    with capture_logs() as logged:
        fail(breaker)
        assert shown() == {"closed": 0, "open": 1, "half_open": 0}
        time.seconds += OPEN_SECONDS
        with breaker.guarding(repeats=False):
            assert shown() == {"closed": 0, "open": 0, "half_open": 1}
        assert shown() == {"closed": 1, "open": 0, "half_open": 0}
    assert [(entry["before"], entry["state"]) for entry in logged] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


def test_the_clock_that_lasts_follows_the_sandbox_and_not_the_machines_calendar() -> None:
    """Setting a server's clock back by an hour must not keep a PSP away for an hour."""
    calendar = [datetime(2026, 1, 1, 12, tzinfo=UTC)]
    clock = Clock(lambda: calendar[0])
    before = clock.monotonic()
    calendar[0] -= timedelta(hours=1)
    assert 0 <= clock.monotonic() - before < 60
    clock.offset += timedelta(hours=1)
    assert 3600 <= clock.monotonic() - before < 3660
