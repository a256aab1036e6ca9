"""`make bench`: every table, or those that ARGS names."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from bench.contenders import Ground, ground
from bench.hot_path import WORKS, Run, contenders
from bench.machine import MissingToolError, described, tool
from bench.scale import scale
from bench.table import of_contenders
from bench.timers import timers
from bench.variants import variants
from bench.waiting import waiting

ROUNDS: Final = 3
SECONDS: Final = 3
CONTENDERS: Final = ("floor", "floor, tuned alike", "qirsh", "usual")

Part = Callable[[Ground], Awaitable[None]]


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS='…'", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which tables (all unless named)")
    parts = parser.parse_args().parts or list(PARTS)
    try:
        tool("wrk", "wrk")
        asyncio.run(_bench(parts))
    except MissingToolError as error:
        sys.exit(f"{error}")


async def _bench(parts: list[str]) -> None:
    _say(f"{described()}\n")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qirsh-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL, started by root, runs as somebody else
        with ground(Path(folder)) as place:
            for part in parts:
                await PARTS[part](place)
    _say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


async def _hot_path(place: Ground) -> None:
    async with contenders(place, CONTENDERS) as found:
        run = Run(place, found, rounds=ROUNDS, seconds=SECONDS)
        for work in WORKS:
            _say(of_contenders(work.name, await run.measure(work, _mutter), CONTENDERS[0]) + "\n")


async def _variants(place: Ground) -> None:
    _say(await variants(place, _mutter, rounds=ROUNDS, seconds=SECONDS) + "\n")


async def _waiting(place: Ground) -> None:
    _say(await waiting(place) + "\n")


async def _timers(place: Ground) -> None:
    _say(await timers(place, _mutter) + "\n")


async def _scale(place: Ground) -> None:
    _say(await scale(place, _mutter) + "\n")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  this is what the command is for


def _mutter(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  as above: progress, apart from the tables


PARTS: Final[dict[str, Part]] = {
    "hot_path": _hot_path,
    "variants": _variants,
    "waiting": _waiting,
    "timers": _timers,
    "scale": _scale,
}

if __name__ == "__main__":
    main()
