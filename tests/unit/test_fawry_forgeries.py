"""What one signature of Fawry's must not be made to say: its values are joined without anything in between.

A payer sees the signature on the browser's way back, made with the same key over values that end in the e-mail address
that he wrote himself. Read as a notification, cut in other places, it must say nothing else than Fawry did.
"""

import hashlib
import json
from typing import Any

import pytest

from qirsh.draft import GatewayEvent, Kind
from qirsh.errors import WebhookNotAuthentic
from qirsh.gateways.fawry.notifications import read_notification
from qirsh.gateways.references import draft_id_of

KEY = "the secure key"
OWN = "01990000-0000-7000-8000-000000000001"
VICTIM = "01990000-0000-7000-8000-000000000002"


def signed_way_back(mail: str, status: str = "CANCELED") -> tuple[str, str]:
    """What Fawry signs of an order that nobody paid, as its page on the browser's way back says; with the signature."""
    text = f"931215518{OWN}300.00300.00{status}CARD0.000.00{mail}01012345678"
    return text, hashlib.sha256(f"{text}{KEY}".encode()).hexdigest()


def notification(signature: str, **fields: Any) -> bytes:
    """A notification with this signature."""
    return json.dumps({"paymentMethod": "PAYATFAWRY", "messageSignature": signature, **fields}).encode()


def test_a_payers_e_mail_address_pays_for_nobody() -> None:
    """Everything before the victim's id would be Fawry's number, and everything after it Fawry's own words."""
    text, signature = signed_way_back(f"{VICTIM}300.00300.00PAIDPAYATFAWRY@x.io")
    before, _, after = text.partition(VICTIM)
    assert after.startswith("300.00300.00PAIDPAYATFAWRY")
    body = notification(
        signature,
        fawryRefNumber=before,
        merchantRefNumber=VICTIM,
        paymentAmount=300.00,
        orderAmount=300.00,
        orderStatus="PAID",
        paymentRefrenceNumber=after.removeprefix("300.00300.00PAIDPAYATFAWRY"),
    )
    with pytest.raises(WebhookNotAuthentic):
        read_notification(body, KEY)


@pytest.mark.parametrize("reference", [f"{OWN}300.00300.00CANCELEDCARD0.000.00{VICTIM}", f"{OWN}~2300.00", "order-17"])
def test_a_reference_that_swallows_what_follows_is_not_ours(reference: str) -> None:
    """A suffix of any length would take the amounts and the status that Fawry signed into itself."""
    assert draft_id_of(reference) is None


def test_a_suffix_takes_one_digit_and_no_more() -> None:
    """As long as the registrations that a draft may have."""
    assert str(draft_id_of(f"{OWN}~2")) == OWN
    for wrong in ("~", "~0", "~10", "~2 ", "~2\n", "~two"):
        assert draft_id_of(OWN + wrong) is None, wrong


def test_the_same_signature_read_as_it_was_meant_says_what_fawry_said() -> None:
    """So that the refusals above prove something: cut in its own places it is authentic, and no payment."""
    text, signature = signed_way_back("payer@x.io", "UNPAID")
    rest = text.removeprefix(f"931215518{OWN}300.00300.00UNPAID")
    body = notification(
        signature,
        fawryRefNumber="931215518",
        merchantRefNumber=OWN,
        paymentAmount=300.00,
        orderAmount=300.00,
        orderStatus="UNPAID",
        paymentMethod=rest,
    )
    said = read_notification(body, KEY)
    assert not [fact for fact in said if isinstance(fact, GatewayEvent) and fact.kind is Kind.PAID]
