"""The checks that every gateway must pass, for the gateways of this release and for those written elsewhere.

    import pytest
    from qirsh.conformance import CHECKS, Check, NotApplicable, opened

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check: Check) -> None:
        async with opened("wallet", golden=Path(__file__).parent / "golden") as bench:
            verdict = await check(bench)
        if isinstance(verdict, NotApplicable):
            pytest.skip(verdict.reason)

A check returns nothing, or why it does not apply; a fault is an AssertionError that says what to do.
docs/conformance.md tells what a gateway and its simulator must bring, and what passing does not prove.
"""

from qirsh.conformance.bench import Bench, opened
from qirsh.conformance.checks import CHECKS
from qirsh.conformance.verdicts import Check, NotApplicable

__all__ = ["CHECKS", "Bench", "Check", "NotApplicable", "opened"]
