"""The PSPs of the sandbox: those of this release, and those that are installed beside it."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from .fawry import FAWRY
from .paymob import PAYMOB
from .paypal import PAYPAL
from .psp import Kind
from .stripe import STRIPE

PSPS: Final[dict[str, Kind]] = {
    "paymob": PAYMOB,
    "paypal": PAYPAL,
    "fawry": FAWRY,
    "stripe": STRIPE,
}
"""Name in the configuration, the ledger and the faults → the PSP. A new one is one line here."""

GROUP: Final = "qirsh.sandbox"


def installed() -> dict[str, Kind]:
    """Return every PSP by its name: ours first, then the outside ones."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return PSPS | {point.name: point.load() for point in points if point.name not in PSPS}


def credentials(url: str, folder: Path) -> dict[str, dict[str, object]]:
    """Return by PSP the configuration that makes a payment server use the sandbox at `url`."""
    return {name: kind.credentials(url, folder) for name, kind in installed().items()}
