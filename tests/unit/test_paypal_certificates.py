"""Whose certificate makes a PayPal webhook believable, and what a stranger's gets us to do: nothing.

The authority here is made up; that the rules fit PayPal's own certificates is proved in test_paypal_webhooks.py.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from unit_certificates import LIFE, URL, WEBHOOK_ID, Authority, Pair, authority, issue, leaf_of, rsa_key, signed
from unit_paypal import NOW, Clock, Served, credentials, gateway_at, surroundings

from qirsh.errors import GatewayMisconfigured, WebhookNotAuthentic
from qirsh.gateways.paypal import PayPal
from qirsh.gateways.paypal.certificates import (
    LIVE_NAME,
    SANDBOX_NAME,
    origin_of,
)

BODY = b'{"id":"WH-1","event_type":"CHECKOUT.ORDER.COMPLETED","resource":{}}'


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the gateway is told to trust."""
    return authority(tmp_path_factory.mktemp("ours"))


@asynccontextmanager
async def trusting(of: Authority, source: Served, **changes: Any) -> AsyncIterator[PayPal]:
    """A gateway that trusts this authority."""
    now = changes.pop("now", Clock())
    keys = credentials(**{"trust_file": of.file, "webhook_id": WEBHOOK_ID, **changes})
    async with gateway_at(keys, now=now, dev=False, certificates=source) as gateway:
        yield gateway


async def is_believed(of: Authority, served: bytes, by: Pair, **changes: Any) -> bool:
    """Whether a delivery signed so is taken when this lies at its certificate's address."""
    async with trusting(of, Served({URL: served}), **changes) as gateway:
        try:
            await gateway.read_webhook(signed(BODY, by))
        except WebhookNotAuthentic:
            return False
        return True


async def test_a_leaf_of_the_trusted_chain_is_believed(ours: Authority) -> None:
    """PayPal serves the leaf alone; the issuer comes from the trust file."""
    leaf = leaf_of(ours)
    assert await is_believed(ours, leaf.pem, leaf)


async def test_a_served_issuer_may_lead_to_the_trusted_root(ours: Authority, tmp_path: Path) -> None:
    """Should PayPal serve its whole chain one day, a trust file with the root alone will do."""
    alone = tmp_path / "root.pem"
    alone.write_bytes(ours.root.pem)
    leaf = leaf_of(ours)
    root_only = Authority(ours.root, ours.issuer, alone)
    assert await is_believed(root_only, leaf.pem + ours.issuer.pem, leaf)
    assert not await is_believed(root_only, leaf.pem, leaf)


UNFIT: dict[str, Callable[[Authority], Pair]] = {
    "expired": lambda of: leaf_of(of, life=(NOW - timedelta(days=300), NOW - timedelta(seconds=1))),
    "not yet valid": lambda of: leaf_of(of, life=(NOW + timedelta(seconds=1), NOW + timedelta(days=300))),
    "self-signed": lambda _: issue(SANDBOX_NAME, key=rsa_key(2)),
    "issued by a leaf": lambda of: issue(SANDBOX_NAME, leaf_of(of), key=rsa_key(3)),
    "an authority itself": lambda of: issue(SANDBOX_NAME, of.issuer, key=rsa_key(2), ca=True, names=[SANDBOX_NAME]),
    "another name": lambda of: leaf_of(of, "www.paypal.com"),
    "the live name": lambda of: leaf_of(of, LIVE_NAME),
    "a name that only begins well": lambda of: leaf_of(of, f"{SANDBOX_NAME}.evil.example"),
    "a name that only ends well": lambda of: leaf_of(of, f"evil-{SANDBOX_NAME}"),
    "the right name as common name only": lambda of: leaf_of(of, names=["www.paypal.com"]),
    "a wildcard": lambda of: leaf_of(of, names=["*.sandbox.paypal.com"]),
    "a key that may not sign": lambda of: leaf_of(of, signs=False),
    "a short key": lambda of: leaf_of(of, key=rsa_key(4, 1024)),
}


@pytest.mark.parametrize("name", UNFIT)
async def test_an_unfit_certificate_signs_nothing(ours: Authority, name: str) -> None:
    """Each of these signs correctly and differs from a good one in one thing."""
    leaf = UNFIT[name](ours)
    assert not await is_believed(ours, leaf.pem, leaf)


