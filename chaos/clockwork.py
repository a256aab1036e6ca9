"""The PSPs' clock during a run: at the machine's pace while anybody works, and in jumps when nobody does.

A claim lasts longer than any call to a PSP may take, and a lease longer than any job: a clock that ran ahead of the
machine's would end them under the hands of those who hold them, which no real clock does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg

from chaos.system import System

STEP_SECONDS: Final = 5.0
"""Added to each jump to the next thing that is due, so that what is due soon after it is due with it."""
FOLLOW_SECONDS: Final = 0.3
"""After a jump: every process has followed by then."""
QUIET_SECONDS: Final = 400.0
"""In which the work that is due must be done: once a day the PSPs are asked about everything that moved lately."""
SWEEP_SECONDS: Final = 5.0
SCHEDULES: Final = (60, 120, 600, 3_600, 3_600, 21_600, *(90_000,) * 4)
"""Through every schedule there is: look-ups, captures, refunds, announcements, and the two days of a cash reference."""

_DUE: Final = """
  SELECT (SELECT count(*) FROM payment_drafts WHERE claimed_until > now() + $1)
    + (SELECT count(*) FROM payment_drafts WHERE next_check_at <= now() + $1
      AND (claimed_until IS NULL OR claimed_until <= now() + $1))
    + (SELECT count(*) FROM refunds WHERE next_check_at <= now() + $1)
    + (SELECT count(*) FROM unmatched_events WHERE next_check_at <= now() + $1)
    + (SELECT count(*) FROM fulfilments WHERE next_check_at <= now() + $1)
    + (SELECT count(*) FROM daily_work WHERE next_check_at <= now() + $1)
    + (SELECT count(*) FROM pgqueuer.pgqueuer WHERE status IN ('queued', 'picked'))
"""
_NEXT: Final = """
  SELECT extract(epoch FROM min(at) - now() - $1)::float FROM (
    SELECT min(next_check_at) AS at FROM payment_drafts WHERE id = ANY ($2::uuid[])
    UNION ALL SELECT min(next_check_at) FROM unmatched_events WHERE attempts < 3) AS times
"""


class WorkNeverEndsError(RuntimeError):
    """Something stays due, whoever works on it."""


async def jump(system: System, seconds: float) -> None:
    """Let so much time go by at once, and every process follow: who did not would begin what has expired already."""
    await system.psps.advance(seconds)
    await asyncio.sleep(FOLLOW_SECONDS)


async def until(system: System, draft_ids: list[str], done: Callable[[], Awaitable[bool]]) -> bool:
    """Jump from one due time of these drafts to the next, while nothing is under way; False when none is left."""
    while not await done():
        if await _work(system):
            await asyncio.sleep(0.1)
            continue
        async with system.connected() as connection:
            seconds = await connection.fetchval(_NEXT, system.psps.offset, draft_ids)
        if seconds is None:
            return await done()
        await jump(system, max(seconds, 0.0) + STEP_SECONDS)
    return True


async def settle(system: System, say: Callable[[str], None], others: Callable[[], Awaitable[None]]) -> None:
    """Go through all schedules, and let everything that comes due be done; then wait for two more sweeps.

    Before each step `others`, who have their own time, do what they have put off.

    Raises:
        WorkNeverEndsError: it is never done.
    """
    for seconds in SCHEDULES:
        await quiet(system)
        await others()
        say(f"everything is done that was due; {timedelta(seconds=seconds)} go by")
        await jump(system, seconds)
    await quiet(system)
    await asyncio.sleep(2 * SWEEP_SECONDS)


async def quiet(system: System) -> None:
    """Wait until nothing is due and no job is under way.

    Raises:
        WorkNeverEndsError: something always is.
    """
    deadline = asyncio.get_running_loop().time() + QUIET_SECONDS
    while (left := await _work(system)) or (left := await _work(system)):
        if asyncio.get_running_loop().time() > deadline:
            raise WorkNeverEndsError(f"{left} rows and jobs are still due")
        await asyncio.sleep(0.2)


async def _work(system: System) -> int:
    """How many claims are held, and how many rows and jobs wait to be worked on, or are being worked on."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        async with system.connected() as connection:
            return int(await connection.fetchval(_DUE, system.psps.offset))
    return 1  # a database that is coming back has work to do
