"""Telling the shop: the announcement, its signatures, and what is done when the shop does not take it."""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from standardwebhooks import Webhook
from unit_drafts import draft_in
from unit_psp import Behaviour, answer, closed_port, drip_without_end, end_after_reading, psp, read_request
from unit_support import shared_json

from qirsh.draft import PaymentDraft, State
from qirsh.store.fulfilments import DueFulfilment, Kind
from qirsh.store.rows import Row
from qirsh.work.fulfilment import BEHIND, JITTER, LONGEST_WAIT, SCHEDULE, Announcer
from qirsh.work.handlers import Announcement, Handler

if TYPE_CHECKING:
    from qirsh.store.store import Store

FULFILMENT = UUID("01990000-0000-7000-8000-00000000000f")
FIRST_PAID = UUID("01990000-0000-7000-8000-0000000000aa")
PAID_AT = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)
MOVED_AT = datetime(2025, 1, 2, tzinfo=UTC)
# https://github.com/standard-webhooks/standard-webhooks: the specification's own example.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


@dataclass
class Books:
    """The table fulfilments with one row, and what was written into it."""

    due: DueFulfilment | None
    written: list[tuple[object, ...]] = field(default_factory=list)
    staged: list[PaymentDraft] = field(default_factory=list)

    async def stage_siblings(self, draft: PaymentDraft) -> None:
        """What else could be paid for the order is looked at."""
        self.staged.append(draft)

    async def get(self, _fulfilment_id: UUID) -> DueFulfilment | None:
        """The row."""
        return self.due

    async def delivered(self, *row: object) -> None:
        """The shop has taken it."""
        self.written.append(("delivered", *row))

    async def put_off(self, *row: object) -> None:
        """It was not its turn."""
        self.written.append(("put_off", *row))

    async def failed(self, *row: object) -> None:
        """It has not."""
        self.written.append(("failed", *row))


def due(  # one argument for each thing that an announcement depends on
    attempts: int = 0,
    *,
    kind: Kind = "payment.completed",
    draft_state: State = State.COMPLETED,
    duplicate_of: UUID | None = None,
    waits: bool = False,
    state: str = "due",
    version: int = 7,
) -> DueFulfilment:
    """A draft that the shop has not heard of."""
    row = Row(draft_in(draft_state), "k" * 16, b"f" * 32, None, 3, 0, MOVED_AT)
    return DueFulfilment(FULFILMENT, row, kind, PAID_AT, duplicate_of, waits, state, attempts, version)


async def announce(
    url: str, books: Books, *secrets: str, allow_private: bool = True, handlers: tuple[Handler, ...] = ()
) -> None:
    """Make the one announcement."""
    announcer = Announcer(url, secrets or (SECRET,), allow_private=allow_private, handlers=handlers)
    try:
        await announcer.announce(cast("Store", SimpleNamespace(fulfilments=books, orders=books)), FULFILMENT, 7)
    finally:
        await announcer.aclose()


async def heard(*secrets: str, announcement: DueFulfilment | None = None) -> tuple[dict[str, str], bytes]:
    """The headers and the body that a shop hears."""
    requests = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()

    books = Books(announcement or due())
    async with psp(take) as url:
        await announce(f"{url}/fulfilments", books, *secrets)
    assert books.written == [("delivered", FULFILMENT, 7)]
    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /fulfilments HTTP/1.1"
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


async def refused(behaviour: Behaviour, announcement: DueFulfilment | None = None) -> tuple[str, timedelta | None]:
    """Why a shop that behaves so was not told, and when it is tried again."""
    books = Books(announcement or due())
    async with psp(behaviour) as url:
        await announce(url, books)
    ((verb, _, version, why, retry_in),) = books.written
    assert (verb, version) == ("failed", 7)
    assert isinstance(why, str)
    assert retry_in is None or isinstance(retry_in, timedelta)
    return why, retry_in


def counted_as_gone() -> float:
    """The counter that an alarm watches."""
    return REGISTRY.get_sample_value("qirsh_fulfilments_total", {"outcome": "gone"}) or 0


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


async def test_the_shop_hears_what_went_back() -> None:
    """The total as it stands when it is sent, so that whoever missed one is right again with the next."""
    _, body = await heard(announcement=due(kind="payment.refunded", draft_state=State.PARTIALLY_REFUNDED))
    announced = json.loads(body)
    assert (announced["type"], announced["timestamp"]) == ("payment.refunded", "2025-01-01T12:30:00+00:00")
    assert (announced["data"]["amount"], announced["data"]["refunded"]) == ("300.00", "100.00")


async def test_a_draft_that_was_refunded_before_the_shop_heard_of_it_says_so() -> None:
    """A shop that delivers what it hears of last would send goods for money that is back already."""
    _, body = await heard(announcement=due(draft_state=State.REFUNDED))
    announced = json.loads(body)
    assert (announced["type"], announced["data"]["refunded"]) == ("payment.completed", "300.00")


async def test_the_shop_hears_that_an_order_was_paid_before() -> None:
    """Two payments for one purchase: it must not deliver twice, and must know whose money to give back."""
    _, body = await heard(announcement=due(duplicate_of=FIRST_PAID))
    assert json.loads(body)["data"]["duplicate_of"] == str(FIRST_PAID)
    _, body = await heard()
    assert "duplicate_of" not in json.loads(body)["data"]


async def test_an_announcement_that_is_not_its_turn_is_put_off_and_uses_no_try_up() -> None:
    """A refund that overtakes its payment would be about a payment that the shop has never heard of."""
    books = Books(due(kind="payment.refunded", waits=True))
    with closed_port() as url:
        await announce(url, books)
    assert books.written == [("put_off", FULFILMENT, 7, BEHIND)]


