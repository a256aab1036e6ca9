"""One Stripe account: the calls of Checkout Sessions and Refunds, each with the pinned version and our key.

https://docs.stripe.com/api, https://docs.stripe.com/api/versioning and https://docs.stripe.com/api/idempotent_requests.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from qirsh.errors import GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.http import Effect, PspClient
from qirsh.gateways.stripe.credentials import Credentials
from qirsh.gateways.stripe.objects import Refund, Session, draft_id_in, read
from qirsh.gateways.stripe.refusals import explained, is_gone

VERSION: Final = "2026-10-28.endive"
"""Sent with every request, so that the account's default version never changes what an answer looks like."""
PAGE: Final = 100
"""The most that one page of a list holds."""
MAX_PAGES: Final = 10
"""How far a list is read. Sessions come newest first, and what was lost was created moments ago."""

_SHOWN: Final = ("payment_intent", "payment_intent.latest_charge")

_Read = TypeVar("_Read", Session, Refund)


class ListTooLongError(Exception):
    """More is listed than we read, so that nothing can be said to be missing."""


class Account:
    """What we ask of Stripe, one method a call. Errors as `PspClient.call` raises them, refusals with their code."""

    def __init__(self, credentials: Credentials, *, dev: bool) -> None:
        """Talk to Stripe with the secret key of these credentials; in development also over plain http.

        Raises:
            GatewayMisconfigured: the address would carry the key in clear.
        """
        self._credentials = credentials
        self._client = PspClient(credentials.base_url, psp="Stripe", plain_http=dev)

    async def create_session(self, form: Mapping[str, str], key: str) -> Session:
        """Create a Checkout Session; the same key answers with the first answer, an error of Stripe's own included.

        https://docs.stripe.com/api/checkout/sessions/create.
        """
        return _readable(Session, await self._post("/v1/checkout/sessions", form, key))

    async def session(self, session_id: str) -> Session | None:
        """A session as it stands, with its payment and charge; None when Stripe has none of this id.

        https://docs.stripe.com/api/checkout/sessions/retrieve.
        """
        try:
            answer = await self._get(f"/v1/checkout/sessions/{session_id}", _expanding(_SHOWN))
        except GatewayRejected as error:
            if is_gone(error):
                return None
            raise
        return _shown(Session, answer)

    async def sessions_of(self, draft_id: UUID, since: datetime, until: datetime) -> list[Session]:
        """The sessions of one draft among those of that time: https://docs.stripe.com/api/checkout/sessions/list.

        Raises:
            ListTooLongError: there are more sessions than we read, so that none can be said to be missing.
        """
        params = {
            "created[gte]": str(int(since.timestamp())),
            "created[lte]": str(int(until.timestamp())),
            **_expanding([f"data.{name}" for name in _SHOWN]),
        }
        return [
            _shown(Session, one)
            async for one in self._listed("/v1/checkout/sessions", params)
            if draft_id_in(one.get("metadata")) == draft_id
        ]

    async def expire_session(self, session_id: str) -> None:
        """Make an open session unpayable: https://docs.stripe.com/api/checkout/sessions/expire."""
        await self._post(f"/v1/checkout/sessions/{session_id}/expire", {"expand[0]": "payment_intent"}, None)

    async def create_refund(self, form: Mapping[str, str], key: str) -> Refund:
        """Give money back; the same key gives it back once: https://docs.stripe.com/api/refunds/create."""
        return _readable(Refund, await self._post("/v1/refunds", form, key))

    async def refunds_of(self, payment_id: str) -> list[Refund]:
        """Every refund of a payment, oldest first: https://docs.stripe.com/api/refunds/list.

        Raises:
            GatewayUnavailable: there are more than we read, so that their sum is not known.
        """
        try:
            listed = [_shown(Refund, one) async for one in self._listed("/v1/refunds", {"payment_intent": payment_id})]
        except ListTooLongError:
            raise GatewayUnavailable(
                "Stripe's refunds are too many to be summed up: look into its dashboard."
            ) from None
        return listed[::-1]

    async def aclose(self) -> None:
        """Close the connections to Stripe."""
        await self._client.aclose()

    async def _listed(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Every object of a list, newest first, page by page: https://docs.stripe.com/api/pagination."""
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            answer = await self._get(path, {"limit": str(PAGE), **params, **after})
            try:
                page = msgspec.convert(answer, _Page)
            except msgspec.ValidationError:
                raise GatewayUnavailable("Stripe's list could not be read: try again with the same key.") from None
            for one in page.data:
                yield one
            if not page.has_more or not page.data:
                return
            after = {"starting_after": str(page.data[-1].get("id"))}
        raise ListTooLongError

    async def _get(self, path: str, params: Mapping[str, str]) -> Any:  # noqa: ANN401  as PspClient.call
        try:
            return await self._client.call("GET", path, effect=Effect.READS, params=params, headers=self._headers())
        except GatewayRejected as error:
            raise explained(error, Effect.READS) from None

    async def _post(self, path: str, form: Mapping[str, str], key: str | None) -> Any:  # noqa: ANN401  as above
        headers = self._headers() | ({} if key is None else {"Idempotency-Key": key})
        try:
            return await self._client.call("POST", path, effect=Effect.MOVES, form=form, headers=headers)
        except GatewayRejected as error:
            raise explained(error, Effect.MOVES) from None

    def _headers(self) -> dict[str, str]:
        """https://docs.stripe.com/api/authentication."""
        return {
            "Authorization": f"Bearer {self._credentials.secret_key.get_secret_value()}",
            "Stripe-Version": VERSION,
        }


class _Page(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool = False


def _expanding(names: tuple[str, ...] | list[str]) -> dict[str, str]:
    """https://docs.stripe.com/api/expanding_objects."""
    return {f"expand[{index}]": name for index, name in enumerate(names)}


def _readable(kind: type[_Read], answer: object) -> _Read:
    """What a call that moves something answered."""
    made = read(kind, answer)
    if made is None:
        raise GatewayProtocolError(f"Stripe's {kind.__name__.lower()} could not be read.")
    return made


def _shown(kind: type[_Read], answer: object) -> _Read:
    """What a question was answered with."""
    shown = read(kind, answer)
    if shown is None:
        raise GatewayUnavailable("Stripe's answer could not be read: try again with the same key.")
    return shown
