"""A process's main: it goes on until a signal, and closes in reverse what it had opened."""

import asyncio
import resource
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import uvloop


async def for_ever() -> None:
    """Go on until a signal ends this process's main; everything around it is then closed in reverse."""
    await asyncio.Event().wait()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main under uvloop until it ends or a signal comes, at whatever moment: also while it starts."""
    _allow_many_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signal(main))


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)  # a second one changes nothing: it is stopping already
    task, stopped = asyncio.create_task(main), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _allow_many_connections() -> None:
    """Use as many open files as the system lets this process have: each waiting client is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls more than it gives "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
