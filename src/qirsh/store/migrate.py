"""Forward-only, numbered SQL migrations under one advisory lock: eight servers starting together migrate once."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import asyncpg
import structlog

from qirsh.store.months import make_ahead

LOCK: Final = 0x7169727368  # "qirsh": the one advisory lock of the project

_log = structlog.get_logger("qirsh.migrate")

_FILE: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")

_CREATE_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  number int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


class MigrationError(RuntimeError):
    """The database's schema is not one that these migrations made."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells an edited file from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations of this release, in order."""
    found = [
        Migration(int(match[1]), file.name, file.read_text())
        for file in (files(__package__) / "migrations").iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


async def migrate(database_url: str, *, up_to: int | None = None) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own; return the names of what was applied.

    Raises:
        MigrationError: the database cannot be used, is newer than this release, is kept locked by somebody, or an
            applied migration was edited.
    """
    connection = await connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute(_CREATE_LEDGER)
        applied = {
            record["number"]: record["checksum"]
            for record in await connection.fetch("SELECT number, checksum FROM schema_migrations")
        }
        known = migrations()
        check(applied, known)
        missing = [m for m in known if m.number not in applied and (up_to is None or m.number <= up_to)]
        for migration in missing:
            async with connection.transaction():
                await _apply(connection, migration)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.checksum,
                )
        await _look_ahead(connection)
        return [migration.name for migration in missing]
    finally:
        await connection.close()  # and with it the lock


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.LockNotAvailableError:
        raise MigrationError(
            f"{migration.name} needs tables that somebody keeps locked, perhaps for a backup: try again after that."
        ) from None


async def _look_ahead(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the months to come. It can wait for a worker: there are months left, and a server must start."""
    try:
        await make_ahead(connection)
    except asyncpg.LockNotAvailableError:
        _log.warning("months_not_made")


async def connect(database_url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of its own to the tables of ours.

    Raises:
        MigrationError: the database cannot be used.
        OSError: nobody answers there.
    """
    try:
        return await asyncpg.connect(database_url, server_settings={"search_path": "public"})
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        said = str(error) if isinstance(error, asyncpg.PostgresError) else "the URL cannot be read"
        raise MigrationError(f"The database cannot be used: {said}. Check database_url.") from None


def check(applied: dict[int, str], known: list[Migration]) -> None:
    """Compare what was applied with the migrations of this release.

    Raises:
        MigrationError: the database is newer, or an applied migration was edited.
    """
    by_number = {migration.number: migration for migration in known}
    for number, checksum in applied.items():
        if number not in by_number:
            raise MigrationError(
                f"The database has migration {number}, which this release does not know: upgrade Qirsh."
            )
        if by_number[number].checksum != checksum:
            raise MigrationError(f"{by_number[number].name} was edited after it was applied: write a new migration.")
