"""The schedule of webhooks: on disk before the PSP answers, so that one that is owed is sent after a crash too."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .clock import Clock, utc_iso
from .faults import Faults
from .store import Store

# Seconds from one attempt to the next, by the PSPs' clock. No PSP here publishes its own; these are quick enough to
# watch at first and reach past an outage of an hour. Advancing the clock brings the next attempt.
RETRY_SECONDS: Final = (2.0, 10.0, 60.0, 600.0, 3600.0)

_DELAY_SECONDS: Final = 30.0  # a delay without a length
_HELD_SECONDS: Final = 60.0  # a reordered webhook that no other one overtakes goes out after a minute all the same

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS deliveries (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  psp TEXT NOT NULL,
  merchant_reference TEXT,
  url TEXT NOT NULL,
  headers TEXT NOT NULL,
  body BLOB NOT NULL,
  corrupt INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'held', 'sending', 'delivered', 'given_up', 'dropped', 'unsent')),
  attempts INTEGER NOT NULL DEFAULT 0,
  answer TEXT NOT NULL DEFAULT 'null',
  created_at REAL NOT NULL,
  due_at REAL NOT NULL
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE state IN ('waiting', 'held')"
_COLUMNS: Final = "n, psp, merchant_reference, url, headers, body, corrupt, state, attempts, answer, created_at, due_at"


class Sealed(NamedTuple):
    """A signed webhook's address and headers. An empty address: there is nobody to send it to.

    `body` is the signed one of a PSP whose signature stands in the body; None leaves it as it is.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Sender(Protocol):
    """The side of a PSP that signs webhooks. Each attempt is signed anew, as PSPs that sign a timestamp do."""

    @property
    def name(self) -> str:
        """The PSP's name."""
        ...

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign a webhook; `corrupt` makes the signature a wrong one."""
        ...

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the body with another amount in it."""
        ...


class DeliveryRow(NamedTuple):
    """One webhook as it is stored."""

    n: int
    psp: str
    merchant_reference: str | None
    url: str
    headers: str
    body: bytes
    corrupt: bool
    state: str
    attempts: int
    answer: str
    created_at: float
    due_at: float


