"""`qirsh dev` on a developer's machine: it starts, it stops, it is killed, and it finds yesterday's payments."""

import asyncio
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil
import pytest

import qirsh
import qirsh_textpay
from qirsh.store.embedded import EmbeddedPostgres
from qirsh.store.migrate import migrations
from world import QIRSH, TLS, Process, Shop, World, eventually, free_port

AS_ROOT: Final = os.geteuid() == 0
READY: Final = "is ready"
README: Final = Path(__file__).parents[2] / "README.md"
SECONDS: Final = 30.0
# Becomes the command, in a session and process group of its own as under a terminal, and as another user when asked.
LAUNCH: Final = """
import os, sys
os.setsid()
if sys.argv[1]:
    user = int(sys.argv[1])
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(user)
os.execve(sys.argv[3], sys.argv[3:], os.environ)
"""


@dataclass
class Home:
    """A data directory with ports of its own, and every process that was ever seen to belong to it."""

    data_dir: Path
    port: int = field(default_factory=free_port)
    sandbox_port: int = field(default_factory=free_port)
    command: tuple[str, ...] = (QIRSH,)
    environment: dict[str, str] = field(default_factory=dict)
    user: tuple[str, str] = ("", "")
    started: list[Process] = field(default_factory=list)
    seen: set[Any] = field(default_factory=set)

    @property
    def config(self) -> Path:
        """What `qirsh dev` writes for the other commands."""
        return self.data_dir / "qirsh.toml"

    def begin(self, *, port: int | None = None, sandbox_port: int | None = None) -> Process:
        """Start `qirsh dev` and do not wait."""
        ports = ("--port", str(port or self.port), "--sandbox-port", str(sandbox_port or self.sandbox_port))
        return self.run("dev", *ports, ready=READY)

    def run(self, *arguments: str, ready: str = "ready") -> Process:
        """Start a command of ours on this data directory."""
        launch = (sys.executable, "-c", LAUNCH, *self.user)
        command = (*self.command, *arguments, "--data-dir", str(self.data_dir))
        process = Process(*launch, *command, environment=self.environment, ready=ready)
        self.started.append(process)
        return process

    def start(self) -> Process:
        """Start `qirsh dev` and wait until it is ready."""
        process = self.begin()
        process.wait_ready()
        return process

    def processes(self) -> set[Any]:
        """What runs from here: named by its command line, by the folder it works in, or a child of such a one."""
        places = {str(self.data_dir), str(EmbeddedPostgres(self.data_dir).cluster_dir)}
        found = set()
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            told = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
            if process.info["status"] != psutil.STATUS_ZOMBIE and any(place in one for place in places for one in told):
                found.add(process)
                found.update(children_of(process))
        self.seen |= found
        return found

    def left(self) -> list[str]:
        """What still runs of everything that ever belonged here."""
        return [str(process) for process in self.processes() | self.seen if is_alive(process)]

    def kill_what_is_left(self) -> None:
        """Leave the machine as it was, whatever failed."""
        for process in self.started:
            process.stop(signal.SIGKILL)
        for process in self.processes() | self.seen:
            if is_alive(process):
                process.kill()


@pytest.fixture
def home(scratch: Path) -> Iterator[Home]:
    """A new home. It is under a folder that PostgreSQL's own user can enter, as a developer's checkout mostly is."""
    made = Home(scratch / f"dev-{uuid.uuid4().hex[:8]}")
    yield made
    made.kill_what_is_left()


def test_the_first_start_says_where_everything_is_and_a_card_payment_is_delivered(home: Home) -> None:
    """The promise of the README's two commands: a payment within a minute, nothing installed, nothing configured."""
    dev = home.start()
    until(lambda: any("Ctrl-C" in line for line in dev.lines), "its last line")
    said = "\n".join(dev.lines)
    for address in (f"http://127.0.0.1:{home.port}/", f"http://127.0.0.1:{home.sandbox_port}", str(home.config)):
        assert address in said
    running = home.processes()
    assert any("postgres" in " ".join(command_line(process)) for process in running), running

    draft_id = asyncio.run(pay(home))

    assert asyncio.run(is_delivered(home, draft_id))
    assert asyncio.run(get(f"http://127.0.0.1:{home.port}/")).status_code == 200
    assert dev.stop(signal.SIGINT) == 0
    assert home.left() == []
    assert "Traceback" not in "\n".join(dev.lines)


