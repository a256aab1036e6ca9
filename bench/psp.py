"""A PSP that costs next to nothing: just enough of Paymob's Intention API that a server can register drafts.

The sandbox keeps books, signs and writes to disk, and would be the slowest part of a run. This one answers each
request from a template, at once or after a delay, in a process of its own.
"""

import argparse
import asyncio
import re
from typing import Final, cast

import uvloop

_LENGTH: Final = re.compile(rb"\r\nContent-Length: *([0-9]+)", re.IGNORECASE)
_DELAY: Final = re.compile(rb"\A[A-Z]+ /__delay\?milliseconds=([0-9]+) ")

TOKEN: Final = b'{"token":"token-of-the-bench","profile":{"user":{"id":302852}}}'
OWNER: Final = 302852
INTEGRATION: Final = 4097558
FIRST_ORDER: Final = 1_000_000_000
"""Orders that were registered; those of prepared drafts are smaller."""

_delay_seconds = 0.0
_orders = FIRST_ORDER


class Psp(asyncio.Protocol):
    """One connection. Requests come one after the other, as HTTP clients that do not pipeline send them."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once the whole request is there."""
        self._read += data
        head, ended, body = self._read.partition(b"\r\n\r\n")
        if not ended:
            return
        length = _LENGTH.search(head)
        if length and len(body) < int(length[1]):
            return
        self._read = b""
        answer, registers = _answer(head)
        if registers and _delay_seconds:
            asyncio.get_running_loop().call_later(_delay_seconds, self._send, answer)
        else:
            self._send(answer)

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )


def _answer(head: bytes) -> tuple[bytes, bool]:
    """The answer's body, and whether the request registered something."""
    global _delay_seconds, _orders  # noqa: PLW0603  the whole process is one PSP
    if head.startswith(b"POST /v1/intention/"):
        _orders += 1
        secret = b"egy_csk_test_%032d" % _orders
        return b'{"intention_order_id":%d,"client_secret":"%s","payment_keys":[]}' % (_orders, secret), True
    if delay := _DELAY.match(head):
        _delay_seconds = int(delay[1]) / 1000
    return TOKEN, False


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Psp, "127.0.0.1", port, backlog=4096)
    print(f"ready on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201  whoever started it reads
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(_serve(parser.parse_args().port))
