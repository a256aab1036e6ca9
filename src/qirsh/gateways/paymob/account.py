"""One Paymob merchant account: its token, and the calls of the accept and the intention flow.

https://developers.paymob.com/egypt: authentication request, order registration, payment key, intention, refund,
inquiry.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from qirsh.draft import PaymentDraft
from qirsh.errors import GatewayMisconfigured, GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import Surroundings
from qirsh.gateways.http import BearerToken, Effect, PspClient
from qirsh.gateways.paymob.bodies import intention_body, order_body, pay_body, payment_key_body
from qirsh.gateways.paymob.credentials import Credentials
from qirsh.gateways.paymob.transactions import Transaction, read_pay_answer, read_transaction
from qirsh.methods import Method

TOKEN_SECONDS: Final = 55 * 60
"""Tokens live 60 minutes; the margin spares the last callers a refusal."""
ORDER_PAGES: Final = 3
"""How many pages of the list of orders are always read for an order that nobody tried to pay."""
MOST_ORDER_PAGES: Final = 20
"""And how many at most, while their orders are newer than what is searched: a busy shop fills three in moments."""
CLOCK_SLACK: Final = timedelta(minutes=10)
"""How far our clock may be ahead of Paymob's."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order at Paymob: found with its newest transaction, or just opened with what its intention hands out."""

    id: str
    transaction: Transaction | None = None
    payment_token: str | None = None
    client_secret: str | None = None


