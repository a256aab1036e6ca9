"""The statements of queries.sql are all that is sent: each is used, none is put together, the journal only grows."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeGuard

import pytest

import qirsh
from qirsh.store.migrate import migrations
from qirsh.store.sql import SQL

SOURCES: Final = sorted(Path(str(qirsh.__file__)).parent.rglob("*.py"))
QUERIES: Final = Path(str(qirsh.__file__)).with_name("store") / "queries.sql"
ASKING: Final = {"cursor", "execute", "executemany", "fetch", "fetchmany", "fetchrow", "fetchval", "prepare"}
ONLY_INSERTED: Final = ("payment_events", "webhook_events")
RETENTION: Final = {
    "payment_events": {"delete_strays_payment_events"},
    "webhook_deliveries": {"delete_strays_webhook_deliveries"},
}
MONTHS: Final = "months.py"
"""Where SQL may be put together."""


def test_every_statement_is_used() -> None:
    """A statement that nobody sends is believed by the next reader all the same."""
    assert sorted(set(SQL) - used_names()) == []


def test_every_name_that_is_used_is_a_statement() -> None:
    """A misspelt name is a KeyError on a path that perhaps only a crash takes."""
    assert sorted(used_names() - set(SQL)) == []


def test_no_two_statements_share_a_name_and_each_has_a_body() -> None:
    """The second of two would silently replace the first."""
    names = re.findall(r"(?m)^-- name: (\w+)$", QUERIES.read_text())
    assert len(names) == len(set(names)) == len(SQL) > 30
    assert [name for name, statement in SQL.items() if not code_of(statement)] == []


@pytest.mark.parametrize("name", sorted(SQL))
def test_a_statement_has_numbered_parameters_and_nothing_to_fill_in(name: str) -> None:
    """Text put into SQL is how injections begin; a parameter left out is how arguments shift by one."""
    code = code_of(SQL[name])
    assert not re.search(r"%[sd(]|[{}]|\|\||\bformat\s*\(", code), code
    numbers = {int(number) for number in re.findall(r"\$(\d+)", code)}
    assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", sorted(SQL))
def test_a_name_holds_one_statement(name: str) -> None:
    """The extended protocol sends one; a second would only fail on the day it is used."""
    code = code_of(SQL[name])
    assert code.index(";") == len(code) - 1


def test_python_never_puts_sql_together() -> None:
    """Every call that reaches the database is given a statement by its name or a constant, never a made up text."""
    made = [
        f"{path.name}:{call.lineno}"
        for path, tree in trees()
        if path.name != MONTHS
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ASKING
        for first in call.args[:1]
        if isinstance(first, ast.JoinedStr | ast.BinOp | ast.Call)
    ]
    assert made == []


def test_only_what_postgresql_said_of_a_month_is_put_into_sql() -> None:
    """No parameter carries a table's name, so months are made and dropped by texts. Nobody's input is in them."""
    (tree,) = (tree for path, tree in trees() if path.name == MONTHS)
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and is_sql(ast.unparse(node))]
    filled = {ast.unparse(value.value) for text in texts for value in ast.walk(text) if is_filled(value)}
    assert len(texts) == 4
    assert filled == {"month.table", "month.name", "month.begins", "month.ends"}


def is_sql(text: str) -> bool:
    """Whether a text of ours that is filled in is a statement."""
    return re.search(r"\b(TABLE|INSERT|UPDATE|DELETE|SELECT)\b", text) is not None


@pytest.mark.parametrize("table", [*ONLY_INSERTED, "webhook_deliveries"])
def test_the_journal_and_what_was_heard_are_only_inserted_and_read(table: str) -> None:
    """The journal is the proof of what happened; a row that can be changed proves nothing. Only retention takes any."""
    texts = {name: code_of(statement) for name, statement in SQL.items()}
    texts |= {migration.name: code_of(migration.sql) for migration in migrations()}
    texts |= {path.name: path.read_text() for path in SOURCES}
    assert {name for name, text in texts.items() if changes(table, text)} == RETENTION.get(table, set())
    assert any(re.search(rf"INSERT\s+INTO\s+{table}\b", text) for text in texts.values())


def test_only_retention_drops_a_table() -> None:
    """A month that is dropped takes its rows along, whatever `INSERT` only means elsewhere."""
    texts = {migration.name: code_of(migration.sql) for migration in migrations()}
    texts |= {path.name: path.read_text() for path in SOURCES} | dict(SQL)
    assert {name for name, text in texts.items() if re.search(r"(?i)\bDROP\s+TABLE\b", text)} == {MONTHS}
    months = next(path for path in SOURCES if path.name == MONTHS).read_text()
    assert len(re.findall(r"(?i)\bDROP\s+TABLE\b|\bDETACH\s+PARTITION\b", months)) == 1
    callers = {path.name for path in SOURCES if re.search(r"\bmonths\.drop\(", path.read_text())}
    assert callers == {"retention.py"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET a = 1",
        "delete from only journal",
        "WITH a AS (DELETE\n FROM journal RETURNING *) SELECT 1",
        "TRUNCATE journal",
        "INSERT INTO journal VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
        "DELETE FROM journal_default WHERE a = 1",
        "UPDATE journal_2026_11 SET a = 1",
    ],
)
def test_the_search_for_changes_finds_them(statement: str) -> None:
    """A search that finds nothing must be able to find something."""
    assert changes("journal", statement)
    assert not changes("other", statement)


def changes(table: str, text: str) -> bool:
    """Whether a text holds a statement that changes or removes rows of a table, or of a partition of it."""
    touched = rf"\b(UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(\s+TABLE)?)\s+(ONLY\s+)?{table}(_\w+)?\b"
    overwritten = rf"INSERT\s+INTO\s+{table}(_\w+)?\b[^;]*\bDO\s+UPDATE\b"
    return bool(re.search(f"{touched}|{overwritten}", text, re.IGNORECASE))


def is_filled(node: ast.AST) -> TypeGuard[ast.FormattedValue]:
    """Whether this is a gap of an f-string."""
    return isinstance(node, ast.FormattedValue)


def code_of(statement: str) -> str:
    """A statement without its comments."""
    return re.sub(r"--[^\n]*", "", statement).strip()


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Every source file, parsed."""
    for path in SOURCES:
        yield path, ast.parse(path.read_text())


