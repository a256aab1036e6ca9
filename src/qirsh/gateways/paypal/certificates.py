"""Whose certificate a webhook's signature is checked with: where it may come from, who must have issued it, its name.

https://developer.paypal.com/api/rest/webhooks/rest/#link-selfverificationmethod. A delivery names its certificate's
address itself, so anyone can make us look at any address, and whatever lies there is a stranger's until it is proved.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from qirsh.errors import GatewayUnavailable, WebhookNotAuthentic
from qirsh.gateways.base import deadline
from qirsh.gateways.http import PspClient

LIVE_NAME: Final = "messageverificationcerts.paypal.com"
SANDBOX_NAME: Final = "messageverificationcerts.sandbox.paypal.com"

MAX_PEM_BYTES: Final = 64 * 1024
MAX_CHAIN: Final = 4
"""Certificates at one address. PayPal has only been seen to serve one."""
FETCH_SECONDS: Final = 3.0
KEPT: Final = timedelta(hours=24)
"""As long as PayPal's own `cache-control` allows."""
REFUSED: Final = timedelta(minutes=1)
"""How long an address that was no good is not asked again: long enough that a flood of it costs nothing."""
MAX_KEPT: Final = 16
MAX_REFUSED: Final = 256
MAX_FETCHES: Final = 8
"""Of strangers' addresses at once. One that was proved before is none and always has its turn; PayPal, should it change
its certificate meanwhile, delivers again."""
MIN_KEY_BITS: Final = 2048