class Account:
    """What we ask of Paymob, one method a call. Errors as `PspClient.call` raises them."""

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Talk to Paymob as the merchant of these credentials."""
        self.integrations = credentials.integrations()
        self._credentials = credentials
        self._public_url = surroundings.public_url.rstrip("/")
        self._client = PspClient(credentials.base_url, psp="Paymob", plain_http=surroundings.dev)
        self._token = BearerToken(
            "Paymob",
            self._fetched_token,
            lambda: asyncio.get_running_loop().time(),
            refused_by={HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN},
        )
        self._owner: int | None = None

    async def owner(self) -> int | None:
        """The user id that our transactions carry as `owner`; the token's answer tells it, and it never changes."""
        if self._owner is None:
            await self._token.value()
        return self._owner

    async def open_order(self, draft: PaymentDraft, reference: str) -> Order:
        """Register an order under our reference; Paymob refuses a reference it has seen, for ever."""
        if self._credentials.flow == "intention":
            return await self._intention(draft, reference)
        return Order(_id_of(await self._authorised("POST", "/api/ecommerce/orders", json=order_body(draft, reference))))

    async def listed_order(self, references: tuple[str, ...], since: datetime) -> str | None:
        """An order nobody tried to pay has no transaction; only the list of orders, newest first, knows it.

        It is searched as far back as `since`, before which it cannot have been registered.
        """
        for page in range(1, MOST_ORDER_PAGES + 1):
            try:
                answer = await self._authorised(
                    "GET", "/api/ecommerce/orders", effect=Effect.READS, params={"page": str(page)}
                )
            except GatewayRejected:
                return None  # a page past the last
            orders = answer.get("results") if isinstance(answer, dict) else answer
            if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
                raise GatewayUnavailable("Paymob's list of orders could not be read: it is asked again later.")
            for order in orders:
                if order.get("merchant_order_id") in references:
                    return _id_of(order)
            if not orders or (page >= ORDER_PAGES and not _is_newer(orders[-1], since - CLOCK_SLACK)):
                return None
        return None

    async def payment_key(self, draft: PaymentDraft, order_id: str) -> str:
        """Another key for the same order is harmless: an order is paid once however many keys it has."""
        answer = await self._authorised(
            "POST",
            "/api/acceptance/payment_keys",
            json=payment_key_body(draft, order_id, self._integration(draft.request.method)),
        )
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise GatewayProtocolError("Paymob's payment key could not be read.")
        return token

    def _integration(self, method: Method) -> int:
        if method not in self.integrations:
            raise GatewayMisconfigured(f"Paymob's integration for {method} is not configured any more: restore it.")
        return self.integrations[method]

    async def pay(self, draft: PaymentDraft, payment_token: str) -> Transaction:
        """Ask the wallet to pay, or the kiosks for a bill. Never twice while one is pending."""
        answer = await self._client.call(
            "POST", "/api/acceptance/payments/pay", effect=Effect.MOVES, json=pay_body(draft, payment_token)
        )
        transaction = read_pay_answer(answer)
        if transaction is None:
            raise GatewayProtocolError("Paymob's answer to the payment could not be read.")
        return transaction

    async def refund(self, body: Mapping[str, object]) -> Any:  # noqa: ANN401  as PspClient.call
        """Give some of a payment back. Never twice for one refund: Paymob knows no key."""
        path = "/api/acceptance/void_refund/refund"
        if self._credentials.flow == "intention":
            return await self._client.call("POST", path, effect=Effect.MOVES, json=body, headers=self._by_secret_key())
        return await self._authorised("POST", path, json=body)

    async def inquiry(self, key: Mapping[str, str]) -> Transaction | None:
        """The newest transaction of an order, by `order_id` or `merchant_order_id`; None when there is none."""
        return await self._shown("POST", "/api/ecommerce/orders/transaction_inquiry", json=key)

    async def transaction(self, transaction_id: str) -> Transaction | None:
        """A transaction by its id."""
        return await self._shown("GET", f"/api/acceptance/transactions/{transaction_id}")

    async def aclose(self) -> None:
        """Close the connections to Paymob."""
        await self._client.aclose()

    async def _intention(self, draft: PaymentDraft, reference: str) -> Order:
        """The secret key is this call's only authority: a refused one is not mended by a fresh token."""
        integration_id = self._integration(draft.request.method)
        answer = await self._client.call(
            "POST",
            "/v1/intention/",
            effect=Effect.MOVES,
            json=intention_body(draft, reference, integration_id, self._public_url),
            headers=self._by_secret_key(),
        )
        try:
            read = msgspec.convert(answer, _IntentionAnswer)
        except msgspec.ValidationError:
            raise GatewayProtocolError("Paymob's intention could not be read.") from None
        token = next((key.key for key in read.payment_keys if key.integration == integration_id), None)
        # What a webhook signs as `order.id` is this number, never the intention's own pi_….
        return Order(str(read.intention_order_id), payment_token=token, client_secret=read.client_secret)

    def _by_secret_key(self) -> dict[str, str]:
        secret_key = self._credentials.secret_key
        assert secret_key is not None, "credentials without it are refused in the intention flow"
        return {"Authorization": f"Token {secret_key.get_secret_value()}"}

    async def _shown(self, method: str, path: str, json: object = None) -> Transaction | None:
        """None only where Paymob says that there is none: an answer we cannot read says nothing at all."""
        try:
            answer = await self._authorised(method, path, effect=Effect.READS, json=json)
        except GatewayRejected as error:
            if error.answer is not None and error.answer.status == HTTPStatus.NOT_FOUND:
                return None
            raise GatewayUnavailable("Paymob refused the look-up: it is asked again later.") from None
        if isinstance(answer, dict) and "id" not in answer:
            return None
        transaction = read_transaction(answer)
        if transaction is None:
            raise GatewayUnavailable("Paymob's transaction could not be read: it is asked again later.")
        return transaction

    async def _authorised(
        self,
        method: str,
        path: str,
        *,
        effect: Effect = Effect.MOVES,
        json: object = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401  as PspClient.call
        """Call with our token, renewed once when it is refused."""

        async def call(token: str) -> Any:  # noqa: ANN401  as PspClient.call
            authorised = {"Authorization": f"Bearer {token}"}
            return await self._client.call(method, path, effect=effect, json=json, params=params, headers=authorised)

        return await self._token.use(call)

    async def _fetched_token(self) -> tuple[str, float]:
        """A token and how long it may be kept; its answer also tells who we are."""
        answer = await self._client.call(
            "POST",
            "/api/auth/tokens",
            effect=Effect.READS,
            json={"api_key": self._credentials.api_key.get_secret_value()},
        )
        try:
            read = msgspec.convert(answer, _AuthAnswer)
        except msgspec.ValidationError:
            raise GatewayUnavailable("Paymob's token could not be read: try again with the same key.") from None
        self._owner = read.profile.user.id
        return read.token, TOKEN_SECONDS


class _User(msgspec.Struct):
    id: int | None = None


class _MerchantProfile(msgspec.Struct):
    user: _User = msgspec.field(default_factory=_User)


class _AuthAnswer(msgspec.Struct):
    token: str
    profile: _MerchantProfile = msgspec.field(default_factory=_MerchantProfile)


class _IntentionKey(msgspec.Struct):
    integration: int
    key: str


class _IntentionAnswer(msgspec.Struct):
    intention_order_id: int
    client_secret: Annotated[str, msgspec.Meta(min_length=1)]
    payment_keys: tuple[_IntentionKey, ...] = ()


def _is_newer(order: Mapping[str, Any], since: datetime) -> bool:
    """Whether an order may be newer. Its time is Cairo's, mostly without saying so: read as UTC it is never too old."""
    try:
        created_at = datetime.fromisoformat(str(order.get("created_at")))
    except ValueError:
        return False
    return (created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)) >= since


def _id_of(order: Any) -> str:  # noqa: ANN401  a PSP's answer
    order_id = order.get("id") if isinstance(order, dict) else None
    if type(order_id) is not int:
        raise GatewayProtocolError("Paymob's order could not be read.")
    return str(order_id)
