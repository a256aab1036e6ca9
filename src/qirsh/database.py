"""The database that every command needs: a configured one, or our own in the data directory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qirsh.settings import Settings
from qirsh.store.embedded import EmbeddedPostgres


@asynccontextmanager
async def database(settings: Settings, data_dir: Path) -> AsyncIterator[str]:
    """The database's URL: the configured one, or the embedded PostgreSQL in the data dir, started when needed."""
    if url := settings.database_url.get_secret_value():
        yield url
        return
    embedded = EmbeddedPostgres(data_dir)
    starting = asyncio.create_task(asyncio.to_thread(embedded.start))
    try:
        yield await asyncio.shield(starting)
    finally:
        await asyncio.wait({starting})  # a signal while it starts: what is half started must be stopped as well
        await asyncio.to_thread(embedded.stop)
