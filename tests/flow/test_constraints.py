"""The database refuses nonsense by itself: what money depends on does not depend on the code being right."""

import asyncio
import json
import re
import typing
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import asyncpg
import msgspec
import pytest

from conftest import NewDatabase
from qirsh.actions import RedirectUrl
from qirsh.clock import Clock
from qirsh.draft import Decision, DraftRequest, GatewayEvent, Kind, PaymentDraft, State, Verdict
from qirsh.fold import Fold
from qirsh.gateways.base import Delivery
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.store.connection import Connection, Pool, connect_pool, new_id
from qirsh.store.drafts import Source
from qirsh.store.fulfilments import Kind as Announced
from qirsh.store.refunds import RefundState
from qirsh.store.rows import Row
from qirsh.store.store import Store

FIRST: Final = "00000000-0000-7000-8000-000000000001"
SECOND: Final = "00000000-0000-7000-8000-000000000002"
NOBODY: Final = "00000000-0000-7000-8000-00000000dead"
NOON, ONE, HOUR_BEFORE = "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z", "2026-01-01T11:00:00Z"
ACTION: Final = {"paymentAction": "redirect_url", "url": "https://psp.example/1", "display": "redirect"}
CLAIM: Final = {"claimed_by": NOBODY, "claimed_until": ONE}
ENDED: Final = {"state": "succeeded", "next_check_at": None}
TOLD_BACK: Final = {"kind": "payment.refunded", "draft_version": 1}
AWAITING: Final = {"state": "awaiting_user_action", "transaction_reference_id": "order-2", "action": ACTION}

# One valid row of each table. Cases change some of its columns; the same row as it is must be accepted.
ROWS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "products": {
            "id": "mug",
            "name": {"en": "Mug"},
            "prices": {"EGP": 15050},
            "purchasable": True,
            "updated_at": NOON,
        },
        "payment_drafts": {
            "id": SECOND,
            "idempotency_key": "key-of-the-second",
            "fingerprint": "\\x" + "02" * 32,
            "request": {"product_id": "tshirt", "amount": "300", "method": "card"},
            "product_id": "tshirt",
            "method": "card",
            "gateway": "paymob",
            "amount_minor": 30000,
            "currency": "EGP",
            "state": "pending",
            "needs_review": False,
            "refunded_minor": 0,
            "in_doubt": False,
            "registration_attempt": 1,
            "capture_attempt": 1,
            "capture_due": False,
            "otp_tries": 0,
            "attempts": 0,
            "version": 0,
            "created_at": NOON,
            "updated_at": NOON,
            "expires_at": ONE,
        },
        "payment_events": {
            "id": SECOND,
            "draft_id": FIRST,
            "at": NOON,
            "source": "webhook",
            "event": {"kind": "paid"},
            "verdict": "applied",
            "state": "completed",
        },
        "webhook_events": {"gateway": "paymob", "event_id": "event-2"},
        "webhook_deliveries": {
            "id": SECOND,
            "received_at": NOON,
            "gateway": "paymob",
            "event_id": "event-1",
            "draft_id": FIRST,
            "verdict": "applied",
            "body": "\\x7b7d",
            "headers": {},
            "query": {},
        },
        "unmatched_events": {
            "id": SECOND,
            "gateway": "paymob",
            "event_id": "event-2",
            "fact": {"kind": "paid"},
            "received_at": NOON,
            "flagged": False,
            "next_check_at": NOON,
            "attempts": 0,
            "version": 0,
        },
        "fulfilments": {
            "id": SECOND,
            "draft_id": SECOND,
            "kind": "payment.completed",
            "draft_version": 0,
            "state": "due",
            "created_at": NOON,
            "next_check_at": NOON,
            "attempts": 0,
            "version": 0,
        },
        "refunds": {
            "id": SECOND,
            "draft_id": SECOND,
            "gateway": "paymob",
            "idempotency_key": "key-of-a-refund-2",
            "fingerprint": "\\x" + "02" * 32,
            "amount_minor": 100,
            "reason": "",
            "state": "requested",
            "accepted": False,
            "next_check_at": NOON,
            "attempts": 0,
            "version": 0,
            "created_at": NOON,
            "updated_at": NOON,
        },
        "daily_work": {"id": SECOND, "name": "sweeping", "next_check_at": NOON, "attempts": 0, "version": 0},
        "pruned_months": {
            "name": "payment_events_2025_02",
            "table_name": "payment_events",
            "ends": SECOND,
            "pruned_at": NOON,
        },
    }
)

INSERT: Final = MappingProxyType(
    {
        "products": "INSERT INTO products SELECT * FROM jsonb_populate_record(NULL::products, $1)",
        "payment_drafts": "INSERT INTO payment_drafts SELECT * FROM jsonb_populate_record(NULL::payment_drafts, $1)",
        "payment_events": "INSERT INTO payment_events SELECT * FROM jsonb_populate_record(NULL::payment_events, $1)",
        "webhook_events": "INSERT INTO webhook_events SELECT * FROM jsonb_populate_record(NULL::webhook_events, $1)",
        "webhook_deliveries": (
            "INSERT INTO webhook_deliveries SELECT * FROM jsonb_populate_record(NULL::webhook_deliveries, $1)"
        ),
        "unmatched_events": (
            "INSERT INTO unmatched_events SELECT * FROM jsonb_populate_record(NULL::unmatched_events, $1)"
        ),
        "fulfilments": "INSERT INTO fulfilments SELECT * FROM jsonb_populate_record(NULL::fulfilments, $1)",
        "refunds": "INSERT INTO refunds SELECT * FROM jsonb_populate_record(NULL::refunds, $1)",
        "daily_work": "INSERT INTO daily_work SELECT * FROM jsonb_populate_record(NULL::daily_work, $1)",
        "pruned_months": "INSERT INTO pruned_months SELECT * FROM jsonb_populate_record(NULL::pruned_months, $1)",
    }
)

