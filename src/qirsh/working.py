"""`qirsh worker`: due work until a signal."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client import start_http_server

from qirsh.app import Services, refuse_fault_points, running
from qirsh.database import database
from qirsh.process import for_ever
from qirsh.settings import Settings
from qirsh.store.migrate import migrate


async def work(
    settings: Settings, data_dir: Path, metrics_port: int | None, ready: Callable[[int | None], None]
) -> None:
    """Do due work until a signal, and show its metrics to this machine where a port is named for them.

    Raises:
        OSError: that port is taken.
    """
    refuse_fault_points(settings)
    async with database(settings, data_dir) as url:
        await migrate(url)
        with measured(metrics_port) as bound:
            async with running(settings, url) as services, working(services):
                ready(bound)
                await for_ever()


@contextmanager
def measured(port: int | None) -> Iterator[int | None]:
    """Metrics in Prometheus' text format, on loopback alone: a worker has no operator key to ask for.

    Yields the port, which the system chooses when asked for port 0.

    Raises:
        OSError: the port is taken.
    """
    if port is None:
        yield None
        return
    server, thread = start_http_server(port, "127.0.0.1")
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """The worker, running from here on."""
    task = asyncio.create_task(services.worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
