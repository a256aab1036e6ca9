"""What Paymob's books say, and what an answer that cannot be read must not be taken for."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from unit_drafts import draft_in
from unit_psp import read_request
from unit_support import SURROUNDINGS

from qirsh.draft import Kind, PaymentDraft, State
from qirsh.errors import GatewayOutcomeUnknown, GatewayUnavailable
from qirsh.gateways.base import Standing
from qirsh.gateways.paymob import Credentials, Paymob

OWNER = 7


def draft(**other: Any) -> PaymentDraft:
    """A draft that Paymob knows as order 55."""
    return msgspec.structs.replace(
        draft_in(State.AWAITING_USER_ACTION), gateway="paymob", transaction_reference_id="55", **other
    )


def transaction(**other: Any) -> dict[str, Any]:
    """A paid transaction of that order."""
    return {
        "id": 900,
        "amount_cents": draft().amount.amount_minor,
        "currency": draft().amount.currency,
        "success": True,
        "pending": False,
        "order": {"id": 55},
        "integration_id": 1,
        "owner": OWNER,
        **other,
    }


@asynccontextmanager
async def paymob(answers: Mapping[str, tuple[int, object]]) -> AsyncIterator[Paymob]:
    """A Paymob that answers by the end of the path, with its query or without; anything else is 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        path = bytes(request).split(b" ")[1].decode()
        status, body = next(
            (answer for end, answer in answers.items() if path.endswith(end) or path.partition("?")[0].endswith(end)),
            (404, {"detail": "Not found."}),
        )
        if path.endswith("auth/tokens"):
            status, body = 201, {"token": "t", "profile": {"user": {"id": OWNER}}}
        raw = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(raw), raw))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    keys = {"api_key": "k", "hmac_secret": "h", "wallet_integration_id": 1, "base_url": f"http://127.0.0.1:{port}"}
    gateway = Paymob(Credentials.model_validate(keys), SURROUNDINGS)
    try:
        yield gateway
    finally:
        await gateway.aclose()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "other", [{"data": None}, {"source_data": None}, {"owner": "7"}, {"owner": None}, {"created_at": 5}, {"data": []}]
)
async def test_a_paid_transaction_is_found_in_whatever_shape_its_details_are(other: dict[str, Any]) -> None:
    """Only what decides must have its type; the rest varies between captures."""
    async with paymob({"transaction_inquiry": (200, transaction(**other))}) as gateway:
        found = await gateway.lookup(draft())
    assert found.standing is Standing.CLOSED
    assert [event.kind for event in found.events] == [Kind.PAID]


@pytest.mark.parametrize(
    "answer",
    [
        (200, transaction(order=55)),
        (200, transaction(success="yes")),
        (200, transaction(amount_cents="much")),
        (200, [1]),
        (400, {"detail": "no"}),
        (422, {}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_no_answer(answer: tuple[int, object]) -> None:
    """Taken for "no such transaction", it would leave a paid order open, or send a second pay."""
    async with paymob({"transaction_inquiry": answer, "ecommerce/orders": (200, {"results": []})}) as gateway:
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(draft())


@pytest.mark.parametrize("orders", [{"results": None}, ["x"], 5, "text", {}])
async def test_a_list_of_orders_that_is_none_is_no_answer_either(orders: object) -> None:
    """The order may be in there."""
    unknown = msgspec.structs.replace(draft(), transaction_reference_id=None, state=State.PENDING)
    async with paymob({"ecommerce/orders": (200, orders)}) as gateway:
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(unknown)


@pytest.mark.parametrize(
    ("page", "created_at", "standing"),
    [
        (9, "2027-01-01T10:00:00.123456", Standing.OPEN),
        (20, "2027-01-01T10:00:00.123456+02:00", Standing.OPEN),
        (21, "2027-01-01T10:00:00.123456", Standing.UNKNOWN),
        (3, "2001-01-01T10:00:00.123456", Standing.OPEN),
        (4, "2001-01-01T10:00:00.123456", Standing.UNKNOWN),
        (3, None, Standing.OPEN),
        (4, "yesterday", Standing.UNKNOWN),
    ],
)
async def test_an_order_is_searched_as_far_back_as_its_draft_is_old(
    page: int, created_at: str | None, standing: Standing
) -> None:
    """A busy shop fills many pages within the moments after which a lost order is asked about."""
    unknown = msgspec.structs.replace(draft(), transaction_reference_id=None, state=State.PENDING)
    others = {"results": [{"id": 1, "merchant_order_id": "another", "created_at": created_at}]}
    answers: dict[str, tuple[int, object]] = {f"orders?page={number}": (200, others) for number in range(1, 30)}
    answers[f"orders?page={page}"] = (200, {"results": [{"id": 55, "merchant_order_id": str(unknown.id)}]})
    async with paymob(answers) as gateway:
        found = await gateway.lookup(unknown)
    assert found.standing is standing


async def test_a_payment_behind_a_newer_decline_is_found_by_the_id_that_a_hint_named() -> None:
    """Paymob's inquiry shows only the newest try of an order."""
    answers = {
        "transaction_inquiry": (200, transaction(id=901, success=False)),
        "transactions/900": (200, transaction()),
    }
    async with paymob(answers) as gateway:
        found = await gateway.lookup(draft(hinted_payment_reference="900"))
    assert [event.kind for event in found.events] == [Kind.PAID, Kind.DECLINED]


async def test_a_hinted_payment_of_another_order_says_nothing() -> None:
    """What is unproven may name anybody's payment."""
    answers = {"transactions/900": (200, transaction(order={"id": 66}))}
    async with paymob(answers) as gateway:
        found = await gateway.lookup(draft(hinted_payment_reference="900"))
    assert not found.events


async def test_a_wallet_that_pays_at_once_is_looked_up_and_not_refused() -> None:
    """A refusal would send the payer to pay again."""
    wallet = msgspec.structs.replace(
        draft(), state=State.PENDING, transaction_reference_id=None, action=None, in_doubt=False
    )
    wallet = msgspec.structs.replace(
        wallet,
        request=msgspec.structs.replace(wallet.request, method="vodafone_cash", payer={"phone": "01010101010"}),
    )
    wallet = msgspec.convert(msgspec.to_builtins(wallet), PaymentDraft)
    answers = {
        "ecommerce/orders": (201, {"id": 55}),
        "payment_keys": (201, {"token": "key"}),
        "payments/pay": (200, transaction()),
    }
    async with paymob(answers) as gateway:
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(wallet, key="k")