# What is there already: a completed draft with everything that hangs on it.
GIVEN: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("products", {"id": "tshirt"}),
    (
        "payment_drafts",
        {
            "id": FIRST,
            "idempotency_key": "key-of-the-first!",
            "fingerprint": "\\x" + "01" * 32,
            "state": "completed",
            "transaction_reference_id": "order-1",
            "payment_reference": "payment-1",
            "action": ACTION,
        },
    ),
    ("payment_events", {"id": FIRST}),
    ("webhook_events", {"event_id": "event-1"}),
    ("webhook_deliveries", {"id": FIRST}),
    ("unmatched_events", {"id": FIRST, "event_id": "event-1"}),
    ("fulfilments", {"id": FIRST, "draft_id": FIRST, "order_reference": "A-1"}),
    ("refunds", {"id": FIRST, "draft_id": FIRST, "idempotency_key": "key-of-a-refund-1"}),
    ("daily_work", {"id": FIRST, "name": "tidying"}),
    ("pruned_months", {"name": "payment_events_2025_01"}),
)

CHECK, UNIQUE, FOREIGN = asyncpg.CheckViolationError, asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError
TOO_LONG, MISSING = asyncpg.StringDataRightTruncationError, asyncpg.NotNullViolationError

# table, columns changed, the kind of refusal, and words of the definition of the constraint that must refuse.
Case = tuple[str, dict[str, Any], type[asyncpg.PostgresError], str]
REFUSED: Final[tuple[Case, ...]] = (
    ("products", {"id": ""}, CHECK, "char_length(id)"),
    ("products", {"id": "p" * 101}, CHECK, "char_length(id)"),
    ("products", {"id": "tshirt"}, UNIQUE, "PRIMARY KEY (id)"),
    ("payment_drafts", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("payment_drafts", {"amount_minor": 0}, CHECK, "amount_minor > 0"),
    ("payment_drafts", {"amount_minor": -30000}, CHECK, "amount_minor > 0"),
    ("payment_drafts", {"currency": "egp"}, CHECK, "currency ~"),
    ("payment_drafts", {"currency": "EG"}, CHECK, "currency ~"),
    ("payment_drafts", {"currency": "E£P"}, CHECK, "currency ~"),
    ("payment_drafts", {"currency": "EGPX"}, TOO_LONG, ""),
    ("payment_drafts", {"state": "paid"}, CHECK, "'awaiting_user_action'"),
    ("payment_drafts", {"state": "COMPLETED"}, CHECK, "'awaiting_user_action'"),
    ("payment_drafts", {"state": ""}, CHECK, "'awaiting_user_action'"),
    ("payment_drafts", {"state": None}, MISSING, ""),
    ("payment_drafts", {**AWAITING, "transaction_reference_id": None}, CHECK, "action IS NOT NULL"),
    ("payment_drafts", {**AWAITING, "action": None}, CHECK, "action IS NOT NULL"),
    ("payment_drafts", {"state": "refunded", "refunded_minor": 30001}, CHECK, "refunded_minor >= 0"),
    ("payment_drafts", {"state": "partially_refunded", "refunded_minor": -1}, CHECK, "refunded_minor >= 0"),
    ("payment_drafts", {"state": "completed", "refunded_minor": 1}, CHECK, "refunded_minor > 0"),
    ("payment_drafts", {"state": "partially_refunded"}, CHECK, "refunded_minor > 0"),
    ("payment_drafts", {"state": "refunded"}, CHECK, "refunded_minor"),
    ("payment_drafts", {"state": "refunded", "refunded_minor": 29999}, CHECK, "refunded_minor = amount_minor"),
    ("payment_drafts", {"claimed_by": NOBODY}, CHECK, "claimed_until IS NULL"),
    ("payment_drafts", {"claimed_until": ONE}, CHECK, "claimed_until IS NULL"),
    ("payment_drafts", {**CLAIM, **AWAITING}, CHECK, "claimed_by IS NULL"),
    ("payment_drafts", {**CLAIM, "state": "completed"}, CHECK, "claimed_by IS NULL"),
    ("payment_drafts", {**CLAIM, "state": "failed"}, CHECK, "claimed_by IS NULL"),
    ("payment_drafts", {"idempotency_key": "key-of-the-first!"}, UNIQUE, "UNIQUE (idempotency_key)"),
    ("payment_drafts", {"idempotency_key": "k" * 15}, CHECK, "char_length(idempotency_key)"),
    ("payment_drafts", {"idempotency_key": "k" * 201}, CHECK, "char_length(idempotency_key)"),
    ("payment_drafts", {"fingerprint": "\\x" + "02" * 31}, CHECK, "octet_length(fingerprint)"),
    ("payment_drafts", {"fingerprint": "\\x" + "02" * 33}, CHECK, "octet_length(fingerprint)"),
    ("payment_drafts", {"fingerprint": None}, MISSING, ""),
    ("payment_drafts", {"transaction_reference_id": "order-1"}, UNIQUE, "(gateway, transaction_reference_id)"),
    ("payment_drafts", {"transaction_reference_id": ""}, CHECK, "char_length(transaction_reference_id)"),
    ("payment_drafts", {"transaction_reference_id": "r" * 201}, CHECK, "char_length(transaction_reference_id)"),
    ("payment_drafts", {"payment_reference": "payment-1"}, UNIQUE, "(gateway, payment_reference)"),
    ("payment_drafts", {"payment_reference": ""}, CHECK, "char_length(payment_reference)"),
    ("payment_drafts", {"payment_reference": "r" * 201}, CHECK, "char_length(payment_reference)"),
    ("payment_drafts", {"product_id": ""}, CHECK, "char_length(product_id)"),
    ("payment_drafts", {"method": ""}, CHECK, "char_length(method)"),
    ("payment_drafts", {"method": "m" * 51}, CHECK, "char_length(method)"),
    ("payment_drafts", {"gateway": ""}, CHECK, "char_length(gateway)"),
    ("payment_drafts", {"order_reference": ""}, CHECK, "char_length(order_reference)"),
    ("payment_drafts", {"order_reference": "o" * 201}, CHECK, "char_length(order_reference)"),
    ("payment_drafts", {"reason": "r" * 101}, CHECK, "char_length(reason)"),
    ("payment_drafts", {"registration_attempt": 0}, CHECK, "registration_attempt > 0"),
    ("payment_drafts", {"capture_attempt": 0}, CHECK, "capture_attempt > 0"),
    ("payment_drafts", {"attempts": -1}, CHECK, "attempts >= 0"),
    ("payment_drafts", {"version": -1}, CHECK, "version >= 0"),
    ("payment_drafts", {"expires_at": HOUR_BEFORE}, CHECK, "expires_at > created_at"),
    ("payment_drafts", {"expires_at": NOON}, CHECK, "expires_at > created_at"),
    ("payment_events", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("payment_events", {"draft_id": NOBODY}, FOREIGN, "REFERENCES payment_drafts"),
    ("payment_events", {"source": "rumour"}, CHECK, "'sweep'"),
    ("payment_events", {"verdict": "unmatched"}, CHECK, "'stale'"),
    ("payment_events", {"review_reason": "r" * 101}, CHECK, "char_length(review_reason)"),
    ("payment_events", {"state": "s" * 51}, CHECK, "char_length(state)"),
    ("payment_drafts", {"hinted_payment_reference": ""}, CHECK, "char_length(hinted_payment_reference)"),
    ("webhook_events", {"event_id": "event-1"}, UNIQUE, "PRIMARY KEY (gateway, event_id)"),
    ("webhook_events", {"event_id": ""}, CHECK, "char_length(event_id)"),
    ("webhook_events", {"event_id": "e" * 201}, CHECK, "char_length(event_id)"),
    ("webhook_events", {"gateway": ""}, CHECK, "char_length(gateway)"),
    ("webhook_deliveries", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("webhook_deliveries", {"draft_id": NOBODY}, FOREIGN, "REFERENCES payment_drafts"),
    ("webhook_deliveries", {"verdict": "believed"}, CHECK, "'unmatched'"),
    ("webhook_deliveries", {"gateway": ""}, CHECK, "char_length(gateway)"),
    ("webhook_deliveries", {"event_id": ""}, CHECK, "char_length(event_id)"),
    ("unmatched_events", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("unmatched_events", {"event_id": "event-1"}, UNIQUE, "(gateway, event_id)"),
    ("unmatched_events", {"event_id": ""}, CHECK, "char_length(event_id)"),
    ("unmatched_events", {"gateway": ""}, CHECK, "char_length(gateway)"),
    ("unmatched_events", {"attempts": -1}, CHECK, "attempts >= 0"),
    ("unmatched_events", {"version": -1}, CHECK, "version >= 0"),
    ("fulfilments", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("fulfilments", {"draft_id": FIRST}, UNIQUE, "UNIQUE (draft_id, draft_version)"),
    ("fulfilments", {"kind": "payment.lost", "draft_version": 1}, CHECK, "'payment.refunded'"),
    ("fulfilments", {"kind": "payment.refunded"}, CHECK, "draft_version = 0"),
    ("fulfilments", {"draft_version": 1}, CHECK, "draft_version = 0"),
    ("fulfilments", {**TOLD_BACK, "draft_version": -1}, CHECK, "draft_version >= 0"),
    ("fulfilments", {"order_reference": ""}, CHECK, "char_length(order_reference)"),
    ("fulfilments", {"order_reference": "o" * 201}, CHECK, "char_length(order_reference)"),
    ("fulfilments", {"order_reference": "A-1"}, UNIQUE, ""),
    ("fulfilments", {**TOLD_BACK, "order_reference": "A-1"}, CHECK, "order_reference IS NULL"),
    ("fulfilments", {"duplicate_of": FIRST}, CHECK, "order_reference IS NOT NULL"),
    ("fulfilments", {"order_reference": "A-1", "duplicate_of": SECOND}, CHECK, "duplicate_of <> draft_id"),
    ("fulfilments", {"order_reference": "A-1", "duplicate_of": NOBODY}, FOREIGN, "REFERENCES payment_drafts"),
    ("fulfilments", {"draft_id": NOBODY}, FOREIGN, "REFERENCES payment_drafts"),
    ("fulfilments", {"state": "lost", "next_check_at": None}, CHECK, "'dead'"),
    ("fulfilments", {"state": "delivered", "next_check_at": None}, CHECK, "delivered_at IS NOT NULL"),
    ("fulfilments", {"delivered_at": NOON}, CHECK, "delivered_at IS NOT NULL"),
    ("fulfilments", {"state": "dead"}, CHECK, "next_check_at IS NOT NULL"),
    ("fulfilments", {"next_check_at": None}, CHECK, "next_check_at IS NOT NULL"),
    ("fulfilments", {"state": "delivered", "delivered_at": NOON}, CHECK, "next_check_at IS NOT NULL"),
    ("fulfilments", {"last_error": "e" * 201}, CHECK, "char_length(last_error)"),
    ("fulfilments", {"attempts": -1}, CHECK, "attempts >= 0"),
    ("fulfilments", {"version": -1}, CHECK, "version >= 0"),
    ("payment_drafts", {"otp_tries": -1}, CHECK, "otp_tries"),
    ("payment_drafts", {"otp_tries": 6}, CHECK, "otp_tries"),
    ("refunds", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("refunds", {"draft_id": NOBODY}, FOREIGN, "REFERENCES payment_drafts"),
    ("refunds", {"gateway": ""}, CHECK, "char_length(gateway)"),
    ("refunds", {"idempotency_key": "k" * 15}, CHECK, "char_length(idempotency_key)"),
    ("refunds", {**ENDED, "draft_id": FIRST, "idempotency_key": "key-of-a-refund-1"}, UNIQUE, "idempotency_key)"),
    ("refunds", {"fingerprint": "\\x01"}, CHECK, "octet_length(fingerprint)"),
    ("refunds", {"amount_minor": 0}, CHECK, "amount_minor > 0"),
    ("refunds", {"reason": "r" * 256}, CHECK, "char_length(reason)"),
    ("refunds", {"state": "done", "next_check_at": None}, CHECK, "'succeeded'"),
    ("refunds", {"refunded_before_minor": -1}, CHECK, "refunded_before_minor >= 0"),
    ("refunds", {"error": "e" * 201}, CHECK, "char_length(error)"),
    ("refunds", {"attempts": -1}, CHECK, "attempts >= 0"),
    ("refunds", {"version": -1}, CHECK, "version >= 0"),
    ("refunds", {"state": "sent", "sent_at": NOON}, CHECK, "sent_at IS NOT NULL"),
    ("refunds", {"state": "sent", "refunded_before_minor": 0}, CHECK, "sent_at IS NOT NULL"),
    ("refunds", {"state": "succeeded"}, CHECK, "next_check_at IS NOT NULL"),
    ("refunds", {"next_check_at": None}, CHECK, "next_check_at IS NOT NULL"),
    ("daily_work", {"id": FIRST}, UNIQUE, "PRIMARY KEY (id)"),
    ("daily_work", {"name": "tidying"}, UNIQUE, "UNIQUE (name)"),
    ("daily_work", {"name": "n" * 51}, CHECK, "char_length(name)"),
    ("daily_work", {"next_check_at": None}, MISSING, ""),
    ("daily_work", {"attempts": -1}, CHECK, "attempts >= 0"),
    ("daily_work", {"version": -1}, CHECK, "version >= 0"),
    ("pruned_months", {"name": "payment_events_2025_01"}, UNIQUE, "PRIMARY KEY (name)"),
    ("pruned_months", {"name": "n" * 64}, CHECK, "char_length(name)"),
    ("pruned_months", {"table_name": "payment_drafts"}, CHECK, "'payment_events'"),
    ("refunds", {"draft_id": FIRST}, UNIQUE, ""),
    ("refunds", {"draft_id": FIRST, "state": "review", "next_check_at": None}, UNIQUE, ""),
)

ACCEPTED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *((table, {}) for table in ROWS),
    ("payment_drafts", CLAIM),
    ("payment_drafts", AWAITING),
    ("payment_drafts", {"state": "completed"}),
    ("payment_drafts", {"state": "failed", "reason": "expired"}),
    ("payment_drafts", {"state": "partially_refunded", "refunded_minor": 1}),
    ("payment_drafts", {"state": "refunded", "refunded_minor": 30000}),
    ("payment_drafts", {"gateway": "fawry", "transaction_reference_id": "order-1", "payment_reference": "payment-1"}),
    ("payment_drafts", {"idempotency_key": "k" * 16, "amount_minor": 1, "currency": "KWD"}),
    ("payment_drafts", {"idempotency_key": "k" * 200, "amount_minor": 10**15 - 1}),
    ("webhook_events", {"gateway": "fawry", "event_id": "event-1"}),
    ("webhook_deliveries", {"draft_id": None, "event_id": None, "verdict": "ignored"}),
    ("fulfilments", {"state": "delivered", "delivered_at": NOON, "next_check_at": None}),
    ("fulfilments", {"state": "dead", "next_check_at": None, "last_error": "410"}),
    ("fulfilments", {"order_reference": "A-2"}),
    ("fulfilments", {"order_reference": "A-1", "duplicate_of": FIRST}),
    ("fulfilments", TOLD_BACK),
    ("fulfilments", {**TOLD_BACK, "draft_id": FIRST}),
    ("refunds", {"state": "sent", "sent_at": NOON, "refunded_before_minor": 0}),
    ("refunds", {**ENDED, "draft_id": FIRST}),
    ("payment_drafts", {"otp_tries": 5}),
)


@pytest.fixture(scope="module")
def shared_url(new_database: NewDatabase) -> str:
    """One database for all cases: each is rolled back."""
    return asyncio.run(new_database())


@pytest.mark.parametrize(
    "case", REFUSED, ids=lambda case: f"{case[0]}-{'-'.join(f'{k}={str(v)[:20]}' for k, v in case[1].items())}"
)
async def test_nonsense_is_refused_by_the_constraint_that_is_there_for_it(shared_url: str, case: Case) -> None:
    """Whatever bug or hand at a prompt writes it. The definition is compared, so that no other rule refuses by luck."""
    table, _, kind, words = case
    async with given(shared_url) as connection:
        error = await refusal(connection, case)
        assert type(error) is kind, repr(error)
        if words:
            assert words in (await definitions(connection))[table, await broken_by(connection, error)]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
async def test_what_makes_sense_is_accepted(shared_url: str, case: tuple[str, dict[str, Any]]) -> None:
    """Otherwise the refusals prove nothing."""
    table, changed = case
    async with given(shared_url) as connection:
        await insert(connection, table, changed)


async def test_no_constraint_is_without_a_case(shared_url: str) -> None:
    """A rule that nothing has ever broken may be one that refuses nothing."""
    broken = set()
    async with given(shared_url) as connection:
        for case in REFUSED:
            error = await refusal(connection, case)
            broken.add((case[0], await broken_by(connection, error)))
        there = set(await definitions(connection))
    assert there - broken == set()


async def test_a_valid_row_cannot_be_changed_into_nonsense(shared_url: str) -> None:
    """The same rules hold for updates: the statements of every day are updates."""
    statements = {
        "UPDATE payment_drafts SET refunded_minor = 30001, state = 'refunded' WHERE id = $1": CHECK,
        "UPDATE payment_drafts SET state = 'pending', claimed_by = id WHERE id = $1": CHECK,
        "UPDATE payment_drafts SET claimed_by = id, claimed_until = now() WHERE id = $1": CHECK,
        "UPDATE payment_drafts SET state = 'awaiting_user_action', action = NULL WHERE id = $1": CHECK,
        "UPDATE payment_drafts SET expires_at = created_at WHERE id = $1": CHECK,
        "DELETE FROM payment_drafts WHERE id = $1": FOREIGN,
    }
    async with given(shared_url) as connection:
        for statement, kind in statements.items():
            with pytest.raises(kind):
                async with connection.transaction():
                    await connection.execute(statement, uuid.UUID(FIRST))


async def test_every_text_column_has_a_bound(shared_url: str) -> None:
    """So the first line of the migration says. What is unbounded, an outsider fills."""
    async with given(shared_url) as connection:
        columns = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND data_type = 'text' AND table_name <> 'schema_migrations' "
            "AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition)"
        )
        checks = Counter[str]()
        for (table, _), definition in (await definitions(connection)).items():
            for name in re.findall(r"char_length\((\w+)\)|\(?(\w+) = ANY", definition):
                checks[f"{table}.{name[0] or name[1]}"] += 1
    found = {f"{record['table_name']}.{record['column_name']}" for record in columns}
    assert len(found) > 20
    assert sorted(name for name in found if not checks[name]) == []


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("payment_drafts", "state", set(State)),
        ("payment_events", "verdict", set(Verdict)),
        ("refunds", "state", set(RefundState)),
        ("payment_events", "source", set(typing.get_args(Source))),
        ("fulfilments", "kind", set(typing.get_args(Announced))),
        ("webhook_deliveries", "verdict", {*Verdict, "lookup", "unmatched", "ignored"}),
    ],
)
async def test_the_words_of_a_check_are_those_of_the_code(
    shared_url: str, table: str, column: str, words: set[str]
) -> None:
    """A state that only one of the two knows is found by a payment otherwise."""
    async with given(shared_url) as connection:
        lists = [
            definition
            for (name, _), definition in (await definitions(connection)).items()
            if name == table and re.match(rf"CHECK \(\({column} = ANY \(ARRAY\[", definition)
        ]
    assert len(lists) == 1
    assert set(re.findall(r"'([\w.]+)'::text", lists[0])) == set(map(str, words))


async def test_one_payment_at_the_psp_completes_one_draft_and_the_other_goes_to_a_person(database_url: str) -> None:
    """A PSP's bug or a shop's two drafts for one order: the constraint refuses, the code makes it a review."""
    async with folding(database_url) as (fold, store):
        first, second = await awaiting(fold, store, "order-1"), await awaiting(fold, store, "order-2")
        await fold.deliver(paid(first, "event-1", payment="payment-1"), DELIVERY)

        verdict = await fold.deliver(paid(second, "event-2", payment="payment-1"), DELIVERY)

        assert verdict == "review"
        row = await store.drafts.get(second.id)
        assert row is not None
        assert (row.draft.state, row.draft.needs_review) == (State.AWAITING_USER_ACTION, True)
        assert row.draft.payment_reference is None
        assert [entry["verdict"] for entry in await store.drafts.journal(second.id)] == ["applied", "review"]
        assert (await store.drafts.journal(second.id))[-1]["review_reason"]
        assert await store.pool.fetchval("SELECT array_agg(draft_id) FROM fulfilments") == [first.id]
        assert await store.pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE verdict = 'review'") == 1
        # The PSP sends it again: heard before. It sends it as a new event: a review again, still not an error.
        assert await fold.deliver(paid(second, "event-2", payment="payment-1"), DELIVERY) == "repeated"
        assert await fold.deliver(paid(second, "event-3", payment="payment-1"), DELIVERY) == "review"
        # Its own money still completes it.
        assert await fold.deliver(paid(second, "event-4", payment="payment-2"), DELIVERY) == "applied"
        assert await store.pool.fetchval("SELECT count(*) FROM fulfilments") == 2


async def test_a_lookup_that_finds_another_drafts_payment_ends_in_review_too(database_url: str) -> None:
    """The same fact by the other way in. Asking again and again must not fill the journal."""
    async with folding(database_url) as (fold, store):
        first, second = await awaiting(fold, store, "order-1"), await awaiting(fold, store, "order-2")
        await fold(await row_of(store, first), [paid(first, "event-1", payment="payment-1")], source="lookup")

        for _ in range(3):
            row = await fold(
                await row_of(store, second), [paid(second, "event-2", payment="payment-1")], source="lookup"
            )
            assert (row.draft.state, row.draft.needs_review) == (State.AWAITING_USER_ACTION, True)

        assert [entry["verdict"] for entry in await store.drafts.journal(second.id)] == ["applied", "review"]


async def test_a_registration_under_another_drafts_reference_ends_in_review(database_url: str) -> None:
    """A PSP that gives one order to two drafts would let one payment answer for both."""
    async with folding(database_url) as (fold, store):
        await awaiting(fold, store, "order-1")
        second = await pending(store)

        row = await fold(await row_of(store, second), [registered("order-1")], source="initiate")

        assert (row.draft.state, row.draft.needs_review) == (State.PENDING, True)
        assert row.draft.transaction_reference_id is None


async def test_what_was_decided_about_a_row_is_not_folded_once_it_has_moved(database_url: str) -> None:
    """A webhook that completes the draft while the sweep asks about it: it has not expired, and needs no review."""
    async with folding(database_url) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        before = await row_of(store, draft)
        await fold.deliver(paid(draft, "event-1"), DELIVERY)
        expired = msgspec.structs.replace(paid(draft, "expired"), kind=Kind.FAILED, amount=None, payment_reference=None)

        row = await fold(before, [expired], source="sweep", unmoved=True)

        assert (row.draft.state, row.draft.needs_review) == (State.COMPLETED, False)


async def test_what_a_person_decided_about_a_row_counts_only_where_it_has_not_moved(database_url: str) -> None:
    """What he saw is not what there is any more, and he must not be told that his word counts."""
    async with folding(database_url) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        less = msgspec.structs.replace(paid(draft, "event-1"), amount=Money(25000, "EGP"))
        await fold.deliver(less, DELIVERY)
        seen = await row_of(store, draft)
        decided = msgspec.structs.replace(less, decision=Decision("accept", "amount_mismatch"))
        await fold(seen, [msgspec.structs.replace(less, event_id="event-2")], source="webhook")

        assert await fold.decide(seen, [decided]) is None
        assert {entry["source"] for entry in await store.drafts.journal(draft.id)} == {"initiate", "webhook"}

        row = await fold.decide(await row_of(store, draft), [decided])
        assert row is not None
        assert (row.draft.state, row.draft.needs_review) == (State.COMPLETED, False)


async def test_a_row_that_moved_since_it_was_read_is_folded_under_its_lock(database_url: str) -> None:
    """The answer of our own call comes after the webhook: it must meet the draft as it stands, not as it was read."""
    async with folding(database_url) as (fold, store):
        draft = await pending(store)
        read = await row_of(store, draft)
        assert await fold.deliver(paid(draft, "event-1"), DELIVERY) == "applied"

        row = await fold(read, [registered("order-1")], source="initiate", release=CLAIMED)

        assert (row.draft.state, row.draft.transaction_reference_id) == (State.COMPLETED, "order-1")
        stored = await row_of(store, draft)
        assert (row.draft, row.claimed_by) == (stored.draft, None)
        assert (row.version, stored.version) == (read.version + 1, read.version + 2)  # the webhook has the last word
        assert [entry["verdict"] for entry in await store.drafts.journal(draft.id)] == ["applied", "stale"]


async def test_what_a_fold_returns_is_the_row_as_it_is_stored(database_url: str) -> None:
    """The answer is built from it without another look: a column that only one of the two has would be a lie."""
    async with folding(database_url) as (fold, store):
        draft = await pending(store)

        row = await fold(await row_of(store, draft), [registered("order-1")], source="initiate", release=CLAIMED)

        assert row == await row_of(store, draft)
        assert (row.claimed_by, row.version) == (None, 1)


async def test_an_action_that_a_column_does_not_take_is_returned_as_it_is_stored(database_url: str) -> None:
    """The first answer and its replay must not differ; PostgreSQL keeps no NUL."""
    async with folding(database_url) as (fold, store):
        draft = await pending(store)
        event = msgspec.structs.replace(registered("order-1"), action=RedirectUrl("https://psp.example/\0", "redirect"))

        row = await fold(await row_of(store, draft), [event], source="initiate", release=CLAIMED)

        assert row == await row_of(store, draft)


async def test_a_look_up_that_tells_nothing_new_returns_the_draft_as_it_is(database_url: str) -> None:
    """Who asked about a pending draft must see that a webhook has completed it meanwhile, and not speak after it."""
    async with folding(database_url) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        read = await row_of(store, draft)
        assert await fold.deliver(paid(draft, "event-1"), DELIVERY) == "applied"

        row = await fold(read, [registered("order-1")], source="lookup")

        stored = await row_of(store, draft)
        assert row.draft == stored.draft
        assert row.draft.state is State.COMPLETED
        assert (row.version, stored.version) == (read.version, read.version + 1)


async def test_a_sweep_takes_only_rows_of_gateways_it_has(database_url: str) -> None:
    """A worker without a PSP's credentials must leave that PSP's rows to the workers that have them."""
    async with folding(database_url) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        async with store.transaction() as connection:
            await store.drafts.stage_lookup(connection, draft.id, None)
        found = {}
        for gateways in (["another"], [draft.gateway]):
            async with store.transaction() as connection:
                due = await store.lease_due(connection, "drafts", timedelta(minutes=1), 10, gateways)
            found[gateways[0]] = [one.id for one in due]

        assert found == {"another": [], draft.gateway: [draft.id]}


@pytest.mark.parametrize("by", ["draft id", "reference"])
@pytest.mark.parametrize("events", ["one event", "twenty events"])
async def test_twenty_deliveries_at_once_complete_a_draft_once_and_never_deadlock(
    database_url: str, events: str, by: str
) -> None:
    """PSPs repeat themselves, from several machines. Locking in the other order deadlocked 90 of 100."""
    async with folding(database_url, connections=20) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        facts = [paid(draft, "event-1" if events == "one event" else f"event-{n}", by=by) for n in range(20)]

        verdicts = Counter(await asyncio.gather(*(fold.deliver(fact, DELIVERY) for fact in facts)))

        assert verdicts == {"applied": 1, "repeated": 19}
        row = await store.drafts.get(draft.id)
        assert row is not None
        assert (row.draft.state, row.draft.needs_review) == (State.COMPLETED, False)
        assert await store.pool.fetchval("SELECT count(*) FROM fulfilments") == 1
        journal = [entry["verdict"] for entry in await store.drafts.journal(draft.id)]
        assert Counter(journal) == Counter(["applied", "applied"] + ["repeated"] * (0 if events == "one event" else 19))
        assert await store.pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 20
    assert await deadlocks(database_url) == 0


async def test_payments_of_one_reference_for_twenty_drafts_at_once_complete_one(database_url: str) -> None:
    """Whoever comes first has it; the others wait on the index, then go to a person; none is an error."""
    async with folding(database_url, connections=20) as (fold, store):
        drafts = [await awaiting(fold, store, f"order-{n}") for n in range(20)]
        facts = [paid(draft, f"event-{n}", payment="payment-1") for n, draft in enumerate(drafts)]

        verdicts = Counter(await asyncio.gather(*(fold.deliver(fact, DELIVERY) for fact in facts)))

        assert verdicts == {"applied": 1, "review": 19}
        assert await store.pool.fetchval("SELECT count(*) FROM fulfilments") == 1
    assert await deadlocks(database_url) == 0


async def test_the_second_payment_of_an_order_completes_and_is_flagged(database_url: str) -> None:
    """The money came, so it counts; whether the payer meant it only a person can tell, and the shop must know."""
    async with folding(database_url) as (fold, store):
        first, second = [await awaiting(fold, store, f"order-{n}", order="A-1") for n in range(2)]
        assert await fold.deliver(paid(first, "event-1", payment="payment-1"), DELIVERY) == "applied"

        assert await fold.deliver(paid(second, "event-2", payment="payment-2"), DELIVERY) == "applied"

        rows = [await row_of(store, draft) for draft in (first, second)]
        assert [(row.draft.state, row.draft.needs_review) for row in rows] == [
            (State.COMPLETED, False),
            (State.COMPLETED, True),
        ]
        last = (await store.drafts.journal(second.id))[-1]
        assert (last["verdict"], last["review_reason"], last["state"]) == ("applied", "order_paid_twice", "completed")
        assert [one.duplicate_of for one in await store.fulfilments.of(first.id)] == [None]
        assert [one.duplicate_of for one in await store.fulfilments.of(second.id)] == [first.id]
        # Heard again it is nothing new, as with any other payment.
        assert await fold.deliver(paid(second, "event-2", payment="payment-2"), DELIVERY) == "repeated"
        assert await fold.deliver(paid(second, "event-3", payment="payment-2"), DELIVERY) == "repeated"


async def test_the_second_payment_is_flagged_by_whichever_way_it_is_found(database_url: str) -> None:
    """A look-up may find a payment and a refund of it at once; the refund must not take the flag back."""
    async with folding(database_url) as (fold, store):
        first, second = [await awaiting(fold, store, f"order-{n}", order="A-1") for n in range(2)]
        await fold(await row_of(store, first), [paid(first, "event-1", payment="payment-1")], source="lookup")
        both = [paid(second, "event-2", payment="payment-2"), refunded(second, 100, payment="payment-2")]

        row = await fold(await row_of(store, second), both, source="lookup")

        assert (row.draft.state, row.draft.needs_review) == (State.PARTIALLY_REFUNDED, True)
        assert row == await row_of(store, second)
        told = await store.fulfilments.of(second.id)
        assert [(one.kind, one.duplicate_of) for one in told] == [
            ("payment.completed", first.id),
            ("payment.refunded", None),
        ]


async def test_an_event_may_meet_another_drafts_reference_and_another_payment_of_its_order(database_url: str) -> None:
    """A PSP that reports one payment for two drafts of one order: that is a review, and the order is paid once."""
    async with folding(database_url) as (fold, store):
        first, second = [await awaiting(fold, store, f"order-{n}", order="A-1") for n in range(2)]
        await fold.deliver(paid(first, "event-1", payment="payment-1"), DELIVERY)

        assert await fold.deliver(paid(second, "event-2", payment="payment-1"), DELIVERY) == "review"

        row = await row_of(store, second)
        assert (row.draft.state, row.draft.needs_review) == (State.AWAITING_USER_ACTION, True)
        assert (await store.drafts.journal(second.id))[-1]["review_reason"] == "reference_of_another_draft"
        assert await store.fulfilments.of(second.id) == []


async def test_payments_without_an_order_are_nobodys_duplicate(database_url: str) -> None:
    """Most shops of one page have no orders; each of their payments is a purchase."""
    async with folding(database_url) as (fold, store):
        for n in range(2):
            draft = await awaiting(fold, store, f"order-{n}")
            await fold.deliver(paid(draft, f"event-{n}", payment=f"payment-{n}"), DELIVERY)
            assert not (await row_of(store, draft)).draft.needs_review


async def test_of_two_siblings_that_are_paid_at_once_exactly_one_is_the_duplicate(database_url: str) -> None:
    """Two tabs, two webhooks on two servers in the same moment: neither may hide behind the other."""
    async with folding(database_url, connections=20) as (fold, store):
        for turn in range(20):
            drafts = [await awaiting(fold, store, f"order-{turn}-{n}", order=f"A-{turn}") for n in range(4)]
            facts = [paid(draft, f"event-{draft.id}", payment=f"payment-{draft.id}") for draft in drafts]

            verdicts = await asyncio.gather(*(fold.deliver(fact, DELIVERY) for fact in facts))

            assert verdicts == ["applied"] * 4
            rows = [await row_of(store, draft) for draft in drafts]
            assert {row.draft.state for row in rows} == {State.COMPLETED}
            (first,) = [row.draft.id for row in rows if not row.draft.needs_review]
            told = [one for draft in drafts for one in await store.fulfilments.of(draft.id)]
            assert Counter(one.duplicate_of for one in told) == {None: 1, first: 3}
            assert [one.duplicate_of for one in await store.fulfilments.of(first)] == [None]
    assert await deadlocks(database_url) == 0


async def test_what_is_open_of_an_order_is_made_due_and_nothing_else(database_url: str) -> None:
    """What can still be paid is looked at now, to be withdrawn; what has ended, or is another order's, is left."""
    async with folding(database_url) as (fold, store):
        first, open_one, other, ended = [
            await awaiting(fold, store, f"order-{n}", order=order)
            for n, order in enumerate(["A-1", "A-1", "B-1", "A-1"])
        ]
        begun = await pending(store, order="A-1")
        failed = msgspec.structs.replace(paid(ended, "ended"), kind=Kind.FAILED, amount=None, payment_reference=None)
        await fold(await row_of(store, ended), [failed], source="webhook")
        before = {draft.id: (await row_of(store, draft)).version for draft in (open_one, other, ended, begun)}

        await store.orders.stage_siblings(first)

        due = await store.pool.fetch("SELECT id FROM payment_drafts WHERE next_check_at <= now()")
        assert {record["id"] for record in due} == {open_one.id, begun.id}
        moved = await store.drafts.get_moved(before)
        assert {row.draft.id for row in moved} == {open_one.id, begun.id}
        assert {row.draft.state for row in moved} == {State.AWAITING_USER_ACTION, State.PENDING}


async def test_each_change_of_what_went_back_is_announced_once_and_in_order(database_url: str) -> None:
    """Up, up, down, and up to the same sum again: a shop that is told three of them believes a wrong sum."""
    async with folding(database_url) as (fold, store):
        draft = await awaiting(fold, store, "order-1")
        await fold.deliver(paid(draft, "event-1"), DELIVERY)
        for total in (100, 200, 200):
            await fold(await row_of(store, draft), [refunded(draft, total)], source="refund")
        lower = msgspec.structs.replace(refunded(draft, 100), kind=Kind.REFUND_FAILED)
        await fold(await row_of(store, draft), [lower], source="lookup")
        await fold(await row_of(store, draft), [refunded(draft, 200)], source="refund")

        told = await store.fulfilments.of(draft.id)

        assert [one.kind for one in told] == ["payment.completed", *["payment.refunded"] * 4]
        assert len({one.id for one in told}) == 5
        assert [one.created_at for one in told] == sorted(one.created_at for one in told)


async def test_an_announcement_waits_for_those_before_it(database_url: str) -> None:
    """First that it was paid, then each change; one that the shop never took does not hold up the newer sum."""
    async with folding(database_url) as (fold, store):
        draft, fulfilments = await awaiting(fold, store, "order-1"), store.fulfilments
        await fold.deliver(paid(draft, "event-1"), DELIVERY)
        for total in (100, 200):
            await fold(await row_of(store, draft), [refunded(draft, total)], source="refund")
        ids = [one.id for one in await fulfilments.of(draft.id)]

        async def waiting() -> list[bool]:
            found = [await fulfilments.get(one) for one in ids]
            return [one.waits for one in found if one is not None]

        async def version(number: int) -> int:
            found = await fulfilments.get(ids[number])
            assert found is not None
            return found.version

        assert await waiting() == [False, True, True]
        await fulfilments.failed(ids[0], await version(0), "HTTP 410", None)
        assert await waiting() == [False, True, True], "nobody has told the shop of the payment yet"
        assert await fulfilments.replay(ids[0]) is not None
        await fulfilments.put_off(ids[1], before := await version(1), timedelta(hours=1))
        assert not await is_due(store, ids[1])
        await fulfilments.delivered(ids[0], await version(0))
        assert await waiting() == [False, False, True]
        assert await is_due(store, ids[1]), "its delivery calls what waits for it"
        await fulfilments.put_off(ids[1], before, timedelta(hours=1))
        assert await is_due(store, ids[1]), "whoever decided before that it must wait comes too late"
        await fulfilments.failed(ids[1], await version(1), "HTTP 410", None)
        assert await waiting() == [False, False, False], "the newer sum is the one that counts"


async def test_the_registration_and_its_payment_at_once_end_completed(database_url: str) -> None:
    """A fast payer's webhook overtakes the answer of our own call: money never waits for our bookkeeping."""
    async with folding(database_url, connections=20) as (fold, store):
        drafts = [await pending(store) for _ in range(20)]
        both: list[Awaitable[object]] = []
        for n, draft in enumerate(drafts):
            both.append(
                fold(await row_of(store, draft), [registered(f"order-{n}")], source="initiate", release=CLAIMED)
            )
            both.append(fold.deliver(paid(draft, f"event-{n}", payment=f"payment-{n}"), DELIVERY))
        await asyncio.gather(*both)

        rows = await store.drafts.get_moved({draft.id: -1 for draft in drafts})
        assert [(row.draft.state, row.draft.needs_review) for row in rows] == [(State.COMPLETED, False)] * 20
        assert {row.draft.transaction_reference_id for row in rows} == {f"order-{n}" for n in range(20)}
        assert [row.claimed_by for row in rows] == [None] * 20
        assert await store.pool.fetchval("SELECT count(*) FROM fulfilments") == 20
    assert await deadlocks(database_url) == 0


DELIVERY: Final = Delivery(body=b"{}", headers={}, query={})
CLAIMED: Final = uuid.UUID(NOBODY)


async def row_of(store: Store, draft: PaymentDraft) -> Row:
    """The draft's row as it stands."""
    row = await store.drafts.get(draft.id)
    assert row is not None
    return row


class _Unheard:
    """Nobody waits for changes here."""

    def draft(self, draft_id: uuid.UUID) -> None:
        """Tell nobody."""

    def due(self) -> None:
        """Wake nobody."""


@asynccontextmanager
async def folding(database_url: str, connections: int = 2) -> AsyncIterator[tuple[Fold, Store]]:
    """The one door, on a database."""
    pool = Pool(await connect_pool(database_url, max_size=connections))
    try:
        store = Store(pool, Clock())
        yield Fold(store, _Unheard()), store
    finally:
        await pool.aclose()


async def is_due(store: Store, fulfilment_id: uuid.UUID) -> bool:
    """Whether a worker would take an announcement now."""
    due: bool = await store.pool.fetchval("SELECT next_check_at <= now() FROM fulfilments WHERE id = $1", fulfilment_id)
    return due


async def pending(store: Store, order: str | None = None) -> PaymentDraft:
    """A draft that an initiate has just claimed."""
    clock = Clock()
    draft = PaymentDraft(
        id=new_id(),
        gateway="paymob",
        amount=Money(30000, "EGP"),
        request=DraftRequest(
            product_id="tshirt", amount="300", method=Method.CARD, currency="EGP", order_reference=order
        ),
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=1),
    )
    row = await store.drafts.claim(
        store.pool, draft, key=str(uuid.uuid4()), fingerprint=b"f" * 32, claim=CLAIMED, lifetime=timedelta(hours=1)
    )
    return row.draft


async def awaiting(fold: Fold, store: Store, reference: str, order: str | None = None) -> PaymentDraft:
    """A draft that the PSP has registered."""
    draft = await pending(store, order)
    return (await fold(await row_of(store, draft), [registered(reference)], source="initiate", release=CLAIMED)).draft


def registered(reference: str) -> GatewayEvent:
    """The PSP knows a draft."""
    action = RedirectUrl(url="https://psp.example/1", display="redirect")
    return GatewayEvent(
        kind=Kind.REGISTERED,
        gateway="paymob",
        event_id=f"registered-{reference}",
        transaction_reference_id=reference,
        action=action,
    )


def paid(draft: PaymentDraft, event_id: str, *, payment: str = "payment-1", by: str = "draft id") -> GatewayEvent:
    """The money of a draft came."""
    return GatewayEvent(
        kind=Kind.PAID,
        gateway="paymob",
        event_id=event_id,
        draft_id=draft.id if by == "draft id" else None,
        transaction_reference_id=draft.transaction_reference_id,
        payment_reference=payment,
        amount=draft.amount,
    )


def refunded(draft: PaymentDraft, total_minor: int, payment: str = "payment-1") -> GatewayEvent:
    """So much of a draft's money has gone back in all."""
    return GatewayEvent(
        kind=Kind.REFUNDED,
        gateway="paymob",
        event_id=f"refunded-{total_minor}",
        draft_id=draft.id,
        payment_reference=payment,
        amount=Money(total_minor, "EGP"),
    )


async def deadlocks(database_url: str) -> int:
    """How many the database saw, also those that a retry hid. Its connections are closed, so all is counted."""
    connection = await asyncpg.connect(database_url)
    try:
        found: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return found


@asynccontextmanager
async def given(database_url: str) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back, with one valid row in each table."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        for table, changed in GIVEN:
            await insert(connection, table, changed)
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


async def insert(connection: Connection, table: str, changed: dict[str, Any]) -> None:
    """Insert the table's valid row with some columns changed; a fulfilment gets the draft it is for."""
    row = {**ROWS[table], **changed}
    if row.get("draft_id") == SECOND:
        await insert(connection, "payment_drafts", {})
    await connection.execute(INSERT[table], json.dumps(row))


async def refusal(connection: Connection, case: Case) -> asyncpg.PostgresError:
    """What the database says to a case; the connection stays usable."""
    table, changed, _, _ = case
    try:
        async with connection.transaction():
            await insert(connection, table, changed)
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except asyncpg.PostgresError as error:
        return error
    pytest.fail(f"accepted: {case}")


async def broken_by(connection: Connection, error: asyncpg.PostgresError) -> str:
    """The name of the constraint that was broken; where a month refused, that of its table, which it has it from."""
    inherited = await connection.fetchval(
        "SELECT p.conname FROM pg_constraint c JOIN pg_constraint p ON p.oid = c.conparentid "
        "WHERE c.conname = $1 AND c.conrelid = to_regclass($2)",
        error.constraint_name,
        error.table_name,
    )
    return str(inherited or error.constraint_name)


async def definitions(connection: Connection) -> dict[tuple[str, str], str]:
    """Every rule of our tables but NOT NULL, by table and name. Months have those of their tables."""
    records = await connection.fetch(
        "SELECT c.relname, n.conname, pg_get_constraintdef(n.oid) AS definition FROM pg_constraint n "
        "JOIN pg_class c ON c.oid = n.conrelid WHERE c.relnamespace = 'public'::regnamespace "
        "AND n.contype <> 'n' AND c.relname <> 'schema_migrations' AND NOT c.relispartition"
    )
    return {(record["relname"], record["conname"]): record["definition"] for record in records}
