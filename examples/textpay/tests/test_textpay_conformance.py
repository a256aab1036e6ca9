"""The twenty checks that every gateway must pass, over the example."""

from pathlib import Path
from typing import Final

import pytest

from qirsh.conformance import CHECKS, Check, NotApplicable, opened

GOLDEN: Final = Path(__file__).with_name("golden")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check) -> None:
    """Whoever copies the example gets this with it, and changes one word."""
    async with opened("textpay", golden=GOLDEN) as bench:
        verdict = await check(bench)
    if isinstance(verdict, NotApplicable):
        pytest.skip(verdict.reason)
