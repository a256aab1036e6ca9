"""Paymob's refunds: what is asked for, what each answer says, and the totals that look-ups tell."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import pytest
from unit_drafts import draft_in
from unit_psp import closed_port, psp, read_request
from unit_support import SURROUNDINGS

from qirsh.draft import Kind, PaymentDraft, State
from qirsh.errors import GatewayError, GatewayOutcomeUnknown, GatewayProtocolError, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import RefundOrder
from qirsh.gateways.paymob import Credentials, Paymob
from qirsh.methods import Method
from qirsh.money import Money

GIVE_BACK: Final = "/api/acceptance/void_refund/refund"
OURS: Final = UUID("01990000-0000-7000-8000-00000000000a")
API_KEY: Final = "api_key_do_not_show"
SECRET: Final = "egy_sk_do_not_show"
TOKEN: Final = "token_do_not_show"
TOO_MUCH: Final = (
    "Requested Refund Amount is greater than the maximum refund amount permissible. Maximum Refund Amount is EGP 100.0"
)
Answer = tuple[int, Any]
Seen = list[tuple[str, bytes, Any]]


@asynccontextmanager
async def paymob(answers: Mapping[str, Answer], flow: str = "accept") -> AsyncIterator[tuple[Paymob, Seen]]:
    """A Paymob that answers by the path, and what it was asked: path, head, body. Status 0 hangs up."""
    seen: Seen = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        seen.append((path, head, json.loads(body) if body else None))
        status, said = answers.get(path, (404, {"detail": "Not found."}))
        if path == "/api/auth/tokens":
            status, said = 201, {"token": TOKEN, "profile": {"user": {"id": 7}}}
        if status == 0:
            return
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(raw), raw))
        await writer.drain()

    async with psp(behave) as url:
        gateway = Paymob(keys(url, flow), SURROUNDINGS)
        try:
            yield gateway, seen
        finally:
            await gateway.aclose()


def keys(url: str, flow: str = "accept") -> Credentials:
    """Credentials of every method, for this flow."""
    ids = {"card_integration_id": 1, "iframe_id": 2, "wallet_integration_id": 3, "kiosk_integration_id": 4}
    secrets = {"api_key": API_KEY, "secret_key": SECRET, "public_key": "egy_pk_1", "hmac_secret": "h"}
    return Credentials.model_validate({**ids, **secrets, "flow": flow, "base_url": url})


def paid(refunded_minor: int = 0, **changes: Any) -> PaymentDraft:
    """A draft of EGP 300.00 that transaction 574588 of order 690898 paid, with this much given back."""
    state = State.PARTIALLY_REFUNDED if refunded_minor else State.COMPLETED
    ids = {"transaction_reference_id": "690898", "payment_reference": "574588"}
    return draft_in(state, **{**ids, "refunded_minor": refunded_minor, **changes})


def asked(amount_minor: int = 1000, draft: PaymentDraft | None = None) -> RefundOrder:
    """A refund of that much."""
    return RefundOrder(OURS, draft or paid(), amount_minor, "Wrong size")


def child(**changes: Any) -> dict[str, Any]:
    """The refund that Paymob's page shows as an answer: a transaction of its own under the payment's."""
    shown = {
        "id": 579305,
        "pending": False,
        "amount_cents": 1000,
        "success": True,
        "is_refund": True,
        "is_refunded": False,
        "is_void": False,
        "has_parent_transaction": True,
        "parent_transaction": 574588,
        "integration_id": 158,
        "order": {"id": 690898},
        "currency": "EGP",
        "source_data": {"type": "card", "pan": "2346", "sub_type": "MasterCard", "tenure": None},
        "data": {"klass": "MigsPayment", "txn_response_code": "APPROVED", "message": "Approved"},
        "error_occured": False,
        "owner": 211,
    }
    return {**shown, **changes}


def payment(**changes: Any) -> dict[str, Any]:
    """The transaction that paid."""
    more = {"is_refund": False, "has_parent_transaction": False, "parent_transaction": None, "amount_cents": 30_000}
    return child(**{"id": 574588, **more, **changes})


async def refund(said: Answer, of: RefundOrder | None = None) -> list[Any]:
    """What a refund reports when Paymob answers so."""
    async with paymob({GIVE_BACK: said}) as (gateway, _):
        return list(await gateway.refund(of or asked(), key="k"))


@pytest.mark.parametrize(("flow", "authority"), [("accept", f"Bearer {TOKEN}"), ("intention", f"Token {SECRET}")])
async def test_a_refund_names_the_transaction_and_the_amount(flow: str, authority: str) -> None:
    """With the authority that the flow takes payments with."""
    async with paymob({GIVE_BACK: (200, child())}, flow) as (gateway, seen):
        (event,) = await gateway.refund(asked(draft=paid(500)), key="k")
    path, head, body = seen[-1]
    assert (path, body) == (GIVE_BACK, {"transaction_id": 574588, "amount_cents": 1000})
    assert f"Authorization: {authority}\r\n".encode() in head
    assert (event.kind, event.amount, event.refund_id) == (Kind.REFUNDED, Money(1500, "EGP"), OURS)
    assert (event.payment_reference, event.transaction_reference_id) == ("574588", "690898")


async def test_the_same_row_sends_the_same_bytes_once_a_call() -> None:
    """Paymob knows no key, so one call is one request, whatever comes of it."""
    async with paymob({GIVE_BACK: (200, child())}) as (gateway, seen):
        for key in ("k", "another"):
            await gateway.refund(asked(), key=key)
    first, second = [body for path, _, body in seen if path == GIVE_BACK]
    assert json.dumps(first) == json.dumps(second)


async def test_what_paymob_can_give_back_is_in_the_profile() -> None:
    """Parts, and no kiosk's cash; a doubt is settled by comparing totals, never by sending again."""
    async with paymob({}) as (gateway, _):
        profile = gateway.profile
    assert (profile.partial_refunds, profile.unrefundable, profile.shows_refunds) == (
        True,
        frozenset({Method.KIOSK}),
        True,
    )
    assert "refund" not in profile.idempotent_for


