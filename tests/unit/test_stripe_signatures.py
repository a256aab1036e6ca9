"""Stripe's signatures: the vectors of its own libraries decide, and nothing that is unsigned is believed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from unit_stripe import credentials, event_of, gateway_of, session_of, signed
from unit_support import NOT_SHARED, SHARED, shared_json

from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery
from qirsh.gateways.stripe.webhooks import verify

VECTORS = "vectors/stripe/webhook_signatures.json"
EXPIRED = event_of("checkout.session.expired", session_of(status="expired"))


def vectors() -> list[Any]:
    """Every vector; one skipped parameter where there are none."""
    if not SHARED.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip(reason=NOT_SHARED))]
    found = shared_json(VECTORS)["vectors"]
    assert len(found) >= 11, "vectors are gone: what did they prove?"
    return [pytest.param(one, id=one["name"]) for one in found]


def is_accepted(delivery: Delivery, secrets: list[str], now: float) -> bool:
    """Whether a delivery is believed."""
    try:
        verify(delivery, secrets, now)
    except WebhookNotAuthentic:
        return False
    return True


@pytest.mark.parametrize("vector", vectors())
def test_a_signature_is_judged_as_stripes_libraries_judge_it(vector: dict[str, Any]) -> None:
    """Fixed vectors of other languages, headers made by Stripe's code, and the verdicts of its Python library."""
    inputs = vector["inputs"]
    assert inputs["tolerance"] == 300
    delivery = Delivery(inputs["raw_body"].encode(), {"stripe-signature": inputs["header"]}, {})
    assert is_accepted(delivery, [inputs["secret"]], inputs["now"]) is vector["expected"]["valid"]


def test_a_vector_of_stripes_own_is_accepted() -> None:
    """A copy, so that this suite proves it alone: made by the npm library, over an empty body."""
    header = "t=1700000000,v1=316b9ab98c15bfa039d243f3196acee619cf29749a91a634e6a8154e2f7b6727"
    delivery = Delivery(b"", {"stripe-signature": header}, {})
    assert is_accepted(delivery, ["whsec_test_secret"], 1700000000)
    assert not is_accepted(delivery, ["whsec_other_secret"], 1700000000)


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
async def test_either_secret_is_believed_while_one_is_rolled(secret: str) -> None:
    """The old one stays valid for up to a day, and both endpoints' deliveries are on their way."""
    gateway = gateway_of(webhook_secrets=["whsec_new", "whsec_old"])
    assert await gateway.read_webhook(signed(EXPIRED, secret=secret))
    with pytest.raises(WebhookNotAuthentic):
        await gateway.read_webhook(signed(EXPIRED, secret="whsec_other"))


async def test_every_flipped_byte_is_refused() -> None:
    """Of the body, the time and the signature alike."""
    gateway, delivery = gateway_of(), signed(EXPIRED)
    assert await gateway.read_webhook(delivery)
    header = delivery.headers["stripe-signature"]
    forged = [
        *(Delivery(flipped(delivery.body, at), delivery.headers, {}) for at in range(len(delivery.body))),
        *(
            Delivery(delivery.body, {"stripe-signature": flipped(header.encode(), at).decode()}, {})
            for at in range(len(header))
        ),
    ]
    for one in forged:
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(one)


def flipped(text: bytes, at: int) -> bytes:
    """The text with one bit changed; it stays ASCII."""
    return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


@pytest.mark.parametrize(
    "header",
    [
        *("", "t=1748779200", "v1=00", "t=,v1=00", "t=x,v1=00", "t=1748779200,v0=00"),
        *("t=1748779200,t=1748779200,v1=00", "t=٣,v1=00", "t=99999999999999999999,v1=00"),
        "t=1748779200,v1=" + "0" * 5000,
    ],
)
async def test_a_header_that_says_nothing_usable_is_refused(header: str) -> None:
    """Each is refused as unsigned, and none breaks the reader."""
    with pytest.raises(WebhookNotAuthentic):
        await gateway_of().read_webhook(Delivery(b"{}", {"stripe-signature": header}, {}))
    with pytest.raises(WebhookNotAuthentic):
        await gateway_of().read_webhook(Delivery(b"{}", {}, {}))


async def test_an_old_signature_is_refused_and_one_of_the_future_is_not() -> None:
    """A replayed delivery is refused after five minutes; our clock may be behind Stripe's."""
    at = datetime(2025, 6, 1, 12, tzinfo=UTC)
    delivery = signed(EXPIRED, at=at)
    assert await gateway_of(now=at + timedelta(seconds=300)).read_webhook(delivery)
    assert await gateway_of(now=at - timedelta(days=1)).read_webhook(delivery)
    with pytest.raises(WebhookNotAuthentic):
        await gateway_of(now=at + timedelta(seconds=301)).read_webhook(delivery)


async def test_a_replay_is_judged_by_when_the_delivery_came() -> None:
    """An operator takes it once more weeks later: it was fresh then, or it never was."""
    at = datetime(2025, 6, 1, 12, tzinfo=UTC)
    weeks_later = gateway_of(now=at + timedelta(days=30))
    assert await weeks_later.read_webhook(replace(signed(EXPIRED, at=at), received_at=at + timedelta(seconds=300)))
    with pytest.raises(WebhookNotAuthentic):
        await weeks_later.read_webhook(replace(signed(EXPIRED, at=at), received_at=at + timedelta(seconds=301)))
    with pytest.raises(WebhookNotAuthentic):
        await weeks_later.read_webhook(replace(signed(EXPIRED, secret="whsec_other", at=at), received_at=at))


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_live_x", True), ("rk_live_x", True), ("sk_test_x", False), ("rk_test_x", False), ("sandbox_x", False)],
)
async def test_an_event_of_the_other_mode_is_refused(key: str, *, live: bool) -> None:
    """A test payment must never complete a live draft, though its endpoint may hold a secret that we know."""
    gateway = gateway_of(secret_key=key)
    assert await gateway.read_webhook(signed({**EXPIRED, "livemode": live}))
    with pytest.raises(WebhookNotAuthentic):
        await gateway.read_webhook(signed({**EXPIRED, "livemode": not live}))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{", b'{"id":"evt_1"}', b"[" * 100_000, b"\xff"),
        b'{"id":"evt_1","type":"x","livemode":0,"data":{"object":{}}}',
        b'{"id":"","type":"x","livemode":false,"data":{"object":{}}}',
    ],
)
async def test_what_stripe_signed_and_nobody_can_read_is_malformed(body: bytes) -> None:
    """400, so that it is seen; never a crash."""
    with pytest.raises(WebhookMalformed):
        await gateway_of().read_webhook(signed(body))


def test_secrets_are_demanded_and_never_shown() -> None:
    """An empty secret would let anyone sign."""
    for secrets in ([], [""], ["whsec_1", ""]):
        with pytest.raises(ValidationError):
            credentials(webhook_secrets=secrets)
    with pytest.raises(ValidationError):
        credentials(secret_key="")
    with pytest.raises(ValidationError):
        credentials(webhook_secret="whsec_1")
    assert "do_not_show" not in repr(credentials())
