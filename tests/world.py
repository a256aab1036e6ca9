"""The whole system as real processes: PostgreSQL, the sandbox, the API and a worker, with a shop that listens."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import httpx
import tomli_w
from redis.asyncio import Redis

from qirsh_sandbox import credentials
from qirsh_sandbox.registry import PSPS

T = TypeVar("T")

QIRSH: Final = str(Path(sys.executable).with_name("qirsh"))
OPERATOR_KEY: Final = "test-operator-key"
FULFILMENT_SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
START_SECONDS: Final = 40.0
TLS: Final = httpx.create_ssl_context()
"""For all clients: reading the certificates of the world's authorities takes each 30 ms, and no test speaks TLS."""


class Process:
    """A command of ours, started and waited for until it says that it is ready."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, ready: str = "ready") -> None:
        """Start it; `wait_ready` returns once a line of its output holds the word."""
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._word = ready
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**clean, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if self._word in line:
                self._ready.set()
        self._ready.set()

    def wait_ready(self) -> None:
        """Wait until it is ready; its output is in the failure otherwise."""
        in_time = self._ready.wait(START_SECONDS)
        assert in_time, "\n".join(self.lines)
        assert any(self._word in line for line in self.lines), "\n".join(self.lines)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 20.0) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout_seconds)
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@dataclass
class Shop:
    """The shop's fulfilment endpoint: keeps what it was sent and answers as told."""

    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def of(self, draft_id: str) -> list[tuple[dict[str, str], bytes]]:
        """What was announced of one draft."""
        return [one for one in list(self.received) if json.loads(one[1])["data"]["paymentDraftId"] == draft_id]


