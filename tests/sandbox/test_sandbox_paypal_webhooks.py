"""The fake PayPal's webhooks: certificates, signatures, faults, and what survives a restart."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from sandbox_bench import until
from sandbox_paypal_bench import CAPTURES, ORDERS, PAYPAL, Event, PaypalShop, basic, issue_of, paypal_shop

from qirsh_sandbox.paypal_certs import KEY_FILE, TRUST_FILE, open_certificates

APPROVED = "CHECKOUT.ORDER.APPROVED"
PAID = "PAYMENT.CAPTURE.COMPLETED"
POSTBACK = "/v1/notifications/verify-webhook-signature"


async def test_every_event_is_signed_over_its_bytes(tmp_path: Path) -> None:
    """Verified with public tools only: chain to the trust file, name, and RSA over the CRC of the raw body."""
    async with paypal_shop(tmp_path) as shop:
        await shop.paid(description="قميص {}")
        for event in await shop.told(APPROVED, PAID):
            assert await shop.is_authentic(event)
            assert not await shop.is_authentic(event, "OTHER-WEBHOOK")
            assert not await shop.is_authentic(Event(event.headers, event.raw + b" "))
            assert not await shop.is_authentic(Event(event.headers, json.dumps(event.body).encode()))
            assert event.headers["PAYPAL-AUTH-VERSION"] == "v2"
            assert event.headers["User-Agent"].startswith("PayPal/")
            assert list(event.body)[:4] == ["id", "event_version", "create_time", "resource_type"]
            assert event.headers["PAYPAL-CERT-URL"].startswith(f"{shop.base}/v1/notifications/certs/CERT-360caa42-")


async def test_the_certificate_is_the_leaf_alone_and_may_be_kept_a_day(tmp_path: Path) -> None:
    """As at PayPal: who has no intermediate cannot verify. The sandbox's clock never outruns it by a single step."""
    async with paypal_shop(tmp_path) as shop:
        await shop.approved()
        (event,) = await shop.told(APPROVED)
        served = await shop.call("GET", event.headers["PAYPAL-CERT-URL"])
        assert served.headers["Cache-Control"] == "public, max-age=86400"
        assert served.headers["Content-Type"].startswith("application/x-pem-file")
        (leaf,) = x509.load_pem_x509_certificates(served.body.encode())
        assert "messageverificationcerts.sandbox.paypal.com" in leaf.subject.rfc4514_string()
        assert leaf.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3649)
        assert issue_of(await shop.call("GET", "/v1/notifications/certs/CERT-1")) == (404, "INVALID_RESOURCE_ID")


