"""One PayPal merchant account: its credentials, its token, and the calls of Orders v2 and Payments v2.

https://developer.paypal.com/api/rest/authentication/, https://developer.paypal.com/docs/api/orders/v2/ and
https://developer.paypal.com/docs/api/payments/v2/.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from qirsh.errors import GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.http import BearerToken, Effect, PspClient
from qirsh.gateways.paypal.issues import GONE, issue_of, reason_of
from qirsh.gateways.paypal.orders import Capture, Order, Refund, read

TOKEN_MARGIN: Final = timedelta(seconds=60)
"""Taken off a token's life, so that none ends on its way to PayPal."""
CERT_HOSTS: Final = (
    "https://api.paypal.com",
    "https://api.sandbox.paypal.com",
    "https://api-m.paypal.com",
    "https://api-m.sandbox.paypal.com",
)
"""Where PayPal serves the certificates of its webhooks."""
TRUST_FILE: Final = Path(__file__).with_name("digicert.pem")
"""Who issued the certificates that PayPal's webhooks were seen signed with, and DigiCert's announced successors."""

_Read = TypeVar("_Read", Order, Capture, Refund)

_log = structlog.get_logger("qirsh.gateways.paypal")


class Credentials(BaseModel):
    """What the PayPal dashboard gives: https://developer.paypal.com/dashboard/applications."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    client_id: SecretStr = Field(min_length=1)
    client_secret: SecretStr = Field(min_length=1)
    webhook_id: str = Field(min_length=1)
    base_url: str = "https://api-m.paypal.com"
    trust_file: Path = TRUST_FILE
    cert_hosts: tuple[str, ...] = Field(default=CERT_HOSTS, min_length=1)

    @field_serializer("trust_file")
    def _as_text(self, file: Path) -> str:
        return str(file)  # a configuration file knows no paths


class Account:
    """What we ask of PayPal, one method a call. Errors as `PspClient.call` raises them, refusals with their issue."""

    def __init__(self, credentials: Credentials, now: Callable[[], datetime], *, dev: bool) -> None:
        """Talk to PayPal as the application of these credentials; in development also over plain http.

        Raises:
            GatewayMisconfigured: the address would carry the secret in clear.
        """
        identity = f"{credentials.client_id.get_secret_value()}:{credentials.client_secret.get_secret_value()}"
        self._basic = SecretStr("Basic " + b64encode(identity.encode()).decode())
        self._client = PspClient(credentials.base_url, psp="PayPal", plain_http=dev)
        self._token = BearerToken(
            "PayPal", self._fetched_token, lambda: now().timestamp(), refused_by={HTTPStatus.UNAUTHORIZED}
        )

    async def create_order(self, body: Mapping[str, object], key: str) -> Order:
        """Create an order; the same key within six hours answers with the first one as it stands now.

        https://developer.paypal.com/docs/api/orders/v2/#orders_create. 200 and 201 are both success.
        """
        return _readable(Order, await self._authorised("POST", "/v2/checkout/orders", json=body, headers=_keyed(key)))

    async def capture_order(self, order_id: str, key: str) -> Order:
        """Take the money of an approved order; the same key takes it once.

        https://developer.paypal.com/docs/api/orders/v2/#orders_capture.
        """
        path = f"/v2/checkout/orders/{order_id}/capture"
        headers = {**_keyed(key), "Prefer": "return=representation"}
        return _readable(Order, await self._authorised("POST", path, json={}, headers=headers))

    async def refund_capture(self, capture_id: str, body: Mapping[str, object], key: str) -> Refund:
        """Give some of a payment back; the same key within 45 days answers with the first refund as it stands now.

        https://developer.paypal.com/docs/api/payments/v2/#captures_refund. The whole answer is wanted, for its total.
        """
        path = f"/v2/payments/captures/{capture_id}/refund"
        headers = {**_keyed(key), "Prefer": "return=representation"}
        return _readable(Refund, await self._authorised("POST", path, json=body, headers=headers))

    async def order(self, order_id: str) -> Order | None:
        """An order, or None when PayPal has none of this id any more.

        https://developer.paypal.com/docs/api/orders/v2/#orders_get.
        """
        return await self._shown(Order, f"/v2/checkout/orders/{order_id}")

    async def capture(self, capture_id: str) -> Capture | None:
        """A captured payment, or None when PayPal has none of this id.

        https://developer.paypal.com/docs/api/payments/v2/#captures_get.
        """
        return await self._shown(Capture, f"/v2/payments/captures/{capture_id}")

    async def refund(self, refund_id: str) -> Refund | None:
        """A refund, or None when PayPal has none of this id.

        https://developer.paypal.com/docs/api/payments/v2/#refunds_get.
        """
        return await self._shown(Refund, f"/v2/payments/refunds/{refund_id}")

    async def aclose(self) -> None:
        """Close the connections to PayPal."""
        await self._client.aclose()

    async def _shown(self, kind: type[_Read], path: str) -> _Read | None:
        try:
            answer = await self._authorised("GET", path, effect=Effect.READS)
        except GatewayRejected as error:
            if is_gone(error):
                return None
            raise
        shown = read(kind, answer)
        if shown is None:
            raise GatewayUnavailable("PayPal's answer could not be read: try again with the same key.")
        return shown

    async def _authorised(
        self,
        method: str,
        path: str,
        *,
        effect: Effect = Effect.MOVES,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401  as PspClient
        """Call with our token, renewed once when it is refused."""

        async def call(token: str) -> Any:  # noqa: ANN401  as PspClient
            authorised = {**(headers or {}), "Authorization": f"Bearer {token}"}
            return await self._client.call(method, path, effect=effect, json=json, headers=authorised)

        try:
            return await self._token.use(call)
        except GatewayRejected as error:
            raise _explained(error) from None

    async def _fetched_token(self) -> tuple[str, float]:
        """A token and how long it may be kept.

        https://developer.paypal.com/api/rest/authentication/. PayPal hands the same token out again with what is left
        of its life, so `expires_in` counts, and asking too often is what it limits.
        """
        answer = await self._client.call(
            "POST",
            "/v1/oauth2/token",
            effect=Effect.READS,
            form={"grant_type": "client_credentials"},
            headers={"Authorization": self._basic.get_secret_value()},
        )
        fresh = read(_Token, answer)
        if fresh is None:
            raise GatewayUnavailable("PayPal's token could not be read: try again with the same key.")
        return fresh.access_token, fresh.expires_in - TOKEN_MARGIN.total_seconds()


def is_gone(error: GatewayRejected) -> bool:
    """Whether PayPal says that it has nothing of this id."""
    return error.answer is not None and error.answer.status == HTTPStatus.NOT_FOUND and error.psp_code in GONE


class _Token(msgspec.Struct):
    # Printable, since it goes into a header; bounded, since it is added to a date.
    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]
    expires_in: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


def _keyed(key: str) -> dict[str, str]:
    return {"PayPal-Request-Id": key}


def _readable(kind: type[_Read], answer: object) -> _Read:
    found = read(kind, answer)
    if found is None:
        raise GatewayProtocolError(f"PayPal's {kind.__name__.lower()} could not be read.")
    return found


def _explained(error: GatewayRejected) -> GatewayRejected:
    """The refusal with PayPal's issue for the record and ours for the payer; the debug id is what its support asks."""
    body = error.answer.body if error.answer else None
    issue = issue_of(body)
    error.psp_code, error.reason = issue or error.psp_code, reason_of(issue)
    debug_id = body.get("debug_id") if isinstance(body, dict) else None
    _log.info("paypal_refused", issue=issue, debug_id=debug_id if isinstance(debug_id, str) else None)
    return error
