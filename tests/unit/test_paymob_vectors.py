"""Paymob's callbacks: what its signature proves, what it does not, and what each of its transactions means.

The golden example is the one of its own documentation. The signatures made here are made with this file's own list of
signed fields: a check with the code's list would only prove that the code agrees with itself.
"""

import asyncio
import copy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from unit_psp import answer, closed_port, psp, read_request
from unit_support import SURROUNDINGS, data_json, each_shared, shared_json

from qirsh.draft import DeclineCode, GatewayEvent, Kind
from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery, Hint
from qirsh.gateways.paymob import Credentials, Paymob
from qirsh.gateways.paymob.transactions import (
    TRANSACTION_FIELDS,
    Callback,
    read_transaction,
    signed_texts,
    signed_texts_of_query,
    told,
)
from qirsh.money import Money

Obj = dict[str, Any]
Facts = Sequence[GatewayEvent | Hint]

GOLDEN = data_json("paymob_golden.json")
SECRET: str = GOLDEN["secret"]
OBJ: Obj = GOLDEN["payload"]["obj"]
ORDER, PAYMENT, OWNER, INTEGRATION = "217503754", "192036465", 302852, 4097558
DRAFT = UUID("01990000-0000-7000-8000-000000000001")

# https://developers.paymob.com/egypt/manage-callback/hmac: the order in which the values are joined.
SIGNED = (
    *("amount_cents", "created_at", "currency", "error_occured", "has_parent_transaction", "id", "integration_id"),
    *("is_3d_secure", "is_auth", "is_capture", "is_refunded", "is_standalone_payment", "is_voided", "order.id"),
    *("owner", "pending", "source_data.pan", "source_data.sub_type", "source_data.type", "success"),
)
TOKEN_SIGNED = ("card_subtype", "created_at", "email", "id", "masked_pan", "merchant_id", "order_id", "token")
DELIVERY_SIGNED = ("order_id", "order_delivery_status", "merchant_id", "merchant_name", "updated_at")


def value_at(obj: Obj, field: str) -> Any:
    """The value of a dotted field."""
    name, _, inner = field.partition(".")
    return obj.get(name, {}).get(inner) if inner else obj.get(name)


def changed(**fields: Any) -> Obj:
    """The golden transaction with other values; dots as `__`."""
    obj = copy.deepcopy(OBJ)
    for field, value in fields.items():
        name, _, inner = field.partition("__")
        if inner:
            obj[name][inner] = value
        else:
            obj[name] = value
    return obj


def written(value: object) -> str:
    """How Paymob writes a value into the string it signs."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value)


def digest(text: str, secret: str = SECRET) -> str:
    """HMAC-SHA512 in lower-case hex."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha512).hexdigest()


def signature_of(obj: Obj, fields: Sequence[str] = SIGNED) -> str:
    """What Paymob would put into `hmac`."""
    return digest("".join(written(value_at(obj, field)) for field in fields))


def delivery(obj: Obj, signature: str | None = None, kind: str = "TRANSACTION") -> Delivery:
    """A callback; signed as Paymob signs a transaction unless told otherwise."""
    body = json.dumps({"type": kind, "obj": obj}).encode()
    return Delivery(body, {}, {"hmac": signature_of(obj) if signature is None else signature})


def account(base_url: str, secret: str = SECRET, integration: int = INTEGRATION) -> Paymob:
    """Our side, with one integration."""
    return Paymob(
        Credentials.model_validate(
            {
                "api_key": "api-key",
                "hmac_secret": secret,
                "card_integration_id": integration,
                "iframe_id": 1,
                "base_url": base_url,
            }
        ),
        SURROUNDINGS,
    )


@asynccontextmanager
async def paymob(
    secret: str = SECRET, integration: int = INTEGRATION, owner: object = OWNER, token: object = None
) -> AsyncIterator[Paymob]:
    """Our side, and a Paymob that gives tokens to this user and nothing else."""
    body = token if token is not None else {"token": "t", "profile": {"user": {"id": owner}}}
    async with psp(answer(201, json.dumps(body).encode())) as url:
        gateway = account(url, secret, integration)
        try:
            yield gateway
        finally:
            await gateway.aclose()