def test_the_certificates_are_made_once(tmp_path: Path) -> None:
    """One private file holds all; the trust file is written again when it is lost, and has no key in it."""
    first = open_certificates(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    trusted = (tmp_path / TRUST_FILE).read_bytes()
    assert b"PRIVATE" not in trusted
    assert len(x509.load_pem_x509_certificates(trusted)) == 2
    (tmp_path / TRUST_FILE).unlink()
    again = open_certificates(tmp_path)
    assert (again.leaf, again.name) == (first.leaf, first.name)
    assert (tmp_path / TRUST_FILE).read_bytes() == trusted
    assert sorted(path.name for path in tmp_path.iterdir()) == [TRUST_FILE, KEY_FILE]


async def _post_back(shop: PaypalShop, event: Event, raw: bytes | None = None, **changes: str) -> Any:
    """Ask PayPal about a webhook, with the event's own text spliced in."""
    headers = {name.lower(): value for name, value in event.headers.items()}
    names = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time")
    question = {name: headers[f"paypal-{name.replace('_', '-')}"] for name in names}
    question |= {"webhook_id": PAYPAL.webhook_id, **changes}
    body = json.dumps(question).encode()[:-1] + b', "webhook_event": ' + (raw or event.raw) + b"}"
    answer = await shop.send(POSTBACK, body)
    assert answer.status == 200, answer
    return answer.body["verification_status"]


async def test_the_postback_judges_the_raw_text(tmp_path: Path) -> None:
    """Parsing and writing the event again is the classic mistake: it fails here as at PayPal."""
    async with paypal_shop(tmp_path) as shop:
        await shop.approved(description="قميص")
        (event,) = await shop.told(APPROVED)
        assert await _post_back(shop, event) == "SUCCESS"
        assert await _post_back(shop, event, json.dumps(event.body).encode()) == "FAILURE"
        assert await _post_back(shop, event, webhook_id="OTHER") == "FAILURE"
        assert await _post_back(shop, event, transmission_sig="bm8=") == "FAILURE"
        assert await _post_back(shop, event, transmission_sig="no base64") == "FAILURE"
        assert await _post_back(shop, event, auth_algo="SHA1withRSA") == "FAILURE"
        assert await _post_back(shop, event, cert_url="https://evil.example/cert") == "FAILURE"
        assert issue_of(await shop.send(POSTBACK, {})) == (400, "MALFORMED_REQUEST_JSON")
        shop.token = "wrong"
        assert (await shop.send(POSTBACK, {})).status == 401


async def test_webhooks_are_dropped_doubled_and_spoilt(tmp_path: Path) -> None:
    """One fault, one webhook; the wrong amount is signed like the right one, the corrupt signature fits nothing."""
    async with paypal_shop(tmp_path) as shop:
        for kind in ("drop", "duplicate", "corrupt_signature", "wrong_amount"):
            await shop.fault("webhook", kind)
        for number in range(4):
            await shop.approved(f"draft-{number}")
        await until(lambda: len(shop.events) >= 4)
        by_reference: dict[str, list[Event]] = {}
        for event in shop.events:
            by_reference.setdefault(event.resource["purchase_units"][0]["custom_id"], []).append(event)
        assert "draft-0" not in by_reference
        first, second = by_reference["draft-1"]
        assert first.raw == second.raw
        assert first.headers["PAYPAL-TRANSMISSION-ID"] != second.headers["PAYPAL-TRANSMISSION-ID"]
        assert [await shop.is_authentic(event) for event in (first, second)] == [True, True]
        assert not await shop.is_authentic(by_reference["draft-2"][0])
        (wrong,) = by_reference["draft-3"]
        assert await shop.is_authentic(wrong)
        assert wrong.resource["purchase_units"][0]["amount"]["value"] == "10.01"


@pytest.mark.parametrize(
    ("value", "currency", "wrong"), [("10.00", "USD", "10.01"), ("5", "JPY", "6"), ("5", "HUF", "6")]
)
async def test_a_wrong_amount_is_one_that_paypal_could_write(
    tmp_path: Path, value: str, currency: str, wrong: str
) -> None:
    """The smallest amount more, in a capture's event as in a refund's."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved(value=value, currency=currency)
        await shop.fault("webhook", "wrong_amount", times=2)
        await shop.capture(order_id)
        await shop.act("refund")
        *_, captured, refunded = await shop.told(APPROVED, PAID, "PAYMENT.CAPTURE.REFUNDED")
        assert [event.resource["amount"]["value"] for event in (captured, refunded)] == [wrong, wrong]


async def test_each_operation_has_its_faults(tmp_path: Path) -> None:
    """The answer is lost, the work is done, and the same id asks for it again; a plain error did nothing."""
    async with paypal_shop(tmp_path) as shop:
        await shop.fault("register", "error_after_accept", status=503)
        assert (await shop.create()).status == 503
        order_id = (await shop.create()).body["id"]
        assert [row["registered"] for row in await shop.ledger()] == [1]
        await shop.act("pay")
        await shop.fault("capture", "reset_after_accept")
        with pytest.raises(aiohttp.ClientError):
            await shop.capture(order_id)
        again = await shop.capture(order_id)
        assert again.status == 200
        capture_id = again.body["purchase_units"][0]["payments"]["captures"][0]["id"]
        await shop.fault("refund", "error_after_accept")
        assert (await shop.refund(capture_id, {}, "once")).status == 500
        assert (await shop.refund(capture_id, {}, "once")).status == 200
        assert [row["refunded_minor"] for row in await shop.ledger()] == [1000]
        await shop.fault("lookup", "rate_limit", times=3)
        for path in (f"{ORDERS}/{order_id}", f"{CAPTURES}/{capture_id}", "/v2/payments/refunds/X"):
            assert (await shop.get(path)).status == 429
        await shop.fault("token", "html")
        assert (await shop.ask_token(basic())).status == 502
        *_, event = await shop.told(APPROVED, PAID, "PAYMENT.CAPTURE.REFUNDED")
        await shop.fault("verify", "error", times=2)
        assert (await shop.call("GET", event.headers["PAYPAL-CERT-URL"])).status == 500
        assert (await shop.send(POSTBACK, {})).status == 500


async def test_an_approval_that_expires_is_told_of(tmp_path: Path) -> None:
    """The event names its order in `order_id`; an order that nobody approved goes silently."""
    async with paypal_shop(tmp_path) as shop:
        await shop.create("draft-1")
        await shop.act("expire")
        order_id = await shop.approved("draft-2")
        await shop.act("expire", "draft-2")
        _, event = await shop.told(APPROVED, "CHECKOUT.PAYMENT-APPROVAL.REVERSED")
        assert (event.resource["order_id"], "id" in event.resource) == (order_id, False)
        assert event.resource["purchase_units"][0]["custom_id"] == "draft-2"
        assert [row["state"] for row in await shop.ledger()] == ["expired", "expired"]


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Token, orders, request ids, certificates, and a webhook that was still owed."""
    async with paypal_shop(tmp_path) as shop:
        order_id = await shop.approved()
        (before,) = await shop.told(APPROVED)
        await shop.fault("webhook", "delay", seconds=60)
        captured = await shop.capture(order_id)
        assert shop.sandbox is not None
        trusted = shop.config.state_file.with_name(TRUST_FILE).read_bytes()
        rows = await shop.ledger()
        await shop.stop()
        await shop.start()
        assert shop.config.state_file.with_name(TRUST_FILE).read_bytes() == trusted
        assert await shop.ledger() == rows
        assert (await shop.log_in()).body["access_token"] == shop.token
        again = await shop.capture(order_id)
        assert (again.status, again.body) == (200, captured.body)
        await shop.advance(60)
        _, after = await shop.told(APPROVED, PAID)
        # Another port, and the same certificate there.
        assert after.headers["PAYPAL-CERT-URL"].startswith(shop.base)
        assert _name(after) == _name(before)
        assert await shop.is_authentic(after)


async def test_what_was_never_sent_is_recorded_signed(tmp_path: Path) -> None:
    """The deliveries show address, headers and exact body: a judge can replay them."""
    async with paypal_shop(tmp_path) as shop:
        await shop.fault("webhook", "drop")
        await shop.approved()
        (delivery,) = await shop.deliveries()
        assert (delivery["psp"], delivery["merchant_reference"], delivery["state"]) == ("paypal", "draft-1", "dropped")
        assert delivery["url"].endswith("/hooks/paypal")
        assert await shop.is_authentic(Event(delivery["headers"], delivery["body"].encode()))


def _name(event: Event) -> str:
    return event.headers["PAYPAL-CERT-URL"].rpartition("/")[2]
