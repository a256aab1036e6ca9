"""One Paymob merchant account: its credentials, its token, and the calls of the accept flow.

https://developers.paymob.com/egypt: authentication request, order registration, payment key, transaction inquiry.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, SecretStr, model_validator

from qirsh.draft import PaymentDraft
from qirsh.errors import GatewayMisconfigured, GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import seconds_left
from qirsh.gateways.http import CALL_SECONDS, Effect, PspClient
from qirsh.gateways.paymob.transactions import Transaction, read_transaction
from qirsh.methods import Method

TOKEN_SECONDS: Final = 55 * 60
"""Tokens live 60 minutes; the margin spares the last callers a refusal."""
ORDER_PAGES: Final = 3
"""How far back an order nobody tried to pay is searched: what was lost was registered moments ago."""


class Credentials(BaseModel):
    """What the Paymob dashboard gives: https://developers.paymob.com/egypt/getting-started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: Literal["accept"] = "accept"
    api_key: SecretStr = Field(min_length=1)
    secret_key: SecretStr | None = None
    public_key: str | None = None
    hmac_secret: SecretStr = Field(min_length=1)  # an empty HMAC key would let anyone sign
    card_integration_id: PositiveInt | None = None
    iframe_id: PositiveInt | None = None
    wallet_integration_id: PositiveInt | None = None
    kiosk_integration_id: PositiveInt | None = None
    base_url: str = "https://accept.paymob.com"

    @model_validator(mode="after")
    def _whole(self) -> "Credentials":
        if (self.card_integration_id is None) != (self.iframe_id is None):
            missing = "iframe_id" if self.iframe_id is None else "card_integration_id"
            raise ValueError(f"cards need both card_integration_id and iframe_id: set {missing}")
        return self

    def integrations(self) -> Mapping[Method, int]:
        """The integration id of each method that has all it needs."""
        found: dict[Method, int] = {}
        if self.card_integration_id and self.iframe_id:
            found[Method.CARD] = self.card_integration_id
        if self.wallet_integration_id:
            found[Method.VODAFONE_CASH] = self.wallet_integration_id
        return found