_PATH: Final = re.compile(r"/v1/notifications/certs/[A-Za-z0-9_-]{1,128}\Z")
_PLAIN: Final = re.compile(r"[!-~]{1,512}\Z")
_PORTS: Final = {"https": 443, "http": 80}

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_BROKEN: Final = (
    *(VerificationError, ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
"""How `cryptography` says that a certificate is no good."""


class Address(NamedTuple):
    """Where a certificate lies, rebuilt from its checked parts, so that what was judged is what is fetched."""

    origin: str
    path: str


class CertificateSource(Protocol):
    """Reads a certificate's address."""

    async def fetch(self, address: Address) -> bytes:
        """The PEM text at an address.

        Raises:
            GatewayUnavailable: nobody answered, or nobody could: worth another try.
            WebhookNotAuthentic: there is no certificate there.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class HttpCertificates:
    """Reads certificates from PayPal: no redirects, three seconds, 64 kB."""

    def __init__(self) -> None:
        """Connect when asked to."""
        self._clients: dict[str, PspClient] = {}

    async def fetch(self, address: Address) -> bytes:
        """As `CertificateSource.fetch`."""
        client = self._clients.setdefault(address.origin, PspClient(address.origin, psp="PayPal", plain_http=True))
        with deadline(FETCH_SECONDS):
            status, pem = await client.fetch(address.path, at_most_bytes=MAX_PEM_BYTES)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.TOO_EARLY,
            HTTPStatus.TOO_MANY_REQUESTS,
        }:
            raise GatewayUnavailable("PayPal did not give its certificate: try again.")
        if status != HTTPStatus.OK or len(pem) > MAX_PEM_BYTES:
            raise WebhookNotAuthentic
        return pem

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()


class Certificates:
    """The keys that PayPal's webhooks may be signed with. Kept for a day, and proved anew for every delivery."""

    def __init__(
        self,
        source: CertificateSource,
        *,
        origins: Collection[str],
        trust_file: Path,
        name: str,
        now: Callable[[], datetime],
    ) -> None:
        """Trust what the self-signed certificates of `trust_file` lead to, under exactly this name.

        Raises:
            ValueError: an origin is none, or the trust file cannot be used; the message says which.
        """
        self._source = source
        self._origins = frozenset(origin_of(one) for one in origins)
        self._roots, self._intermediates = _trusted(trust_file)
        self._name = name
        self._now = now
        self._kept: OrderedDict[Address, tuple[list[x509.Certificate], datetime]] = OrderedDict()
        self._refused: OrderedDict[Address, datetime] = OrderedDict()
        self._fetching: dict[Address, asyncio.Task[list[x509.Certificate]]] = {}

    async def key(self, url: str) -> RSAPublicKey:
        """The key of the certificate at this address.

        Raises:
            WebhookNotAuthentic: not an address, not a certificate, or not a name of PayPal's.
            GatewayUnavailable: PayPal did not answer, which proves nothing.
        """
        address = self._allowed(url)
        kept = self._kept.get(address)
        if kept is not None and self._now() < kept[1]:
            return self._proved(kept[0])
        if address in self._refused and self._now() < self._refused[address]:
            raise WebhookNotAuthentic
        try:
            chain = await self._fetched(address)
            key = self._proved(chain)
        except WebhookNotAuthentic:
            _put(self._refused, address, self._now() + REFUSED, MAX_REFUSED)
            raise
        # Only what is proved is kept, so that no stranger's address can push PayPal's out.
        _put(self._kept, address, (chain, self._now() + KEPT), MAX_KEPT)
        return key

    async def aclose(self) -> None:
        """Stop fetching."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        await self._source.aclose()

    def _allowed(self, url: str) -> Address:
        """Compare the parsed origin, not the text: `https://api.paypal.com@evil.example/` begins well, too."""
        if not _PLAIN.match(url) or any(mark in url for mark in "\\@?#%"):
            raise WebhookNotAuthentic
        try:
            origin, path = origin_of(url, with_path=True), urlsplit(url).path
        except ValueError:
            raise WebhookNotAuthentic from None
        if origin not in self._origins or not _PATH.match(path):
            raise WebhookNotAuthentic
        return Address(origin, path)

    async def _fetched(self, address: Address) -> list[x509.Certificate]:
        """Many deliveries that want the same certificate wait for one fetch; one that goes away stops it for nobody."""
        task = self._fetching.get(address)
        if task is None:
            strangers = sum(one not in self._kept for one in self._fetching)
            if address not in self._kept and strangers >= MAX_FETCHES:
                raise GatewayUnavailable("Too many certificates are being fetched: try again.")
            task = asyncio.create_task(self._parsed(address))
            self._fetching[address] = task
            task.add_done_callback(lambda done: self._forget(address, done))
        return await asyncio.shield(task)

    def _forget(self, address: Address, done: asyncio.Task[list[x509.Certificate]]) -> None:
        self._fetching.pop(address, None)
        if not done.cancelled():
            done.exception()  # whoever waited may have gone; nobody else is to be told

    async def _parsed(self, address: Address) -> list[x509.Certificate]:
        pem = await self._source.fetch(address)
        if len(pem) > MAX_PEM_BYTES:
            raise WebhookNotAuthentic
        try:
            chain = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise WebhookNotAuthentic from None
        if len(chain) > MAX_CHAIN:
            raise WebhookNotAuthentic
        return chain

    def _proved(self, chain: Sequence[x509.Certificate]) -> RSAPublicKey:
        """The first certificate's key, once its issuers, dates, uses and name have been checked as a browser would."""
        leaf, *others = chain
        try:
            policy = PolicyBuilder().store(self._roots).time(self._now()).max_chain_depth(MAX_CHAIN)
            policy.build_server_verifier(x509.DNSName(self._name)).verify(leaf, [*others, *self._intermediates])
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            exact = self._name in names.get_values_for_type(x509.DNSName)  # a browser would take a wildcard, too
            key = leaf.public_key()
            signs = _may_sign(leaf)
        except _BROKEN:
            raise WebhookNotAuthentic from None
        if not exact or not signs or not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
            raise WebhookNotAuthentic
        return key


def origin_of(url: str, *, with_path: bool = False) -> str:
    """Scheme, host and port of an address in one spelling.

    Raises:
        ValueError: it is no http origin, or more than that where no path is expected.
    """
    parts = urlsplit(url)
    port = parts.port  # raises for what is no port
    host = parts.hostname
    whole = with_path or url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or not whole:
        raise ValueError(f"{url!r} is not an origin: write it like https://api.paypal.com")
    written = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{written}" + ("" if port in {None, _PORTS[parts.scheme]} else f":{port}")


def _trusted(file: Path) -> tuple[Store, list[x509.Certificate]]:
    """The roots and the intermediates of a PEM file. PayPal serves the leaf alone, so both must be in it."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        raise ValueError(f"{file} holds no certificates that can be read: a PEM file is needed") from None
    roots = [one for one in found if one.subject == one.issuer]
    if not roots:
        raise ValueError(f"{file} holds no root certificate: add the self-signed one that the others lead to")
    return Store(roots), [one for one in found if one.subject != one.issuer]


def _may_sign(leaf: x509.Certificate) -> bool:
    """Whether its key may sign. A certificate without the extension may do everything."""
    try:
        return leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True


def _put(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value, at_most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > at_most:
        kept.popitem(last=False)
