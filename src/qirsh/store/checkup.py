"""How the database fares: reachable, which version, which migrations are missing, and what time it thinks it is."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from qirsh.store.migrate import check, connect, migrations
from qirsh.store.months import unmade


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a look at the database found."""

    version: str
    now: datetime
    missing: list[str]
    """Names of the migrations that are still to be applied."""
    unmade: list[str]
    """This month and the next, as far as they have no partition."""


async def check_up(database_url: str) -> Vitals:
    """Look at the database and change nothing.

    Raises:
        MigrationError: it cannot be used, is newer than this release, or an applied migration was edited.
        OSError: nobody answers there.
    """
    connection = await connect(database_url)
    try:
        version = await connection.fetchval("SELECT current_setting('server_version')")
        try:
            records = await connection.fetch("SELECT number, checksum FROM schema_migrations")
        except asyncpg.UndefinedTableError:
            records = []
        applied = {record["number"]: record["checksum"] for record in records}
        known = migrations()
        check(applied, known)
        now = await connection.fetchval("SELECT clock_timestamp()")
        missing = [one.name for one in known if one.number not in applied]
        return Vitals(version, now, missing, [month.name for month in await unmade(connection, ahead=1)])
    finally:
        await connection.close()
