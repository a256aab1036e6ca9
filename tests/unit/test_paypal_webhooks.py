"""PayPal's webhooks: its own signatures are accepted, everything else is refused, and each event says what it says.

The deliveries in the vectors were signed by PayPal, never by us: the verifier is tried with the trust file that is
shipped, at the time when they were sent.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from unit_certificates import URL, WEBHOOK_ID, Authority, authority, leaf_of, signed
from unit_paypal import (
    CLIENT,
    GOLDEN,
    SECRET,
    Clock,
    Served,
    credentials,
    each_vector,
    gateway_at,
)
from unit_support import shared_json

from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery

LIVE, SANDBOX = "https://api-m.paypal.com", "https://api-m.sandbox.paypal.com"
SIGNED_HEADERS = (
    *("paypal-transmission-id", "paypal-transmission-time", "paypal-transmission-sig"),
    *("paypal-cert-url", "paypal-auth-algo"),
)


def delivery_of(headers: Mapping[str, str], body: str) -> Delivery:
    """A delivery as it comes off the wire. One vector names its certificate as a file: no signature covers the name."""
    sent = {name.lower(): value for name, value in headers.items()}
    if "://" not in sent["paypal-cert-url"]:
        sent["paypal-cert-url"] = URL
    return Delivery(body.encode(), sent, {})


async def is_accepted(delivery: Delivery, pem: str, *, webhook_id: str, base_url: str, at: datetime) -> bool:
    """Whether the gateway believes a delivery at this time, with this certificate at its address."""
    source = Served({delivery.headers.get("paypal-cert-url", ""): pem.encode()})
    keys = credentials(base_url, webhook_id=webhook_id)
    async with gateway_at(keys, now=Clock(at), dev=False, certificates=source) as gateway:
        try:
            await gateway.read_webhook(delivery)
        except WebhookNotAuthentic:
            return False
        return True


def sent_at(delivery: Delivery) -> datetime:
    """When PayPal signed it."""
    return datetime.fromisoformat(delivery.headers["paypal-transmission-time"]) + timedelta(seconds=30)


@pytest.mark.parametrize("vector", each_vector("vectors/paypal/webhook_signatures.json", "vectors"))
async def test_paypals_own_signatures_decide(vector: dict[str, Any]) -> None:
    """Genuine deliveries are accepted, altered ones refused, with the trust file that we ship."""
    inputs = vector["inputs"]
    pem = shared_json("vectors/paypal/webhook_certificates.json")["pem"]["leaf"][inputs["certificate"]]
    delivery = delivery_of(inputs["headers"], inputs["raw_body"])
    base_url = LIVE if "live" in inputs["certificate"] else SANDBOX
    answers = {
        url: await is_accepted(delivery, pem, webhook_id=inputs["webhook_id"], base_url=url, at=sent_at(delivery))
        for url in (LIVE, SANDBOX)
    }
    assert answers == {LIVE: False, SANDBOX: False, base_url: vector["expected"]["valid"]}


@pytest.mark.parametrize("golden", GOLDEN["deliveries"], ids=lambda golden: golden["name"])
async def test_paypals_own_deliveries_are_accepted(golden: dict[str, Any]) -> None:
    """Two copies, so that this suite proves it alone; once the certificate has expired it proves nothing any more."""
    delivery = delivery_of(golden["headers"], golden["raw_body"])
    base_url = SANDBOX if "sandbox" in golden["headers"]["PAYPAL-CERT-URL"] else LIVE
    pem, webhook_id, at = golden["certificate"], golden["webhook_id"], datetime.fromisoformat(golden["at"])
    assert await is_accepted(delivery, pem, webhook_id=webhook_id, base_url=base_url, at=at)
    later = at + timedelta(days=365)
    assert not await is_accepted(delivery, pem, webhook_id=webhook_id, base_url=base_url, at=later)
    other = f"{webhook_id}X"
    assert not await is_accepted(delivery, pem, webhook_id=other, base_url=base_url, at=at)


async def golden_gateway_accepts(delivery: Delivery) -> bool:
    """Whether the first golden delivery, changed, is still believed."""
    golden = GOLDEN["deliveries"][0]
    return await is_accepted(
        delivery, golden["certificate"], webhook_id="WEBHOOK_ID", base_url=LIVE, at=datetime(2024, 8, 2, 20, tzinfo=UTC)
    )


GENUINE = delivery_of(GOLDEN["deliveries"][0]["headers"], GOLDEN["deliveries"][0]["raw_body"])


async def test_every_flipped_byte_of_the_body_is_refused() -> None:
    """The checksum is of the raw bytes: one bit anywhere is another message."""
    golden = GOLDEN["deliveries"][0]
    source = Served({GENUINE.headers["paypal-cert-url"]: golden["certificate"].encode()})
    clock = Clock(datetime(2024, 8, 2, 20, tzinfo=UTC))
    keys = credentials(LIVE, webhook_id="WEBHOOK_ID")
    async with gateway_at(keys, now=clock, dev=False, certificates=source) as gateway:
        assert await gateway.read_webhook(GENUINE)
        for place in range(0, len(GENUINE.body), 7):
            body = bytearray(GENUINE.body)
            body[place] ^= 1
            with pytest.raises(WebhookNotAuthentic):
                await gateway.read_webhook(Delivery(bytes(body), GENUINE.headers, {}))


@pytest.mark.parametrize("header", SIGNED_HEADERS)
@pytest.mark.parametrize("value", [None, "", " ", "x", "\x00", "é", "a" * 5000])
async def test_a_header_that_is_missing_empty_or_strange_is_refused(header: str, value: str | None) -> None:
    """Each of the five is needed, and none of them is believed to be harmless."""
    headers = {name: text for name, text in GENUINE.headers.items() if name != header}
    if value is not None:
        headers[header] = value
    assert not await golden_gateway_accepts(Delivery(GENUINE.body, headers, {}))


ALGORITHMS = [
    *("none", "None", "SHA1withRSA", "MD5withRSA", "SHA512withRSA", "SHA256withECDSA", "HS256", "RS256"),
    *("sha256withrsa", "SHA256WITHRSA", " SHA256withRSA", "SHA256withRSA ", "SHA256", "SHA256withRSA/PSS"),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_no_other_algorithm_is_tried(algorithm: str) -> None:
    """The header is the sender's; an algorithm looked up by its text is the sender's choice of lock."""
    headers = {**GENUINE.headers, "paypal-auth-algo": algorithm}
    assert not await golden_gateway_accepts(Delivery(GENUINE.body, headers, {}))


async def test_a_signature_in_another_spelling_is_refused() -> None:
    """Base64 as PayPal writes it, without line ends, blanks or rubbish in between."""
    signature = GENUINE.headers["paypal-transmission-sig"]
    changed = [signature[:-1], signature + "=", signature[:40] + "!" + signature[40:], signature[4:], signature * 2]
    for one in changed:
        headers = {**GENUINE.headers, "paypal-transmission-sig": one}
        assert not await golden_gateway_accepts(Delivery(GENUINE.body, headers, {}))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of our own, to sign what PayPal never sent."""
    return authority(tmp_path_factory.mktemp("ours"))


