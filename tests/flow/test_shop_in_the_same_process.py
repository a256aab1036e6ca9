"""A shop that is installed beside Qirsh is told by the worker itself, and told again until it has taken it."""

import json
import os
import tomllib
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import tomli_w

from world import QIRSH, Process, World, eventually, system

MODULE = """
import json, pathlib
HERE = pathlib.Path(__file__).parent

async def take(announcement):
    told = {"id": announcement.id, "type": announcement.type, "data": dict(announcement.data)}
    with (HERE / "told").open("a") as lines:
        lines.write(json.dumps(told) + "\\n")
    if (HERE / "closed").exists():
        raise RuntimeError("order of mona@example.com")
"""


@pytest.fixture
async def system_without_worker(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A sandbox and a server; the test starts the worker that it wants."""
    with system(tmp_path / "system", database_url, works=False) as world:
        async with httpx.AsyncClient(timeout=30) as client:
            ready = replace(world, client=client)
            await ready.put_product("tshirt")
            yield ready


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of packages with a shop in it, as pip leaves one."""
    packages = tmp_path / "packages"
    facts = packages / "neighbour-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: neighbour\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[qirsh.fulfilment]\nneighbour = neighbour:take\n")
    (packages / "neighbour.py").write_text(MODULE)
    return packages


@contextmanager
def working(world: World, packages: Path, *, url: bool) -> Iterator[Process]:
    """A worker where the package is installed, with or without the shop's address."""
    config = tomllib.loads(world.config.read_text())
    if not url:
        del config["fulfilment_url"]
    file = world.config.with_name("worker.toml")
    file.write_text(tomli_w.dumps(config))
    path = os.pathsep.join(filter(None, (str(packages), os.environ.get("PYTHONPATH"))))
    worker = Process(QIRSH, "worker", environment={"QIRSH_CONFIG": str(file), "PYTHONPATH": path})
    try:
        worker.wait_ready()
        yield worker
    finally:
        worker.stop()


def told(packages: Path) -> list[dict[str, object]]:
    """What the installed shop was told."""
    file = packages / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def paid(world: World) -> str:
    """A draft that was paid."""
    draft_id = str((await world.initiate(order_reference="A-1001")).json()["paymentDraftId"])
    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    return draft_id


async def delivered(world: World, draft_id: str) -> None:
    """Wait until the draft's announcement was taken, moving the clock where it must be tried again."""

    async def there() -> bool:
        await world.advance(6)
        query = "SELECT state = 'delivered' FROM fulfilments WHERE draft_id = $1"
        return bool(await world.fetchval(query, uuid.UUID(draft_id)))

    await eventually(there, "the delivery")


async def test_an_installed_shop_needs_no_address(system_without_worker: World, installed: Path) -> None:
    """What it raises is tried again under the same id; its words, which may quote a payer, are kept nowhere."""
    world, closed = system_without_worker, installed / "closed"
    closed.touch()
    with working(world, installed, url=False) as worker:
        draft_id = await paid(world)
        await eventually(lambda: _first(installed), "the first try")
        closed.unlink()
        await delivered(world, draft_id)
        payment = await world.payment(draft_id)

    first, *more = told(installed)
    assert more
    assert more == [first] * len(more)
    assert first["type"] == "payment.completed"
    assert first["data"] == {
        "paymentDraftId": draft_id,
        "product_id": "tshirt",
        "quantity": 1,
        "order_reference": "A-1001",
        "amount": "300.00",
        "currency": "EGP",
        "refunded": "0.00",
    }
    assert world.shop.received == []
    assert "mona@example.com" not in json.dumps(payment) + "\n".join(worker.lines)
    assert any("RuntimeError" in line for line in worker.lines)


async def test_an_installed_shop_and_an_address_are_both_told(system_without_worker: World, installed: Path) -> None:
    """One delivers, the other keeps the books; the row is done when both have it, under one id."""
    world = system_without_worker
    world.shop.status = 500
    with working(world, installed, url=True):
        draft_id = await paid(world)
        await eventually(lambda: _first(installed), "the first try")
        await eventually(lambda: _refused(world, draft_id), "the refusal of the shop")
        world.shop.status = 200
        await delivered(world, draft_id)

    ids = {headers["webhook-id"] for headers, _ in world.shop.of(draft_id)}
    assert ids == {one["id"] for one in told(installed)}
    assert len(ids) == 1
    assert len(told(installed)) == len(world.shop.of(draft_id)) > 1


async def _first(packages: Path) -> bool:
    return bool(told(packages))


async def _refused(world: World, draft_id: str) -> bool:
    return bool(world.shop.of(draft_id))