async def facts_of(obj: Obj, **options: Any) -> Facts:
    """What a signed transaction is read as."""
    async with paymob(**options) as gateway:
        return await gateway.read_webhook(delivery(obj))


async def refused(gateway: Paymob, given: Delivery) -> bool:
    """Whether it is answered 401."""
    try:
        await gateway.read_webhook(given)
    except WebhookNotAuthentic:
        return True
    return False


# The golden example.


def test_the_documented_example_is_joined_and_signed_as_documented() -> None:
    """The one signature that Paymob published with its secret: all else here rests on it."""
    texts = signed_texts(Callback("TRANSACTION", OBJ))
    assert texts is not None
    assert "".join(texts.values()) == GOLDEN["concatenated"]
    assert digest(GOLDEN["concatenated"]) == GOLDEN["hmac"] == signature_of(OBJ)
    assert list(texts) == list(TRANSACTION_FIELDS) == list(SIGNED)


async def test_the_documented_example_is_a_payment() -> None:
    """Found by the signed order, for the signed amount, with the transaction that a refund will need."""
    async with paymob() as gateway:
        (event,) = await gateway.read_webhook(delivery(OBJ, GOLDEN["hmac"]))
    assert event == GatewayEvent(
        kind=Kind.PAID,
        gateway="paymob",
        event_id="192036465:False:True",
        transaction_reference_id=ORDER,
        payment_reference=PAYMENT,
        amount=Money(100_000, "EGP"),
        psp_code="APPROVED",
    )


# The signature.


async def test_every_flipped_byte_of_the_signature_is_refused() -> None:
    """Truncated or prefix comparison would let one of these through."""
    good: str = GOLDEN["hmac"]
    async with paymob() as gateway:
        for index, character in enumerate(good):
            for other in {"0", "f", character.upper(), chr(ord(character) ^ 1)} - {character}:
                forged = good[:index] + other + good[index + 1 :]
                assert await refused(gateway, delivery(OBJ, forged)), forged
        for index in range(len(good)):
            assert await refused(gateway, delivery(OBJ, good[:index])), index
        for forged in (good + "0", f" {good}", f"{good}\n", f"sha512={good}", "\u00e9" * 128, "0" * 128):
            assert await refused(gateway, delivery(OBJ, forged)), forged


@pytest.mark.parametrize("query", [{}, {"hmac": ""}, {"HMAC": GOLDEN["hmac"]}, {"signature": GOLDEN["hmac"]}])
async def test_a_missing_or_empty_signature_is_refused(query: Mapping[str, str]) -> None:
    """Also for a body that nobody could read: who does not sign learns nothing about our parser."""
    async with paymob() as gateway:
        for body in (delivery(OBJ).body, b"", b"[", b"\xff"):
            assert await refused(gateway, Delivery(body, {"hmac": GOLDEN["hmac"]}, query))


@pytest.mark.parametrize("field", SIGNED)
async def test_every_flipped_byte_of_a_signed_field_is_refused(field: str) -> None:
    """A field that is listed but not read would let a forged payment through unnoticed."""
    value = value_at(OBJ, field)
    others: list[object] = [None, "", "other"]
    match value:
        case bool():
            others += [not value]
        case int():
            others += [value + 1, value * 10, -value, 0]
        case str():
            others += [value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :] for at in range(len(value))]
    async with paymob() as gateway:
        for other in others:
            obj = changed(**{field.replace(".", "__"): other})
            assert await refused(gateway, delivery(obj, GOLDEN["hmac"])), other


async def test_a_removed_signed_field_is_refused() -> None:
    """Missing counts as empty in the string, and nothing signed here is empty."""
    async with paymob() as gateway:
        for field in SIGNED:
            obj = copy.deepcopy(OBJ)
            name, _, inner = field.partition(".")
            del (obj[name] if inner else obj)[inner or name]
            assert await refused(gateway, delivery(obj, GOLDEN["hmac"])), field


