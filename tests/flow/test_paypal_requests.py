"""What our server sends to PayPal, recorded on the wire by a proxy and judged by PayPal's own OpenAPI file."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from world import QIRSH, Process, World, a_request, free_port, write_config

SHARED = Path(__file__).resolve().parents[3] / "shared" / "openapi" / "paypal" / "checkout_orders_v2.json"
HOP_BY_HOP = {"host", "content-length", "connection", "transfer-encoding", "content-encoding"}


@contextmanager
def recording(target: str) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str], bytes]]]]:
    """A proxy in front of the sandbox that keeps method, path, headers and body of every request."""
    calls: list[tuple[str, str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            calls.append((self.command, self.path, headers, body))
            passed = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
            answer = httpx.request(self.command, target + self.path, headers=passed, content=body, timeout=30)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in HOP_BY_HOP:
                    self.send_header(name, value)
            # The payer's link must lead where the API is, so the sandbox's own address is put in ours.
            content = answer.content.replace(target.encode(), f"http://{headers['host']}".encode())
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815  the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def judge(api: dict[str, Any], schema: str) -> jsonschema.Draft202012Validator:
    """PayPal's schema of a request body."""
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": api["components"]})


async def test_what_we_send_is_what_paypal_says_it_takes(world: World, scratch: Path) -> None:
    """A body built in a test proves less than one that was on the wire."""
    if not SHARED.is_file():
        pytest.skip("PayPal's OpenAPI file is not here: put the folder `shared` beside this checkout")
    api = json.loads(SHARED.read_text())
    port = free_port()
    with recording(world.sandbox) as (proxy, calls):
        config = write_config(
            scratch / f"{uuid.uuid4().hex}.toml",
            database_url=world.database_url,
            api=f"http://127.0.0.1:{port}",
            sandbox=world.sandbox,
            shop_url=world.shop.url,
            psps=world.psps,
            paypal={"base_url": proxy},
        )
        server = Process(QIRSH, "serve", "--port", str(port), environment={"QIRSH_CONFIG": str(config)})
        try:
            server.wait_ready()
            request = a_request(payment_method="paypal", currency="USD", product_amount="10.00", locale="ar")
            begun = await world.client.post(f"http://127.0.0.1:{port}/api/payments/initiate", json=request)
            draft_id = begun.json()["paymentDraftId"]
            await world.fault("webhook", "drop", psp="paypal", times=9)
            await world.act(draft_id, "pay")
            await world.client.get(f"http://127.0.0.1:{port}/api/payments/return/paypal/{draft_id}")
            await world.becomes(draft_id, "completed")
        finally:
            server.stop()

    (create,) = [call for call in calls if (call[0], call[1]) == ("POST", "/v2/checkout/orders")]
    (capture,) = [call for call in calls if call[0] == "POST" and call[1].endswith("/capture")]
    judge(api, "order_request").validate(json.loads(create[3]))
    judge(api, "order_capture_request").validate(json.loads(capture[3] or b"{}"))
    assert not judge(api, "order_request").is_valid({**json.loads(create[3]), "intent": "TAKE"}), "the judge judges"
    keys = [call[2]["paypal-request-id"] for call in (create, capture)]
    assert len(set(keys)) == 2
    assert all(1 <= len(key) <= 108 for key in keys)
    assert json.loads(create[3])["purchase_units"][0]["custom_id"] == draft_id
