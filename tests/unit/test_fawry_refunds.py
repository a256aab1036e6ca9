"""Money that Fawry gives back, and what kind of account it is: its profile and its credentials."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from unit_fawry import KEY, MERCHANT, NUMBER, REFUND, draft_of, fawry, gateway_of
from unit_psp import closed_port, hang, psp, reset_after_reading
from unit_support import SURROUNDINGS

from qirsh.draft import Kind, PaymentDraft, State
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import Cancels, Captures, RefundOrder, deadline
from qirsh.gateways.fawry import Credentials, Fawry
from qirsh.gateways.fawry.codes import DECLINES
from qirsh.gateways.fawry.signing import refund_signature
from qirsh.methods import Method
from qirsh.money import Money

REFUND_ID = UUID("01990000-0000-7000-8000-00000000000a")
DONE = {"type": "ResponseDataModel", "statusCode": 200, "statusDescription": "Operation done successfully"}


def paid(**changes: Any) -> PaymentDraft:
    """A completed draft; what a refund needs is the number it was paid under."""
    known = {"state": State.COMPLETED, "transaction_reference_id": "other", "payment_reference": NUMBER}
    return draft_of(**{**known, **changes})


async def test_some_of_a_payment_is_given_back() -> None:
    """Under the number of Fawry's, which a hosted checkout has only once it is paid; the total is cumulative."""
    async with fawry() as (fake, gateway):
        fake.answers[REFUND] = [(200, DONE)]
        order = RefundOrder(REFUND_ID, paid(refunded_minor=1000), 36250, "Item not as described")
        (event,) = await gateway.refund(order, key="k")
    body = fake.asked[0].json
    assert body == {
        "merchantCode": MERCHANT,
        "referenceNumber": NUMBER,
        "refundAmount": "362.50",
        "reason": "Item not as described",
        "signature": refund_signature(body, KEY),
    }
    assert (event.kind, event.amount, event.refund_id) == (Kind.REFUNDED, Money(37250, "EGP"), REFUND_ID)
    assert event.payment_reference == NUMBER


async def test_a_refund_without_a_reason_signs_none() -> None:
    """An absent value is empty in the signature."""
    async with fawry() as (fake, gateway):
        fake.answers[REFUND] = [(200, DONE)]
        await gateway.refund(RefundOrder(REFUND_ID, paid(), 100), key="k")
    assert "reason" not in fake.asked[0].json


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"statusCode": 9935}), GatewayRejected),
        ((200, {"statusCode": 9938}), GatewayRejected),
        ((200, {"statusCode": 9954}), GatewayRejected),
        ((400, {"statusCode": 9935}), GatewayRejected),
        ((200, {"statusCode": 9946}), GatewayMisconfigured),
        ((200, {"statusCode": 500}), GatewayOutcomeUnknown),
        ((200, {}), GatewayProtocolError),
        ((200, b"ok"), GatewayProtocolError),
        ((503, {}), GatewayOutcomeUnknown),
    ],
)
async def test_only_an_explicit_success_gives_back(answer: tuple[int, Any], error: type[GatewayError]) -> None:
    """Fawry knows no key for refunds: what is doubted is looked at by a person."""
    async with fawry() as (fake, gateway):
        fake.answers[REFUND] = [answer]
        with pytest.raises(error) as raised:
            await gateway.refund(RefundOrder(REFUND_ID, paid(), 100), key="k")
    assert type(raised.value) is error
    if isinstance(raised.value, GatewayRejected):
        assert raised.value.psp_code == str(answer[1]["statusCode"])


async def test_a_draft_without_a_payment_is_not_asked_about() -> None:
    """Any other number may be anybody's."""
    async with fawry() as (fake, gateway):
        with pytest.raises(GatewayUnavailable):
            await gateway.refund(RefundOrder(REFUND_ID, paid(payment_reference=None), 100), key="k")
    assert not fake.asked


@pytest.mark.parametrize("behaviour", [hang, reset_after_reading])
async def test_a_lost_answer_leaves_the_outcome_unknown(behaviour: Any) -> None:
    """For a refund as for a charge."""
    async with psp(behaviour) as url:
        gateway = gateway_of(base_url=url)
        for call in (
            lambda: gateway.refund(RefundOrder(REFUND_ID, paid(), 100), key="k"),
            lambda: gateway.register(draft_of(), key="k"),
            lambda: gateway.register(draft_of(Method.CARD), key="k"),
        ):
            with pytest.raises(GatewayOutcomeUnknown), deadline(0.3):
                await call()
        await gateway.aclose()


async def test_nothing_was_sent_where_nobody_listens() -> None:
    """So another gateway may be tried."""
    with closed_port() as url:
        gateway = gateway_of(base_url=url)
        with pytest.raises(GatewayUnavailable):
            await gateway.register(draft_of(), key="k")
        await gateway.aclose()


def test_the_profile_says_what_fawry_can() -> None:
    """What the core must know without calling."""
    gateway = gateway_of()
    profile = gateway.profile
    assert isinstance(gateway, Cancels)
    assert not isinstance(gateway, Captures)
    assert profile.currencies == {"EGP"}
    assert profile.methods == {
        *(Method.FAWRY, Method.WALLET_QR, Method.MOBILE_WALLET, Method.VODAFONE_CASH, Method.CARD)
    }
    assert (profile.found_by, profile.partial_refunds, profile.shows_refunds) == ("merchant_reference", True, False)
    assert not profile.idempotent_for


@pytest.mark.parametrize(
    "keys",
    [
        {"merchant_code": ""},
        {"security_key": ""},
        {"wallet_charge_path": "ECommerceWeb"},
        {"wallet_charge_path": "/a b"},
        {"merchant": "x"},
    ],
)
def test_credentials_that_cannot_work_are_refused(keys: dict[str, str]) -> None:
    """An empty key would let anyone sign."""
    with pytest.raises(ValidationError):
        Credentials.model_validate({"merchant_code": "m", "security_key": "k", **keys})


@pytest.mark.parametrize(("url", "dev"), [("http://x", False), ("ftp://x", True), ("x", True), ("", False)])
def test_plain_http_is_for_development(url: str, *, dev: bool) -> None:
    """Signatures can be replayed by whoever sees them."""
    keys = Credentials.model_validate({"merchant_code": "m", "security_key": "k", "base_url": url})
    with pytest.raises(GatewayMisconfigured, match=r"fawry\.base_url"):
        Fawry(keys, replace(SURROUNDINGS, dev=dev))


def test_every_code_of_the_documentation_has_a_word() -> None:
    """https://developer.fawrystaging.com, "Error codes", without those of the account and of look-ups."""
    listed = {
        *(99901, 99903, 99904, 99905, 99906, 99907, 99908, 99910, 99912, 99913, 99914, 99915, 99922, 99930, 99931),
        *(99934, 99937, 99939, 99941, 99942, 99943, 99949, 99951, 99954, 99955, 99956, 99957, 99958, 99959, 99961),
        *(99962, 99963, 99965, 99967, 99970, 99971, 99975, *range(99976, 99982), 99984, 99985, 99986, 99987, 99988),
        *(99989, 99991, 99992, 99994, 99996, 10045, 21004, 21010, 55006),
    }
    assert {int(code) for code in DECLINES} == listed
    assert "9954" not in DECLINES, "an order that is not paid is no expired card"
