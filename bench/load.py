"""The load: wrk, and what a run of it measured."""

import json
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from bench.machine import Server, tool

SCRIPT: Final = Path(__file__).with_name("load.lua")
WARM_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender doing one thing: requests a second, milliseconds, µs of CPU a request, MB resident after it."""

    requests: float
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent: fresh initiates, or requests of a file, in turn or each once."""

    kind: str
    file: Path | None = None

    def arguments(self) -> list[str]:
        """As load.lua reads it."""
        return [self.kind, str(self.file) if self.file else str(random.randrange(2**31))]  # noqa: S311  not a secret


def warm_up(servers: Sequence[Server], requests: Requests, *, connections: int) -> None:
    """Let servers open their connections and prepare their statements; nothing is measured."""
    _run(servers, requests, connections, WARM_SECONDS)
    _settle(servers)


def measured(servers: Sequence[Server], requests: Requests, *, connections: int, seconds: int) -> Measured:
    """Load servers of one kind, each from a wrk of its own, and measure them together.

    Raises:
        MissingToolError: wrk is not installed.
        RuntimeError: an answer was not what the request asked for: such a run measures nothing.
    """
    before = [server.cpu_seconds() for server in servers]
    said = _run(servers, requests, connections, seconds)
    cpu = sum(server.cpu_seconds() - was for server, was in zip(servers, before, strict=True))
    _settle(servers)
    results = [_result(text) for text in said]
    count = sum(result["requests"] for result in results)
    return Measured(
        requests=count,
        per_second=sum(result["requests"] / result["seconds"] for result in results),
        p50_ms=median(result["p50_ms"] for result in results),
        p99_ms=max(result["p99_ms"] for result in results),
        cpu_us=cpu / max(count, 1) * 1e6,  # who answered nothing has spent it all on nothing
        resident_mb=max(server.resident_mb() for server in servers),
    )


def middle(rounds: Sequence[Measured]) -> Measured:
    """The median of each figure."""
    return Measured(*(median(getattr(one, field.name) for one in rounds) for field in fields(Measured)))


def _run(servers: Sequence[Server], requests: Requests, connections: int, seconds: int) -> list[str]:
    program = tool("wrk", "wrk")
    running = [
        subprocess.Popen(  # noqa: S603  our own arguments
            [
                *(program, "-t1", f"-c{connections // len(servers)}", f"-d{seconds}s", "--timeout", "10s"),
                *("-s", str(SCRIPT), server.url, "--", *requests.arguments()),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for server in servers
    ]
    return [process.communicate()[0] for process in running]


def _settle(servers: Sequence[Server]) -> None:
    for server in servers:
        server.settle()


def _result(said: str) -> dict[str, float]:
    line = next((line for line in said.splitlines() if line.startswith("{")), None)
    if line is None:
        raise RuntimeError(f"wrk did not finish:\n{said}")
    result: dict[str, float] = json.loads(line)
    if result["refused"] or result["broken"] or result["late"]:
        raise RuntimeError(f"Some answers were not as asked for: {line}")
    return result
