"""Every check of the kit, for every gateway of this release, against its simulator over real sockets.

A gateway from outside brings a test like this one: examples/textpay has one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from qirsh.conformance import CHECKS, Check, NotApplicable, opened
from qirsh.gateways.registry import GATEWAYS

GOLDEN: Final = Path(__file__).with_name("golden")
FLOWS: Final[Mapping[str, Mapping[str, object]]] = {"paymob-intention": {"flow": "intention"}}
"""Beside each gateway as the sandbox configures it, other ways of using it, by names that begin with the gateway's."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*GATEWAYS, *FLOWS])
async def test_conformance(name: str, check: Check) -> None:
    """A gateway that passes can be trusted with what the state machine takes for granted."""
    gateway = name.partition("-")[0]
    async with opened(gateway, golden=GOLDEN / gateway, changes=FLOWS.get(name, {})) as bench:
        verdict = await check(bench)
    if isinstance(verdict, NotApplicable):
        pytest.skip(verdict.reason)