async def test_another_secret_signs_nothing_of_ours() -> None:
    """Test and live, or two merchants, differ in nothing else."""
    async with paymob(secret="another") as gateway:
        assert await refused(gateway, delivery(OBJ, GOLDEN["hmac"]))


def test_an_empty_secret_is_refused_at_start() -> None:
    """Anybody can sign with it."""
    with pytest.raises(ValueError, match="hmac_secret"):
        account("http://psp.example", secret="")


async def test_unsigned_fields_change_nothing_but_the_hint() -> None:
    """A payer can edit everything around his own valid signature, our draft id above all."""
    obj = changed(order__merchant_order_id=str(DRAFT), refunded_amount_cents=5, is_refund=True, profile_id=1)
    async with paymob() as gateway:
        (event,) = await gateway.read_webhook(delivery(obj, GOLDEN["hmac"]))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.draft_id, event.hinted_draft_id) == (Kind.PAID, None, DRAFT)
    assert (event.transaction_reference_id, event.amount) == (ORDER, Money(100_000, "EGP"))


# One signature fits several splits of the same characters, for there are no separators.


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"amount_cents": 1000002, "created_at": "024-06-13T11:33:44.592345"}, id="amount and date"),
        pytest.param({"amount_cents": 10000020, "created_at": "24-06-13T11:33:44.592345"}, id="amount and date, two"),
        pytest.param({"amount_cents": 10000, "created_at": "02024-06-13T11:33:44.592345"}, id="date and amount"),
        pytest.param({"amount_cents": None, "created_at": "1000002024-06-13T11:33:44.592345"}, id="no amount"),
        pytest.param({"success": None, "source_data__type": "cardtrue"}, id="no success"),
    ],
)
async def test_a_split_that_moves_the_amount_is_refused(other: Obj) -> None:
    """Ten times the amount for the price of one, with a signature that is valid."""
    obj = changed(**other)
    assert signature_of(obj) == GOLDEN["hmac"]
    async with paymob() as gateway:
        assert await refused(gateway, delivery(obj, GOLDEN["hmac"]))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"order__id": 21750375, "owner": 4302852}, id="order and owner"),
        pytest.param({"order__id": 2175037543, "owner": "02852"}, id="order and owner as text"),
        pytest.param({"order__id": 217503754302852, "owner": None}, id="no owner"),
        pytest.param({"id": 19203646, "integration_id": 54097558}, id="payment and integration"),
        pytest.param({"id": 1920364654, "integration_id": "097558"}, id="payment and integration as text"),
    ],
)
async def test_a_split_that_moves_the_order_or_the_payment_is_no_event(other: Obj) -> None:
    """By a neighbour's order id a payer could complete a draft of the same price: at most it is worth a look."""
    obj = changed(**other)
    assert signature_of(obj) == GOLDEN["hmac"]
    async with paymob() as gateway:
        if not await refused(gateway, delivery(obj, GOLDEN["hmac"])):
            (fact,) = await gateway.read_webhook(delivery(obj, GOLDEN["hmac"]))
            assert isinstance(fact, Hint)


async def test_no_moved_boundary_makes_another_payment() -> None:
    """Every boundary between two fields, moved to every place: never an event of another order, payment or sum."""
    pieces = [written(value_at(OBJ, field)) for field in SIGNED]
    tried = 0
    async with paymob() as gateway:
        for index, (left, right) in enumerate(pairwise(pieces)):
            both = left + right
            for at in set(range(len(both) + 1)) - {len(left)}:
                tried += 1
                split = {SIGNED[index]: both[:at], SIGNED[index + 1]: both[at:]}
                obj = changed(**{field.replace(".", "__"): _typed(field, text) for field, text in split.items()})
                for fact in await _read_if_authentic(gateway, delivery(obj, GOLDEN["hmac"])):
                    if isinstance(fact, GatewayEvent):
                        assert fact.kind is Kind.PAID
                        assert (fact.transaction_reference_id, fact.payment_reference) == (ORDER, PAYMENT)
                        # A currency cut to pieces is no currency: a sum of nothing equals no draft's.
                        assert fact.amount in {Money(100_000, "EGP"), Money(0, "EGP")}
                        assert (fact.amount == Money(0, "EGP")) is (obj["currency"] != "EGP")
    assert tried > 200


