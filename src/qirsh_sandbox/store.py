"""The sandbox's memory: one SQLite file, written before a PSP answers, so that `kill -9` loses nothing answered.

Documents are msgspec structs as JSON: a new PSP needs no new table. Calls are synchronous and short on purpose: in one
event loop, code without an `await` in it cannot be interleaved, which makes every handler's step atomic.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  parent TEXT NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS documents_by_parent ON documents (kind, parent, seq);
"""

Document = TypeVar("Document", bound=msgspec.Struct)

_LOCK_SECONDS = 2.0  # a predecessor on its way down lets go of the file within this
_ID_STEP = 9  # ids grow by 1 to 9: neighbours differ in a few digits, as at a PSP with other merchants


class Store:
    """One SQLite file. Open it once; close it when the server is down."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
        try:
            # Exclusive: a second sandbox on this file would send every webhook twice. It fails at its start instead.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            # It must outlive the process, not the machine: what the kernel has survives kill -9 without an fsync.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All the writes in the block, or none. Nested blocks join the outer one. Never `await` inside."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def fact(self, name: str, default: str) -> str:
        """Read a remembered value; the first time, remember `default`."""
        rows = self.execute("SELECT value FROM facts WHERE name = ?", (name,))
        if rows:
            return str(rows[0][0])
        self.remember(name, default)
        return default

    def remember(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def next_id(self, name: str, base: int) -> int:
        """Return a fresh number above `base`, never the same twice, also after a restart."""
        last = int(self.fact(name, str(base + secrets.randbelow(base // 10))))
        fresh = last + 1 + secrets.randbelow(_ID_STEP)
        self.remember(name, str(fresh))
        return fresh


class Table(Generic[Document]):
    """The documents of one kind, by id and by parent, in the order in which they were first put."""

    def __init__(self, store: Store, kind: str, document: type[Document]) -> None:
        self._store = store
        self._kind = kind
        self._decode = msgspec.json.Decoder(document).decode

    def get(self, key: str) -> Document | None:
        """Return the document with this id."""
        rows = self._store.execute("SELECT body FROM documents WHERE kind = ? AND id = ?", (self._kind, key))
        return self._decode(rows[0][0]) if rows else None

    def put(self, document: Document, *, key: str, parent: str = "") -> None:
        """Write a document; one with the same id is replaced in its place."""
        self._store.execute(
            "INSERT INTO documents (kind, id, parent, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET parent = excluded.parent, body = excluded.body",
            (self._kind, key, parent, msgspec.json.encode(document)),
        )

    def children(self, parent: str) -> list[Document]:
        """Return the documents of one parent, oldest first."""
        rows = self._store.execute(
            "SELECT body FROM documents WHERE kind = ? AND parent = ? ORDER BY seq", (self._kind, parent)
        )
        return [self._decode(body) for (body,) in rows]

    def all(self) -> list[Document]:
        """Return every document, oldest first."""
        rows = self._store.execute("SELECT body FROM documents WHERE kind = ? ORDER BY seq", (self._kind,))
        return [self._decode(body) for (body,) in rows]

    def page(self, *, limit: int, offset: int) -> list[Document]:
        """Return a page of documents, newest first."""
        rows = self._store.execute(
            "SELECT body FROM documents WHERE kind = ? ORDER BY seq DESC LIMIT ? OFFSET ?", (self._kind, limit, offset)
        )
        return [self._decode(body) for (body,) in rows]

    def count(self) -> int:
        """Return how many documents there are."""
        return int(self._store.execute("SELECT count(*) FROM documents WHERE kind = ?", (self._kind,))[0][0])