def test_it_writes_a_configuration_that_only_its_owner_reads_and_other_commands_use(home: Home) -> None:
    """Secrets stand in it in clear. The other commands find the database and the keys by --data-dir alone."""
    dev = home.start()
    draft_id = asyncio.run(pay(home))
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o600
    assert tomllib.loads(home.config.read_text())["paymob"]["base_url"] == f"http://127.0.0.1:{home.sandbox_port}"

    server = home.run("serve", "--port", "0", ready="ready on")
    server.wait_ready()
    address = next(match[1] for line in server.lines if (match := re.search(r"ready on (\S+)", line)))
    answer = asyncio.run(get(f"http://{address}/api/payments/status/{draft_id}"))
    assert answer.json()["status"] == "completed"
    assert server.stop() == 0
    assert finished(home, "migrate") == (0, "nothing to do")

    # The second process attached: neither it nor its end took the database away.
    asyncio.run(pay(home))
    assert dev.stop(signal.SIGINT) == 0
    assert finished(home, "migrate") == (0, "nothing to do")
    assert home.left() == []


def test_migrate_alone_makes_the_database_that_dev_finds(home: Home) -> None:
    """The order in which a person tries the commands is theirs."""
    code, said = finished(home, "migrate")
    assert (code, said.splitlines()) == (0, [f"applied {migration.name}" for migration in migrations()])
    assert home.left() == []

    dev = home.start()
    asyncio.run(pay(home))
    assert dev.stop(signal.SIGINT) == 0
    assert home.left() == []


@pytest.mark.parametrize("how", ["ctrl_c", "impatient_ctrl_c_in_a_terminal", "sigterm", "kill_9"])
def test_yesterdays_payment_is_there_after_any_end(home: Home, how: str) -> None:
    """A start that loses payments, or an end that leaves a server behind, is found out the next morning."""
    dev = home.start()
    draft_id = asyncio.run(pay(home))
    waiting = asyncio.run(initiate(home))
    home.processes()  # so that what outlives its parent is still known by its id

    if how == "impatient_ctrl_c_in_a_terminal":
        for _ in range(3):
            os.killpg(dev.process.pid, signal.SIGINT)
        code = dev.process.wait(SECONDS)
    else:
        code = dev.stop({"ctrl_c": signal.SIGINT, "sigterm": signal.SIGTERM, "kill_9": signal.SIGKILL}[how])
    if how != "kill_9":
        assert code == 0
        assert home.left() == []
        assert "Traceback" not in "\n".join(dev.lines)

    again = home.start()
    assert asyncio.run(status(home, draft_id)) == "completed"
    assert asyncio.run(status(home, waiting)) == "awaiting_user_action"
    asyncio.run(finish(home, waiting))
    assert again.stop(signal.SIGINT) == 0
    assert home.left() == []


@pytest.mark.parametrize("landmark", ["pg.new", "pg/postmaster.pid", "qirsh.toml"])
def test_kill_9_at_any_moment_of_the_first_start_is_mended_by_the_next(home: Home, landmark: str) -> None:
    """A laptop's battery ends at any moment; a data directory that never starts again would be a lost shop."""
    dev = home.begin()
    until((home.data_dir / landmark).exists, f"{landmark} appears")
    home.processes()
    dev.stop(signal.SIGKILL)

    again = home.start()
    asyncio.run(pay(home))
    assert again.stop(signal.SIGINT) == 0
    assert home.left() == []