async def _read_if_authentic(gateway: Paymob, given: Delivery) -> Facts:
    try:
        return await gateway.read_webhook(given)
    except WebhookNotAuthentic:
        return ()


def _typed(field: str, text: str) -> object:
    """The text as the type that the field has, where it can be that."""
    if isinstance(value_at(OBJ, field), bool) and text in {"true", "false"}:
        return text == "true"
    if type(value_at(OBJ, field)) is int and text and written(int(text) if text.isdecimal() else None) == text:
        return int(text)
    return text or None


@pytest.mark.parametrize(
    "other",
    [
        *({"amount_cents": "100000"}, {"amount_cents": 100000.0}, {"amount_cents": [100000]}, {"id": PAYMENT}),
        *({"id": 192036465.0}, {"order__id": ORDER}, {"integration_id": "4097558"}, {"owner": "302852"}),
        *({"owner": 302852.0}, {"success": "true"}, {"pending": "false"}, {"is_auth": "false"}, {"is_voided": "false"}),
        *({"is_refunded": "false"}, {"has_parent_transaction": "false"}, {"success": 1}, {"pending": 0}),
        *({"currency": ["EGP"]}, {"source_data__type": True}, {"created_at": 2024}),
    ],
    ids=str,
)
async def test_a_value_of_another_type_is_refused(other: Obj) -> None:
    """The text "10002" and the number are signed alike, so the type is checked behind the signature."""
    obj = changed(**other)
    async with paymob() as gateway:
        assert await refused(gateway, delivery(obj, GOLDEN["hmac"]))
        assert await refused(gateway, delivery(obj, signature_of(obj)))


@pytest.mark.parametrize("value", [1.0, 0.5, [], {}, [100000]])
def test_what_paymob_never_signs_has_no_text(value: object) -> None:
    """How a float is written is anybody's guess, so none is guessed."""
    assert signed_texts(Callback("TRANSACTION", changed(amount_cents=value))) is None


@pytest.mark.parametrize("field", ["amount_cents", "id", "integration_id", "owner"])
async def test_true_is_no_number(field: str) -> None:
    """Python would take it for one."""
    obj = changed(**{field: True})
    async with paymob() as gateway:
        assert await refused(gateway, delivery(obj))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[", b"null", b"[]", b"{}", b'"text"', b"\xff", b'{"type": "TRANSACTION"}', b'{"obj": {}}'),
        *(
            b'{"type": 1, "obj": {}}',
            b'{"type": "TRANSACTION", "obj": []}',
            b'{"type": "TRANSACTION", "obj": {"a": "\\ud800"}}',
        ),
        *(
            b'{"type": "TRANSACTION", "obj": {"a":' + b"[" * 100_000,
            b'{"type": "TRANSACTION", "obj": {"amount_cents": 1e999}}',
        ),
        b'{"type": "TRANSACTION", "obj": {"amount_cents": ' + b"9" * 5_000 + b"}}",
    ],
    ids=lambda body: ascii(body[:48]),
)
async def test_a_body_that_cannot_be_read_is_malformed(body: bytes) -> None:
    """400, so that whoever sent it sees it; a crash would be sent again for days."""
    async with paymob() as gateway:
        with pytest.raises(WebhookMalformed):
            await gateway.read_webhook(Delivery(body, {}, {"hmac": GOLDEN["hmac"]}))


@pytest.mark.parametrize("kind", ["TOKEN", "DELIVERY_STATUS", "SUBSCRIPTION", "transaction", ""])
async def test_another_type_with_a_transactions_signature_is_refused(kind: str) -> None:
    """Each type signs its own fields; a type that we do not know signs nothing."""
    async with paymob() as gateway:
        assert await refused(gateway, delivery(OBJ, GOLDEN["hmac"], kind))


