"""What the example may know of Qirsh: what every plugin may, and no more."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).resolve().parents[1] / "src" / "qirsh_textpay"
PAGE: Final = PACKAGE.parents[3] / "docs" / "a-gateway-of-your-own.md"
OPEN: Final = {
    *("qirsh.actions", "qirsh.draft", "qirsh.errors", "qirsh.methods", "qirsh.money"),
    *("qirsh.gateways.base", "qirsh.gateways.http", "qirsh.gateways.references"),
}
"""What a gateway is written against."""


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports from."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "plugins are read by strangers: whole names"
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", ["__init__", "gateway", "charges"])
def test_the_gateway_knows_what_gateways_may(name: str) -> None:
    """No store, no API, no other gateway, and no HTTP client of its own."""
    known = set(imports(PACKAGE / f"{name}.py"))
    assert {one for one in known if one.partition(".")[0] == "qirsh"} <= OPEN
    assert not {one.partition(".")[0] for one in known} & {"aiohttp", "httpx", "requests", "asyncpg", "qirsh_sandbox"}


@pytest.mark.parametrize("name", ["sandbox", "sandbox_book"])
def test_the_sandbox_shares_nothing_with_the_gateway(name: str) -> None:
    """The judge must not share code with the judged."""
    known = set(imports(PACKAGE / f"{name}.py"))
    assert not {one for one in known if one.partition(".")[0] == "qirsh"}
    assert {one for one in known if one.startswith("qirsh_textpay")} <= {"qirsh_textpay.sandbox_book"}


def test_every_file_of_the_package_is_one_of_these() -> None:
    """A file that nobody looks at could know anything."""
    assert {file.stem for file in PACKAGE.glob("*.py")} == {"__init__", "gateway", "charges", "sandbox", "sandbox_book"}


def test_the_tutorial_shows_the_package_as_it_is() -> None:
    """A stranger reads it beside the files, and must find each of them and nothing else."""
    text = PAGE.read_text("utf-8")
    tree = text.partition("```\nexamples/textpay/")[2].partition("```")[0]
    assert set(re.findall(r"(\w+)\.py ", tree)) == {file.stem for file in PACKAGE.glob("*.py")}
    entries = re.findall(r'"(qirsh_textpay[\w.]*:\w+)"', text)
    project = (PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8")
    assert entries == re.findall(r'"(qirsh_textpay[\w.]*:\w+)"', project)
    may_import = text.partition("A gateway may import ")[2].partition("\n")[0]
    for module in OPEN:
        assert f"`{module.removeprefix('qirsh.gateways.')}`" in may_import or f"`{module}`" in may_import, module
