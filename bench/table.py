"""The tables of a run, in Markdown, so that what is printed can be put into docs/performance.md as it is."""

from collections.abc import Mapping, Sequence

from bench.load import Measured

HEADS = ("", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "MB", "requests/s ×", "CPU ×")


def of_contenders(work: str, measured: Mapping[str, Measured], floor: str) -> str:
    """One work, a line a contender; the last two columns are ratios to the floor."""
    base = measured[floor]
    rows = [
        [
            f"**{name}**" if name == "qirsh" else name,
            f"{one.per_second:,.0f}",
            f"{one.p50_ms:,.2f}" if one.per_second else "–",
            f"{one.p99_ms:,.2f}" if one.per_second else "–",
            f"{one.cpu_us:,.0f}" if one.per_second else "–",
            f"{one.resident_mb:,.0f}",
            f"{one.per_second / base.per_second:.2f}",
            f"{one.cpu_us / base.cpu_us:.2f}" if one.per_second else "–",
        ]
        for name, one in measured.items()
    ]
    return markdown((work, *HEADS[1:]), rows)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every column but the first is of numbers."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = [
        f"| {' | '.join(_padded(cell, widths[column], column) for column, cell in enumerate(row))} |"
        for row in (heads, *rows)
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _padded(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)