async def test_other_signed_types_say_nothing_about_money() -> None:
    """A saved card and a parcel are news, and none of ours: 200, and forgotten."""
    token = {"card_subtype": "Visa", "created_at": "2026-08-14", "email": "a@b.example", "id": 1, "order_id": ORDER}
    token |= {"masked_pan": "xxxx-0010", "merchant_id": 5, "token": "t"}
    parcel = {"order_id": 1, "order_delivery_status": "sent", "merchant_id": 5, "merchant_name": "M", "updated_at": "x"}
    async with paymob() as gateway:
        for kind, obj, fields in (("TOKEN", token, TOKEN_SIGNED), ("DELIVERY_STATUS", parcel, DELIVERY_SIGNED)):
            assert not await gateway.read_webhook(delivery(obj, signature_of(obj, fields), kind))
            assert await refused(gateway, delivery({**obj, "merchant_id": 6}, signature_of(obj, fields), kind))


# What a transaction means.


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"pending": True, "success": False}, id="waits for the payer"),
        pytest.param({"pending": True}, id="pending and success"),
        pytest.param({"pending": True, "success": False, "error_occured": True}, id="pending with an error"),
    ],
)
async def test_a_pending_transaction_is_no_news(other: Obj) -> None:
    """The payer is at the wallet's page: nothing has happened yet."""
    assert not await facts_of(changed(**other))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("INSUFFICIENT_FUNDS", DeclineCode.INSUFFICIENT_FUNDS),
        ("5", DeclineCode.INSUFFICIENT_FUNDS),
        ("6051", DeclineCode.INSUFFICIENT_FUNDS),
        ("DECLINED", DeclineCode.CARD_DECLINED),
        ("2", DeclineCode.CARD_DECLINED),
        ("7", DeclineCode.EXPIRED_CARD),
        ("AUTHENTICATION_FAILED", DeclineCode.AUTHENTICATION_FAILED),
        ("637", DeclineCode.WRONG_PIN),
        ("11", DeclineCode.FRAUD_SUSPECTED),
        ("BLOCKED", DeclineCode.CARD_DECLINED),
        (5, DeclineCode.INSUFFICIENT_FUNDS),
        ("something new", DeclineCode.UNKNOWN),
        (None, DeclineCode.UNKNOWN),
        ([], DeclineCode.UNKNOWN),
    ],
)
async def test_a_refused_try_is_declined_and_says_why(code: object, reason: DeclineCode) -> None:
    """The order can still be paid; the code is unsigned, so it explains and decides nothing."""
    (event,) = await facts_of(changed(success=False, data={"txn_response_code": code}))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.reason, event.transaction_reference_id) == (Kind.DECLINED, reason, ORDER)
    assert (event.amount, event.payment_reference) == (None, None)


async def test_a_refused_authorisation_or_void_is_declined_too() -> None:
    """Only a kiosk's bill dies of being voided; on a card it is one try."""
    for other in ({"is_auth": True}, {"error_occured": True}):
        (event,) = await facts_of(changed(success=False, **other))
        assert isinstance(event, GatewayEvent)
        assert event.kind is Kind.DECLINED


async def test_an_expired_kiosk_bill_is_failed() -> None:
    """Nobody can pay it any more: an explicit end, the only one that Paymob has."""
    bill = {"source_data__type": "aggregator", "source_data__sub_type": "AGGREGATOR", "source_data__pan": ""}
    (event,) = await facts_of(changed(success=False, is_voided=True, **bill))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.reason, event.transaction_reference_id) == (Kind.FAILED, DeclineCode.EXPIRED, ORDER)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"has_parent_transaction": True}, id="child of a refund, void or capture"),
        pytest.param({"has_parent_transaction": True, "success": False}, id="refused child"),
        pytest.param({"has_parent_transaction": True, "is_capture": True}, id="capture"),
        pytest.param({"is_refunded": True, "refunded_amount_cents": 100000}, id="refunded"),
        pytest.param({"is_refunded": True, "refunded_amount_cents": 1}, id="partly refunded"),
        pytest.param({"is_voided": True}, id="voided"),
        pytest.param({"is_voided": True, "is_refunded": True}, id="voided and refunded"),
        pytest.param({"is_auth": True}, id="authorised"),
        pytest.param({"integration_id": 4097559}, id="integration of another shop"),
        pytest.param({"owner": OWNER + 1}, id="owner is another merchant"),
        pytest.param({"owner": None}, id="owner unnamed"),
    ],
)
async def test_what_the_signature_does_not_prove_is_only_worth_a_look(other: Obj) -> None:
    """Refunded sums, parents and captures are unsigned: the look-up tells, the delivery only hints."""
    obj = changed(order__merchant_order_id=f"{DRAFT}~2", **other)
    given = delivery(obj)
    async with paymob() as gateway:
        (fact,) = await gateway.read_webhook(given)
        assert await gateway.read_webhook(given) == (fact,)
    assert isinstance(fact, Hint)
    assert (fact.transaction_reference_id, fact.draft_id) == (ORDER, DRAFT)
    assert fact.event_id == hashlib.sha256(given.body).hexdigest()


