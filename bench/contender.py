"""What the two contenders share: how they are served, which is how Qirsh is served, and what they are told."""

import argparse
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop


@dataclass(frozen=True, slots=True)
class Told:
    """Where the database and the PSP are."""

    database_url: str
    psp_url: str


def main(make: Callable[[Told], Any]) -> None:
    """Serve an ASGI application on a free port: uvicorn, uvloop, httptools, no access log, one process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--psp-url", required=True)
    read = parser.parse_args()
    config = uvicorn.Config(
        make(Told(read.database_url, read.psp_url)),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    uvloop.run(_Server(config).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Says where it answers, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if sockets:
            print(f"ready on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)  # noqa: T201  whoever started it reads