async def test_another_authority_issues_nothing_for_us(ours: Authority, tmp_path: Path) -> None:
    """The same names under another root, even when its whole chain is served."""
    other = authority(tmp_path, "Test", first_key=5)
    leaf = leaf_of(other)
    assert not await is_believed(ours, leaf.pem, leaf)
    assert not await is_believed(ours, leaf.pem + other.issuer.pem + other.root.pem, leaf)


async def test_an_issuer_that_has_expired_issues_nothing(tmp_path: Path) -> None:
    """Its leaf would still be valid."""
    old = authority(tmp_path, life=(NOW - timedelta(days=300), NOW - timedelta(days=1)))
    leaf = leaf_of(old)
    assert not await is_believed(old, leaf.pem, leaf)


async def test_an_elliptic_key_is_not_rsa(ours: Authority) -> None:
    """The algorithm says RSA, so no other key is tried."""
    leaf = leaf_of(ours, key=ec.generate_private_key(ec.SECP256R1()))
    assert not await is_believed(ours, leaf.pem, leaf_of(ours))


async def test_the_environment_decides_the_name(ours: Authority) -> None:
    """A sandbox account must not be able to sign for a live one, nor the other way round."""
    live, sandbox = leaf_of(ours, LIVE_NAME), leaf_of(ours)
    for base_url in ("https://api-m.paypal.com", "https://paypal.proxy.example"):
        assert await is_believed(ours, live.pem, live, base_url=base_url)
        assert not await is_believed(ours, sandbox.pem, sandbox, base_url=base_url)


async def test_a_kept_certificate_is_judged_by_the_time_now(ours: Authority) -> None:
    """It was valid when it was fetched."""
    leaf, clock = leaf_of(ours, life=(LIFE[0], NOW + timedelta(hours=1))), Clock()
    async with trusting(ours, Served({URL: leaf.pem}), now=clock) as gateway:
        await gateway.read_webhook(signed(BODY, leaf))
        clock.advance(timedelta(hours=2))
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(signed(BODY, leaf))


@pytest.mark.parametrize(
    "pem", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\0" * 100]
)
async def test_what_is_no_certificate_signs_nothing(ours: Authority, pem: bytes) -> None:
    """A page of an error, half a file, noise."""
    assert not await is_believed(ours, pem, leaf_of(ours))


async def test_too_many_certificates_at_one_address_are_refused(ours: Authority) -> None:
    """Nobody needs five to be led to a root, and building chains costs."""
    leaf = leaf_of(ours)
    assert not await is_believed(ours, leaf.pem * 5, leaf)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cert_hosts", ("https://api.paypal.com", "http://127.0.0.1:8001")),
        ("cert_hosts", ("https://api.paypal.com/v1",)),
        ("cert_hosts", ("api.paypal.com",)),
        ("cert_hosts", ("https://x@api.paypal.com",)),
        ("base_url", "http://127.0.0.1:8001"),
        ("base_url", "api-m.paypal.com"),
        ("trust_file", Path("/nonexistent/trust.pem")),
        ("trust_file", Path(__file__)),
    ],
)
def test_what_cannot_be_used_is_named_at_the_start(key: str, value: object) -> None:
    """Half a configuration would refuse every webhook later, or send the secret in clear."""
    changes: dict[str, Any] = {key: value}
    keys = credentials(**changes) if key != "base_url" else credentials(str(value))
    with pytest.raises(GatewayMisconfigured, match=f"paypal.{key}"):
        PayPal(keys, surroundings(dev=False))


def test_a_trust_file_needs_a_root(ours: Authority, tmp_path: Path) -> None:
    """An issuer that leads nowhere would refuse every webhook."""
    file = tmp_path / "issuer.pem"
    file.write_bytes(ours.issuer.pem)
    with pytest.raises(GatewayMisconfigured, match=r"paypal\.trust_file.*root"):
        PayPal(credentials(trust_file=file), surroundings(dev=False))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.paypal.com", "https://api.paypal.com"),
        ("https://api.paypal.com/", "https://api.paypal.com"),
        ("https://API.paypal.com:443", "https://api.paypal.com"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str) -> None:
    """What is compared must not depend on how it was written."""
    assert origin_of(url) == origin
