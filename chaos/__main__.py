"""`make chaos`: payments through the whole system under every kind of trouble, and then the PSPs' books decide."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from bench.machine import described
from chaos.faults import KINDS
from chaos.rounds import Wish
from chaos.runs import Outcome, run
from chaos.table import of_faults, of_rounds, of_steps

PAYMENTS: Final = 10_000
MIXED_PAYMENTS: Final = 500
"""In one mix, about; so a long run has a dozen of them."""


def main() -> None:
    """Run, print the tables, and exit with 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS='…'", description=__doc__)
    parser.add_argument("--payments", type=int, default=PAYMENTS, help=f"how many ({PAYMENTS:,} unless told)")
    parser.add_argument("--seed", type=int, help="of an earlier run; a new one unless told")
    parser.add_argument("--kinds", help="only these kinds of trouble, with commas between them")
    parser.add_argument("--only-mixed", action="store_true", help="no kind alone")
    parser.add_argument("--mixes", type=int, help="how many mixes")
    parser.add_argument("--keep", type=Path, help="where logs and data go and stay")
    given = parser.parse_args()
    kinds = given.kinds.split(",") if given.kinds else list(KINDS)
    if unknown := sorted(set(kinds) - KINDS.keys()):
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    _say(f"seed {seed}: repeat it with ARGS='--seed {seed} --payments {given.payments}'\n{described()}\n")
    folder = given.keep or Path(tempfile.mkdtemp(prefix="qirsh-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL, started by root, runs as somebody else
    began = time.monotonic()
    mixes = given.mixes or max(1, given.payments * 6 // 10 // MIXED_PAYMENTS)
    wish = Wish(kinds, given.payments, mixes, alone=not given.only_mixed)
    outcome = asyncio.run(run(folder, Random(seed), wish, _mutter))
    _report(outcome, seed, time.monotonic() - began)
    if outcome.violations:
        _say(f"Logs and data are kept in {folder}.")
        sys.exit(1)
    if given.keep is None:
        shutil.rmtree(folder, ignore_errors=True)


def _report(outcome: Outcome, seed: int, seconds: float) -> None:
    _say(of_rounds(outcome.rounds, outcome.violations))
    _say("")
    _say(of_faults(outcome.rounds))
    _say(f"\n{of_steps(outcome.rounds)}")
    _say(f"\n{outcome.decided} payments were decided by a person, since their PSP does not tell.")
    sent_back = sum(sale.was_sent_back for one in outcome.rounds for sale in one.sales)
    _say(f"{sent_back} refunds were sent back by the payer's bank.")
    for lack in outcome.lacking:
        _say(f"\nNOT DONE: {lack}.")
    for one in outcome.violations[:50]:
        _say(f"VIOLATION: {one.promise}: {one.about}: {one.sentence}")
    _say(f"\nSeed {seed}: {len(outcome.violations)} violations in {seconds / 60:.1f} minutes.")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  this is what the command is for


def _mutter(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201  as above: progress


if __name__ == "__main__":
    main()