def used_names() -> set[str]:
    """Every name under which Python takes a statement out of SQL."""
    return {
        name
        for _, tree in trees()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for taken in ast.walk(function)
        if isinstance(taken, ast.Subscript) and isinstance(taken.value, ast.Name) and taken.value.id == "SQL"
        for name in names_in(taken.slice, function)
    }


def names_in(key: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What a key can be: a constant, one of two, a pattern over an argument's literals, the first of listed pairs."""
    match key:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from names_in(body, function)
            yield from names_in(other, function)
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), ast.FormattedValue(value=ast.Name(id=argument))]):
            yield from (start + end for end in literals_of(function, argument))
        case ast.Name():
            pairs = [node for node in ast.walk(function) if isinstance(node, ast.Tuple)]
            yield from (name for pair in pairs for name in texts_in(pair.elts[:1]))
        case _:
            raise AssertionError(f"SQL[{ast.unparse(key)}] in {function.name}: this test cannot tell the name")


def literals_of(function: ast.FunctionDef | ast.AsyncFunctionDef, argument: str) -> list[str]:
    """The values of an argument that is annotated as a Literal."""
    for one in (*function.args.args, *function.args.kwonlyargs):
        if one.arg == argument and one.annotation is not None:
            return texts_in(ast.walk(one.annotation))
    raise AssertionError(f"{argument} is no argument of {function.name}")


def texts_in(nodes: Iterable[ast.AST]) -> list[str]:
    """The strings among nodes."""
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
