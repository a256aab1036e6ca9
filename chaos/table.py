"""What a run prints at its end."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from bench.table import markdown
from chaos.rounds import Round
from chaos.verdict import Violation
from qirsh.fault_points import Step

HEADS = ("trouble", "faults", "payments", "paid", "violations", "recovered p50", "p99")


def of_rounds(rounds: Sequence[Round], violations: Sequence[Violation]) -> str:
    """One line a kind alone, then what the mixes had of each, then all of it; Markdown."""
    by_name: dict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        by_name[one.name].append(one)
    rows = [_row(name, ones, violations) for name, ones in by_name.items()]
    return markdown(HEADS, [*rows, _row("**all**", rounds, violations)])


def of_faults(rounds: Sequence[Round]) -> str:
    """How often each kind struck, alone and in mixes."""
    alone: Counter[str] = Counter()
    mixed: Counter[str] = Counter()
    for one in rounds:
        for kind, count in one.injected.items():
            (alone if one.name == kind else mixed)[kind] += count
    kinds = sorted(alone.keys() | mixed.keys())
    return markdown(("fault", "alone", "mixed"), [[kind, f"{alone[kind]:,}", f"{mixed[kind]:,}"] for kind in kinds])


def of_steps(rounds: Sequence[Round]) -> str:
    """At which steps processes died, and at which none did."""
    struck: Counter[str] = sum((one.struck for one in rounds), Counter())
    often = ", ".join(f"{step} {count}" for step, count in sorted(struck.items()))
    never = ", ".join(step for step in Step if step not in struck)
    return f"Died at: {often or 'no step'}.\nNever at: {never or 'none'}."


def _row(name: str, rounds: Sequence[Round], violations: Sequence[Violation]) -> list[str]:
    sales = [sale for one in rounds for sale in one.sales]
    about = {known for sale in sales for known in (sale.purchase.key, *sale.draft_ids)}
    whole = name == "**all**"
    count = len(violations) if whole else sum(one.about in about for one in violations)
    times = sorted(seconds for one in rounds for seconds in one.recovered_after)
    return [
        name,
        f"{sum(count for one in rounds for count in one.injected.values()):,}",
        f"{len(sales):,}",
        f"{sum(sale.agreed_at is not None for sale in sales):,}",
        f"{count:,}",
        _seconds(times, 0.5),
        _seconds(times, 0.99),
    ]


def _seconds(times: Sequence[float], part: float) -> str:
    """A percentile, by the nearest rank."""
    if not times:
        return "–"
    return f"{times[max(0, math.ceil(part * len(times)) - 1)]:,.1f} s"