async def test_hints_of_different_bodies_are_different_hints() -> None:
    """Each further refund is worth its own look-up."""
    ids = set()
    async with paymob() as gateway:
        for cents in (1, 2, 3):
            (fact,) = await gateway.read_webhook(delivery(changed(is_refunded=True, refunded_amount_cents=cents)))
            ids.add(fact.event_id)
    assert len(ids) == 3


async def test_event_ids_tell_a_transactions_steps_apart_and_repeats_together() -> None:
    """Redelivery must be seen as such, and a payment after a decline must not."""
    async with paymob() as gateway:
        facts = [
            fact
            for obj in (changed(), changed(), changed(success=False), changed(id=192036466))
            for fact in await gateway.read_webhook(delivery(obj))
        ]
    assert [fact.event_id for fact in facts] == [
        *("192036465:False:True", "192036465:False:True", "192036465:False:False", "192036466:False:True")
    ]


@pytest.mark.parametrize(
    "other",
    [{"amount_cents": -100000}, {"amount_cents": 10**15}, {"currency": "XXX"}],
)
async def test_a_payment_of_no_sane_sum_completes_nothing(other: Obj) -> None:
    """It is authentic, so somebody must look at it; its amount equals no draft's."""
    (event,) = await facts_of(changed(**other))
    assert isinstance(event, GatewayEvent)
    assert (event.kind, event.amount) == (Kind.PAID, Money(0, "EGP"))


@pytest.mark.parametrize("currency", ["", "egp", "P", "EG", "EGPX", None, 818])
async def test_what_is_no_currency_is_a_split_and_refused(currency: object) -> None:
    """Its letters could stand at the end of the date instead; a review of it would make the genuine one a repeat."""
    async with paymob() as gateway:
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(delivery(changed(currency=currency)))


SIGNED_BOOLEANS = (
    *("error_occured", "has_parent_transaction", "is_3d_secure", "is_auth", "is_capture", "is_refunded"),
    *("is_standalone_payment", "is_voided", "pending", "success"),
)


@pytest.mark.parametrize("name", SIGNED_BOOLEANS)
@pytest.mark.parametrize("other", ["", "false", "true", 0, 1, None])
async def test_a_signed_boolean_that_is_none_is_refused(name: str, other: object) -> None:
    """A field left out or of another type signs the same text as its neighbour's could."""
    async with paymob() as gateway:
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(delivery(changed(**{name: other})))


# Whose account it is.


async def test_without_paymob_a_payment_is_only_a_hint() -> None:
    """The owner cannot be checked while Paymob is away: the delivery is looked up, not lost and not believed."""
    with closed_port() as url:
        gateway = account(url)
        (fact,) = await gateway.read_webhook(delivery(OBJ))
        await gateway.aclose()
    assert isinstance(fact, Hint)
    assert fact.transaction_reference_id == ORDER


@pytest.mark.parametrize(
    "token",
    [
        {"token": "t"},
        {"token": "t", "profile": {}},
        {"token": "t", "profile": {"user": {}}},
        {"token": "t", "profile": {"user": {"id": None}}},
        {"token": "t", "profile": {"user": {"id": str(OWNER)}}},
        {"detail": "incorrect credentials"},
        [],
    ],
    ids=str,
)
async def test_an_owner_that_paymob_does_not_tell_makes_no_fact(token: object) -> None:
    """Unknown is not equal to anything."""
    (fact,) = await facts_of(OBJ, token=token)
    assert isinstance(fact, Hint)