@pytest.mark.parametrize("landmark", ["pg.new", "sandbox.sqlite3"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_a_signal_before_it_is_ready_stops_all_of_it_too(home: Home, number: signal.Signals, landmark: str) -> None:
    """Whoever notices a wrong port in the first second presses Ctrl-C at once; a supervisor sends SIGTERM."""
    dev = home.begin()
    until((home.data_dir / landmark).exists, f"{landmark} appears")
    home.processes()
    dev.stop(number)

    assert home.left() == []
    assert "Traceback" not in "\n".join(dev.lines)


@pytest.mark.parametrize("which", ["api", "sandbox"])
def test_a_port_already_taken_is_named_in_a_sentence_and_nothing_is_left(home: Home, which: str) -> None:
    """8000 is the most taken port of all; the number is what a developer needs to hear."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        dev = home.begin(port=taken) if which == "api" else home.begin(sandbox_port=taken)
        code = dev.process.wait(SECONDS)
        dev.stop()
    said = "\n".join(dev.lines)

    assert home.left() == []
    assert code == 1, said
    assert str(taken) in said
    assert "Traceback" not in said


def test_a_second_dev_on_the_same_data_directory_is_refused_and_the_first_goes_on(home: Home) -> None:
    """Two terminals: the second must say that the first runs, and must not touch its configuration."""
    first = home.start()
    before = home.config.read_text()

    second = home.begin(port=free_port(), sandbox_port=free_port())
    code = second.process.wait(SECONDS)
    second.stop()
    said = "\n".join(second.lines)

    assert home.config.read_text() == before
    asyncio.run(pay(home))
    assert first.stop(signal.SIGINT) == 0
    assert home.left() == []
    assert code == 1, said
    assert "Traceback" not in said
    assert str(home.data_dir) in said


def test_the_developers_own_psp_key_is_kept_and_the_sandbox_uses_it(home: Home) -> None:
    """Some keys of the developer's and the rest the sandbox's: both sides must still sign and verify with the same."""
    home.environment = {
        "QIRSH_PAYMOB__HMAC_SECRET": "a developer's own secret",
        "QIRSH_PAYMOB__API_KEY": "a developer's own key",
        "QIRSH_PAYMOB__CARD_INTEGRATION_ID": "77",
    }
    dev = home.start()
    written = tomllib.loads(home.config.read_text())["paymob"]
    assert (written["hmac_secret"], written["api_key"]) == ("a developer's own secret", "a developer's own key")
    assert written["card_integration_id"] == 77
    assert written["iframe_id"] > 0
    asyncio.run(pay(home))
    assert dev.stop(signal.SIGINT) == 0
    assert "developer's own" not in "\n".join(dev.lines)


def test_another_day_may_use_other_ports(home: Home) -> None:
    """The file in the data directory is written by each start, so yesterday's ports do not come back."""
    dev = home.start()
    draft_id = asyncio.run(pay(home))
    key = tomllib.loads(home.config.read_text())["operator_key"]
    assert dev.stop(signal.SIGINT) == 0

    home.port, home.sandbox_port = free_port(), free_port()
    again = home.start()
    written = tomllib.loads(home.config.read_text())
    assert written["public_url"] == f"http://127.0.0.1:{home.port}"
    assert written["operator_key"] == key
    assert asyncio.run(status(home, draft_id)) == "completed"
    asyncio.run(pay(home))
    assert again.stop(signal.SIGINT) == 0


@pytest.mark.skipif(not AS_ROOT, reason="not root: every other test here runs as an ordinary user already")
def test_an_ordinary_user_gets_the_same(home: Home, scratch: Path) -> None:
    """Tests in containers run as root, people do not: PostgreSQL takes another path for each."""
    nobody = pwd.getpwnam("nobody")
    home.user = (str(nobody.pw_uid), str(nobody.pw_gid))
    home.command, home.environment = command_for(nobody, scratch)
    home.data_dir = home.data_dir / "data"
    home.data_dir.parent.mkdir(mode=0o700)
    os.chown(home.data_dir.parent, nobody.pw_uid, nobody.pw_gid)
    home.environment["HOME"] = str(home.data_dir.parent)

    dev = home.start()
    draft_id = asyncio.run(pay(home))
    assert {process.username() for process in home.processes()} == {"nobody"}
    dev.stop(signal.SIGKILL)

    again = home.start()
    assert asyncio.run(status(home, draft_id)) == "completed"
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o600
    os.killpg(again.process.pid, signal.SIGINT)
    assert again.process.wait(SECONDS) == 0
    assert home.left() == []


def command_for(user: pwd.struct_passwd, scratch: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command as that user can run it; where root's Python is closed to others, under a copy of that Python."""
    for copied in (False, True):
        command, environment = command_under_a_copy(scratch) if copied else ((QIRSH,), {})
        try:
            tried = subprocess.run(
                (*command, "--help"),
                check=False,
                capture_output=True,
                cwd="/",
                env={"PATH": os.defpath, **environment},
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
            )
        except PermissionError:
            continue
        if tried.returncode == 0:
            return command, environment
    pytest.skip("NOT TESTED: an ordinary user cannot read this virtual environment or the sources")


def command_under_a_copy(scratch: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The checkout's code under a copy of the interpreter and its standard library, made where everybody can read."""
    home, stdlib = scratch / "python", Path(sysconfig.get_path("stdlib"))
    if not home.exists():
        ignored = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "lib2to3", "config-*")
        shutil.copytree(stdlib, home / "lib" / stdlib.name, ignore=ignored, symlinks=True)
        for library in stdlib.parent.glob("libpython*"):
            shutil.copy(library, home / "lib")
        (home / "bin").mkdir()
        shutil.copy(Path(sys.executable).resolve(), home / "bin" / stdlib.name)
    modules = (qirsh, qirsh_textpay, asyncpg)  # the two that stand in the checkout, and one of all the others
    folders = [str(Path(module.__file__).parents[1]) for module in modules if module.__file__]
    environment = {
        "PYTHONHOME": str(home),
        "PYTHONPATH": os.pathsep.join(folders),
        "LD_LIBRARY_PATH": str(home / "lib"),
    }
    return (str(home / "bin" / stdlib.name), "-c", "from qirsh.cli import main; main()"), environment


def finished(home: Home, *arguments: str) -> tuple[int, str]:
    """Run a command to its end: its code and what it said."""
    process = home.run(*arguments)
    code = process.process.wait(SECONDS)
    process.stop()
    return code, "\n".join(process.lines)


def children_of(process: Any) -> list[Any]:
    """A process's children and theirs; none when it ended meanwhile."""
    try:
        found: list[Any] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def command_line(process: Any) -> list[str]:
    """What a process was started with; nothing once it has ended."""
    try:
        found: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return found


def is_alive(process: Any) -> bool:
    """Whether this very process, not another that got its id, still runs."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what must happen, up to a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS} s and never saw: {what}"
        time.sleep(0.002)


def world_of(home: Home, client: httpx.AsyncClient) -> World:
    """The words of the other flow tests, spoken to this home."""
    api, sandbox = f"http://127.0.0.1:{home.port}", f"http://127.0.0.1:{home.sandbox_port}"
    return World(api, sandbox, "", Shop(), home.config, client)


async def initiate(home: Home) -> str:
    """Begin a payment by card, as the README does, under a key of its own."""
    found = re.search(r"api/payments/initiate .*? -d '(\{.*?\})'", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    body = {**json.loads(found[1]), "idempotency_key": str(uuid.uuid4())}
    async with httpx.AsyncClient(verify=TLS, timeout=SECONDS) as client:
        answer = await client.post(f"http://127.0.0.1:{home.port}/api/payments/initiate", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["paymentDraftId"])


async def finish(home: Home, draft_id: str) -> None:
    """Pay what was begun, and wait until it is completed."""
    async with httpx.AsyncClient(verify=TLS, timeout=SECONDS) as client:
        world = world_of(home, client)
        await world.act(draft_id, "pay")
        await world.becomes(draft_id, "completed")


async def pay(home: Home) -> str:
    """Pay by card, and wait until it is completed."""
    draft_id = await initiate(home)
    await finish(home, draft_id)
    return draft_id


async def status(home: Home, draft_id: str) -> str:
    """How a payment stands."""
    async with httpx.AsyncClient(verify=TLS, timeout=SECONDS) as client:
        return await world_of(home, client).state(draft_id)


async def is_delivered(home: Home, draft_id: str) -> bool:
    """Wait until the demo shop has delivered."""
    async with httpx.AsyncClient(verify=TLS, timeout=SECONDS) as client:

        async def delivered() -> bool:
            answer = await client.get(f"http://127.0.0.1:{home.port}/demo/orders/{draft_id}")
            return bool(answer.json()["delivered"])

        return bool(await eventually(delivered, "the demo shop delivers"))


async def get(url: str) -> httpx.Response:
    """Ask once."""
    async with httpx.AsyncClient(verify=TLS, timeout=SECONDS) as client:
        return await client.get(url)
