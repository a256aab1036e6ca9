"""The months of the two tables that only grow: partitions by the time in a row's id, made ahead, dropped whole.

SQL is put together here and nowhere else, because no parameter carries a table's name. What goes in is a name of
`Table` and what PostgreSQL itself said of its partitions (ADR 0020).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args
from uuid import UUID

import asyncpg
import structlog

from qirsh.store.connection import Connection, Sender
from qirsh.store.sql import SQL

Table = Literal["payment_events", "webhook_deliveries"]

AHEAD: Final = 3
"""Months made before they begin: nobody has to run for so long, and nothing falls into the default partition."""

_FIRST_OF_ALL: Final = UUID(int=0)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = structlog.get_logger("qirsh.months")


@dataclass(frozen=True, slots=True)
class Month:
    """A partition: the rows with an id from `begins` until before `ends`. The first holds all that there was before."""

    table: Table
    name: str
    begins: UUID
    ends: UUID


async def months(sender: Sender, table: Table) -> list[Month]:
    """The months of a table, oldest first, without the default partition. None before migration 0006."""
    records = await sender.fetch(SQL["months"], table)
    return [Month(table, record["name"], record["begins"] or _FIRST_OF_ALL, record["ends"]) for record in records]


async def make_ahead(connection: Connection) -> list[str]:
    """Make what is missing of this month and the next ones, in both tables; return their names.

    It locks nothing where nothing is missing, and any number may do it at once. A month of which the default partition
    holds rows already is left to it: retention knows that partition too.

    Raises:
        asyncpg.LockNotAvailableError: somebody keeps the tables locked; there are months left to try again.
    """
    made = []
    for month in await _missing(connection):
        try:
            await connection.execute(_creation(month))
        except asyncpg.DuplicateTableError:
            continue  # another server has made it meanwhile
        made.append(month.name)
    return made


async def unmade(sender: Sender, ahead: int = AHEAD) -> list[Month]:
    """Those of this month and the next ones that have no partition, of both tables."""
    now = await sender.fetchval(SQL["database_time"])
    found = []
    for table in get_args(Table):
        made = await months(sender, table)
        found += [
            month
            for month in (wanted(table, now, ahead) if made else ())
            if not any(one.begins <= month.begins and month.ends <= one.ends for one in made)
        ]
    return found


async def drop(connection: Connection, month: Month) -> None:
    """Drop a month with all its rows, and remember that it was there.

    Raises:
        asyncpg.LockNotAvailableError: somebody keeps the table locked.
    """
    await connection.execute(_removal(month))


def wanted(table: Table, now: datetime, ahead: int = AHEAD) -> Iterator[Month]:
    """The month of a moment and the next ones of a table, whether they are made or not."""
    months_since_zero = now.year * 12 + now.month - 1
    for number in range(months_since_zero, months_since_zero + ahead + 1):
        begins, ends = _first_day(number), _first_day(number + 1)
        yield Month(table, f"{table}_{begins:%Y_%m}", first_id_at(begins), first_id_at(ends))


def first_id_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 that can be made at a moment: its first 48 bits are milliseconds."""
    return UUID(int=(moment - _EPOCH) // timedelta(milliseconds=1) << 80)


def moment_of(row_id: UUID) -> datetime:
    """When a UUIDv7 was made, by the clock of the machine that made it."""
    return _EPOCH + timedelta(milliseconds=row_id.int >> 80)


async def _missing(connection: Connection) -> list[Month]:
    found = []
    for month in await unmade(connection):
        if await _is_held(connection, month.table, month):
            _log.warning("month_in_default_partition", month=month.name)
        else:
            found.append(month)
    return found


def _first_day(months_since_zero: int) -> datetime:
    return datetime(months_since_zero // 12, months_since_zero % 12 + 1, 1, tzinfo=UTC)


async def _is_held(
    connection: Connection, table: Literal["payment_events", "webhook_deliveries"], month: Month
) -> bool:
    """Whether rows of a month without a partition are there already: the default partition has them."""
    held: bool = await connection.fetchval(SQL[f"is_there_{table}"], month.begins, month.ends)
    return held


def _creation(month: Month) -> str:
    """Made aside and attached: that stops no insert, where a partition that is born attached waits for all of them."""
    return _at_once(
        SQL["wait_briefly_for_locks"],
        SQL["lock_drafts_for_partitions"],
        f"CREATE TABLE {month.name} (LIKE {month.table} INCLUDING ALL)",
        f"ALTER TABLE {month.table} ATTACH PARTITION {month.name} "
        f"FOR VALUES FROM ('{month.begins}') TO ('{month.ends}')",
    )


def _removal(month: Month) -> str:
    return _at_once(
        SQL["wait_briefly_for_locks"],
        f"DROP TABLE {month.name}",
        f"INSERT INTO pruned_months (name, table_name, ends, pruned_at) "  # noqa: S608  nothing that anybody sent
        f"VALUES ('{month.name}', '{month.table}', '{month.ends}', now())",
    )


def _at_once(*statements: str) -> str:
    """One message, which PostgreSQL runs as one transaction: a process that is frozen meanwhile holds no lock."""
    return "; ".join(statement.rstrip().rstrip(";") for statement in statements)
