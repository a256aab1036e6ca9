"""The arrows of ARCHITECTURE.md, read off the source: who may know whom, and who may touch the outside world.

Each rule is a short table. An entry that nothing needs any more fails as loudly as an import that no entry allows.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from unit_support import SOURCE

CORE = frozenset({"money", "actions", "methods", "draft", "errors", "catalog"})

ASYNCPG = {
    "qirsh.store": "the only place that knows SQL",
    "qirsh.fold": "a unique violation is a verdict there: the reference belongs to another draft",
}
AIOHTTP = {
    "qirsh.gateways.http": "the one client for PSPs, and the only translator of its errors",
    "qirsh.work.fulfilment": "talks to the shop, not to a PSP",
}
APP = {
    "qirsh.cli": "a command",
    "qirsh.server": "a command: `qirsh serve`",
    "qirsh.working": "a command: `qirsh worker`",
    "qirsh.dev": "a command: `qirsh dev`",
}
ENVIRONMENT = {
    "qirsh.settings": "configuration is read in one place, so that it can be printed and checked in one place",
}
WALL_CLOCK = {
    "qirsh.clock": "the clock that everybody else is given",
    "qirsh.work.fulfilment": "the shop checks a signature's time against its own clock, not the sandbox's",
    "qirsh_sandbox.clock": "the clock of the PSPs, which only moves forward",
    "qirsh_sandbox.paypal_certs": "certificates are valid from the day they are made, not from the sandbox's",
}

# Package or module → what it must never import, and why.
NEVER: Mapping[str, tuple[frozenset[str], str]] = {
    "qirsh.gateways": (
        frozenset(
            {"payments", "registration", "fold", "store", "api", "work", "app", "settings", "catalog", "routing"}
        ),
        "a gateway returns facts and touches nothing of ours",
    ),
    "qirsh.store": (
        frozenset({"payments", "registration", "fold", "api", "work", "app", "settings", "gateways.http"}),
        "tables know drafts and nothing that happens to them",
    ),
    "qirsh.fold": (
        frozenset({"payments", "registration", "api", "work", "app", "settings", "gateways.http"}),
        "the one door opens inwards",
    ),
    "qirsh.registration": (
        frozenset({"payments", "api", "work", "app", "settings", "gateways.http"}),
        "it is called by payments and by the worker",
    ),
    "qirsh.payments": (
        frozenset({"api", "work", "app", "settings", "gateways.http"}),
        "the verbs do not know who calls them or over what",
    ),
    "qirsh.breaker": (
        frozenset({"payments", "registration", "fold", "store", "api", "work", "app", "settings", "gateways.http"}),
        "it judges by errors alone",
    ),
    "qirsh.routing": (
        frozenset({"payments", "registration", "fold", "store", "api", "work", "app", "settings"}),
        "it picks by data alone",
    ),
    "qirsh.api": (
        frozenset({"registration", "fold", "work", "app", "server", "gateways.http", "gateways.registry"}),
        "the edge calls the verbs of payments",
    ),
    "qirsh.work": (
        frozenset({"api", "app", "server", "settings", "gateways.http", "gateways.registry"}),
        "durable work is the same verbs, later",
    ),
    "qirsh.conformance": (
        frozenset(
            {"payments", "registration", "fold", "store", "api", "work", "app", "settings", "routing", "gateways.http"}
        ),
        "the judge needs no server, and not the client that it judges",
    ),
}


def name_of(file: Path) -> str:
    """The dotted name of a module."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): ast.parse(file.read_text("utf-8"), str(file)) for file in sorted(SOURCE.rglob("*.py"))}
PACKAGES = {name_of(file) for file in SOURCE.rglob("__init__.py")}
PSPS = sorted(
    {
        f"qirsh.gateways.{file.stem if file.name != '__init__.py' else file.parent.name}"
        for file in (SOURCE / "qirsh" / "gateways").rglob("*.py")
        if file.parent.name != "gateways" or file.stem not in {"__init__", "base", "http", "references", "registry"}
    }
    & {name for name in MODULES if name.count(".") == 2}
)


def imports(name: str) -> set[str]:
    """Every module that a module names in an import, wherever the import stands, functions and TYPE_CHECKING too."""
    return {one for node in ast.walk(MODULES[name]) for one in _named(name, node)}


