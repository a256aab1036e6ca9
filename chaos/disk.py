"""A small disk for the data directory, which can be filled to the last byte. Only root may mount one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE_MB: Final = 1_200
"""A long run's database, its log and its check-points, with room to spare."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted disk of its own."""

    path: Path

    def fill(self) -> None:
        """Take every byte that is left, or very nearly."""
        with self._filler.open("ab") as filler:
            while left := self._left():
                try:
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, left)
                except OSError:
                    return  # somebody else took the last of it

    def empty(self) -> None:
        """Give it all back."""
        self._filler.unlink(missing_ok=True)

    def _left(self) -> int:
        free = os.statvfs(self.path)
        return free.f_bavail * free.f_frsize

    @property
    def _filler(self) -> Path:
        return self.path / "filler"


@contextmanager
def small_disk(path: Path, lacking: list[str]) -> Iterator[Disk | None]:
    """Mount a disk here; None, and a sentence in `lacking`, where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=755", "qirsh-chaos", str(path))
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:  # noqa: S603
        lacking.append("only root on Linux may mount a small disk: no disk is filled")
        yield None
        return
    try:
        yield Disk(path)
    finally:
        subprocess.run(("umount", "--lazy", str(path)), check=False)  # noqa: S603, S607  our own arguments
