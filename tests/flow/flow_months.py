"""Databases with a past: months that are over, with drafts and entries in them. It makes ids and months by itself."""

import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from test_constraints import ACTION, INSERT, ROWS

from qirsh.store.connection import Connection

TABLES: Final = ("payment_events", "webhook_deliveries")
_WHERE: Final = {
    "payment_events": "SELECT tableoid::regclass::text FROM payment_events WHERE id = $1",
    "webhook_deliveries": "SELECT tableoid::regclass::text FROM webhook_deliveries WHERE id = $1",
}
UNPAID: Final = {"state": "pending", "transaction_reference_id": None, "payment_reference": None, "action": None}


def first_day(months_ago: int) -> datetime:
    """Midnight at the beginning of a month; negative: of one to come."""
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 - months_ago
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def days_since(months_ago: int) -> int:
    """How many whole days a month began ago: so many days ago the one before it had ended."""
    return (datetime.now(UTC) - first_day(months_ago)).days


def midst(months_ago: int) -> datetime:
    """A moment in a month."""
    return first_day(months_ago) + timedelta(days=9, hours=7)


def name_of(table: str, months_ago: int) -> str:
    """What a month is called."""
    return f"{table}_{first_day(months_ago):%Y_%m}"


def id_at(moment: datetime) -> uuid.UUID:
    """A UUIDv7 as it was made at a moment."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    rest = int.from_bytes(os.urandom(10)) & ~(0xF << 76) & ~(0x3 << 62)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | rest)


async def grow_old(connection: Connection, *months_ago: int) -> None:
    """Let these months have been made, as by a server that has run for so long that its first partition is gone.

    Where today is the last day of a month, that partition held the next month as well.
    """
    for table in TABLES:
        await connection.execute(f"DROP TABLE {table}_first")
        made = await partitions(connection, table)
        for one in {0, -1, *months_ago}:
            begins, ends = (uuid.UUID(int=id_at(first_day(number)).int >> 80 << 80) for number in (one, one - 1))
            bounds = f"FROM ('{begins}') TO ('{ends}')"
            if (name := name_of(table, one)) not in made:
                await connection.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {bounds}")


async def a_draft(connection: Connection, made: datetime, **columns: Any) -> uuid.UUID:
    """A draft of a moment, paid unless columns say otherwise, with a payer."""
    draft_id = id_at(made)
    row = {
        **ROWS["payment_drafts"],
        "id": str(draft_id),
        "idempotency_key": str(draft_id),
        "request": {"product_id": "tshirt", "amount": "300", "method": "card", "payer": {"phone": "01012345678"}},
        "state": "completed",
        "transaction_reference_id": f"order of {draft_id}",
        "payment_reference": f"payment of {draft_id}",
        "action": ACTION,
        "created_at": made.isoformat(),
        "updated_at": made.isoformat(),
        "expires_at": (made + timedelta(hours=1)).isoformat(),
        **columns,
    }
    await connection.execute(INSERT["payment_drafts"], json.dumps(row))
    return draft_id


async def an_entry(connection: Connection, draft_id: uuid.UUID, made: datetime) -> uuid.UUID:
    """A line in the journal of a draft, of a moment: it was paid."""
    event_id = id_at(made)
    await connection.execute(
        "INSERT INTO payment_events (id, draft_id, at, source, event, verdict, state)"
        " SELECT $1, id, $2, 'webhook', jsonb_build_object('kind', 'paid', 'gateway', gateway, 'event_id', 'paid',"
        " 'transaction_reference_id', transaction_reference_id, 'payment_reference', payment_reference,"
        " 'amount', jsonb_build_object('amount_minor', amount_minor, 'currency', currency)), 'applied', 'completed'"
        " FROM payment_drafts WHERE id = $3",
        event_id,
        made,
        draft_id,
    )
    return event_id


async def a_delivery(connection: Connection, made: datetime, draft_id: uuid.UUID | None = None) -> uuid.UUID:
    """A webhook of a moment."""
    delivery_id = id_at(made)
    await connection.execute(
        "INSERT INTO webhook_deliveries (id, received_at, gateway, draft_id, verdict, body, headers, query)"
        " VALUES ($1, $2, 'paymob', $3, 'ignored', '', '{}', '{}')",
        delivery_id,
        made,
        draft_id,
    )
    return delivery_id


async def partitions(connection: Connection, table: str) -> set[str]:
    """The names of a table's partitions, as the catalogue has them, without the default one."""
    records = await connection.fetch(
        "SELECT relname FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::regclass)"
        " AND pg_get_expr(relpartbound, oid) <> 'DEFAULT'",
        table,
    )
    return {record["relname"] for record in records}


async def where_is(connection: Connection, table: str, row_id: uuid.UUID) -> str | None:
    """The partition that holds a row."""
    found: str | None = await connection.fetchval(_WHERE[table], row_id)
    return found