@contextmanager
def shop_listening() -> Iterator[Shop]:
    """A shop on a free port."""
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = shop.status  # as it is until the test sees what came
            shop.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("content-length", "0")
            for name, value in shop.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    shop.url = f"http://127.0.0.1:{server.server_port}/fulfilments"
    try:
        yield shop
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class World:
    """Where everything is, and what a test does with it."""

    api: str
    sandbox: str
    database_url: str
    shop: Shop
    config: Path
    client: httpx.AsyncClient

    @property
    def psps(self) -> Path:
        """The folder of the sandbox's state."""
        return self.config.with_name("psps")

    async def initiate(self, client: httpx.AsyncClient | None = None, **fields: Any) -> httpx.Response:
        """Post an initiate; fields replace those of a valid card payment."""
        return await (client or self.client).post(f"{self.api}/api/payments/initiate", json=a_request(**fields))

    async def status(self, draft_id: str, **more: Any) -> httpx.Response:
        """Ask how a draft stands."""
        return await self.client.get(f"{self.api}/api/payments/status/{draft_id}", timeout=40, **more)

    async def state(self, draft_id: str) -> str:
        """A draft's state."""
        return str((await self.status(draft_id)).json()["status"])

    async def becomes(self, draft_id: str, state: str) -> dict[str, Any]:
        """Wait until a draft is in a state."""

        async def there() -> dict[str, Any] | None:
            body: dict[str, Any] = (await self.status(draft_id)).json()
            return body if body["status"] == state else None

        return await eventually(there, f"{draft_id} becomes {state}")

    async def ledger(self, draft_id: str) -> dict[str, Any] | None:
        """What the PSP's books say of a draft."""
        answer = await self.client.get(f"{self.sandbox}/__sandbox/ledger", params={"merchant_reference": draft_id})
        return next(iter(answer.json()), None)

    async def act(self, draft_id: str, act: str, **more: Any) -> None:
        """Do what a payer or the dashboard does."""
        body = {"merchant_reference": draft_id, "act": act, **more}
        answer = await self.client.post(f"{self.sandbox}/__sandbox/payer", json=body)
        assert answer.status_code == 200, answer.text

    async def fault(self, operation: str, kind: str, times: int = 1, **more: Any) -> None:
        """Let the PSP misbehave."""
        body = {"psp": "paymob", "operation": operation, "kind": kind, "times": times, **more}
        answer = await self.client.post(f"{self.sandbox}/__sandbox/faults", json=body)
        assert answer.status_code < 300, answer.text

    async def heal(self) -> None:
        """No more faults."""
        await self.client.delete(f"{self.sandbox}/__sandbox/faults")

    async def advance(self, seconds: float) -> None:
        """Move the clock of the PSPs forward, and wait until a living server has followed; workers do as soon."""
        answer = await self.client.post(f"{self.sandbox}/__sandbox/clock", json={"advance_seconds": seconds})
        assert answer.status_code < 300, answer.text
        offset = float(answer.json()["offset_seconds"])

        async def followed() -> bool:
            headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
            try:
                metrics = (await self.client.get(f"{self.api}/metrics", headers=headers)).text
            except httpx.TransportError:
                return True  # a server that was killed reads the clock when it starts
            found = re.search(r"(?m)^qirsh_clock_offset_seconds (\S+)$", metrics)
            return found is not None and float(found[1]) >= offset - 0.001

        await eventually(followed, "the server's clock to follow")

    async def deliveries(self, draft_id: str) -> list[dict[str, Any]]:
        """The webhooks the PSP recorded for a draft."""
        answer = await self.client.get(f"{self.sandbox}/__sandbox/deliveries", params={"merchant_reference": draft_id})
        found: list[dict[str, Any]] = answer.json()
        return found

    async def delivered(self, draft_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many webhooks of a draft were answered."""

        async def there() -> list[dict[str, Any]] | None:
            done = [one for one in await self.deliveries(draft_id) if one["answer"] is not None]
            return done if len(done) >= count else None

        return await eventually(there, f"{count} deliveries of {draft_id}")

    async def post_webhook(self, delivery: dict[str, Any], **more: Any) -> httpx.Response:
        """Post a recorded webhook as the PSP did; fields replace its body or address."""
        body = more.get("body", delivery["body"])
        content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        url = more.get("url", delivery["url"])
        return await self.client.post(url, content=content, headers={"content-type": "application/json"})

    async def payment(self, draft_id: str) -> dict[str, Any]:
        """What the operator sees of a draft, journal included."""
        headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
        answer = await self.client.get(f"{self.api}/api/payments/{draft_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    async def put_product(self, product_id: str, **fields: Any) -> None:
        """Write a product."""
        body = {"name": {"en": product_id}, "prices": {"EGP": "300.00"}, "purchasable": True, **fields}
        headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
        answer = await self.client.put(f"{self.api}/api/products/{product_id}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    async def fetchval(self, query: str, *values: object) -> Any:
        """Ask the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetchval(query, *values)
        finally:
            await connection.close()


@dataclass
class Cache:
    """A Redis of the test's own."""

    url: str
    process: Process
    client: Redis

    def send(self, number: signal.Signals) -> None:
        """Stop, go on, or die."""
        self.process.process.send_signal(number)


def a_request(**fields: Any) -> dict[str, Any]:
    """A valid initiate with a key of its own; a field given as None is left out."""
    body = {
        "product_id": "tshirt",
        "product_amount": "300.00",
        "payment_method": "card",
        "currency": "EGP",
        "idempotency_key": str(uuid.uuid4()),
        **fields,
    }
    return {name: value for name, value in body.items() if value is not None}


def a_wallet_request(**fields: Any) -> dict[str, Any]:
    """A valid Vodafone Cash initiate."""
    return a_request(**{"payment_method": "vodafone_cash", "payer": {"phone": "01010101010"}, **fields})


async def eventually(ask: Callable[[], Awaitable[T | None]], what: str, timeout_seconds: float = 20.0) -> T:
    """Ask again until the answer is something; fail after the timeout, saying what was waited for."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        if answer := await ask():
            return answer
        assert time.monotonic() < deadline, f"waited {timeout_seconds} s and never saw: {what}"
        await asyncio.sleep(0.05)


@dataclass
class Server:
    """One more `qirsh serve`."""

    api: str
    process: Process


@contextmanager
def serving(config: Path, *arguments: str, port: int = 0) -> Iterator[Server]:
    """One more server, with a configuration of its own, on a port that the system chooses unless told otherwise."""
    command = (QIRSH, "serve", "--port", str(port), *arguments)
    process = Process(*command, environment={"QIRSH_CONFIG": str(config)}, ready="ready on ")
    try:
        process.wait_ready()
        line = next(line for line in process.lines if "ready on " in line)
        yield Server(f"http://{line.rpartition(' ')[2]}", process)
    finally:
        process.stop()


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be this problem, in the form every problem has."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:qirsh:problem:{code}"), body
    assert body["retry"] in {"never", "same_key", "after_lookup"}, body
    assert body["detail"], body
    title = body["title"]
    assert title == title.strip(" .:"), title
    assert ":" not in title, title
    assert title.count("`") % 2 == 0, title
    return body


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(
    path: Path, *, database_url: str, api: str, sandbox: str, shop_url: str, psps: Path | None = None, **more: Any
) -> Path:
    """A configuration for servers that talk to the sandbox; `psps` is the folder of its state, for PayPal's trust file.

    A keyword called as a gateway changes keys of its section; None takes the section out. A gateway that is installed
    beside ours has a section only where a keyword asks for it, so that no other test depends on what is installed.
    Where there is Paymob, what both it and Fawry take is Paymob's alone unless `routes` says otherwise, so that its
    faults are seen as they are.
    """
    if more.get("paymob", {}) is not None:
        more.setdefault("routes", {"card": {"EGP": ["paymob"]}, "vodafone_cash": {"EGP": ["paymob"]}})
    config: dict[str, Any] = {
        "dev": True,
        "database_url": database_url,
        "public_url": api,
        "sandbox_url": sandbox,
        "shop_origins": [api, "https://shop.example"],
        "operator_key": OPERATOR_KEY,
        "fulfilment_url": shop_url,
        "fulfilment_secrets": [FULFILMENT_SECRET],
        # It asks about every payment there is, and so would take the faults that a test has armed for its own.
        "reconcile_daily": False,
    }
    for name, account in credentials(sandbox, psps or path.parent).items():
        changes = more.pop(name, {} if name in PSPS else None)
        if changes is not None and (name != "paypal" or psps is not None):
            config[name] = {**account, **changes}
    path.write_text(tomli_w.dumps({**config, **more}))
    return path


@contextmanager
def system(
    home: Path, database_url: str, *, told: bool = True, serves: bool = True, works: bool = True, **more: Any
) -> Iterator[World]:
    """The sandbox, a server and a worker, each a process, with a shop that listens. Its client is not to be used.

    Unless the sandbox is `told` where the server is, it calls only what each payment names. `more` is for the
    configuration, as in `write_config`.
    """
    home.mkdir(parents=True, exist_ok=True)
    api, sandbox = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Process:
            process = Process(QIRSH, *arguments, environment=environment)
            stack.callback(process.stop)
            return process

        shop = stack.enter_context(shop_listening())
        psps = home / "psps"
        addresses = (
            *("--webhooks", f"{api}/api/payments/webhook-handler"),
            *("--returns", f"{api}/api/payments/return"),
        )
        config = write_config(
            home / "qirsh.toml",
            database_url=database_url,
            api=api,
            sandbox=sandbox,
            shop_url=shop.url,
            psps=psps,
            **more,
        )
        psp = start(
            "sandbox", "--port", sandbox.rpartition(":")[2], "--data-dir", str(psps), *(addresses if told else ())
        )
        psp.wait_ready()
        processes = []
        if serves:
            processes.append(start("serve", "--port", api.rpartition(":")[2], QIRSH_CONFIG=str(config)))
        if works:
            processes.append(start("worker", QIRSH_CONFIG=str(config)))
        for process in processes:
            process.wait_ready()
        yield World(api, sandbox, database_url, shop, config, httpx.AsyncClient(verify=TLS))
