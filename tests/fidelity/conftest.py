"""One judged sandbox per test process: every test uses references of its own, so they do not meet."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fidelity_support import Judged, judged


@pytest.fixture(scope="session")
def sandbox(scratch: Path) -> Iterator[Judged]:
    """A running sandbox."""
    with judged(scratch / "judged") as running:
        yield running


@pytest.fixture
def reference() -> str:
    """A merchant reference that no other test uses, as a payment server makes one."""
    return str(uuid.uuid4())
