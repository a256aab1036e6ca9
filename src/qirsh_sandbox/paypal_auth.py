"""Who may call the fake PayPal: OAuth2 client credentials, and the tokens they buy.

PayPal hands the same token out again with the life that is left of it, so a client must not assume nine hours.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Any, Final

from aiohttp import web

from .config import PaypalConfig
from .paypal_issues import oauth_refused, refused
from .paypal_records import Token
from .paypal_shapes import zulu
from .psp import World
from .store import Table

_TOKEN_SECONDS: Final = 32_400  # documented: nine hours
_ADDRESS: Final = "paypal.address"
_SCOPE: Final = (
    "https://uri.paypal.com/services/payments/payment/authcapture https://uri.paypal.com/services/payments/refund"
    " https://uri.paypal.com/services/applications/webhooks openid"
)


class Tokens:
    """The tokens of one merchant's application."""

    def __init__(self, config: PaypalConfig, world: World) -> None:
        self._clock = world.clock
        self._store = world.store
        self._expected = f"{config.client_id}:{config.client_secret}".encode()
        # Other credentials are another application: they neither get nor may use the tokens of these.
        self._application = hashlib.sha256(self._expected).hexdigest()
        self._tokens = Table(world.store, "paypal.token", Token)
        self._address = world.store.fact(_ADDRESS, "")

    @property
    def address(self) -> str:
        """Where the merchant last called PayPal. Webhooks say so of their certificate, since nobody told us a name."""
        return self._address

    async def issue(self, request: web.Request) -> dict[str, Any]:
        """Return the answer of the token endpoint.

        Raises:
            Refused: in OAuth's shape, which is not the API's.
        """
        self._check_client(request.headers.get("Authorization", ""))
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            raise oauth_refused(400, "unsupported_grant_type", "Grant Type is NOT supported.")
        self._remember_address(request)
        token = self._current()
        return {
            "scope": _SCOPE,
            "access_token": token.value,
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",  # that of every sandbox application
            "expires_in": int(token.expires_at - self._clock.now()),
            "nonce": f"{zulu(token.issued_at)}{token.value[-43:]}",
        }

    def authenticate(self, request: web.Request) -> None:
        """Accept a live token, or the credentials themselves, which PayPal takes in a token's place.

        Raises:
            Refused: 401, in the API's shape when nothing was sent and in OAuth's when it was wrong.
        """
        authorization = request.headers.get("Authorization", "")
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "basic":
            self._check_client(authorization)
        elif scheme.lower() == "bearer":
            token = self._tokens.get(value)
            if token is None or token.credentials != self._application:
                raise oauth_refused(401, "invalid_token", "Token signature verification failed")
            if token.expires_at <= self._clock.now():
                raise oauth_refused(401, "invalid_token", "Access Token not found in cache")
        else:
            raise refused(401, [])
        self._remember_address(request)

    def _check_client(self, authorization: str) -> None:
        scheme, _, value = authorization.partition(" ")
        try:
            given = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            given = b""
        if scheme.lower() != "basic" or not hmac.compare_digest(given, self._expected):
            raise oauth_refused(401, "invalid_client", "Client Authentication failed")

    def _current(self) -> Token:
        now = self._clock.now()
        issued = self._tokens.children(self._application)
        if issued and issued[-1].expires_at - now >= 1:
            return issued[-1]
        token = Token(
            value=f"A21AA{secrets.token_urlsafe(60)}",
            credentials=self._application,
            issued_at=now,
            expires_at=now + _TOKEN_SECONDS,
        )
        self._tokens.put(token, key=token.value, parent=self._application)
        return token

    def _remember_address(self, request: web.Request) -> None:
        address = f"{request.scheme}://{request.host}"
        if address != self._address:
            self._address = address
            self._store.remember(_ADDRESS, address)
