"""A process of Qirsh's that can be told to die: `python -m chaos.process [--orders FOLDER] [--clock-off SECONDS] …`.

What follows the options is a command line of `qirsh`. An order is an empty file, `FOLDER/<role>/<step>`: the first
process of that role that reaches the step takes the file away and is gone, as by `kill -9`.
"""

import argparse
import ctypes
import importlib
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Final

from qirsh import cli, fault_points
from qirsh.fault_points import Step

ROLES: Final = {"serve": "api", "worker": "worker"}
CLOCKS: Final = ("qirsh.clock", "qirsh.work.fulfilment")
"""The modules that read the machine's clock; tests/unit/test_architecture.py keeps it at these."""

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Prepare this process, then be `qirsh`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=Path)
    parser.add_argument("--clock-off", type=float, default=0.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    _end_with_parent()
    if given.orders is not None and (role := ROLES.get(given.command[0])):
        for step in Step:
            fault_points.register(step, partial(die_if_ordered, given.orders / role / step))
    if given.clock_off:
        set_clock_off(timedelta(seconds=given.clock_off))
    sys.argv = ["qirsh", *given.command]
    cli.main()


def die_if_ordered(order: Path) -> None:
    """Take the order, so that it is carried out once, and die on the spot: no handler runs, nothing is flushed."""
    try:
        order.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def set_clock_off(off: timedelta) -> None:
    """Let this process alone believe that it is another time. Clocks that only measure what lasts go on as they are.

    The kernel can shift the wall clock of a machine only, so the readers are given another clock in its place.
    """

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz or UTC) + off

    for name in CLOCKS:
        vars(importlib.import_module(name))["datetime"] = Shifted
    real = time.time
    time.time = lambda: real() + off.total_seconds()


def _end_with_parent() -> None:
    """Leave nothing behind when chaos itself is killed. Linux only; elsewhere chaos stops what it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
