"""Who may call the fake Stripe, and what it does only once under an Idempotency-Key.

https://docs.stripe.com/api/authentication and https://docs.stripe.com/api/idempotent_requests.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from .psp import World, json_answer
from .store import Table
from .stripe_config import StripeConfig
from .stripe_errors import Rejected, broken, fresh_request_id, in_flight, invalid, other_parameters, unauthorized
from .stripe_params import decode
from .stripe_records import Kept

VERSION: Final = "2026-10-28.endive"

_KEPT_SECONDS: Final = 24 * 3600  # documented: pruned after at least 24 hours; here after exactly so many
_KEY: Final = re.compile(r"[ -~]{1,255}\Z")
_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ -~]{0,200}\Z")


class Call(NamedTuple):
    """One request, let in and read."""

    id: str
    version: str
    key: str | None
    form: dict[str, Any]
    base_url: str


class Calls:
    """The door of one account."""

    def __init__(self, config: StripeConfig, world: World) -> None:
        self._secret_key = config.secret_key
        self._clock = world.clock
        self._store = world.store
        self._kept = Table(world.store, "stripe.kept", Kept)
        self._running: set[str] = set()

    def read(self, request: web.Request) -> Call:
        """Let a GET in.

        Raises:
            Rejected: 401, or parameters that cannot be read.
        """
        return self._let_in(request, request.rel_url.raw_query_string)

    def answer(self, call: Call, body: Any, status: int = 200, **headers: str) -> web.Response:  # noqa: ANN401 - any JSON value
        """Answer a call with what every answer carries."""
        said = {"request-id": call.id, "stripe-version": call.version}
        if call.key is not None:
            said["idempotency-key"] = call.key
        return json_answer(body, status, said | {name.replace("_", "-"): value for name, value in headers.items()})

    async def once(self, request: web.Request, work: Callable[[Call], Callable[[], Any]]) -> web.Response:
        """Do what a POST asks, or answer as to the first request of its key.

        `work` reads the parameters and returns what is then executed; only an answer of that second step is kept, with
        its refusals, since what the parameters alone refuse was never begun.

        Raises:
            Rejected: 401, a key of other parameters, or what `work` refuses.
        """
        text = (await request.read()).decode(errors="replace")
        call = self._let_in(request, text)
        fingerprint = _fingerprint(request, call.form)
        if call.key is not None and (kept := self._first(call.key)):
            if kept.fingerprint != fingerprint:
                raise other_parameters(kept.key)
            return self.answer(
                call, kept.body, kept.status, idempotent_replayed="true", original_request=kept.request_id
            )
        execute = work(call)
        try:
            with self._store.transaction():
                body = execute()
                self._keep(call, fingerprint, 200, body)
        except Rejected as refusal:
            refusal.headers = {"request-id": call.id}
            if refusal.executed:
                self._keep(call, fingerprint, refusal.status, refusal.body)
            raise
        return self.answer(call, body)

    async def lost(self, request: web.Request, status: int) -> None:
        """Keep an error that the caller was given after the work was done: Stripe keeps its own 5xx like any answer."""
        call = self._let_in(request, (await request.read()).decode(errors="replace"))
        if call.key is not None and status >= 500:  # noqa: PLR2004 - Stripe's own errors
            self._keep(call, _fingerprint(request, call.form), status, broken())

    @contextmanager
    def claim(self, request: web.Request) -> Iterator[None]:
        """Hold a key while its request is worked on: of two at the same moment, the second is refused."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            yield
            return
        if key in self._running:
            raise in_flight(key)
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def _let_in(self, request: web.Request, text: str) -> Call:
        given = _given_key(request.headers.get("Authorization", ""))
        if not hmac.compare_digest(given.encode(errors="replace"), self._secret_key.encode()):
            raise unauthorized(given)
        key = request.headers.get("Idempotency-Key") or None
        if key is not None and not _KEY.match(key):
            raise invalid("The Idempotency-Key must be at most 255 visible characters.")
        version = request.headers.get("Stripe-Version", VERSION)
        if not _VERSION.match(version):
            raise invalid("Invalid Stripe API version.")
        return Call(fresh_request_id(), version, key, decode(text), f"{request.scheme}://{request.host}")

    def _first(self, key: str) -> Kept | None:
        kept = self._kept.get(key)
        return kept if kept is not None and kept.at + _KEPT_SECONDS > self._clock.now() else None

    def _keep(self, call: Call, fingerprint: str, status: int, body: dict[str, Any]) -> None:
        if call.key is not None:
            kept = Kept(
                fingerprint=fingerprint,
                key=call.key,
                request_id=call.id,
                status=status,
                body=body,
                at=self._clock.now(),
            )
            self._kept.put(kept, key=call.key)


def _given_key(authorization: str) -> str:
    """Return the key of a Bearer, or of a Basic whose user name it is."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _fingerprint(request: web.Request, form: dict[str, Any]) -> str:
    asked = msgspec.json.encode([request.method, request.path, form], order="deterministic")
    return hashlib.sha256(asked).hexdigest()
