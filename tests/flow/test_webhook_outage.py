"""For a day and longer no PSP's webhook arrives, and nobody does anything about it: the books agree in the end."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from flow_books import command, lose_webhooks
from test_every_cell import CASH, CELLS, Cell, begun, served_by

from world import World, eventually, system

HOUR: Final = 3_600
WAVES: Final = 3
"""Payments are begun at the beginning of each of the first hours."""
STEPS: Final = (*[HOUR] * 24, *[6 * HOUR] * 6)
"""A day in hours, and then past the end of what is paid in cash and past the next daily reconciliation."""

ENDS: Final = {
    "paid": "completed",
    "partially_refunded": "partially_refunded",
    "refunded": "refunded",
    "open": "failed",
    "expired": "failed",
    "failed": "failed",
    "voided": "failed",
}
"""What the PSP's ledger says of a payment whose time is over → how its draft must stand."""


@dataclass
class Story:
    """What becomes of one payment at its PSP: acts, each with the hour after its beginning."""

    cell: Cell
    name: str
    acts: list[tuple[int, str, dict[str, Any]]]
    draft_id: str = ""
    begun_at: int = 0
    done: int = field(default=0)

    def due(self, hour: int) -> list[tuple[str, dict[str, Any]]]:
        """The acts whose hour has come."""
        due = [(act, more) for at, act, more in self.acts[self.done :] if self.begun_at + at <= hour]
        self.done += len(due)
        return due


def stories() -> list[Story]:
    """Every way to pay is paid; every method comes to nothing in each way it can; each PSP's money goes back."""
    told = [Story(cell, "paid", [(0, "pay", {})]) for cell in CELLS]
    for cell in {(cell.method, cell.gateway): cell for cell in CELLS}.values():
        told.append(Story(cell, "left", []))
        if cell.method not in CASH:
            told.append(Story(cell, "declined", [(0, "decline", {})]))
    for gateway in sorted({cell.gateway for cell in CELLS}):
        cell = next(one for one in CELLS if one.gateway == gateway)
        captured = 1 if gateway == "paypal" else 0  # there is no money to give back before somebody has taken it
        told += [
            Story(cell, "refunded at once", [(0, "pay", {}), (captured, "refund", {})]),
            Story(cell, "refunded hours later", [(0, "pay", {}), (5, "refund", {})]),
            Story(cell, "cancelled", [(0, "cancel", {})]),
        ]
        if gateway != "fawry":  # it does not say how much: a part is for a person, with webhooks as without
            told.append(
                Story(cell, "refunded in part the next day", [(0, "pay", {}), (25, "refund", {"amount_minor": 100})])
            )
    paypal = next(one for one in CELLS if one.gateway == "paypal")
    told.append(Story(paypal, "under review for hours", [(0, "review", {}), (9, "release", {})]))
    told.append(Story(paypal, "declined, then paid", [(0, "decline", {}), (1, "pay", {})]))
    told += [Story(cell, "paid in cash at night", [(14, "pay", {})]) for cell in CELLS if cell.method in CASH]
    return told


@pytest.fixture
async def deaf(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A system with a worker, to which no webhook comes."""
    with system(tmp_path, database_url, reconcile_daily=True) as running:
        async with httpx.AsyncClient(timeout=30) as client:
            world = replace(running, client=client)
            await lose_webhooks(world)
            yield world


@pytest.mark.timeout(600)
async def test_a_day_without_webhooks_heals_by_itself(deaf: World, tmp_path: Path) -> None:
    """Look-ups find what was paid, declined and left; the daily reconciliation finds what dashboards gave back."""
    told = stories()
    for hour, seconds in enumerate(STEPS):
        if hour < WAVES:
            await _begin(deaf, tmp_path, told[hour::WAVES], hour)
        hours = sum(STEPS[:hour]) // HOUR
        for story in told:
            for act, more in story.due(hours) if story.draft_id else ():
                await deaf.act(story.draft_id, act, **more)
        await deaf.advance(seconds)
        await eventually(lambda: _quiet(deaf), "nothing left to do at this hour", 60)

    assert all(story.done == len(story.acts) for story in told)
    assert await deaf.fetchval("SELECT count(*) FROM webhook_deliveries") == 0
    for story in told:
        await _assert_right(deaf, story)
    assert await command(deaf, "reconcile", "--dry-run", "--since", "2000-01-01") == (0, "nothing differs\n")
    assert await command(deaf, "journal", "verify") == (0, "nothing differs\n")


async def _begin(world: World, scratch: Path, some: list[Story], hour: int) -> None:
    """Begin these payments, each at the PSP of its cell."""
    with ExitStack() as stack:
        gateways = sorted({story.cell.gateway for story in some})
        servers = {name: stack.enter_context(served_by(world, scratch, name)) for name in gateways}
        for story in some:
            story.draft_id, story.begun_at = await begun(servers[story.cell.gateway], story.cell), hour


async def _quiet(world: World) -> bool:
    """Whether nothing is due by the PSPs' clock, and nothing under way."""
    clock = (await world.client.get(f"{world.sandbox}/__sandbox/clock")).json()
    tables = ("payment_drafts", "unmatched_events", "refunds", "fulfilments", "daily_work")
    due = " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE next_check_at <= now() + make_interval(secs => $1)"  # noqa: S608  our names
        for table in tables
    )
    query = f"SELECT count(*) FROM (SELECT 1 FROM pgqueuer.pgqueuer UNION ALL {due}) AS work"  # noqa: S608  as above
    return not await world.fetchval(query, clock["offset_seconds"])


async def _assert_right(world: World, story: Story) -> None:
    """Our books say what the PSP's say, and the shop has heard of it once."""
    ledger = await world.ledger(story.draft_id)
    assert ledger is not None
    payment = await world.payment(story.draft_id)
    about = f"{story.name}, {' '.join(story.cell)}: {ledger} {payment}"
    assert payment["status"] == ENDS[ledger["state"]], about
    assert not payment["needs_review"], about
    row = "SELECT refunded_minor FROM payment_drafts WHERE id = $1"
    assert await world.fetchval(row, uuid.UUID(story.draft_id)) == ledger["refunded_minor"], about
    kinds = Counter(one["type"] for one in payment["fulfilments"])
    expected = Counter({"payment.completed": int(ledger["paid_minor"] > 0)})
    expected["payment.refunded"] = int(ledger["refunded_minor"] > 0)
    assert kinds == +expected, about
    assert {one["status"] for one in payment["fulfilments"]} <= {"delivered"}, about
    assert len(world.shop.of(story.draft_id)) == kinds.total(), about
