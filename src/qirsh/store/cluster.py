"""The processes of one PostgreSQL cluster on this machine, and the account they run as."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

if sys.platform != "win32":  # the module must import there, so that `EmbeddedPostgres.start` can say what to do
    import pwd

OR_ELSE = "or set QIRSH_DATABASE_URL to a PostgreSQL of your own"
END_SECONDS = 15.0  # per signal; PostgreSQL kills its own children 5 s after SIGQUIT
POLL_SECONDS = 0.01
_COMMAND_SECONDS = 60.0  # initdb takes 0.4 s


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL, which refuses root: ourselves, or when we are root the account given here."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_cluster(cls, pg: Path) -> "Account":
        """Choose ourselves; as root the cluster's owner, so that sudo works on what was made without, or nobody."""
        if os.geteuid() != 0:
            return cls()
        if pg.exists() and pg.stat().st_uid != 0:
            return cls(pg.stat().st_uid, pg.stat().st_gid)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def options(self) -> dict[str, Any]:
        """How every process starts: as the account, with none of our environment (PG* surprises, secrets) or folder."""
        others: dict[str, Any] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        # Its own session: the terminal's Ctrl-C is ours to handle.
        return {"stdin": subprocess.DEVNULL, "cwd": "/", "env": environment, "start_new_session": True, **others}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end and keep what it says."""
        keep: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "timeout": _COMMAND_SECONDS}
        return subprocess.run(command, check=False, **keep, **self.options)  # noqa: S603 - our own arguments, no shell

    def reaches(self, *paths: Path) -> bool:
        """Ask the kernel, as that account, whether it can enter or execute these paths (modes alone miss ACLs)."""
        script = 'for path; do test -x "$path" || exit 1; done'  # initdb needs /bin/sh as well
        return self.uid is None or self.run("/bin/sh", "-c", script, "sh", *paths).returncode == 0

    def give(self, path: Path) -> None:
        """Make the account the owner of what we, as root, just made."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL data directory as the machine sees it now: its status file, and the processes that serve it.

    Processes are known by their command lines, which every user may read everywhere: `/proc/<pid>/cwd` of a server
    that runs as nobody is closed even to root in a default Docker container.
    """

    path: Path

    @property
    def name(self) -> str:
        """The cluster_name, which PostgreSQL writes into the titles of its child processes."""
        return f"qirsh-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}"

    def address(self) -> str | None:
        """Return host and port as a DSN's query, once the server of this directory says it is ready."""
        try:
            status = [line.strip() for line in (self.path / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return None
        pid, _, _, port, socket_dir, _, _, state = (*status, *[""] * 8)[:8]
        return f"host={quote(socket_dir)}&port={port}" if state == "ready" and self.postmasters(pid) else None

    def postmasters(self, pid: str = "") -> set[int]:
        """Find the postmaster (or ask whether this pid is it), also one that has written no status file yet."""
        signs = (f"/postgres -D {self.path} ", f" --cluster_name={self.name} ")  # macOS's ps may not spell the path
        return {number for number, command in processes(pid) if any(sign in command for sign in signs)}

    def children(self, pid: str = "") -> set[int]:
        """Find the postmaster's children, which outlive it when it is killed in the middle of their work."""
        return {number for number, command in processes(pid) if command.startswith(f"postgres: {self.name}: ")}

    def end(self, *signals: signal.Signals) -> None:
        """End every process of this cluster: the postmaster ends its children; without one they are ended here."""
        for number in signals:
            postmasters, children = self.postmasters(), self.children()
            for pid in postmasters | children if number is signal.SIGKILL else postmasters or children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + END_SECONDS
            while any(self.postmasters(str(pid)) or self.children(str(pid)) for pid in postmasters | children):
                if time.monotonic() > deadline:
                    break
                time.sleep(POLL_SECONDS)
        if left := self.postmasters() | self.children():
            raise EmbeddedPostgresError(f"PostgreSQL's processes {sorted(left)} do not end: kill them, {OR_ELSE}.")


def processes(pid: str = "") -> Iterator[tuple[int, str]]:
    """List all processes, or one, with their command lines joined by blanks; a zombie has none and counts as gone."""
    if Path("/proc/self/cmdline").exists():
        for process in [Path("/proc", pid)] if pid else Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                yield int(process.name), os.fsdecode((process / "cmdline").read_bytes()).replace("\0", " ")
    else:
        which = ("-p", pid) if pid else ("-ax",)
        for line in Account().run("/bin/ps", "-ww", *which, "-o", "pid=,command=").stdout.splitlines():
            number, _, command = line.strip().partition(" ")
            yield int(number), f"{command.strip()} "
