"""What `make chaos` is made of does what it says: trouble that troubles nobody would make every run look well."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.balancer import Balancer
from chaos.disk import small_disk
from chaos.process import CLOCKS
from qirsh.fault_points import Step
from world import free_port

ROOT = Path(__file__).parents[2]


def ran(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of this interpreter."""
    return subprocess.run(
        (sys.executable, "-c", code, *arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_order_kills_the_first_process_that_reaches_its_step_and_no_other(tmp_path: Path) -> None:
    """Two that die of one order are one kill more than the table says."""
    order = tmp_path / Step.CAPTURE_DUE
    reach = "import sys; from pathlib import Path; from chaos.process import die_if_ordered; "
    reach += "die_if_ordered(Path(sys.argv[1])); print('lives')"
    assert ran(reach, str(order)).stdout == "lives\n"
    order.touch()

    killed, spared = ran(reach, str(order)), ran(reach, str(order))

    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "")
    assert (spared.returncode, spared.stdout) == (0, "lives\n")


def test_a_clock_that_is_set_off_is_off_wherever_the_server_reads_it() -> None:
    """Whoever still read the machine's would be the only one who knows the time."""
    reads = "from datetime import *; from chaos.process import set_clock_off; set_clock_off(timedelta(seconds=240)); "
    reads += "import time, importlib; from qirsh.clock import Clock; machine = datetime.now(UTC); "
    reads += "times = [Clock().now(), datetime.fromtimestamp(time.time(), UTC)]; "
    reads += f"times += [importlib.import_module(name).datetime.now(UTC) for name in {CLOCKS}]; "
    reads += "print(*(round((one - machine).total_seconds()) for one in times))"

    said = ran(reads)

    assert said.stdout.split() == ["240"] * (2 + len(CLOCKS)), said.stderr


def test_no_other_module_reads_the_machines_clock() -> None:
    """The list that is set off is the list that the architecture allows."""
    listed = (ROOT / "tests" / "unit" / "test_architecture.py").read_text("utf-8")
    block = listed.partition("WALL_CLOCK = {")[2].partition("}")[0]
    allowed = {line.split('"')[1] for line in block.splitlines() if '"' in line}
    assert {name for name in allowed if name.startswith("qirsh.")} == set(CLOCKS)


async def test_the_balancer_passes_by_whoever_is_down() -> None:
    """A server that was killed must cost its own requests and nobody else's."""
    port, dead = free_port(), free_port()
    async with answering(b"one") as first, answering(b"two") as second:
        async with Balancer([first, dead, second]).listening(port):
            heard = [await asked(port) for _ in range(6)]
            assert set(heard) == {b"one", b"two"}
        async with Balancer([dead]).listening(port):
            assert await asked(port) == b""


def test_a_full_disk_takes_nothing_more_until_there_is_room(tmp_path: Path) -> None:
    """A disk with some room left would let PostgreSQL write on, and the run would say that all is well."""
    lacking: list[str] = []
    with small_disk(tmp_path / "data", lacking) as disk:
        if disk is None:
            pytest.skip(f"{lacking[0]}: what a full disk does is NOT TESTED here")
        disk.fill()
        with pytest.raises(OSError, match="No space") as refused:
            (disk.path / "more").write_bytes(bytes(100_000))
        assert refused.value.errno == errno.ENOSPC
        disk.empty()
        (disk.path / "more").write_bytes(bytes(100_000))
    assert not os.path.ismount(tmp_path / "data")


@asynccontextmanager
async def answering(word: bytes) -> AsyncIterator[int]:
    """A backend that says one word to whoever asks."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(word)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(port: int) -> bytes:
    """What somebody behind this port says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"who?\n")
        return await reader.read()
    finally:
        writer.close()