async def facts_of(body: bytes, ours: Authority) -> Any:
    """What the gateway makes of a body that is signed as it must be."""
    leaf = leaf_of(ours)
    keys = credentials(trust_file=ours.file, webhook_id=WEBHOOK_ID)
    async with gateway_at(keys, dev=False, certificates=Served({URL: leaf.pem})) as gateway:
        return await gateway.read_webhook(signed(body, leaf))


MALFORMED = [
    *(b"", b"null", b"[]", b"{}", b"not json", b'{"id":"WH-1"}', b'{"id":"","event_type":"X"}', b"\xff"),
    *(b'{"id":"WH 1","event_type":"X"}', b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}'),
    b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"../x","status":"COMPLETED"}}',
    b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1","status":"COMPLETED"}}',
    b'{"id":"WH-1","event_type":"X","resource":' + b"[" * 100_000,
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: body[:60])
async def test_a_signed_body_that_cannot_be_read_is_malformed(body: bytes, ours: Authority) -> None:
    """Authentic and unreadable is another answer than not authentic: PayPal's own words, which we must learn."""
    with pytest.raises(WebhookMalformed):
        await facts_of(body, ours)


async def test_no_secret_shows(ours: Authority) -> None:
    """Not in a repr of the credentials, not in one of the gateway."""
    async with gateway_at(credentials(trust_file=ours.file)) as gateway:
        shown = f"{gateway!r}{vars(gateway)!r}{credentials()!r}{credentials().model_dump()!r}"
    assert SECRET not in shown
    assert CLIENT not in shown


def test_the_shipped_trust_file_is_shipped() -> None:
    """The default must exist where the package is, whatever the working directory."""
    file = credentials().trust_file
    assert file.is_absolute()
    assert Path(file).read_text().count("BEGIN CERTIFICATE") == 4
    assert credentials().model_dump()["trust_file"] == str(file)
