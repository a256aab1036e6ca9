"""Telling the shop what was paid and what went back: a signed Standard Webhook each, until the shop has taken it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from uuid import UUID

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from qirsh.draft import State
from qirsh.fault_points import Step, reached
from qirsh.metrics import FULFILMENTS
from qirsh.money import Money
from qirsh.store.fulfilments import DueFulfilment
from qirsh.store.store import Store
from qirsh.work.handlers import Announcement, Handler

SCHEDULE: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
"""The retries that the Standard Webhooks specification suggests; after the last, a dead letter."""
JITTER: Final = 0.1
ANSWER_SECONDS: Final = 15.0
"""How long the shop's server may take to begin its answer, and all handlers in this process together to return."""
MAX_CONNECTIONS: Final = 50
LONGEST_WAIT: Final = timedelta(days=1)
"""How much of a Retry-After is believed."""
BEHIND: Final = timedelta(hours=1)
"""When an announcement that waits for an earlier one is looked at again, should the delivery of that not call it."""

_log = structlog.get_logger("qirsh.work.fulfilment")


class PublicResolver(AbstractResolver):
    """Finds only addresses that the whole internet reaches: a name must not lead us into somebody's own network."""

    def __init__(self) -> None:
        """Ask the system."""
        self._system = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a host.

        Raises:
            OSError: it has none.
        """
        found = await self._system.resolve(host, port, family)
        public = [one for one in found if ip_address(one["host"]).is_global]
        if not public:
            raise OSError("the shop's name leads to a private address: set fulfilment_allow_private if that is meant")
        return public

    async def close(self) -> None:
        """Let go of the system's resolver."""
        await self._system.close()


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why an announcement was not taken, in words without the shop's body."""

    error: str
    gone: bool = False
    """The shop wants to hear no more of it."""
    not_within: timedelta = timedelta(0)


PAYMENT_GONE: Final = _Refusal("payment_gone", gone=True)
"""A person accepted that the money is lost again before the shop took the news of it: nothing is to be delivered."""


class Announcer:
    """Tells the shop, at its address and in this process, of what was paid and what went back."""

    def __init__(
        self, url: str, secrets: Sequence[str], *, allow_private: bool, handlers: Sequence[Handler] = ()
    ) -> None:
        """Announce to the handlers, and to `url` unless it is empty.

        Posts are signed with every secret (`whsec_…`), so that one can be rolled. Names that lead into private
        networks are called only when allowed.
        """
        self._resolver = None if allow_private else PublicResolver()
        self._url = url
        self._signers = [Webhook(secret) for secret in secrets]
        self._handlers = handlers
        self._session: aiohttp.ClientSession | None = None

    async def announce(self, store: Store, fulfilment_id: UUID, version: int) -> None:
        """Make one announcement, or say when to try again. Before an order's first, what is open of it is looked at."""
        due = await store.fulfilments.get(fulfilment_id)
        if due is None or due.state != "due" or due.version != version:
            return
        if due.waits:
            await store.fulfilments.put_off(fulfilment_id, version, BEHIND)
            return
        if due.kind == "payment.completed" and due.row.draft.state is State.FAILED:
            refusal: _Refusal | None = PAYMENT_GONE
        else:
            if due.kind == "payment.completed" and not due.attempts:
                await store.orders.stage_siblings(due.row.draft)
            reached(Step.FULFILMENT_LEASED)
            refusal = await self._tell(_announcement(due))
            reached(Step.FULFILMENT_POSTED)
        told = {"draft_id": str(due.row.draft.id), "fulfilment_id": str(fulfilment_id), "type": due.kind}
        if refusal is None:
            await store.fulfilments.delivered(fulfilment_id, version)
            FULFILMENTS.labels("delivered").inc()
            _log.info("fulfilment_delivered", **told)
            return
        retry_in = _retry_in(due.attempts, refusal)
        await store.fulfilments.failed(fulfilment_id, version, refusal.error, retry_in)
        if retry_in is not None:
            FULFILMENTS.labels("failed").inc()
            _log.warning("fulfilment_failed", **told, error=refusal.error)
        else:
            FULFILMENTS.labels("gone" if refusal.gone else "dead").inc()
            _log.error("fulfilment_dead", **told, error=refusal.error)

    async def aclose(self) -> None:
        """Close the connections to the shop."""
        if self._session is not None:
            await self._session.close()

    async def _tell(self, announcement: Announcement) -> _Refusal | None:
        """Tell everybody once, in this process first; None when all have taken it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for handler in self._handlers:
                    await handler(announcement)
        except Exception as error:  # noqa: BLE001  whatever it was, the announcement was not taken
            return _Refusal(type(error).__name__)
        return await self._post(announcement) if self._url else None

    async def _post(self, announcement: Announcement) -> _Refusal | None:
        """Send it once; None when the shop answered 2xx. No body of an answer is read, and no redirect followed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, resolver=self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        body, headers = self._signed(announcement)
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            ) as response:
                if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                    return None
                return _refusal(response.status, response.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _Refusal(type(error).__name__)

    def _signed(self, announcement: Announcement) -> tuple[bytes, dict[str, str]]:
        """The id stays the same over retries; the timestamp and the signatures are fresh each time."""
        text = msgspec.json.encode(
            {"type": announcement.type, "timestamp": announcement.timestamp, "data": announcement.data}
        ).decode()
        # The shop checks this against its own clock, so the sandbox's does not count here.
        sent_at = datetime.now(UTC)
        signatures = " ".join(signer.sign(announcement.id, sent_at, text) for signer in self._signers)
        return text.encode(), {
            "content-type": "application/json",
            "webhook-id": announcement.id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": signatures,
        }


def _announcement(due: DueFulfilment) -> Announcement:
    """What is said of a draft as it stands now."""
    draft = due.row.draft
    data = {
        "paymentDraftId": str(draft.id),
        "product_id": draft.request.product_id,
        "quantity": draft.request.quantity,
        "order_reference": draft.request.order_reference,
        "amount": draft.amount.major,
        "currency": draft.amount.currency,
        "refunded": Money(draft.refunded_minor, draft.amount.currency).major,
    }
    if due.duplicate_of is not None:
        data["duplicate_of"] = str(due.duplicate_of)
    return Announcement(f"msg_{due.id.hex}", due.kind, due.created_at.astimezone(UTC).isoformat(), data)


def _refusal(status: int, retry_after: str) -> _Refusal:
    busy = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    wait = _wait(retry_after) if busy else timedelta(0)
    return _Refusal(f"HTTP {status}", gone=status == HTTPStatus.GONE, not_within=wait)


def _wait(retry_after: str) -> timedelta:
    """How long a shop wants to be left alone: seconds, or a date by its own clock. What is neither asks nothing."""
    if retry_after.isascii() and retry_after.isdecimal():
        # Nobody means more digits than these, and Python would refuse to read thousands of them.
        return min(timedelta(seconds=int(retry_after[:9])), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return timedelta(0)
    wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)
    return max(timedelta(0), min(wait, LONGEST_WAIT))


def _retry_in(attempts: int, refusal: _Refusal) -> timedelta | None:
    """When to try again, by the schedule or later where the shop asks for it; None: never by itself."""
    if refusal.gone or attempts >= len(SCHEDULE):
        return None
    jittered = SCHEDULE[attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  spreads retries, guards nothing
    return max(jittered, refusal.not_within)
