"""The element as it is served: one ES module, joined from the modules it is written in."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

MODULES: Final = (
    *("dom", "strings", "style", "memory", "client", "attributes"),
    *("shell", "faces", "scene", "code", "actions", "form", "flow", "qirsh-checkout"),
)
"""Each after those it imports."""

_COMMENT: Final = re.compile(r"^ *//[^\n]*\n|/\*\*.*?\*/\s*|(?<=[;,{]) // [^\n]*$", re.MULTILINE | re.DOTALL)
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./[a-z-]+\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=const|class|function|async)", re.MULTILINE)
# Spaces that only people need. A string is matched before what is in it, and a line ends where it ended.
_TEXT: Final = r'"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`'
_SPACE: Final = re.compile(
    rf"({_TEXT})|^ +|\n(?=\n)| *([=?:&|<>(){{}},;!]) *|(?<=[{{(,;])\n *",
    re.MULTILINE,
)
_STYLE_SPACE: Final = re.compile(r"\s*([{};,])\s*|(?<=:) ")


@dataclass(frozen=True, slots=True)
class Module:
    """A script as it goes over the wire."""

    body: bytes
    packed: bytes
    etag: str


def joined() -> Module:
    """The whole element. One request is one round trip, whatever the network; its source stays in small files."""
    source = "".join(_bare((files(__package__) / "element" / f"{name}.js").read_text("utf-8")) for name in MODULES)
    body = f"// Qirsh, Apache-2.0\n{source}export {{ QirshCheckout }};\n".encode()
    return Module(body, gzip.compress(body, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _bare(source: str) -> str:
    """A module without its comments, imports, exports and spare spaces: its names are those of the whole."""
    for pattern in (_COMMENT, _IMPORT, _EXPORT):
        source = pattern.sub("", source)
    if source.startswith("\nconst STYLE"):
        return _STYLE_SPACE.sub(r"\1", source)
    return _SPACE.sub(lambda found: found[1] or found[2] or "", source)
