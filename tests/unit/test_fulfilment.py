"""Telling the shop: the announcement, its signatures, and what is done when the shop does not take it."""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest
from standardwebhooks import Webhook
from unit_drafts import draft_in
from unit_psp import Behaviour, answer, closed_port, end_after_reading, psp, read_request
from unit_support import shared_json

from qirsh.draft import State
from qirsh.store.fulfilments import DueFulfilment
from qirsh.store.rows import Row
from qirsh.work.fulfilment import JITTER, SCHEDULE, Announcer

if TYPE_CHECKING:
    from qirsh.store.store import Store

FULFILMENT = UUID("01990000-0000-7000-8000-00000000000f")
PAID_AT = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)
# https://github.com/standard-webhooks/standard-webhooks: the specification's own example.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


@dataclass
class Books:
    """The table fulfilments with one row, and what was written into it."""

    due: DueFulfilment | None
    written: list[tuple[object, ...]] = field(default_factory=list)

    async def get(self, _fulfilment_id: UUID) -> DueFulfilment | None:
        """The row."""
        return self.due

    async def delivered(self, *row: object) -> None:
        """The shop has taken it."""
        self.written.append(("delivered", *row))

    async def failed(self, *row: object) -> None:
        """It has not."""
        self.written.append(("failed", *row))


def due(attempts: int = 0, state: str = "due", version: int = 7) -> DueFulfilment:
    """A completed draft that the shop has not heard of."""
    row = Row(draft_in(State.COMPLETED), "k" * 16, b"f" * 32, None, 3, 0, PAID_AT)
    return DueFulfilment(FULFILMENT, row, state, attempts, version)


async def announce(url: str, books: Books, *secrets: str, allow_private: bool = True) -> None:
    """Announce the one fulfilment."""
    announcer = Announcer(url, secrets or (SECRET,), allow_private=allow_private)
    try:
        await announcer.announce(cast("Store", SimpleNamespace(fulfilments=books)), FULFILMENT, 7)
    finally:
        await announcer.aclose()


async def heard(*secrets: str) -> tuple[dict[str, str], bytes]:
    """The headers and the body that a shop hears."""
    requests = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()

    books = Books(due())
    async with psp(take) as url:
        await announce(f"{url}/fulfilments", books, *secrets)
    assert books.written == [("delivered", FULFILMENT, 7)]
    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /fulfilments HTTP/1.1"
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """As the specification says: HMAC-SHA256 over id, timestamp and body, with the decoded secret."""
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def test_the_shop_hears_what_was_paid() -> None:
    """The body of the contract: enough to deliver, and nothing of the payer."""
    headers, body = await heard()
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "payment.completed",
        "timestamp": "2025-01-01T12:30:00+00:00",
        "data": {
            "paymentDraftId": str(draft_in(State.COMPLETED).id),
            "product_id": "tshirt",
            "quantity": 1,
            "order_reference": None,
            "amount": "300.00",
            "currency": "EGP",
            "refunded": "0.00",
        },
    }


async def test_an_announcement_is_signed_with_every_secret() -> None:
    """A shop that rolls its secret believes either, for as long as both are configured."""
    headers, body = await heard(SECRET, OLD_SECRET)
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert headers["webhook-signature"].split(" ") == [
        signature(secret, message_id, timestamp, body) for secret in (SECRET, OLD_SECRET)
    ]
    assert abs(datetime.now(UTC) - datetime.fromtimestamp(int(timestamp), UTC)) < timedelta(minutes=1)


async def test_the_message_id_is_the_fulfilments() -> None:
    """The same over all retries: a shop that answers too late must know that it has this one already."""
    first, _ = await heard()
    again, _ = await heard()
    assert first["webhook-id"] == again["webhook-id"] == f"msg_{FULFILMENT.hex}"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(500, b"stack trace with a secret"), "HTTP 500"),
        (answer(404), "HTTP 404"),
        (answer(401), "HTTP 401"),
        (answer(302, headers=("Location: http://127.0.0.1:9/",)), "HTTP 302"),
        (end_after_reading, "ServerDisconnectedError"),
    ],
)
async def test_what_is_not_taken_is_tried_again(behaviour: Behaviour, error: str) -> None:
    """Anything but a 2xx; a redirect could send the announcement to a stranger. The shop's words are not kept."""
    books = Books(due())
    async with psp(behaviour) as url:
        await announce(url, books)
    ((verb, _, version, why, retry_in),) = books.written
    assert (verb, version, why) == ("failed", 7, error)
    assert isinstance(retry_in, timedelta)
    assert SCHEDULE[0] * (1 - JITTER) <= retry_in <= SCHEDULE[0] * (1 + JITTER)


async def test_a_shop_that_is_away_is_tried_again() -> None:
    """Its deployment takes a minute; the schedule takes a day."""
    books = Books(due(attempts=3))
    with closed_port() as url:
        await announce(url, books)
    ((verb, _, _, why, retry_in),) = books.written
    assert (verb, why) == ("failed", "ClientConnectorError")
    assert isinstance(retry_in, timedelta)
    assert SCHEDULE[3] * (1 - JITTER) <= retry_in <= SCHEDULE[3] * (1 + JITTER)


async def test_after_the_last_try_it_is_a_dead_letter() -> None:
    """Kept, and tried again only when somebody asks."""
    books = Books(due(attempts=len(SCHEDULE)))
    with closed_port() as url:
        await announce(url, books)
    ((verb, *_, retry_in),) = books.written
    assert (verb, retry_in) == ("failed", None)


@pytest.mark.parametrize("row", [None, due(state="delivered"), due(state="dead"), due(version=8)])
async def test_a_job_that_comes_late_or_twice_does_nothing(row: DueFulfilment | None) -> None:
    """The row is the truth and the queue only a nudge."""
    books = Books(row)
    with closed_port() as url:
        await announce(url, books)
    assert not books.written


def test_the_retries_are_those_of_the_contract() -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h: the specification's own first seven."""
    assert [one.total_seconds() for one in SCHEDULE] == [5, 300, 1800, 7200, 18_000, 36_000, 36_000]


def test_the_library_signs_as_the_published_vectors() -> None:
    """Shops verify with libraries of six languages, all tried on these."""
    vectors = shared_json("vectors/standardwebhooks/signatures.json")["sign"]
    assert vectors
    for vector in vectors:
        given = vector["inputs"]
        sent_at = datetime.fromtimestamp(given["webhook-timestamp"], UTC)
        signed = Webhook(given["secret"]).sign(given["webhook-id"], sent_at, given["raw_body"])
        assert signed == vector["expected"]["webhook-signature"], vector["name"]


def test_the_library_signs_as_the_specification() -> None:
    """The same for the one example that every library has, without the shared vectors."""
    sent_at = datetime.fromtimestamp(1614265330, UTC)
    signed = Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed == signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')


async def test_a_name_that_leads_into_a_private_network_is_not_called() -> None:
    """Whoever may set the address, or the name's records, must not reach what stands beside us."""
    called = []

    async def take(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        called.append(await read_request(reader))

    books = Books(due())
    async with psp(take) as url:
        await announce(url.replace("127.0.0.1", "localhost"), books, allow_private=False)

    assert not called
    assert books.written[0][0] == "failed"
