"""How the fake Stripe signs a webhook: https://docs.stripe.com/webhooks/signature."""

import hashlib
import hmac
from collections.abc import Sequence


def signature_header(body: bytes, secrets: Sequence[str], *, at: int, corrupt: bool = False) -> str:
    """Return `Stripe-Signature` of one attempt, signed with every secret while one is rolled, the newest first."""
    signatures = [hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest() for secret in secrets]
    if corrupt:
        signatures = [("1" if each[0] == "0" else "0") + each[1:] for each in signatures]
    return ",".join((f"t={at}", *(f"v1={each}" for each in signatures)))
