"""The fake Stripe's events: the envelope of every webhook, kept to be read again. https://docs.stripe.com/api/events."""

import secrets
import string
from typing import Any, Final

import msgspec

from .deliveries import Sender
from .psp import World, folded
from .store import Table
from .stripe_calls import VERSION
from .stripe_money import step
from .stripe_records import Event

_SIGNS: Final = string.ascii_letters + string.digits


class Cause:
    """Which call of the merchant's an event comes of: its id and its Idempotency-Key, none for the payer's doing."""

    def __init__(self, request_id: str | None = None, key: str | None = None) -> None:
        self.shape = {"id": request_id, "idempotency_key": key}


NOBODY: Final = Cause()


class Events:
    """The events of one account, each owed to its one webhook endpoint."""

    def __init__(self, world: World, sender: Sender, *, livemode: bool) -> None:
        self._world = world
        self._sender = sender
        self._livemode = livemode
        self._events = Table(world.store, "stripe.event", Event)

    def owe(self, kind: str, shape: dict[str, Any], reference: str | None, cause: Cause) -> None:
        """Tell the merchant of something that is on disk in the same transaction."""
        now = self._world.clock.now()
        name = fresh_id("evt")
        body = {
            "id": name,
            "object": "event",
            "api_version": VERSION,
            "created": int(now),
            "data": {"object": shape},
            "livemode": self._livemode,
            "pending_webhooks": 1,
            "request": cause.shape,
            "type": kind,
        }
        self._events.put(Event(id=name, kind=kind, created_at=now, body=body), key=name)
        merchant = None if reference is None else folded(reference)
        self._world.deliveries.schedule(self._sender, merchant, msgspec.json.encode(body))

    def get(self, name: str) -> Event | None:
        """Return one event."""
        return self._events.get(name)

    def all(self) -> list[Event]:
        """Return every event, oldest first."""
        return self._events.all()


def fresh_id(prefix: str, length: int = 24) -> str:
    """Return an id of Stripe's kind."""
    return f"{prefix}_{''.join(secrets.choice(_SIGNS) for _ in range(length))}"


def with_wrong_amount(body: bytes) -> bytes:
    """Return an event that says the smallest amount more; one without an amount stays as it is."""
    event: dict[str, Any] = msgspec.json.decode(body)
    shape = event["data"]["object"]
    for name in ("amount_total", "amount"):
        if isinstance(shape.get(name), int):
            shape[name] += step(shape["currency"])
    return msgspec.json.encode(event)
