"""What the two contenders share: how they are served, which is how Qirsh is served, and what they are told."""

import argparse
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop

from qirsh.garbage import settle


@dataclass(frozen=True, slots=True)
class Told:
    """Where the database and the PSP are."""

    database_url: str
    psp_url: str
    tuned_alike: bool
    """With Qirsh's connections and garbage collection, instead of the driver's pool and Python's defaults."""


def main(make: Callable[[Told], Any]) -> None:
    """Serve an ASGI application on a free port: uvicorn, uvloop, httptools, no access log, one process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--psp-url", required=True)
    parser.add_argument("--tuned-alike", action="store_true")
    told = Told(**vars(parser.parse_args()))
    config = uvicorn.Config(
        make(told),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    uvloop.run(_Server(config, tuned_alike=told.tuned_alike).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Says where it answers, once it does."""

    def __init__(self, config: uvicorn.Config, *, tuned_alike: bool) -> None:
        """Serve by this configuration."""
        super().__init__(config)
        self._tuned_alike = tuned_alike

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self._tuned_alike:
            settle()
        if sockets:
            print(f"ready on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)  # noqa: T201  whoever started it reads
