"""One run from its start to its verdict."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from chaos.clockwork import WorkNeverEndsError, quiet, settle
from chaos.evidence import as_flagged, gathered
from chaos.faults import NEEDS_DISK, possible
from chaos.operator import decide
from chaos.rounds import Round, Run, Wish, planned
from chaos.system import System, system
from chaos.verdict import RECOVERS, Violation, violations

COMMANDS: Final = (("journal", "verify"), ("reconcile", "--dry-run", "--since", "2000-01-01"))


UNKNOWN: Final = "its payer paid, and webhooks and look-ups did not tell"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    rounds: Sequence[Round]
    violations: Sequence[Violation]
    decided: int
    """Payments that only a person could decide, since their PSP does not tell."""
    lacking: Sequence[str]
    """What this machine could not do, in sentences."""


async def run(folder: Path, random: Random, wish: Wish, say: Callable[[str], None]) -> Outcome:
    """Start everything in the folder, trouble it, let it settle, and judge it."""
    async with system(folder, on_small_disk=bool(NEEDS_DISK & set(wish.kinds))) as whole:
        going = Run(whole, random, say)
        await going.all(planned(random, wish, possible(whole, wish.kinds)))
        unended = [Violation(RECOVERS, draft_id, UNKNOWN) for draft_id in going.unknown]
        await whole.compare_daily()
        try:
            await settle(whole, say, going.desk.bank_decides)
        except WorkNeverEndsError as error:
            unended.append(Violation("no draft stuck", "work", str(error)))
        before = await gathered(whole, going.sales)
        decided = await decide(whole, before)
        await quiet(whole)
        said = {" ".join(command): await _said(whole, *command) for command in COMMANDS}
        evidence = as_flagged(await gathered(whole, going.sales), before)
        found = violations(msgspec.structs.replace(evidence, said=said))
        return Outcome(going.rounds, [*unended, *found], decided, whole.lacking)


async def _said(whole: System, *command: str) -> str:
    """What a command of ours complains of; nothing when it exits with 0."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.process", *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**_environment(), "QIRSH_CONFIG": str(whole.config), "COLUMNS": "200"},
    )
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip() if process.returncode else ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
