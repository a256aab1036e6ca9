"""Telling the shop to deliver: a signed Standard Webhook per completed draft, until the shop has taken it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import random
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from uuid import UUID

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from qirsh.metrics import FULFILMENTS
from qirsh.money import Money
from qirsh.store.fulfilments import DueFulfilment
from qirsh.store.store import Store

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
MAX_CONNECTIONS: Final = 50

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


class Announcer:
    """Posts completed payments to the shop, signed with every secret of the list, so that a secret can be rolled."""

    def __init__(self, url: str, secrets: Sequence[str], *, allow_private: bool) -> None:
        """Announce to `url`; secrets as `whsec_…`. Names that lead into private networks only when allowed."""
        self._resolver = None if allow_private else PublicResolver()
        self._url = url
        self._signers = [Webhook(secret) for secret in secrets]
        self._session: aiohttp.ClientSession | None = None

    async def announce(self, store: Store, fulfilment_id: UUID, version: int) -> None:
        """Deliver one fulfilment, or say when to try again."""
        due = await store.fulfilments.get(fulfilment_id)
        if due is None or due.state != "due" or due.version != version:
            return
        error = await self._post(due)
        draft_id = str(due.row.draft.id)
        if error is None:
            await store.fulfilments.delivered(fulfilment_id, version)
            FULFILMENTS.labels("delivered").inc()
            _log.info("fulfilment_delivered", draft_id=draft_id, fulfilment_id=str(fulfilment_id))
            return
        retry_in = _jittered(SCHEDULE[due.attempts]) if due.attempts < len(SCHEDULE) else None
        await store.fulfilments.failed(fulfilment_id, version, error, retry_in)
        FULFILMENTS.labels("failed" if retry_in else "dead").inc()
        log = _log.warning if retry_in else _log.error
        log("fulfilment_failed" if retry_in else "fulfilment_dead", draft_id=draft_id, error=error)

    async def aclose(self) -> None:
        """Close the connections to the shop."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, due: DueFulfilment) -> str | None:
        """Send it once; None when the shop answered 2xx, else why not, in words without the shop's body."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, resolver=self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        body, headers = self._signed(due)
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
                return f"HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__

    def _signed(self, due: DueFulfilment) -> tuple[bytes, dict[str, str]]:
        """The id stays the same over retries; the timestamp and the signatures are fresh each time."""
        draft = due.row.draft
        body = msgspec.json.encode(
            {
                "type": "payment.completed",
                "timestamp": due.row.updated_at.astimezone(UTC).isoformat(),
                "data": {
                    "paymentDraftId": str(draft.id),
                    "product_id": draft.request.product_id,
                    "quantity": draft.request.quantity,
                    "order_reference": draft.request.order_reference,
                    "amount": draft.amount.major,
                    "currency": draft.amount.currency,
                    "refunded": Money(draft.refunded_minor, draft.amount.currency).major,
                },
            }
        )
        message_id = f"msg_{due.id.hex}"
        # The shop checks this against its own clock, so the sandbox's does not count here.
        sent_at = datetime.now(UTC)
        text = body.decode()
        signatures = " ".join(signer.sign(message_id, sent_at, text) for signer in self._signers)
        return body, {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": signatures,
        }


def _jittered(delay: timedelta) -> timedelta:
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  spreads retries, guards nothing
