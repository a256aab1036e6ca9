"""The certificates behind PayPal's webhook signatures: an own root and intermediate, and the leaf that signs.

A receiver trusts `paypal-ca.pem`, root and intermediate, because PayPal's certificate address serves the leaf alone.
The keys of root and intermediate are thrown away: nothing but this leaf will ever chain to them.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TRUST_FILE: Final = "paypal-ca.pem"
KEY_FILE: Final = "paypal-webhook-key.pem"
HOST: Final = "messageverificationcerts.sandbox.paypal.com"

_YEARS: Final = timedelta(days=3650)  # as far as the sandbox's clock moves in one step
_SKEW: Final = timedelta(days=1)  # a receiver whose clock is a little slow must not see a certificate of tomorrow
_BITS: Final = 2048  # as PayPal's own


class Certificates:
    """The leaf and its key, and the two above it."""

    def __init__(self, key: rsa.RSAPrivateKey, chain: list[x509.Certificate]) -> None:
        self.key = key
        self.leaf = chain[0]
        self._chain = chain

    @property
    def leaf_pem(self) -> bytes:
        """What the certificate's address serves."""
        return _pem(self.leaf)

    @property
    def name(self) -> str:
        """The last part of the certificate's address; another leaf has another one, for receivers keep it by that."""
        return f"CERT-360caa42-fca2a594-{self.leaf.fingerprint(hashes.SHA256()).hex()[:8]}"

    @property
    def trusted_pem(self) -> bytes:
        """What a receiver trusts: the intermediate and the root."""
        return b"".join(_pem(certificate) for certificate in self._chain[1:])


def open_certificates(folder: Path) -> Certificates:
    """Return the certificates of this folder, made at the first time.

    One file holds the key and all three: whichever moment a crash picks, they belong together. The trust file is
    written from it.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / KEY_FILE
    certificates = _read(path)
    if certificates is None:
        certificates = _make()
        key = certificates.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(path, key + certificates.leaf_pem + certificates.trusted_pem, mode=0o600)
    trust = folder / TRUST_FILE
    if not trust.exists() or trust.read_bytes() != certificates.trusted_pem:
        _write(trust, certificates.trusted_pem, mode=0o644)
    return certificates


def _read(path: Path) -> Certificates | None:
    if not path.exists():
        return None
    content = path.read_bytes()
    key = serialization.load_pem_private_key(content, password=None)
    assert isinstance(key, rsa.RSAPrivateKey), "the file is written below"
    certificates = Certificates(key, x509.load_pem_x509_certificates(content))
    return certificates if certificates.leaf.not_valid_after_utc > datetime.now(UTC) else None


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file whole; it is never seen half written, nor the key with a wider mode."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)


def _make() -> Certificates:
    keys = [rsa.generate_private_key(public_exponent=65537, key_size=_BITS) for _ in range(3)]
    root_key, middle_key, leaf_key = keys
    root_name, middle_name = _name("Qirsh Sandbox Root CA"), _name("Qirsh Sandbox Intermediate CA")
    root = _ca(root_name, root_key, root_name, root_key, depth=1)
    middle = _ca(middle_name, middle_key, root_name, root_key, depth=0)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = (
        _draft(_name(HOST), leaf_key, middle_name, middle_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(middle_key, hashes.SHA256())
    )
    return Certificates(leaf_key, [leaf, middle, root])


def _ca(
    name: x509.Name, key: rsa.RSAPrivateKey, issuer: x509.Name, issuer_key: rsa.RSAPrivateKey, *, depth: int
) -> x509.Certificate:
    return (
        _draft(name, key, issuer, issuer_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _draft(
    name: x509.Name, key: rsa.RSAPrivateKey, issuer: x509.Name, issuer_key: rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sandbox, no real money"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
