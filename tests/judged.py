"""What judges share: a sandbox alone, in a process of its own, the webhooks it sends, and files that are not ours."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest

from world import QIRSH, Process

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
"""What PSPs have published and really sent. It is no part of the repository."""

NOT_SHARED: Final = "nothing judges here: put the folder `shared`, with the PSPs' own files, beside this checkout"
WAIT_SECONDS: Final = 20.0

needs_shared: Final = pytest.mark.skipif(not SHARED.is_dir(), reason=NOT_SHARED)


@cache
def shared_json(path: str) -> Any:
    """A file of the PSPs, parsed; the test skips, saying why, where there are none at all. It is not to be changed."""
    if not SHARED.is_dir():
        pytest.skip(NOT_SHARED)
    file = SHARED / path
    assert file.is_file(), f"shared/{path} is gone: what did it judge?"
    return json.loads(file.read_text("utf-8"))


class Told(NamedTuple):
    """A webhook as it arrived: what is signed are its bytes. The headers' names are in small letters."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The webhook's JSON."""
        body: dict[str, Any] = json.loads(self.raw)
        return body


@dataclass
class Receiver:
    """Where the sandbox's webhooks go."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, psp: str, holding: str) -> Told:
        """Wait for a webhook of this PSP that holds a text, which only one payment's has; each is taken once."""
        wanted = holding.encode()

        def found() -> Told | None:
            return next((one for one in self.told if one.path == f"/{psp}" and wanted in one.raw), None)

        with self.changed:
            arrived = self.changed.wait_for(lambda: found() is not None, WAIT_SECONDS)
            assert arrived, f"no webhook of {psp} holds {holding}; there are {self.told}"
            webhook = found()
            assert webhook is not None
            self.told.remove(webhook)
            return webhook


@dataclass
class Judged:
    """A running sandbox, and what a test does with it that no client of a PSP can."""

    url: str
    receiver: Receiver

    def act(self, reference: str, act: str, **more: Any) -> None:
        """Do what a payer, the dashboard or the bank does."""
        body = {"merchant_reference": reference, "act": act, **more}
        answer = httpx.post(f"{self.url}/__sandbox/payer", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text

    def fault(self, psp: str, operation: str, kind: str, path: str) -> None:
        """Let the PSP misbehave once, in a call to this path or in a webhook of this reference."""
        body = {"psp": psp, "operation": operation, "kind": kind, "path": path}
        answer = httpx.post(f"{self.url}/__sandbox/faults", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text


@contextmanager
def judged(folder: Path) -> Iterator[Judged]:
    """A sandbox in a process of its own, which tells its webhooks to this one."""
    with _receiving() as receiver:
        addresses = ("--webhooks", receiver.url, "--returns", "https://shop.example/return")
        arguments = ("sandbox", "--port", "0", "--data-dir", str(folder), *addresses)
        process = Process(QIRSH, *arguments, ready="sandbox ready on ")
        try:
            process.wait_ready()
            line = next(line for line in process.lines if "sandbox ready on " in line)
            yield Judged(line.rpartition(" ")[2], receiver)
        finally:
            process.stop()


@contextmanager
def _receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.changed:
                receiver.told.append(Told(self.path.partition("?")[0], headers, raw))
                receiver.changed.notify_all()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