@pytest.mark.parametrize(
    ("announcement", "staged"),
    [
        (due(), 1),
        (due(attempts=1), 0),
        (due(kind="payment.refunded"), 0),
        (due(waits=True), 0),
    ],
)
async def test_the_first_try_to_announce_a_payment_has_its_siblings_looked_at(
    announcement: DueFulfilment, staged: int
) -> None:
    """Also when the shop is away: a reference in a payer's pocket does not wait for it."""
    books = Books(announcement)
    with closed_port() as url:
        await announce(url, books)
    assert books.staged == [announcement.row.draft] * staged


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
    why, retry_in = await refused(behaviour)
    assert why == error
    assert retry_in is not None
    assert SCHEDULE[0] * (1 - JITTER) <= retry_in <= SCHEDULE[0] * (1 + JITTER)


async def test_an_answer_without_end_is_not_read() -> None:
    """The status says everything; a shop's body may be as long as it likes."""
    books = Books(due())
    async with psp(drip_without_end) as url:
        await announce(url, books)
    assert books.written == [("delivered", FULFILMENT, 7)]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "asked"),
    [
        ("3600", timedelta(hours=1)),
        ("86400", LONGEST_WAIT),
        ("86401", LONGEST_WAIT),
        ("9" * 5_000, LONGEST_WAIT),
    ],
)
async def test_a_shop_is_left_alone_for_as_long_as_it_asks_up_to_a_day(
    status: int, retry_after: str, asked: timedelta
) -> None:
    """Who is overloaded must not be pressed by the schedule; who asks for a year must not lose the announcement."""
    _, retry_in = await refused(answer(status, headers=(f"Retry-After: {retry_after}",)))
    assert retry_in == asked


@pytest.mark.parametrize(("ahead", "asked"), [(timedelta(hours=2), timedelta(hours=2)), (timedelta(365), LONGEST_WAIT)])
async def test_a_shop_may_ask_by_a_date(ahead: timedelta, asked: timedelta) -> None:
    """RFC 9110 allows both forms; the date is the shop's own time."""
    until = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
    _, retry_in = await refused(answer(503, headers=(f"Retry-After: {until}",)))
    assert retry_in is not None
    assert asked - timedelta(minutes=1) <= retry_in <= asked


@pytest.mark.parametrize(
    ("status", "retry_after"),
    [
        (503, "0"),
        (503, "1"),
        (503, "-5"),
        (503, "soon"),
        (503, "1.5"),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT"),
        (503, "Wed, 99 Oct 2015 07:28:00 GMT"),
        (500, "3600"),
        (404, "3600"),
    ],
)
async def test_what_asks_for_no_wait_is_tried_by_the_schedule(status: int, retry_after: str) -> None:
    """Never sooner than the schedule: a shop that always says "at once" would use all its tries up in a second."""
    _, retry_in = await refused(answer(status, headers=(f"Retry-After: {retry_after}",)), due(attempts=2))
    assert retry_in is not None
    assert SCHEDULE[2] * (1 - JITTER) <= retry_in <= SCHEDULE[2] * (1 + JITTER)


async def test_a_shop_that_says_gone_is_a_dead_letter_at_once_and_an_alarm() -> None:
    """Standard Webhooks: 410 means that nobody wants it any more. A person must learn that goods are not sent."""
    before = counted_as_gone()
    assert await refused(answer(410, headers=("Retry-After: 60",))) == ("HTTP 410", None)
    assert counted_as_gone() == before + 1


async def test_after_the_last_try_a_retry_after_is_too_late() -> None:
    """Otherwise a shop that is always busy is asked for ever, and nobody hears of it."""
    busy = answer(503, headers=("Retry-After: 60",))
    assert await refused(busy, due(attempts=len(SCHEDULE))) == ("HTTP 503", None)


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


async def test_a_handler_in_this_process_is_told_what_a_shop_is_told() -> None:
    """A shop written in Python needs no endpoint of its own."""
    told: list[Announcement] = []

    async def take(announcement: Announcement) -> None:
        told.append(announcement)

    books = Books(due(duplicate_of=FIRST_PAID))
    await announce("", books, handlers=(take,))

    assert books.written == [("delivered", FULFILMENT, 7)]
    _, body = await heard(announcement=due(duplicate_of=FIRST_PAID))
    (announcement,) = told
    assert {
        "type": announcement.type,
        "timestamp": announcement.timestamp,
        "data": announcement.data,
    } == json.loads(body)
    assert announcement.id == f"msg_{FULFILMENT.hex}"


async def test_a_handler_that_raises_is_tried_again_and_the_shop_is_not_told_before_it() -> None:
    """Its words may quote a payer, so only the kind of its error is kept."""

    async def stumble(_announcement: Announcement) -> None:
        raise LookupError("order of mona@example.com")

    books = Books(due())
    with closed_port() as url:
        await announce(url, books, handlers=(stumble,))

    ((verb, _, _, why, retry_in),) = books.written
    assert (verb, why) == ("failed", "LookupError")
    assert isinstance(retry_in, timedelta)


async def test_an_announcement_is_delivered_when_the_handler_and_the_shop_have_taken_it() -> None:
    """One row for both: what one has not taken is told to both again, under the same id."""
    told: list[str] = []

    async def take(announcement: Announcement) -> None:
        told.append(announcement.id)

    refusing, taking = Books(due()), Books(due())
    async with psp(answer(500)) as url:
        await announce(url, refusing, handlers=(take,))
    async with psp(answer(204)) as url:
        await announce(url, taking, handlers=(take,))

    assert refusing.written[0][:4] == ("failed", FULFILMENT, 7, "HTTP 500")
    assert taking.written == [("delivered", FULFILMENT, 7)]
    assert told == [f"msg_{FULFILMENT.hex}"] * 2


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