@pytest.mark.parametrize("reference", [None, "", "order-1", "\u0661\u0662"])
async def test_without_a_transaction_nothing_is_sent(reference: str | None) -> None:
    """There is nothing that Paymob could give back from."""
    async with paymob({}) as (gateway, seen):
        with pytest.raises(GatewayRejected, match="dashboard"):
            await gateway.refund(asked(draft=paid(payment_reference=reference)), key="k")
    assert seen == []


async def test_a_pending_refund_says_nothing() -> None:
    """Look-ups will tell."""
    assert await refund((200, child(pending=True, success=False))) == []


async def test_a_refund_that_came_to_nothing_leaves_the_total() -> None:
    """Paymob took it, as a transaction of its own, and the bank did not."""
    failed = child(success=False, data={"txn_response_code": "DECLINED"})
    (event,) = await refund((200, failed), asked(draft=paid(500)))
    assert (event.kind, event.amount, event.refund_id) == (Kind.REFUND_FAILED, Money(500, "EGP"), OURS)
    assert event.psp_code == "DECLINED"


@pytest.mark.parametrize(
    "said",
    [
        payment(is_refunded=True, refunded_amount_cents=1000),
        child(amount_cents=30_000),
        child(parent_transaction=574589),
        child(error_occured=True),
        {key: value for key, value in child().items() if key != "success"},
        {},
        [],
        b"<html>",
    ],
    ids=["the payment", "another amount", "another parent", "done and failed", "no success", "empty", "list", "html"],
)
async def test_an_answer_that_is_not_this_refund_done_is_a_doubt(said: Any) -> None:
    """The payment's own `success` is true whatever became of the refund; the total will tell."""
    with pytest.raises(GatewayProtocolError):
        await refund((200, said))


