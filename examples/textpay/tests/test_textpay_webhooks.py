"""TextPay's webhooks: what its signature proves, and what each of its charges means.

The golden delivery is signed with this file's own code: a check with the gateway's would prove that it agrees with
itself.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from pydantic import SecretStr

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import GatewayMisconfigured, WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery, Surroundings
from qirsh.money import Money
from qirsh_textpay import Credentials, TextPay

GOLDEN: Final = json.loads((Path(__file__).parent / "golden" / "charge_refunded.json").read_text("utf-8"))
SECRET: Final[str] = GOLDEN["credentials"]["webhook_secret"]
HEADERS: Final = {name.lower(): text for name, text in GOLDEN["headers"].items()}
BODY: Final[str] = GOLDEN["body"]
CHARGE: Final[dict[str, Any]] = json.loads(BODY)["charge"]
SIGNED_AT: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
DRAFT: Final = UUID("01990000-0000-7000-8000-000000000001")
OUR_REFUND: Final = UUID("01990000-0000-7000-8000-000000000002")


def a_textpay(*, now: datetime = SIGNED_AT, **changes: Any) -> TextPay:
    """A gateway whose clock stands still."""
    keys = {"api_key": SecretStr("key"), "webhook_secret": SecretStr(SECRET), "live": False, **changes}
    return TextPay(Credentials(**keys), Surroundings("https://pay.example", dev=False, now=lambda: now))


def delivery(body: str | bytes = BODY, headers: Mapping[str, str] = HEADERS) -> Delivery:
    """A delivery as it comes off the wire."""
    return Delivery(body if isinstance(body, bytes) else body.encode(), headers, {})


def signed(body: str | bytes, *, secret: str = SECRET, at: datetime = SIGNED_AT) -> Delivery:
    """A delivery that TextPay signed."""
    raw, time = body if isinstance(body, bytes) else body.encode(), str(int(at.timestamp()))
    signature = hmac.new(secret.encode(), time.encode() + b"." + raw, hashlib.sha256).hexdigest()
    return delivery(raw, {"textpay-signature": f"t={time},v1={signature}"})


def an_event(kind: str = "charge.paid", *, live: bool = False, **changes: Any) -> str:
    """A webhook's body about a charge with these changes."""
    fresh = {**CHARGE, "status": "awaiting_code", "refunds": [], **changes}
    return json.dumps({"id": "ev_1", "type": kind, "live": live, "charge": fresh})


async def told(body: str) -> Sequence[GatewayEvent]:
    """What a delivery that TextPay signed says."""
    return await a_textpay().read_webhook(signed(body))


async def test_the_golden_delivery_is_read() -> None:
    """The whole story, amounts cumulative, our own refund known by its id."""
    paid, first, second = await a_textpay().read_webhook(delivery())
    assert (paid.kind, paid.amount, paid.draft_id) == (Kind.PAID, Money(30000, "EGP"), DRAFT)
    assert paid.transaction_reference_id == paid.payment_reference == CHARGE["id"]
    assert (first.kind, first.amount, first.refund_id) == (Kind.REFUNDED, Money(3000, "EGP"), OUR_REFUND)
    assert (second.kind, second.amount, second.refund_id) == (Kind.REFUNDED, Money(3000, "EGP"), None)


async def test_a_replay_is_judged_by_when_the_delivery_came() -> None:
    """An operator takes it once more weeks later: it was fresh then, or it never was."""
    textpay = a_textpay(now=SIGNED_AT + timedelta(days=30))
    assert await textpay.read_webhook(replace(signed(BODY), received_at=SIGNED_AT + timedelta(minutes=5)))
    with pytest.raises(WebhookNotAuthentic):
        await textpay.read_webhook(replace(signed(BODY), received_at=SIGNED_AT + timedelta(minutes=6)))


async def test_every_flipped_bit_of_the_body_is_refused() -> None:
    """The signature covers all of it."""
    raw = BODY.encode()
    for place in range(len(raw)):
        forged = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        with pytest.raises(WebhookNotAuthentic):
            await a_textpay().read_webhook(delivery(forged))


async def test_every_flipped_bit_of_the_header_is_refused() -> None:
    """The time is signed, and the signature is read in one way only."""
    header = HEADERS["textpay-signature"]
    for place in range(len(header)):
        for bit in (1, 32):
            forged = header[:place] + chr(ord(header[place]) ^ bit) + header[place + 1 :]
            with pytest.raises(WebhookNotAuthentic):
                await a_textpay().read_webhook(delivery(headers={"textpay-signature": forged}))