async def test_an_unknown_owner_is_not_equal_to_an_unnamed_one() -> None:
    """The split that moves the owner's digits into the order leaves no owner; that must not look like ours."""
    obj = changed(order__id=217503754302852, owner=None)
    (fact,) = await facts_of(obj, token={"token": "t"})
    assert isinstance(fact, Hint)


async def test_the_owner_is_asked_for_once() -> None:
    """A burst of callbacks must not become a burst of logins."""
    requests = []

    async def give_token(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        body = json.dumps({"token": "t", "profile": {"user": {"id": OWNER}}}).encode()
        writer.write(b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async with psp(give_token) as url:
        gateway = account(url)
        answers = await asyncio.gather(*(gateway.read_webhook(delivery(OBJ)) for _ in range(20)))
        await gateway.aclose()
    assert all(isinstance(fact, GatewayEvent) for (fact,) in answers)
    (request,) = requests
    assert request.startswith(b"POST /api/auth/tokens ")
    assert b'{"api_key":"api-key"}' in request


async def test_what_is_refused_asks_paymob_nothing() -> None:
    """Anybody may post to us; nobody may make us call Paymob by it."""
    with closed_port() as url:
        gateway = account(url)
        assert await refused(gateway, delivery(OBJ, "0" * 128))
        assert await refused(gateway, delivery(changed(amount_cents="100000"), GOLDEN["hmac"]))
        await gateway.aclose()


# What a look-up tells of a transaction: there the whole answer comes from Paymob itself.


@pytest.mark.parametrize(
    ("other", "events"),
    [
        ({}, [(Kind.PAID, 100_000)]),
        ({"is_refunded": True, "refunded_amount_cents": 40_000}, [(Kind.PAID, 100_000), (Kind.REFUNDED, 40_000)]),
        ({"is_refunded": True, "refunded_amount_cents": 100_000}, [(Kind.PAID, 100_000), (Kind.REFUNDED, 100_000)]),
        ({"is_refunded": True, "refunded_amount_cents": 0}, [(Kind.PAID, 100_000), (Kind.REFUNDED, None)]),
        ({"is_refunded": True, "refunded_amount_cents": None}, [(Kind.PAID, 100_000), (Kind.REFUNDED, None)]),
        ({"is_voided": True}, [(Kind.PAID, 100_000), (Kind.REFUNDED, 100_000)]),
        ({"is_auth": True}, []),
        ({"has_parent_transaction": True}, []),
        ({"pending": True, "success": False}, []),
        ({"success": False}, [(Kind.DECLINED, None)]),
        ({"success": False, "is_voided": True}, [(Kind.DECLINED, None)]),
        ({"success": False, "is_voided": True, "source_data__type": "aggregator"}, [(Kind.FAILED, None)]),
    ],
    ids=str,
)
def test_a_looked_up_transaction_tells_its_story_in_order(other: Obj, events: list[tuple[Kind, int | None]]) -> None:
    """Paid before refunded: folded the other way round, the refund would be for review."""
    transaction = read_transaction(changed(**other))
    assert transaction is not None
    story = list(told(transaction))
    assert [(event.kind, event.amount.amount_minor if event.amount else None) for event in story] == events
    assert all(event.transaction_reference_id == ORDER for event in story)


# The browser's redirect, signed over the same fields.


def redirect(obj: Obj) -> dict[str, str]:
    """The query with which Paymob sends the payer back."""
    names = {"order.id": "order"}
    query = {names.get(field, field): written(value_at(obj, field)) for field in SIGNED}
    return {**query, "merchant_order_id": str(DRAFT), "data.message": "Approved"}


async def test_a_redirect_is_a_hint_and_never_an_event() -> None:
    """The payer holds it in his own hands: it says which payment to look up, and proves nothing."""
    gateway = account("http://psp.example")
    query = {**redirect(OBJ), "hmac": GOLDEN["hmac"]}
    hint = gateway.read_return(query)
    assert isinstance(hint, Hint)
    assert (hint.transaction_reference_id, hint.draft_id) == (ORDER, DRAFT)
    for field in redirect(OBJ):
        if field not in {"merchant_order_id", "data.message"}:
            assert gateway.read_return({**query, field: query[field] + "0"}) is None, field
    for signature in ({"hmac": ""}, {"hmac": "0" * 128}):
        assert gateway.read_return({**query, **signature}) is None
    assert gateway.read_return(redirect(OBJ)) is None
    assert gateway.read_return({}) is None


def test_a_redirect_whose_signed_texts_are_parted_otherwise_names_no_payment() -> None:
    """They are joined without anything between them: what is no number would be asked about at each look-up."""
    query = redirect(OBJ)
    query["id"] = query["has_parent_transaction"] + query["id"]
    query["has_parent_transaction"] = ""
    assert SIGNED.index("id") == SIGNED.index("has_parent_transaction") + 1

    hint = account("http://psp.example").read_return({**query, "hmac": GOLDEN["hmac"]})

    assert hint is not None
    assert hint.payment_reference is None


def test_the_hint_of_a_redirect_does_not_carry_its_signature() -> None:
    """Event ids are stored and logged; a valid signature in a log is one that anybody can send."""
    hint = account("http://psp.example").read_return({**redirect(OBJ), "hmac": GOLDEN["hmac"]})
    assert GOLDEN["hmac"] not in repr(hint)


# The shared vectors: each file is a test, whatever it is.

OUTCOMES: dict[str, list[Kind | type[Hint]]] = {
    "paymob_transaction_official_docs": [Kind.PAID],
    "paymob_selfcomputed_null_pan_and_offset": [Kind.PAID],
    "paymob_selfcomputed_kiosk_expired": [Kind.FAILED],
    "paymob_selfcomputed_wallet_pending": [],
    "paymob_selfcomputed_parent_voided": [Hint],
    "paymob_token_emulator": [],
}


@pytest.mark.parametrize("path", each_shared("vectors/paymob/*.json"))
async def test_every_shared_vector_is_read_as_it_says(path: str) -> None:
    """Signed ones are accepted or refused as they are; those without a secret are joined and parsed as published."""
    vector = shared_json(path)
    match vector["kind"]:
        case "transaction_post" | "token_post":
            await _check_post(vector)
        case "redirect_query":
            _check_redirect(vector)
        case "concat_only":
            callback = Callback("TOKEN", vector["payload"]["fields"])
            assert _joined(signed_texts(callback)) == vector["concatenated"] == vector["payload"]["concatenated"]
        case kind:
            pytest.fail(f"a new kind of vector: {kind}")


async def _check_post(vector: dict[str, Any]) -> None:
    payload = vector["payload"]
    obj = payload["obj"]
    assert _joined(signed_texts(Callback(payload["type"], obj))) == vector["concatenated"]
    if vector["kind"] == "transaction_post":
        assert read_transaction(obj) is not None
    if vector["secret"] is None:
        return
    given = Delivery(json.dumps(payload).encode(), {}, {"hmac": vector["expected"]})
    async with paymob(vector["secret"], obj.get("integration_id", INTEGRATION), obj.get("owner")) as gateway:
        if vector["expect_valid"]:
            found = [
                fact.kind if isinstance(fact, GatewayEvent) else Hint for fact in await gateway.read_webhook(given)
            ]
            assert found == OUTCOMES[vector["id"]]
        else:
            assert await refused(gateway, given)


def _check_redirect(vector: dict[str, Any]) -> None:
    payload = vector["payload"]
    query = dict(parse_qsl(urlsplit(payload).query)) if isinstance(payload, str) else payload
    assert _joined(signed_texts_of_query(query)) == vector["concatenated"]
    if vector["secret"] is not None:
        gateway = account("http://psp.example", vector["secret"])
        hint = gateway.read_return({**query, "hmac": vector["expected"]})
        assert (hint is not None) is vector["expect_valid"]
        assert hint is None or hint.transaction_reference_id == query["order"]


def _joined(texts: Mapping[str, str] | None) -> str:
    assert texts is not None
    return "".join(texts.values())