@pytest.mark.parametrize("said", [(0, None), (408, {}), (409, {}), (500, {}), (502, b"<html>"), (302, b"")], ids=str)
@pytest.mark.parametrize("flow", ["accept", "intention"])
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_again(said: Answer, flow: str) -> None:
    """A second request would give back twice."""
    async with paymob({GIVE_BACK: said}, flow) as (gateway, seen):
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.refund(asked(), key="k")
    assert [path for path, _, _ in seen].count(GIVE_BACK) == 1


async def test_the_payment_itself_is_no_answer_to_a_whole_refund() -> None:
    """Its amount is the refund's, and its success was the payment's."""
    with pytest.raises(GatewayProtocolError):
        await refund((200, payment()), asked(30_000))


async def test_a_paymob_that_is_not_there_was_sent_nothing() -> None:
    """So the refund may simply be tried again."""
    with closed_port() as url:
        gateway = Paymob(keys(url, "intention"), SURROUNDINGS)
        with pytest.raises(GatewayUnavailable):
            await gateway.refund(asked(), key="k")
        await gateway.aclose()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ((400, {"message": TOO_MUCH}), "reconcile the draft"),
        ((404, {"detail": "Not found."}), r"check that paymob\.api_key"),
        ((400, {"message": "This transaction has nothing to give back"}), "Paymob's dashboard"),
        ((422, b"<html>"), "Paymob's dashboard"),
    ],
)
async def test_a_refusal_says_what_to_do(said: Answer, advice: str) -> None:
    """In our words: Paymob's are a body, which may hold anything."""
    with pytest.raises(GatewayRejected, match=advice) as caught:
        await refund(said)
    assert caught.value.psp_code == str(said[0])
    assert "EGP 100.0" not in caught.value.detail


async def test_errors_show_no_secret() -> None:
    """Their texts reach logs and operators."""
    leaks = {"detail": f"{API_KEY} {SECRET} {TOKEN}"}
    for flow in ("accept", "intention"):
        for status in (200, 400, 401, 404, 500):
            async with paymob({GIVE_BACK: (status, leaks)}, flow) as (gateway, _):
                with pytest.raises(GatewayError) as caught:
                    await gateway.refund(asked(), key="k")
            shown = (
                f"{caught.value!r} {caught.value} {caught.value.args} {caught.value.detail} {caught.value.__cause__}"
            )
            assert not any(secret in shown for secret in (API_KEY, SECRET, TOKEN))


async def test_a_look_up_tells_the_total_behind_a_newer_child() -> None:
    """A dashboard refund of 25.00 beside ours of 10.00: the inquiry shows the newest child, its parent the sum."""
    answers = {
        "/api/ecommerce/orders/transaction_inquiry": (200, child(id=579306, amount_cents=2500)),
        "/api/acceptance/transactions/574588": (200, payment(is_refunded=True, refunded_amount_cents=3500)),
    }
    async with paymob(answers) as (gateway, _):
        found = await gateway.lookup(paid(1000))
    assert [(event.kind, event.amount) for event in found.events] == [
        (Kind.PAID, Money(30_000, "EGP")),
        (Kind.REFUNDED, Money(3500, "EGP")),
    ]
    assert {event.payment_reference for event in found.events} == {"574588"}


@pytest.mark.parametrize("other", [{"pending": True, "success": False}, {"success": False}])
async def test_a_refund_that_is_pending_or_failed_raises_no_total(other: dict[str, Any]) -> None:
    """Only the payment's own sum counts."""
    answers = {
        "/api/ecommerce/orders/transaction_inquiry": (200, child(**other)),
        "/api/acceptance/transactions/574588": (200, payment(refunded_amount_cents=0)),
    }
    async with paymob(answers) as (gateway, _):
        found = await gateway.lookup(paid())
    assert [event.kind for event in found.events] == [Kind.PAID]