@pytest.mark.parametrize("headers", [{}, {"textpay-signature": ""}, {"textpay-signature": "t=1,v1="}])
async def test_a_delivery_without_a_signature_is_refused(headers: Mapping[str, str]) -> None:
    """Anybody can leave a header out."""
    with pytest.raises(WebhookNotAuthentic):
        await a_textpay().read_webhook(delivery(headers=headers))


async def test_another_secret_is_refused() -> None:
    """Two accounts share nothing."""
    with pytest.raises(WebhookNotAuthentic):
        await a_textpay().read_webhook(signed(BODY, secret="another"))


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_a_recorded_delivery_is_refused_once_it_is_old(seconds: int) -> None:
    """Each attempt is signed anew, so an old signature is somebody's copy."""
    with pytest.raises(WebhookNotAuthentic):
        await a_textpay(now=SIGNED_AT + timedelta(seconds=seconds)).read_webhook(delivery())
    assert await a_textpay(now=SIGNED_AT + timedelta(seconds=seconds // 2)).read_webhook(delivery())


async def test_money_of_the_other_environment_is_refused() -> None:
    """Test money that completed a live order would be goods for nothing."""
    with pytest.raises(WebhookNotAuthentic):
        await a_textpay(live=True).read_webhook(delivery())
    with pytest.raises(WebhookNotAuthentic):
        await told(an_event(live=True, status="paid"))
    with pytest.raises(WebhookNotAuthentic):
        await told(an_event(status="paid").replace('"live": false', '"live": true', 1))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 50_000, b"{}", an_event(amount=300.0).encode(), an_event(currency="USD").encode()],
    ids=["empty", "cut", "no text", "deep", "nothing", "a float", "another currency"],
)
async def test_a_signed_body_that_cannot_be_read_is_malformed(body: bytes) -> None:
    """TextPay has changed its form: it hears of it, and nothing is guessed."""
    with pytest.raises(WebhookMalformed):
        await a_textpay().read_webhook(signed(body))


async def test_an_event_of_another_kind_says_nothing() -> None:
    """TextPay may tell of payouts one day, with a paid charge inside."""
    assert not await told(an_event("charge.settled", status="paid"))


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("locked", Kind.FAILED, DeclineCode.AUTHENTICATION_FAILED),
        ("expired", Kind.FAILED, DeclineCode.EXPIRED),
        ("cancelled", Kind.FAILED, DeclineCode.CANCELLED_BY_PAYER),
    ],
)
async def test_an_end_is_told_as_an_end(status: str, kind: Kind, reason: DeclineCode) -> None:
    """Only an explicit end is `failed`."""
    (event,) = await told(an_event("charge.ended", status=status))
    assert (event.kind, event.reason, event.amount) == (kind, reason, None)


@pytest.mark.parametrize("status", ["processing", "approved", "Paid", ""])
async def test_a_status_that_is_no_explicit_success_is_no_payment(status: str) -> None:
    """A word that we do not know proves nothing."""
    assert not await told(an_event("charge.paid", status=status))


async def test_a_decline_that_can_be_tried_again_is_not_the_end() -> None:
    """The payer fills the wallet, and types the code again."""
    (event,) = await told(an_event("charge.declined", declines=["wrong_code", "insufficient_funds"]))
    assert (event.kind, event.reason) == (Kind.DECLINED, DeclineCode.INSUFFICIENT_FUNDS)


async def test_the_same_fact_has_one_id_and_another_fact_another() -> None:
    """Redeliveries are known by it, and two declines must not pass for one."""
    first = await told(an_event("charge.declined", declines=["wrong_code"]))
    again = await told(an_event("charge.declined", declines=["wrong_code"]))
    second = await told(an_event("charge.declined", declines=["wrong_code", "wrong_code"]))
    assert first[0].event_id == again[0].event_id != second[0].event_id
    story = [event.event_id for event in await a_textpay().read_webhook(delivery())]
    assert len(set(story)) == len(story)


def test_the_key_is_not_sent_in_clear() -> None:
    """Only `qirsh dev` talks to a sandbox without https."""
    with pytest.raises(GatewayMisconfigured, match=r"textpay\.base_url"):
        a_textpay(base_url="http://api.textpay.example")


def test_no_secret_is_in_a_repr() -> None:
    """Reprs end in logs."""
    credentials = Credentials(api_key=SecretStr("k-e-y"), webhook_secret=SecretStr("s-e-c"))
    shown = f"{credentials!r} {a_textpay(api_key=SecretStr('k-e-y'))!r} {delivery()!r}"
    assert "k-e-y" not in shown
    assert "s-e-c" not in shown
    assert HEADERS["textpay-signature"] not in shown
