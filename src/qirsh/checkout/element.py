"""The element as it is served: one ES module, joined from the modules it is written in."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import zopfli.gzip

MODULES: Final = (
    *("style", "dom", "strings", "memory", "client", "attributes"),
    *("shell", "faces", "scene", "code", "actions", "form", "flow", "qirsh-checkout"),
)
"""Each after those it imports."""

ITERATIONS: Final = 5
"""More take longer and find nothing."""

_COMMENT: Final = re.compile(r"^ *//[^\n]*\n|/\*\*.*?\*/\s*|(?<=[;,{]) // [^\n]*$", re.MULTILINE | re.DOTALL)
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./[a-z-]+\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=const|class|function|async)", re.MULTILINE)
# Spaces, and commas and semicolons before what ends a list or a block, that only people need: each statement of ours
# ends with a semicolon or a brace. A string is matched before what is in it.
_TEXT: Final = r'"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`'
_SPARE: Final = (
    re.compile(rf"({_TEXT})|^ +|\n(?=\n)| *([=?:&|<>(){{}},;!]) *|(?<=[{{(,;])\n *", re.MULTILINE),
    re.compile(rf"({_TEXT})|\n(?=[\]}})])|(?<=[;}}])\n"),
    re.compile(rf"({_TEXT})|;(?=}})|,(?=[\]}})])"),
    re.compile(rf"({_TEXT})|\((\w+)\)(?==>)"),
)
_STYLE_SPARE: Final = re.compile(r"\s*([{};,])\s*|(?<=:) |(?<=^) ")
_TABLES: Final = re.compile(r"export const STRINGS = (\{.*?^\});$", re.MULTILINE | re.DOTALL)
_TABLE: Final = re.compile(r"^  (\w\w): \{\n(.*?)^  \},$", re.MULTILINE | re.DOTALL)
_SENTENCE: Final = re.compile(r'^    (\w+): "([^"\\|~]*)",$', re.MULTILINE)
_UNFOLD: Final = (
    '".split("~").map(table=>table.split("|")),STRINGS={};for(const[code,...said]of TABLES)'
    "STRINGS[code]=Object.fromEntries(said.map((sentence,at)=>[NAMES[at],sentence]));"
)


@dataclass(frozen=True, slots=True)
class Module:
    """A script as it goes over the wire."""

    body: bytes
    etag: str


def joined() -> Module:
    """The whole element. One request is one round trip, whatever the network; its source stays in small files."""
    sources = {name: (files(__package__) / "element" / f"{name}.js").read_text("utf-8") for name in MODULES}
    parts = ["// Qirsh, Apache-2.0\n", _style(sources.pop("style"))]
    parts += [_sentences(source) if name == "strings" else _bare(source) for name, source in sources.items()]
    body = "".join([*parts, "export { QirshCheckout };\n"]).encode()
    return Module(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def packed() -> bytes:
    """The element as gzip. Zopfli takes 5 % less than zlib, and half a second for it: once, and in a thread."""
    pressed: bytes = zopfli.gzip.compress(joined().body, numiterations=ITERATIONS)
    return pressed


def _bare(source: str) -> str:
    """A module without its comments, imports, exports and spare signs: its names are those of the whole."""
    for pattern in (_COMMENT, _IMPORT, _EXPORT):
        source = pattern.sub("", source)
    for pattern in _SPARE:
        source = pattern.sub(lambda found: next(filter(None, found.groups()), ""), source)
    return source


def _style(source: str) -> str:
    """The module of the style, whose one string has spaces of its own to spare."""
    return _STYLE_SPARE.sub(r"\1", _EXPORT.sub("", _COMMENT.sub("", source))).replace(";}", "}").strip()


def _sentences(source: str) -> str:
    """The module of the sentences.

    Each sentence stands beside its name where people read it; over the wire each name goes once.
    """
    found = _TABLES.search(source)
    assert found is not None
    tables = {code: dict(_SENTENCE.findall(lines)) for code, lines in _TABLE.findall(found[1])}
    names, *others = (list(table) for table in tables.values())
    assert all(names == other for other in others), "every language has the same sentences in the same order"
    said = ["~" + "|".join((code, *table.values())) for code, table in tables.items()]
    first = f'{_bare(source[: found.start()])}const [NAMES,...TABLES]="{"|".join(names)}'
    return "".join([first, *said, _UNFOLD, _bare(source[found.end() :])])
