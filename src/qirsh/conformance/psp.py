"""The simulator's control plane as the checks use it: its ledger judges, its payer acts, its faults disturb."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from qirsh.conformance.wire import Message, ask, response
from qirsh.gateways.base import Delivery

SETTLE_SECONDS: Final = 10.0
"""How long webhooks may take over loopback before the kit calls the simulator stuck."""
_POLL_SECONDS: Final = 0.004
_ENDED: Final = frozenset({"delivered", "given_up", "dropped", "unsent"})

LedgerRow = Mapping[str, Any]


class CannotActError(Exception):
    """The payer cannot do that with this reference now: the simulator answered 409."""


class Inbox:
    """Where the simulator's webhooks arrive: every one is answered 200 and kept."""

    def __init__(self) -> None:
        """Begin empty."""
        self.received: list[Delivery] = []

    def take(self, request: Message) -> bytes:
        """Keep one, as the server's webhook address would read it."""
        query = dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))
        self.received.append(Delivery(request.body, request.headers, query))
        return response(200, b"{}")


class Psp:
    """One PSP of a simulator. Every method is a call of its control plane."""

    def __init__(self, name: str, origin: str, inbox: Inbox) -> None:
        """Steer the PSP of this name in the simulator at `origin`, whose webhooks arrive in `inbox`."""
        self._name = name
        self._origin = origin
        self._inbox = inbox
        self._armed = 0

    async def ledger(self, reference: object) -> LedgerRow | None:
        """What really happened under our merchant reference; None when the PSP never heard of it."""
        query = urlencode({"merchant_reference": str(reference)})
        rows: list[LedgerRow] = await self._call("GET", f"/__sandbox/ledger?{query}")
        return next((row for row in rows if row["psp"] == self._name), None)

    async def act(self, reference: object, act: str, amount_minor: int | None = None) -> None:
        """Do what a payer, or the merchant in the PSP's dashboard, does.

        Raises:
            CannotActError: this PSP knows no such act, or not in the reference's present state.
            AssertionError: it has nothing under that reference.
        """
        body = {"merchant_reference": str(reference), "act": act, "psp": self._name, "amount_minor": amount_minor}
        status, answer = await ask("POST", f"{self._origin}/__sandbox/payer", body)
        if status == HTTPStatus.NOT_FOUND:
            raise AssertionError(
                "the PSP has nothing under the draft's id: register under str(draft.id), with this merchant's own keys"
            )
        _read(status, answer, "/__sandbox/payer")

    async def fault(self, operation: str, kind: str, *, times: int = 1, skip: int = 0, **more: object) -> None:
        """Let the PSP misbehave: `skip` calls of the operation pass, the next `times` are hit."""
        fault = {"psp": self._name, "operation": operation, "kind": kind, "times": times, "skip": skip, **more}
        await self._call("POST", "/__sandbox/faults", fault)
        self._armed += times

    async def heal(self) -> bool:
        """No more faults. Whether one of them has hit a call."""
        left: list[dict[str, Any]] = await self._call("GET", "/__sandbox/faults")
        await self._call("DELETE", "/__sandbox/faults")
        hit = sum(int(one["times"]) for one in left) < self._armed
        self._armed = 0
        return hit

    async def advance(self, seconds: float) -> None:
        """Move the PSPs' clock forward."""
        await self._call("POST", "/__sandbox/clock", {"advance_seconds": seconds})

    async def send(self, body: str) -> Delivery:
        """Let the PSP send a webhook in the kit's words, signed as its own; return it as it arrived."""
        before = len(self._inbox.received)
        await self._call("POST", "/__sandbox/deliveries", {"psp": self._name, "body": body})
        await self._until(lambda: len(self._inbox.received) > before)
        return self._inbox.received[before]

    async def resend(self, reference: object) -> None:
        """Let the PSP send every webhook of a reference once more."""
        for row in await self._rows(reference):
            await self._call("POST", f"/__sandbox/deliveries/{row['n']}/resend")

    async def deliveries(self, reference: object) -> Sequence[Delivery]:
        """Every webhook of a reference that arrived, in the order in which the PSP owed them.

        Raises:
            AssertionError: one is still on its way after ten seconds.
        """
        rows = await self._rows(reference)
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all(row["state"] in _ENDED for row in rows):
                await asyncio.sleep(_POLL_SECONDS)
                rows = await self._rows(reference)
        arrived = list(self._inbox.received)
        found = []
        for row in rows:
            one = next((each for each in arrived if each.body == row["body"].encode()), None)
            if one is not None:
                arrived.remove(one)
                found.append(one)
        return found

    async def _rows(self, reference: object) -> list[dict[str, Any]]:
        query = urlencode({"merchant_reference": str(reference)})
        rows: list[dict[str, Any]] = await self._call("GET", f"/__sandbox/deliveries?{query}")
        return [row for row in rows if row["psp"] == self._name]

    async def _until(self, arrived: Any) -> None:  # noqa: ANN401  a condition
        async with asyncio.timeout(SETTLE_SECONDS):
            while not arrived():  # noqa: ASYNC110  the condition is another server's doing; it has no event
                await asyncio.sleep(_POLL_SECONDS)

    async def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  parsed JSON
        return _read(*await ask(method, self._origin + path, body), path)


def _read(status: int, answer: bytes, path: str) -> Any:  # noqa: ANN401  parsed JSON
    if status == HTTPStatus.CONFLICT:
        raise CannotActError(json.loads(answer)["detail"])
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise AssertionError(f"the simulator answered {status} to {path}: {answer[:200].decode()}")
    return json.loads(answer)
