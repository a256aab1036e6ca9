"""Certificates that no authority ever saw, in the shape in which DigiCert issues PayPal's, and deliveries signed so."""

import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import ExtendedKeyUsageOID
from unit_paypal import NOW

from qirsh.gateways.base import Delivery
from qirsh.gateways.paypal.certificates import SANDBOX_NAME

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

URL: Final = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-00000001"
WEBHOOK_ID: Final = "4JH86294D6297924G"
LIFE: Final = (NOW - timedelta(days=30), NOW + timedelta(days=300))


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Authority:
    """A root, an issuer under it, and the file that names both."""

    root: Pair
    issuer: Pair
    file: Path


@cache
def rsa_key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Keys take a while to find, so the tests share them by number."""
    assert number >= 0
    return rsa.generate_private_key(65537, bits)


def issue(
    name: str,
    issuer: Pair | None = None,
    *,
    key: Key,
    ca: bool = False,
    names: Sequence[str] | None = None,
    life: tuple[datetime, datetime] = LIFE,
    signs: bool = True,
) -> Pair:
    """A certificate, self-signed without an issuer. `names` are a server's; `signs` is what its key may do."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    by = issuer.certificate.subject if issuer else subject
    with_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number(), *life)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(with_key.public_key()),
            critical=False,
        )
        .add_extension(_usage(ca=ca, signs=signs), critical=True)
    )
    if not ca or names is not None:
        alternatives = [x509.DNSName(one) for one in ([name] if names is None else names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return Pair(builder.sign(with_key, hashes.SHA256()), key)


def authority(folder: Path, name: str = "Test", first_key: int = 0, **changes: Any) -> Authority:
    """A root and an issuer under it, with the trust file that an operator would configure."""
    root = issue(f"{name} Root", key=rsa_key(first_key), ca=True, **changes)
    issuer = issue(f"{name} Issuer", root, key=rsa_key(first_key + 1), ca=True, **changes)
    file = folder / f"{name}.pem"
    file.write_bytes(issuer.pem + root.pem)
    return Authority(root, issuer, file)


def leaf_of(of: Authority, name: str = SANDBOX_NAME, **changes: Any) -> Pair:
    """The certificate that signs webhooks."""
    return issue(name, of.issuer, **{"key": rsa_key(2), **changes})


def signed(body: bytes, by: Pair, **headers: str) -> Delivery:
    """A delivery signed as PayPal's documentation says, but for the changed headers (`_` for `-`)."""
    assert isinstance(by.key, rsa.RSAPrivateKey)
    sent = {
        "paypal-transmission-id": "dfb3be50-fd74-11e4-8bf3-77339302725b",
        "paypal-transmission-time": "2025-06-01T11:59:58Z",
        "paypal-cert-url": URL,
        "paypal-auth-algo": "SHA256withRSA",
    }
    text = f"{sent['paypal-transmission-id']}|{sent['paypal-transmission-time']}|{WEBHOOK_ID}|{zlib.crc32(body)}"
    sent["paypal-transmission-sig"] = b64encode(by.key.sign(text.encode(), PKCS1v15(), hashes.SHA256())).decode()
    return Delivery(body, {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}, {})


def _usage(*, ca: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
