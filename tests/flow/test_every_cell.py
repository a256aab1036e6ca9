"""Every row of the README's table of methods: one payment that is paid, and one that is not."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest

from qirsh.gateways.registry import GATEWAYS
from qirsh.methods import METHODS, Method
from qirsh.routing import ROUTES
from world import World, eventually, serving, write_config

README: Final = Path(__file__).parents[2] / "README.md"
PRICES: Final = {"EGP": "300.00", "USD": "10.00", "EUR": "9.50", "JPY": "1500", "KWD": "3.050"}
CASH: Final = {"fawry", "kiosk"}
"""Nobody declines cash: such a draft expires."""


class Cell(NamedTuple):
    """One way to pay."""

    method: str
    currency: str
    action: str
    gateway: str


def cells() -> Iterator[Cell]:
    """The rows of the README's table, each with every currency that it names."""
    block = README.read_text("utf-8").partition("| Method | Currency | Action | Gateway |\n")[2].partition("\n\n")[0]
    for line in block.splitlines()[1:]:
        columns = [re.findall(r"`(\w+)`", column) for column in line.strip("| ").split("|")]
        yield from (Cell(*cell) for cell in product(*columns))


CELLS: Final = [cell for cell in cells() if cell.gateway in GATEWAYS]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=" ".join)

Served = Callable[[str], str]
"""The address of a server that knows one gateway."""


@pytest.fixture(scope="module")
def served(running_world: World, scratch: Path) -> Iterator[Served]:
    """One server for each gateway, started when it is asked for; each test pays with a draft of its own."""
    with ExitStack() as stack:

        @cache
        def started(gateway: str) -> str:
            return stack.enter_context(served_by(running_world, scratch, gateway)).api

        yield started


def test_the_table_names_every_route_there_is() -> None:
    """A method that is routed and not in the table is one that nobody has tried."""
    routed = {
        (str(method), gateway)
        for method, by_currency in ROUTES.items()
        for gateways in by_currency.values()
        for gateway in gateways
    }
    assert {(cell.method, cell.gateway) for cell in CELLS} == routed


@every_cell
async def test_it_is_paid(world: World, served: Served, cell: Cell) -> None:
    """From the shop's page to the announcement."""
    draft_id = await begun(replace(world, api=served(cell.gateway)), cell)
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    await eventually(lambda: _announced(world, draft_id), "the announcement")
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["psp"], ledger["registered"], ledger["paid_minor"]) == (cell.gateway, 1, ledger["amount_minor"])


@every_cell
async def test_it_is_not_paid(world: World, served: Served, cell: Cell) -> None:
    """A payer who is declined may try again or is told why; one who never pays ends the draft."""
    draft_id = await begun(replace(world, api=served(cell.gateway)), cell)
    await world.act(draft_id, "expire" if cell.method in CASH else "decline")

    async def told() -> str | None:
        """Why the last try, or the whole draft, came to nothing."""
        reason: str | None = (await world.status(draft_id)).json()["reason"]
        return reason

    reason = await eventually(told, "a reason")
    state = await world.state(draft_id)
    assert state in {"awaiting_user_action", "failed"}
    if cell.method in CASH:
        assert (state, reason) == ("failed", "expired")
    assert not world.shop.of(draft_id)


@contextmanager
def served_by(world: World, scratch: Path, gateway: str) -> Iterator[World]:
    """A server that knows one gateway, since the routes would prefer another."""
    others = dict.fromkeys(set(GATEWAYS) - {gateway})
    config = write_config(
        scratch / f"{uuid4().hex}.toml",
        database_url=world.database_url,
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        psps=world.psps,
        **others,
    )
    with serving(config) as server:
        yield replace(world, api=server.api)


async def begun(server: World, cell: Cell) -> str:
    """A payment that waits for its payer."""
    await server.put_product("cell", prices=PRICES)
    fields: dict[str, Any] = {
        "product_id": "cell",
        "product_amount": PRICES[cell.currency],
        "payment_method": cell.method,
        "currency": cell.currency,
    }
    if METHODS[Method(cell.method)].needs_phone:
        fields["payer"] = {"phone": "01010101010"}
    answer = await server.initiate(**fields)
    assert answer.status_code == 201, answer.text
    assert answer.json()["paymentAction"] == cell.action
    return str(answer.json()["paymentDraftId"])


async def _announced(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))
