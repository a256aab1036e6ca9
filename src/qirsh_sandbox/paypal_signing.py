"""How the fake PayPal signs a webhook, and how it answers whether a signature is its own.

https://developer.paypal.com/api/rest/webhooks/rest/#link-verifyusingselfcryptography
"""

import base64
import binascii
import secrets
import uuid
import zlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from .paypal_certs import Certificates

CERTIFICATES: Final = "/v1/notifications/certs/"
ALGORITHM: Final = "SHA256withRSA"

_AGENT: Final = "PayPal/AUHD-214.0-58391792"  # recorded


class Postback(msgspec.Struct):
    """A question whether a webhook is authentic. The event stays the text that came: its CRC is taken over that."""

    auth_algo: str
    cert_url: str
    transmission_id: str
    transmission_sig: str
    transmission_time: str
    webhook_id: str
    webhook_event: msgspec.Raw


def signed_headers(
    certificates: Certificates, address: str, webhook_id: str, body: bytes, *, time: str, corrupt: bool
) -> dict[str, str]:
    """Return the headers of one attempt to deliver a webhook; `address` is where PayPal itself is reached."""
    transmission_id = f"{uuid.uuid1(node=secrets.randbits(48))}"
    signature = certificates.key.sign(
        _message(transmission_id, time, webhook_id, body), padding.PKCS1v15(), hashes.SHA256()
    )
    if corrupt:
        signature = bytes([signature[0] ^ 1]) + signature[1:]
    return {
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-TIME": time,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-AUTH-VERSION": "v2",
        "PAYPAL-CERT-URL": f"{address}{CERTIFICATES}{certificates.name}",
        "PAYPAL-AUTH-ALGO": ALGORITHM,
        "Content-Type": "application/json",
        "User-Agent": _AGENT,
        "correlation-id": secrets.token_hex(7)[1:],
    }


def is_authentic(certificates: Certificates, webhook_id: str, question: Postback) -> bool:
    """Tell whether a webhook was signed here for this webhook id."""
    if question.webhook_id != webhook_id or question.auth_algo != ALGORITHM:
        return False
    if not question.cert_url.endswith(f"{CERTIFICATES}{certificates.name}"):
        return False
    message = _message(question.transmission_id, question.transmission_time, webhook_id, bytes(question.webhook_event))
    try:
        signature = base64.b64decode(question.transmission_sig, validate=True)
        certificates.key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _message(transmission_id: str, time: str, webhook_id: str, body: bytes) -> bytes:
    return f"{transmission_id}|{time}|{webhook_id}|{zlib.crc32(body)}".encode()