class Deliveries:
    """Every webhook there was, and the ones still owed."""

    def __init__(self, store: Store, clock: Clock, faults: Faults) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._on_change: Callable[[], None] = lambda: None
        store.execute(_SCHEMA)
        store.execute(_INDEX)
        # Cut off in the middle of an attempt: nobody knows whether it arrived, so it is owed again.
        store.execute("UPDATE deliveries SET state = 'waiting' WHERE state = 'sending'")

    def on_change(self, listener: Callable[[], None]) -> None:
        """Set who is told that something may be due."""
        self._on_change = listener

    def look_again(self) -> None:
        """Say that something may have become due: the clock was moved."""
        self._on_change()

    def schedule(self, sender: Sender, merchant_reference: str | None, body: bytes) -> None:
        """Owe a webhook from now on, in the shape that the armed faults give it."""
        fault = self._faults.take(sender.name, "webhook", merchant_reference or "")
        kind = fault.kind if fault else None
        state, due_at = "waiting", self._clock.now()
        match kind:
            case "drop":
                state = "dropped"
            case "delay":
                due_at += _DELAY_SECONDS if fault is None or fault.seconds is None else fault.seconds
            case "reorder":
                state, due_at = "held", due_at + _HELD_SECONDS
            case "wrong_amount":
                body = sender.wrong_amount(body)
        corrupt = kind == "corrupt_signature"
        sealed = sender.seal(body, corrupt=corrupt)
        if not sealed.url:
            state = "unsent"
        body = sealed.body or body
        for _ in range(fault.copies if fault and kind == "duplicate" else 1):
            self._insert(sender.name, merchant_reference, sealed, body, corrupt, state, due_at)
        self._on_change()

    def resend(self, n: int) -> int | None:
        """Owe the same webhook once more, as from a dashboard; return its number, or None when there is none such."""
        row = self.row(n)
        if row is None:
            return None
        sealed = Sealed(row.url, msgspec.json.decode(row.headers, type=dict[str, str]))
        state = "waiting" if row.url else "unsent"
        fresh = self._insert(row.psp, row.merchant_reference, sealed, row.body, row.corrupt, state, self._clock.now())
        self._on_change()
        return fresh

    def row(self, n: int) -> DeliveryRow | None:
        """Return one webhook."""
        rows = self._store.execute(f"SELECT {_COLUMNS} FROM deliveries WHERE n = ?", (n,))  # noqa: S608 - our constant
        return DeliveryRow(*rows[0]) if rows else None

    def start_due(self, limit: int) -> list[DeliveryRow]:
        """Mark up to `limit` webhooks that are due as being sent, the longest due first, and return them."""
        rows = self._store.execute(
            "SELECT n FROM deliveries WHERE state IN ('waiting', 'held') AND due_at <= ? ORDER BY due_at, n LIMIT ?",
            (self._clock.now(), limit),
        )
        started = []
        for (n,) in rows:
            self._store.execute("UPDATE deliveries SET state = 'sending' WHERE n = ?", (n,))
            row = self.row(n)
            assert row is not None, "the row was there a moment ago"
            started.append(row)
        return started

    def seconds_to_next(self) -> float | None:
        """Return how long until a webhook is due; None when none is owed."""
        (due_at,) = self._store.execute("SELECT min(due_at) FROM deliveries WHERE state IN ('waiting', 'held')")[0]
        return None if due_at is None else max(due_at - self._clock.now(), 0.0)

    def sealed(self, n: int, sealed: Sealed) -> None:
        """Record what is about to be sent."""
        self._store.execute(
            "UPDATE deliveries SET url = ?, headers = ?, body = ifnull(?, body), attempts = attempts + 1 WHERE n = ?",
            (sealed.url, _text(sealed.headers), sealed.body, n),
        )

    def answered(self, row: DeliveryRow, answer: int | str) -> None:
        """Record an attempt's answer: a status code, or why there was none. Anything but a 2xx is tried again."""
        delivered = isinstance(answer, int) and 200 <= answer < 300  # noqa: PLR2004 - the 2xx range
        state, due_at = "delivered" if delivered else "given_up", row.due_at
        if not delivered and row.attempts < len(RETRY_SECONDS):
            state, due_at = "waiting", self._clock.now() + RETRY_SECONDS[row.attempts]
        with self._store.transaction():
            self._store.execute(
                "UPDATE deliveries SET state = ?, due_at = ?, answer = ? WHERE n = ?",
                (state, due_at, _text(answer), row.n),
            )
            # A later webhook has overtaken them: that was the whole point of holding them.
            self._store.execute(
                "UPDATE deliveries SET state = 'waiting', due_at = ? WHERE state = 'held' AND psp = ? AND n < ?",
                (self._clock.now(), row.psp, row.n),
            )

    def report(self, merchant_reference: str | None = None) -> list[dict[str, Any]]:
        """Return every webhook, oldest first, those of one reference only when it is given."""
        where, parameters = ("WHERE merchant_reference = ?", (merchant_reference,)) if merchant_reference else ("", ())
        query = f"SELECT {_COLUMNS} FROM deliveries {where} ORDER BY n"  # noqa: S608 - both parts are our constants
        return [_shown(DeliveryRow(*row)) for row in self._store.execute(query, parameters)]

    def _insert(
        self,
        psp: str,
        merchant_reference: str | None,
        sealed: Sealed,
        body: bytes,
        corrupt: bool,  # noqa: FBT001 - a column like the others
        state: str,
        due_at: float,
    ) -> int:
        rows = self._store.execute(
            "INSERT INTO deliveries (psp, merchant_reference, url, headers, body, corrupt, state, created_at, due_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n",
            (
                psp,
                merchant_reference,
                sealed.url,
                _text(sealed.headers),
                body,
                corrupt,
                state,
                self._clock.now(),
                due_at,
            ),
        )
        return int(rows[0][0])


def _shown(row: DeliveryRow) -> dict[str, Any]:
    owed = row.state in {"waiting", "held", "sending"}
    return {
        "n": row.n,
        "psp": row.psp,
        "merchant_reference": row.merchant_reference,
        "url": row.url,
        "headers": msgspec.json.decode(row.headers),
        "body": row.body.decode(),
        "sent": row.attempts > 0,
        "answer": msgspec.json.decode(row.answer),
        "state": row.state,
        "attempts": row.attempts,
        "created_at": utc_iso(row.created_at),
        "due_at": utc_iso(row.due_at) if owed else None,
    }


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return msgspec.json.encode(value).decode()