def _named(name: str, node: ast.AST) -> Iterator[str]:
    """What one import statement in a module names; `from package import module` names both."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            source = ".".join(part for part in (_home(name, level) if level else "", module) if part)
            yield source
            yield from (inner for alias in names if (inner := f"{source}.{alias.name}") in MODULES)


def _home(name: str, level: int) -> str:
    parts = name.split(".") if name in PACKAGES else name.split(".")[:-1]
    return ".".join(parts[: len(parts) - level + 1])


def is_in(name: str, package: str) -> bool:
    """Whether a module is this one or inside it."""
    return name == package or name.startswith(f"{package}.")


def users_of(package: str, *, inside: str = "qirsh") -> set[str]:
    """The modules that import a package or something in it."""
    return {
        name
        for name in MODULES
        if is_in(name, inside)
        and not is_in(name, package)
        and any(is_in(imported, package) for imported in imports(name))
    }


def complaints(found: set[str], allowed: Mapping[str, str]) -> list[str]:
    """What is done without leave, and leave that nobody uses."""
    return [
        *(f"{name}: not allowed" for name in sorted(found) if not any(is_in(name, one) for one in allowed)),
        *(f"{one}: allowed, and not needed" for one in sorted(allowed) if not any(is_in(name, one) for name in found)),
    ]


def test_the_source_was_found() -> None:
    """Rules over no modules hold always."""
    assert {"qirsh.draft", "qirsh.store.store", "qirsh.gateways.paymob", "qirsh_sandbox.app"} <= MODULES.keys()
    assert "qirsh.gateways.paymob" in PSPS
    assert imports("qirsh.payments") >= {"qirsh.catalog", "msgspec", "asyncio"}
    assert "qirsh_sandbox.clock" in imports("qirsh_sandbox.app")
    assert all(f"qirsh.{name}" in MODULES for name in CORE)


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_pure_core_imports_only_itself(name: str) -> None:
    """No I/O, no framework: whoever reads `apply` has read everything that can move a draft."""
    allowed = {"msgspec", *(f"qirsh.{core}" for core in CORE)}
    foreign = {one for one in imports(f"qirsh.{name}") if one.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign <= allowed


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_pure_core_does_no_io_and_reads_no_clock(name: str) -> None:
    """The standard library has sockets, files and clocks too."""
    worldly = {"asyncio", "socket", "os", "pathlib", "io", "time", "random", "subprocess", "threading", "logging"}
    assert not {one.partition(".")[0] for one in imports(f"qirsh.{name}")} & worldly
    assert not {function for function, _ in _calls(MODULES[f"qirsh.{name}"])} & {"open", "print", "input"}


def test_only_the_store_speaks_to_the_database() -> None:
    """One place knows SQL and its driver; the exceptions each have their reason."""
    assert not complaints(users_of("asyncpg"), ASYNCPG)


def test_sql_stands_in_the_store_alone() -> None:
    """A statement elsewhere would escape the lock order and the checks over queries.sql."""
    verbs = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ")
    found = {
        name
        for name, tree in MODULES.items()
        if not is_in(name, "qirsh.store") and is_in(name, "qirsh")
        for text in _texts(tree)
        if text.startswith(verbs) and text != "SELECT 1"
    }
    assert not found


def test_only_one_client_speaks_to_psps() -> None:
    """Whoever used aiohttp beside it would have errors of another kind, which nobody catches."""
    assert not complaints(users_of("aiohttp"), AIOHTTP)


def test_no_other_http_client_is_used() -> None:
    """Nor may a second library come in by the back door."""
    for client in ("requests", "httpx", "urllib3", "urllib.request", "http.client", "niquests"):
        assert not users_of(client), client


def test_only_commands_import_the_composition_root() -> None:
    """`app` wires everything together, so who imports it imports everything."""
    assert not complaints(users_of("qirsh.app"), APP)


def test_only_settings_reads_the_environment() -> None:
    """A variable read elsewhere is a switch that nobody documents."""
    readers = {
        name
        for name, tree in MODULES.items()
        if is_in(name, "qirsh")
        and (
            {"environ", "environb", "getenv", "putenv"} & {name for _, name in _attributes(tree)}
            | _imported_names(tree, "os") & {"environ", "getenv"}
        )
    }
    assert not complaints(readers, ENVIRONMENT)


def test_nobody_reads_the_wall_clock_but_the_clock() -> None:
    """In dev and tests time is the sandbox's: a second clock would expire drafts that the first still waits for."""
    wall = {
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("datetime", "today"),
        ("date", "today"),
        *(("time", name) for name in ("time", "time_ns", "localtime", "gmtime", "strftime", "ctime")),
    }
    readers = {
        name
        for name, tree in MODULES.items()
        if wall & set(_attributes(tree)) or {"time", "time_ns"} & _imported_names(tree, "time")
    }
    assert not complaints(readers, WALL_CLOCK)


