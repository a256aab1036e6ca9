"""A minute of `make chaos`, with every kind of trouble that is cheap, and the seeds that found something."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple
from uuid import uuid4

import pytest

from chaos.faults import KINDS, NEEDS_CACHE
from chaos.plan import Payer
from chaos.rounds import Wish
from chaos.runs import Outcome, run

SEED: Final = 1
PAYMENTS: Final = 120
SECONDS: Final = 5.0
"""Each mix. The rest of the minute is for starting, recovering, all schedules and two sweeps."""
MIXES: Final = (
    (
        *("worker_killed_at_step", "worker_killed", "server_killed", "database_crashes", "connections_cut"),
        *("worker_clock_off", "cache_gone", "webhooks_fivefold", "webhooks_reordered", "psp_slow"),
    ),
    (
        *("server_killed_at_step", "psp_answers_lost", "psp_resets", "psp_errors", "psp_rate_limits", "shop_refuses"),
        *("webhooks_dropped", "webhooks_wrong_amount", "webhooks_forged", "webhooks_late", "cache_hung"),
        "cache_flushed",
    ),
)
"""What takes its time to recover from comes first."""
DEAR: Final = frozenset({"worker_frozen", "server_frozen", "psp_hangs", "disk_full"})
"""The first three take most of the minute, the last needs root."""


class Story(NamedTuple):
    """What a seed tells."""

    seed: int
    payments: int
    mixes: Sequence[Sequence[str]]
    seconds: float = SECONDS


FOUND: Final = {
    "a refund in Fawry's dashboard that hid behind ours": Story(2431, 60, [("webhooks_dropped", "webhooks_late")]),
}
"""Seeds whose story alone brings back what was found, by what that was. What was a race as well has its flow test."""


@pytest.mark.timeout(600)  # a machine that is busy with other tests; alone it takes about a minute
async def test_a_minute_of_chaos_keeps_every_promise(scratch: Path) -> None:
    """What a change breaks between two steps is seen before it is merged; the long runs are for what is rare."""
    outcome = await told(Story(SEED, PAYMENTS, MIXES), scratch)

    struck = {kind for one in outcome.rounds for kind, count in one.injected.items() if count}
    possible = {kind for one in outcome.rounds for kind in one.kinds}
    assert possible >= KINDS.keys() - DEAR - NEEDS_CACHE
    assert len(struck) > 0.75 * len(possible), f"{possible - struck} never came"
    paid = sum(sale.agreed_at is not None for one in outcome.rounds for sale in one.sales)
    meant = sum(
        sale.purchase.payer in {Payer.PAYS, Payer.IS_DECLINED_FIRST} and sale.purchase.is_patient
        for one in outcome.rounds
        for sale in one.sales
    )
    assert paid > 0.8 * meant, "hardly anybody could pay, so hardly anything was tried"


@pytest.mark.timeout(600)  # as above
@pytest.mark.parametrize("found", FOUND)
async def test_a_seed_that_found_something_finds_nothing_any_more(scratch: Path, found: str) -> None:
    """The story is the same each time, if not the moment at which each process runs."""
    await told(FOUND[found], scratch)


async def told(story: Story, scratch: Path) -> Outcome:
    """Run it; every promise is kept."""
    folder = scratch / uuid4().hex[:8]
    folder.mkdir()
    kinds = [kind for mix in story.mixes for kind in mix]
    wish = Wish(
        *(kinds, story.payments, len(story.mixes)),
        alone=False,
        least_seconds=story.seconds,
        given=story.mixes,
        recovers=False,
    )
    said: list[str] = []
    outcome = await run(folder, Random(story.seed), wish, said.append)
    assert outcome.violations == [], "\n".join(said)
    return outcome
