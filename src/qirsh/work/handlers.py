"""A shop inside our own process: async callables that are installed beside Qirsh and told what a shop is told."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from qirsh.store.fulfilments import Kind

GROUP: Final = "qirsh.fulfilment"


class Announcement(msgspec.Struct, frozen=True):
    """One announcement. Its id stays the same over all tries: whoever has seen it has it already."""

    id: str
    type: Kind
    timestamp: str
    """When it happened, as ISO 8601 in UTC."""
    data: Mapping[str, Any]
    """As in the body that a shop is sent; docs/telling-the-shop.md lists it."""


Handler = Callable[[Announcement], Awaitable[None]]
"""Returns once it has taken the announcement; whatever it raises means that it has not, and is tried again."""


@cache
def installed() -> tuple[Handler, ...]:
    """Every handler that is named by an entry point in the group `qirsh.fulfilment`, by name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(point.load() for point in points)