@pytest.mark.parametrize("package", NEVER)
def test_no_arrow_points_the_other_way(package: str) -> None:
    """What lies deeper does not know what lies further out, so it can be read, tested and moved without it."""
    forbidden, reason = NEVER[package]
    found = {
        f"{name} → {imported}"
        for name in MODULES
        if is_in(name, package) and name != "qirsh.gateways.registry"
        for imported in imports(name)
        if any(is_in(imported, f"qirsh.{one}") for one in forbidden) and not is_in(imported, package)
    }
    assert not found, reason


@pytest.mark.parametrize("psp", PSPS)
def test_a_gateway_knows_no_other_gateway(psp: str) -> None:
    """A shared helper belongs into gateways.http; a gateway that leans on another breaks when that one changes."""
    others = {one for one in PSPS if one != psp}
    for name in MODULES:
        if is_in(name, psp):
            ours = {one for one in imports(name) if is_in(one, "qirsh") and not is_in(one, psp)}
            assert not {one for one in ours if any(is_in(one, other) for other in others)}, name
            assert all(
                one in {"qirsh.gateways.base", "qirsh.gateways.http", "qirsh.gateways.references"}
                or one.removeprefix("qirsh.") in CORE - {"catalog"}
                for one in ours
            ), name


@pytest.mark.parametrize("psp", PSPS)
def test_only_the_registry_knows_a_gateway_by_name(psp: str) -> None:
    """A new PSP is one line there."""
    assert users_of(psp) <= {"qirsh.gateways.registry"}


def test_base_of_the_gateways_knows_only_the_core() -> None:
    """The protocol is what outside gateways are written against."""
    ours = {one for one in imports("qirsh.gateways.base") if is_in(one, "qirsh")}
    assert ours <= {f"qirsh.{name}" for name in CORE}


def test_the_sandbox_shares_nothing_with_the_server() -> None:
    """The judge must not share code with the judged: shared signing would only prove that we agree with ourselves."""
    assert not users_of("qirsh", inside="qirsh_sandbox")
    assert users_of("qirsh_sandbox") <= {"qirsh.dev", "qirsh.cli", "qirsh.conformance.sandbox"}


def test_nobody_needs_the_conformance_kit() -> None:
    """It judges gateways from outside, so a server runs without it, and a fault of it can harm no payment."""
    assert not users_of("qirsh.conformance")


def test_no_module_imports_itself_round_a_circle() -> None:
    """A circle is two modules that are one, and the order in which they load decides whether they load."""
    arrows = {name: {one for one in _run_at_import(name) if one in MODULES and one != name} for name in MODULES}
    while arrows:
        free = {name for name, known in arrows.items() if not known & arrows.keys()}
        assert free, f"a circle among {sorted(arrows)}"
        arrows = {name: known for name, known in arrows.items() if name not in free}


def test_the_checks_here_see_what_they_look_for() -> None:
    """A guard that cannot fail guards nothing."""
    tree = ast.parse("import os, time\nfrom os import getenv\nos.environ['A']; time.time(); print('SELECT 1 FROM a')")
    assert {("os", "environ"), ("time", "time")} <= set(_attributes(tree))
    assert _imported_names(tree, "os") == {"getenv"}
    assert ("print", 1) in set(_calls(tree))
    assert list(_texts(tree)) == ["A", "SELECT 1 FROM a"]
    assert complaints({"a.b"}, {"a": "why"}) == []
    assert complaints({"b"}, {"a": "why"}) == ["b: not allowed", "a: allowed, and not needed"]


def _run_at_import(name: str) -> set[str]:
    """What a module imports as it loads: not in functions, and not for type checkers alone."""
    packages = {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)}
    return {one for statement in MODULES[name].body for one in _named(name, statement)} - packages


def _attributes(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every `name.attribute` of a tree."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=attribute):
                yield name, attribute


def _imported_names(tree: ast.AST, module: str) -> set[str]:
    """What is imported by name from a module."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }


def _calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function called by its bare name, with the number of its arguments."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=args):
                yield name, len(args)


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every string of a tree."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                yield text
