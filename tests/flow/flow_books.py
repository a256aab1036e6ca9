"""A system of a test's own without a worker: what a command settles, nobody else has settled."""

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from qirsh.store.connection import Pool
from world import QIRSH, TLS, World, a_request, system

DOLLARS: Final = {"currency": "USD", "product_amount": "10.00"}
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "paymob": {},
    "fawry": {"payment_method": "fawry"},
    "paypal": {"payment_method": "paypal", **DOLLARS},
    "stripe": {"payment_method": "card", **DOLLARS},
}
"""A request that each PSP takes."""


@asynccontextmanager
async def quiet_system(home: Path, database_url: str) -> AsyncIterator[World]:
    """A sandbox, whose webhooks all get lost, and a server."""
    with system(home, database_url, works=False) as running:
        async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
            world = replace(running, client=client)
            await emptied(world)
            yield world


async def emptied(world: World) -> None:
    """Leave nothing of the test before in a quiet system: no draft, no fault, no other price."""
    await world.fetchval("TRUNCATE payment_drafts, webhook_events, unmatched_events CASCADE")
    await world.heal()
    await world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
    await lose_webhooks(world)


async def lose_webhooks(world: World) -> None:
    """From here on no PSP tells anything by itself."""
    for psp in REQUESTS:
        await world.fault("webhook", "drop", times=999, psp=psp)


async def begun(world: World, psp: str, **fields: Any) -> str:
    """A draft that waits for its payer at this PSP."""
    answer = await world.initiate(**a_request(**{**REQUESTS[psp], **fields}))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["paymentDraftId"])


async def from_a_server_ahead(database: World | Pool, draft_id: uuid.UUID, kind: str) -> None:
    """Give a draft's last entry of a kind the id that a server whose clock is an hour ahead would have made."""
    found = "SELECT id FROM payment_events WHERE draft_id = $1 AND event ->> 'kind' = $2 ORDER BY at DESC LIMIT 1"
    entry: uuid.UUID = await database.fetchval(found, draft_id, kind)
    ahead = uuid.UUID(int=entry.int + (3_600_000 << 80))
    await database.fetchval("UPDATE payment_events SET id = $2 WHERE id = $1", entry, ahead)


async def command(world: World, *arguments: str) -> tuple[int, str]:
    """Run a command of ours to its end: its exit code, and what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
    process = await asyncio.create_subprocess_exec(
        *(QIRSH, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean, "COLUMNS": "250", "QIRSH_CONFIG": str(world.config)},
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode is not None
    assert "Traceback" not in text, text
    return process.returncode, text


def lines_about(text: str, draft_id: str) -> list[list[str]]:
    """The rows of a printed table that begin with this draft, as their cells."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return [row[1:] for row in rows if row and row[0] == draft_id]
