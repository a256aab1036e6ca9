"""The run's own PostgreSQL, which can be stopped at once, as by a crash, and started again over the same files."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from qirsh.store.cluster import Cluster, EmbeddedPostgresError
from qirsh.store.embedded import EmbeddedPostgres

SETTINGS: Final = {
    "max_wal_size": "64MB",  # the disk that a run fills is small
    "min_wal_size": "32MB",
    "max_connections": "200",
}
START_TRIES: Final = 20
PAUSE_SECONDS: Final = 0.5


class Postgres:
    """A database server in a folder."""

    def __init__(self, folder: Path) -> None:
        """Its files go into the folder."""
        self._embedded = EmbeddedPostgres(folder, SETTINGS)
        self.url = ""
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it unless it runs, after a crash too: what was committed is there again.

        Raises:
            EmbeddedPostgresError: it does not start, although it was tried again and again.
        """
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)  # whoever is cancelled leaves no half of a start behind

    async def _start(self) -> None:
        for tried in range(START_TRIES):
            if self.url and self.runs():
                return
            try:
                await asyncio.to_thread(self._embedded.stop)  # what a crash left of our hold on it
                self.url = await asyncio.to_thread(self._embedded.start)
            except EmbeddedPostgresError:
                if tried == START_TRIES - 1:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    def runs(self) -> bool:
        """Whether its main process lives."""
        return bool(self._cluster.postmasters())

    async def crash(self) -> None:
        """Stop at once: no check-point, no goodbye to anybody; the next start recovers from its log."""
        for pid in self._cluster.postmasters():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        while self.runs():  # noqa: ASYNC110  another process, which signals nothing
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop it for good."""
        await asyncio.to_thread(self._embedded.stop)

    @property
    def _cluster(self) -> Cluster:
        return Cluster(self._embedded.cluster_dir)
