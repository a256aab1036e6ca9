"""The order in which a parallel run begins its tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import LONGEST, in_parts


@dataclass(frozen=True)
class Item:
    """What is looked at of a test."""

    path: Path
    number: int


def test_the_long_tests_are_there() -> None:
    """A file that was renamed would begin last, and nobody would notice."""
    assert {file.stem for file in Path(__file__).parents[1].rglob("test_*.py")} >= set(LONGEST)


@pytest.mark.parametrize("workers", [2, 3, 4, 16])
@pytest.mark.parametrize("short", [0, 1, 10, 101])
def test_each_worker_begins_with_long_tests_and_none_is_lost(workers: int, short: int) -> None:
    """The plugin gives the first worker its part of all, the next one its part of the rest, and so on."""
    items: list[Any] = [Item(Path("test_short.py"), number) for number in range(short)]
    items += [Item(Path(f"{stem}.py"), short + number) for number, stem in enumerate(LONGEST)]

    ordered: list[Any] = in_parts(items, workers)

    assert sorted(ordered, key=lambda one: one.number) == items
    left: list[Any] = ordered
    for number in range(workers if short > 100 else 0):
        part, left = left[: len(left) // (workers - number)], left[len(left) // (workers - number) :]
        long = [one.path.stem for one in part if one.path.stem in LONGEST]
        assert long == [one.path.stem for one in part[: len(long)]] == list(LONGEST[number::workers])
    assert ordered[0].path.stem == LONGEST[0]
