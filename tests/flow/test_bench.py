"""The contenders of `make bench` do what they are measured for: else the ratios compare work with no work."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from bench.contenders import Contender, Ground
from bench.hot_path import Run, an_initiate, contenders
from bench.load import SCRIPT
from bench.machine import python, started
from bench.psp import FIRST_ORDER
from bench.rows import delivery
from bench.table import markdown
from bench.timers import HEADS, timers

NAMES = ("floor", "floor, tuned alike", "qirsh", "usual")


@pytest.fixture
def ground(cluster: str, tmp_path: Path) -> Iterator[Ground]:
    """The tests' PostgreSQL, and a PSP of the bench's."""
    with started([python(), "-m", "bench.psp"], tmp_path / "psp.log") as psp:
        yield Ground(tmp_path, cluster.format(name="qirsh"), psp)


@pytest.fixture(params=NAMES)
async def contender(request: pytest.FixtureRequest, ground: Ground) -> AsyncIterator[Contender]:
    """One contender, started."""
    async with contenders(ground, [request.param]) as (found,):
        yield found


async def test_a_contender_registers_replays_takes_a_webhook_and_tells_the_status(contender: Contender) -> None:
    """All of it in the same tables, with the same answers where a page would look."""
    body = an_initiate()
    async with httpx.AsyncClient(base_url=contender.server.url, timeout=30) as client:
        first = await client.post("/api/payments/initiate", json=body)
        assert (first.status_code, first.json()["paymentAction"]) == (201, "redirect_url")
        draft_id = first.json()["paymentDraftId"]
        again = await client.post(contender.replay_path, json=body)
        assert (again.status_code, again.json()["paymentDraftId"]) == (201, draft_id)
        async with contender.connected() as connection:
            order = await connection.fetchval(
                "SELECT transaction_reference_id::bigint FROM payment_drafts WHERE idempotency_key = $1"
                " AND state = 'awaiting_user_action' AND amount_minor = 30000",
                body["idempotency_key"],
            )
        assert order > FIRST_ORDER

        path, webhook = delivery(order)
        paid = await client.post(path, content=webhook, headers={"content-type": "application/json"})
        assert (paid.status_code, paid.json()) == (200, {"received": True})
        status = await client.get(f"/api/payments/status/{draft_id}")
        assert (status.status_code, status.json()["status"]) == (200, "completed")
        known = await client.get(
            f"/api/payments/status/{draft_id}", headers={"if-none-match": status.headers.get("etag", '"known"')}
        )
        assert (known.status_code, known.content) == (304, b"")

    async with contender.connected() as connection:
        for table, count in (("payment_events", 2), ("webhook_events", 1), ("webhook_deliveries", 1)):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == count, table  # noqa: S608  our names
        assert str(await connection.fetchval("SELECT draft_id FROM fulfilments")) == draft_id


async def test_prepared_drafts_are_as_if_registered(contender: Contender, ground: Ground) -> None:
    """Thousands are written at once for a run; each must be payable by its own signed webhook."""
    first, (draft_id,) = await Run(ground, [contender], rounds=1, seconds=1).drafts(contender, 1)
    async with httpx.AsyncClient(base_url=contender.server.url, timeout=30) as client:
        path, webhook = delivery(first)
        (await client.post(path, content=webhook, headers={"content-type": "application/json"})).raise_for_status()
        assert (await client.get(f"/api/payments/status/{draft_id}")).json()["status"] == "completed"


async def test_timers_are_measured_as_they_are_swept_and_claimed(ground: Ground) -> None:
    """What is measured finds the ten that are due among those that are not, or it raises and there is no figure."""
    said: list[str] = []
    table = await timers(ground, said.append, counts=(20, 40), rounds=2)
    first, rule, *rows = table.splitlines()
    assert (first.count("|"), set(rule)) == (len(HEADS) + 1, set("|-:"))
    assert [row.split("|")[1].strip() for row in rows] == ["20", "40"]
    assert [float(cell) > 0 for row in rows for cell in row.split("|")[2:-1]] == [True] * 12


def test_the_load_sends_what_a_page_sends() -> None:
    """Wrk's script and the tests' request are written twice, in two languages."""
    script = SCRIPT.read_text("utf-8")
    for name, value in an_initiate().items():
        if name != "idempotency_key":
            assert f'"{name}":{json.dumps(value, separators=(",", ":"))}' in script, name


def test_a_table_is_markdown() -> None:
    """It is pasted into the documentation as it is."""
    assert markdown(("work", "µs"), [["floor", "1"], ["qirsh", "12"]]) == (
        "| work  | µs |\n|-------|---:|\n| floor |  1 |\n| qirsh | 12 |"
    )
