"""What the unit tests share: where things are, the vectors beside the checkout, and how hard a property is tried."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

from qirsh.gateways.base import Surroundings

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
SOURCE: Final = ROOT / "src"
DATA: Final = HERE / "data"
SHARED: Final = ROOT.parent / "shared"
"""Vectors that more than this project uses. They are no part of the repository."""

NOT_SHARED: Final = (
    "the shared vectors are not here: put their folder, named `shared`, beside this checkout. "
    "The copies in tests/unit/data prove the essential facts without it."
)

thorough: Final = settings(deadline=None, max_examples=200, database=None)
"""A deadline would fail on a busy machine, and a database of examples would be shared by parallel runs."""


def shared(path: str) -> Path:
    """A file of the shared vectors; skips the test, saying why, where there are none at all."""
    if not SHARED.is_dir():
        pytest.skip(NOT_SHARED)
    file = SHARED / path
    assert file.is_file(), f"shared/{path} is gone: what did it prove?"
    return file


def shared_json(path: str) -> Any:
    """A shared vector file, parsed."""
    return json.loads(shared(path).read_text("utf-8"))


def data_json(name: str) -> Any:
    """A data file of these tests, parsed."""
    return json.loads((DATA / name).read_text("utf-8"))


def each_shared(pattern: str) -> list[Any]:
    """Parameters for a test of every shared file that matches; one skipped parameter where there are none."""
    if not SHARED.is_dir():
        return [pytest.param(pattern, marks=pytest.mark.skip(reason=NOT_SHARED))]
    found = sorted(SHARED.glob(pattern))
    assert found, f"no shared/{pattern}: what did they prove?"
    return [pytest.param(str(file.relative_to(SHARED)), id=file.stem) for file in found]


SURROUNDINGS = Surroundings("https://pay.example", dev=True, now=lambda: datetime.now(UTC))
"""A server for gateways that are made by hand."""