class Account:
    """What we ask of Paymob, one method a call. Errors as `PspClient.call` raises them."""

    def __init__(self, credentials: Credentials) -> None:
        """Talk to Paymob as the merchant of these credentials."""
        self.integrations = credentials.integrations()
        self._api_key = credentials.api_key
        self._client = PspClient(credentials.base_url, psp="Paymob")
        self._token: tuple[str, float] | None = None
        self._token_lock = asyncio.Lock()
        self._owner: int | None = None

    async def owner(self) -> int | None:
        """The user id that our transactions carry as `owner`; the token's answer tells it, and it never changes."""
        if self._owner is None:
            await self._bearer()
        return self._owner

    async def create_order(self, draft: PaymentDraft, reference: str) -> str:
        """Register an order under our reference; Paymob refuses a reference it has seen, for ever."""
        request, name = draft.request, draft.request.product_name or draft.request.product_id
        item = {
            "name": name[:50],
            "amount_cents": str(draft.amount.amount_minor // request.quantity),
            "description": name[:255],
            "quantity": str(request.quantity),
        }
        body = {
            "delivery_needed": False,
            "amount_cents": str(draft.amount.amount_minor),
            "currency": draft.amount.currency,
            "merchant_order_id": reference,
            "items": [item],
        }
        return _id_of(await self._authorised("POST", "/api/ecommerce/orders", json=body))

    async def listed_order(self, references: tuple[str, ...]) -> str | None:
        """An order nobody tried to pay has no transaction; only the list of orders knows it."""
        for page in range(1, ORDER_PAGES + 1):
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
            if not orders:
                return None
        return None

    async def payment_key(self, draft: PaymentDraft, order_id: str) -> str:
        """Another key for the same order is harmless: an order is paid once however many keys it has."""
        answer = await self._authorised(
            "POST",
            "/api/acceptance/payment_keys",
            json={
                "amount_cents": str(draft.amount.amount_minor),
                "expiration": int((draft.expires_at - draft.created_at).total_seconds()),
                "order_id": order_id,
                "billing_data": _billing_data(draft),
                "currency": draft.amount.currency,
                "integration_id": self._integration(draft.request.method),
                "lock_order_when_paid": True,
            },
        )
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise GatewayProtocolError("Paymob's payment key could not be read.")
        return token

    def _integration(self, method: Method) -> int:
        if method not in self.integrations:
            raise GatewayMisconfigured(f"Paymob's integration for {method} is not configured any more: restore it.")
        return self.integrations[method]

    async def pay_wallet(self, draft: PaymentDraft, payment_token: str) -> Transaction:
        """Ask the wallet to pay; the payment token is the authority. Never twice while one is pending."""
        answer = await self._client.call(
            "POST",
            "/api/acceptance/payments/pay",
            effect=Effect.MOVES,
            json={
                "source": {"identifier": draft.request.payer.phone, "subtype": "WALLET"},
                "payment_token": payment_token,
            },
        )
        transaction = read_transaction(answer)
        if transaction is None:
            raise GatewayProtocolError("Paymob's answer to the wallet could not be read.")
        return transaction

    async def inquiry(self, key: Mapping[str, str]) -> Transaction | None:
        """The newest transaction of an order, by `order_id` or `merchant_order_id`; None when there is none."""
        return await self._shown("POST", "/api/ecommerce/orders/transaction_inquiry", json=key)

    async def transaction(self, transaction_id: str) -> Transaction | None:
        """A transaction by its id."""
        return await self._shown("GET", f"/api/acceptance/transactions/{transaction_id}")

    async def aclose(self) -> None:
        """Close the connections to Paymob."""
        await self._client.aclose()

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
        """Call with our token; when it is refused, once more with a fresh one: a refused call has done nothing."""
        token = await self._bearer()
        for last in (False, True):
            try:
                return await self._client.call(
                    method,
                    path,
                    effect=effect,
                    json=json,
                    params=params,
                    headers={"Authorization": f"Bearer {token}"},
                )
            except GatewayMisconfigured:
                if last:
                    raise
                token = await self._bearer(refused=token)
        raise AssertionError("unreachable")

    async def _bearer(self, refused: str | None = None) -> str:
        """The token, kept for its life; many callers that find it gone or refused fetch one together."""
        async with self._turn():
            now = asyncio.get_running_loop().time()
            if self._token is not None and self._token[0] != refused and now < self._token[1]:
                return self._token[0]
            answer = await self._client.call(
                "POST",
                "/api/auth/tokens",
                effect=Effect.READS,
                json={"api_key": self._api_key.get_secret_value()},
            )
            try:
                read = msgspec.convert(answer, _AuthAnswer)
            except msgspec.ValidationError:
                raise GatewayUnavailable("Paymob's token could not be read: try again with the same key.") from None
            self._token = (read.token, now + TOKEN_SECONDS)
            self._owner = read.profile.user.id
            return read.token

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One fetches the token for all; whoever waits for it keeps to its own deadline."""
        try:
            async with asyncio.timeout(seconds_left(CALL_SECONDS)):
                await self._token_lock.acquire()
        except TimeoutError:
            raise GatewayUnavailable("Paymob's token did not come in time: try again with the same key.") from None
        try:
            yield
        finally:
            self._token_lock.release()


class _User(msgspec.Struct):
    id: int | None = None


class _MerchantProfile(msgspec.Struct):
    user: _User = msgspec.field(default_factory=_User)


class _AuthAnswer(msgspec.Struct):
    token: str
    profile: _MerchantProfile = msgspec.field(default_factory=_MerchantProfile)


def _billing_data(draft: PaymentDraft) -> dict[str, str]:
    """All thirteen fields are mandatory. Paymob wants a name, an e-mail and a phone; the rest may be "NA"."""
    payer = draft.request.payer
    first, _, last = " ".join((payer.name or "NA").split()).partition(" ")
    empty = ["apartment", "floor", "street", "building", "shipping_method", "postal_code", "city", "country", "state"]
    return {
        **dict.fromkeys(empty, "NA"),
        "first_name": first[:50],
        "last_name": (last or "NA")[:50],
        # example.com can belong to nobody (RFC 2606), so no stranger is written to.
        "email": payer.email or "payer@example.com",
        "phone_number": f"+2{payer.phone}" if payer.phone else "+201000000000",
    }


def _id_of(order: Any) -> str:  # noqa: ANN401  a PSP's answer
    order_id = order.get("id") if isinstance(order, dict) else None
    if type(order_id) is not int:
        raise GatewayProtocolError("Paymob's order could not be read.")
    return str(order_id)
