"""docs/reliability.md promises what is checked: each promise has a test, each kind of trouble is described."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from unit_support import ROOT

from chaos.faults import KINDS
from chaos.verdict import PROMISES

PAGE: Final = (ROOT / "docs" / "reliability.md").read_text("utf-8")
PROMISED: Final = re.findall(r"^\| ([^|]+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", PAGE, re.MULTILINE)

NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_every_promise_that_chaos_judges_stands_on_the_page() -> None:
    """Under the name that a violation has."""
    assert {promise for promise, _, _ in PROMISED} >= PROMISES.keys()


def test_every_line_of_the_table_names_a_test() -> None:
    """A line in another form would be read as a promise, and checked by nobody."""
    table = PAGE.partition("| Promise | Held by |\n|---|---|\n")[2].partition("\n\n")[0]
    assert len(table.splitlines()) == len(PROMISED)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_test_that_holds_something_exists(file: str, test: str) -> None:
    """A test that was renamed leaves a promise that nothing holds, or a bug that may come back."""
    assert test in _tests_in(ROOT / file)


def test_every_kind_of_trouble_is_described_and_no_other() -> None:
    """What the table of a run names can be read about, and what is described can be had."""
    table = PAGE.partition("| Kind | What happens |\n|---|---|\n")[2].partition("\n\n")[0]
    described = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert described == KINDS.keys()


@cache
def _tests_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
