"""The statements of queries.sql, by name. Python never puts SQL together."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_HEADER: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _read() -> Mapping[str, str]:
    _, *parts = _HEADER.split((files(__package__) / "queries.sql").read_text())
    return MappingProxyType({name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)})


SQL: Final = _read()
