"""The processes of a run, what they cost, and what this machine is."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

START_SECONDS: Final = 60.0
END_SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 20.0
QUIET_SECONDS: Final = 0.25

_ADDRESS: Final = re.compile(r"ready on (?:http://)?(\S+)")


class MissingToolError(RuntimeError):
    """Something that this machine lacks; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A started server and where it answers."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_mb(self) -> float:
        """Memory it holds now, in megabytes of 1,000,000 bytes."""
        return float(self.process.memory_info().rss) / 1e6

    def settle(self) -> None:
        """Wait until it does nothing any more: requests whose client has gone are finished all the same."""
        end, used = time.monotonic() + SETTLE_SECONDS, self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            now = self.cpu_seconds()
            if now - used < QUIET_SECONDS / 10:
                return
            used = now


@contextmanager
def started(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that says `ready on <address>`; its log goes to a file, as it would in production."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603  our own commands
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**clean, **(environment or {})}
        )
    assert process.stdout is not None
    try:
        yield Server(f"http://{_address(process, command, log)}", psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def tool(name: str, package: str) -> str:
    """The path of a program.

    Raises:
        MissingToolError: it is not installed.
    """
    if path := shutil.which(name):
        return path
    raise MissingToolError(f"{name} is not installed. On Debian and Ubuntu: apt install {package}")


def described() -> str:
    """This machine in one line."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def python() -> str:
    """The interpreter of this project's environment."""
    return sys.executable


def command(name: str) -> str:
    """A console script of this project's environment."""
    return str(Path(sys.executable).with_name(name))


def _address(process: subprocess.Popen[str], command: list[str], log: Path) -> str:
    """Read until it says where it answers. A server that hangs is ended, which ends the reading."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if said := _ADDRESS.search(line):
                return said[1]
    finally:
        watchdog.cancel()
    raise RuntimeError(f"{' '.join(command)} did not start: see {log}\n{log.read_text()[-2000:]}")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
