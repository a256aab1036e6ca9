"""Faults: what goes wrong between the PSP and its callers, on demand, a counted number of times.

A fault is armed by the control plane and forgotten at a restart. Where it hits a call, the damage is honest: a reset is
a TCP RST, a hang is a socket that stays open, and a `…_after_accept` did its work, on disk, before the answer was lost.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, Literal

import msgspec
from aiohttp import web

Work = Callable[[web.Request, float], Awaitable[web.StreamResponse]]  # the number: seconds that it takes longer
CallKind = Literal[
    "reset",
    "reset_after_accept",
    "hang",
    "hang_after_accept",
    "error",
    "error_after_accept",
    "html",
    "slow",
    "rate_limit",
]
WebhookKind = Literal["drop", "duplicate", "delay", "reorder", "corrupt_signature", "wrong_amount"]
WEBHOOK_KINDS: Final = frozenset({"drop", "duplicate", "delay", "reorder", "corrupt_signature", "wrong_amount"})
MAX_COPIES: Final = 100  # a PSP that repeats itself, not one that floods
MAX_FAULTS: Final = 1000  # far more than a test arms; a loop that arms for ever is told so

_HANG_SECONDS: Final = 3600.0  # longer than every deadline a client may have
_SLOW_SECONDS: Final = 2.0  # slower than every answer of the real PSPs, within every deadline
_POLL_SECONDS: Final = 0.05  # how soon a hang notices that its client left
_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST instead of FIN
_HTML: Final = (  # what nginx answers in front of a PSP that is down: the client expected JSON
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One armed fault. It lets `skip` matching calls through, hits the next `times`, and is gone.

    `path` is a part of the call's path, to hit one call of an operation only; of a webhook, a part of its merchant
    reference. `status` is the answer of `error`.
    `seconds` is real time for `hang` and `slow`, and the sandbox's time for `delay`. `copies` is how often a webhook
    that is hit by `duplicate` is sent.
    """

    psp: str
    operation: Literal["token", "register", "capture", "lookup", "refund", "verify", "webhook"]
    kind: CallKind | WebhookKind
    times: int = 1
    seconds: float | None = None
    path: str = ""
    skip: int = 0
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    copies: int = 2


class Faults:
    """The armed faults, oldest first; the first that matches a call hits it."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._stopping = asyncio.Event()

    def arm(self, fault: Fault) -> None:
        """Arm one more fault.

        Raises:
            ValueError: it could never hit, or hit in a way that makes no sense.
        """
        if (fault.operation == "webhook") != (fault.kind in WEBHOOK_KINDS):
            raise ValueError(f"{fault.kind} is no fault of {fault.operation}")
        if fault.times < 1 or fault.skip < 0 or (fault.seconds is not None and not 0 <= fault.seconds <= 86_400):  # noqa: PLR2004 - a day
            raise ValueError("times must be at least 1, skip at least 0, seconds between 0 and 86400")
        if not HTTPStatus.BAD_REQUEST <= fault.status <= 599:  # noqa: PLR2004 - the last server error there can be
            raise ValueError("status must be between 400 and 599")
        if not 2 <= fault.copies <= MAX_COPIES:  # noqa: PLR2004 - one copy is no duplicate
            raise ValueError(f"copies must be between 2 and {MAX_COPIES}")
        if len(self._armed) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are armed already")
        self._armed.append(fault)

    def armed(self) -> Sequence[Fault]:
        """Return the faults still to hit."""
        return tuple(self._armed)

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def stop(self) -> None:
        """Let go of every call that hangs: the server is going down."""
        self._stopping.set()

    def take(self, psp: str, operation: str, path: str = "") -> Fault | None:
        """Return the fault that hits this call or webhook, counted down, or None."""
        for fault in self._armed:
            if fault.psp != psp or fault.operation != operation or fault.path not in path:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self._armed.remove(fault)
            return fault
        return None

    async def wait(self, request: web.Request, seconds: float) -> None:
        """Hold the call for some seconds, until its client leaves or the server stops."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline and not self._stopping.is_set():
            if request.transport is None or request.transport.is_closing():
                return
            await asyncio.sleep(min(_POLL_SECONDS, max(deadline - loop.time(), 0)))


async def disturb(faults: Faults, fault: Fault, request: web.Request, work: Work) -> web.StreamResponse:
    """Answer a call as its fault says. `work` is what the PSP would have done."""
    if fault.kind.endswith("_after_accept"):
        await work(request, 0.0)
    match fault.kind:
        case "reset" | "reset_after_accept":
            return reset(request)
        case "hang" | "hang_after_accept":
            await faults.wait(request, _HANG_SECONDS if fault.seconds is None else fault.seconds)
            return reset(request)
        case "slow":
            return await work(request, _SLOW_SECONDS if fault.seconds is None else fault.seconds)
        case "html":
            return web.Response(text=_HTML, status=HTTPStatus.BAD_GATEWAY, content_type="text/html")
        case "rate_limit":
            return _problem(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "1"})
        case _:
            return _problem(fault.status, {})


def reset(request: web.Request) -> web.Response:
    """Cut the connection with a TCP RST. The answer returned is never sent."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        transport.abort()
    return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _problem(status: int, headers: dict[str, str]) -> web.Response:
    return web.json_response({"detail": "The sandbox was told to fail here."}, status=status, headers=headers)
