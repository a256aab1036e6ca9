"""`qirsh doctor`: each part is tried, what is wrong is named with what mends it, and the exit code tells scripts."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from qirsh.breaker import FAILURES
from qirsh.gateways.registry import GATEWAYS
from qirsh.store.migrate import migrate
from qirsh_sandbox import credentials
from world import FULFILMENT_SECRET, QIRSH, Cache, World, free_port, serving, write_config

Config = Callable[..., Path]
KEYS: Final = {"paymob": "api_key", "fawry": "security_key", "paypal": "client_secret", "stripe": "secret_key"}
"""What each PSP is asked with."""
ACCOUNTS: Final = credentials("", Path())
SECRETS: Final = (FULFILMENT_SECRET, "secret-pw", *(str(ACCOUNTS[psp][key]) for psp, key in KEYS.items()))


class Told:
    """What the doctor said: its exit code, and a row for each part."""

    def __init__(self, code: int, text: str) -> None:
        """Read the table off the terminal's text."""
        self.code = code
        self.text = text
        self.rows: dict[str, tuple[str, str, str]] = {}
        part = ""
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
            if len(cells) != 4 or cells[0] == "part":
                continue
            part = cells[0] or part
            before = self.rows.get(part, ("", "", ""))
            first, second, third = (f"{old} {new}".strip() for old, new in zip(before, cells[1:], strict=True))
            self.rows[part] = (first, second, third)

    def verdict(self, part: str) -> str:
        """How a part is."""
        assert part in self.rows, self.text
        return self.rows[part][0]


async def doctor(*arguments: str, config: Path | None = None) -> Told:
    """Ask it, as an operator does."""
    code, text = await ran("doctor", *arguments, **({"QIRSH_CONFIG": str(config)} if config else {}))
    assert "Traceback" not in text
    assert [secret for secret in SECRETS if secret in text] == []
    return Told(code, text)


async def ran(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command of ours to its end, without the developer's own QIRSH_… variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QIRSH_")}
    process = await asyncio.create_subprocess_exec(
        *(QIRSH, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean, "COLUMNS": "250", **environment},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture
def config(world: World, tmp_path: Path) -> Config:
    """A configuration like the world's, with something else in it."""

    def write(**more: Any) -> Path:
        fields = {
            "database_url": world.database_url,
            "api": world.api,
            "sandbox": world.sandbox,
            "shop_url": world.shop.url,
            "psps": world.psps,
            **more,
        }
        return write_config(tmp_path / "qirsh.toml", **fields)

    return write


async def test_an_installation_that_is_well_is_all_fine(world: World) -> None:
    """Zero says so to whoever deploys by a script; each PSP was really asked."""
    assert KEYS.keys() == GATEWAYS.keys()

    told = await doctor(config=world.config)

    assert told.code == 0, told.text
    assert {part: row[0] for part, row in told.rows.items()} == dict.fromkeys(
        ("configuration", "database", *KEYS, "server", "circuit breakers"), "fine"
    )


@pytest.mark.parametrize(("psp", "key"), KEYS.items())
async def test_keys_that_a_psp_refuses_are_found_before_a_payer_does(config: Config, psp: str, key: str) -> None:
    """The commonest mistake: a key of the other account, or copied without its end."""
    told = await doctor(config=config(**{psp: {key: "another"}}))

    assert told.code == 1
    assert told.rows[psp][0] == "wrong"
    assert "refused our" in told.rows[psp][1]
    assert f"[{psp}]" in told.rows[psp][2]
    assert {told.verdict(other) for other in KEYS if other != psp} == {"fine"}


async def test_a_psp_that_cannot_be_reached_is_told_from_one_that_refuses(config: Config) -> None:
    """A firewall is mended by another person than a key."""
    told = await doctor(config=config(paymob={"base_url": f"http://127.0.0.1:{free_port()}"}))
    assert told.code == 1
    assert told.rows["paymob"][0] == "wrong"
    assert "could not be reached" in told.rows["paymob"][1]


async def test_an_address_of_ours_that_is_none_is_told(config: Config) -> None:
    """A slip in the address would send every payer nowhere."""
    told = await doctor(config=config(api="pay.shop.example", shop_origins=[]))
    assert (told.code, told.verdict("server")) == (1, "wrong")
    assert "public_url" in told.rows["server"][1]


async def test_a_configuration_that_stops_the_start_is_told_by_its_keys(config: Config) -> None:
    """The same sentences as at the start; nothing else can be tried."""
    told = await doctor(config=config(paymob={"hmac_secret": ""}, nonsense=1))
    assert told.code == 1
    assert list(told.rows) == ["configuration"]
    assert "paymob.hmac_secret" in told.text
    assert "nonsense" in told.text


async def test_a_database_that_is_away_empty_or_shut_is_told_apart(
    config: Config, world: World, empty_database_url: str
) -> None:
    """Each has another cure, and none is a trace."""
    away = await doctor(config=config(database_url=f"postgresql://u:secret-pw@127.0.0.1:{free_port()}/x"))
    assert (away.code, away.verdict("database")) == (1, "wrong")
    assert "nobody answers" in away.rows["database"][1]

    absent = await doctor(config=config(database_url=world.database_url.replace("/t_", "/no_such_")))
    assert absent.verdict("database") == "wrong"
    assert "does not exist" in absent.rows["database"][1]

    empty = await doctor(config=config(database_url=empty_database_url))
    assert "0001_payments" in empty.rows["database"][1]
    assert "qirsh migrate" in empty.rows["database"][2]
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


async def test_a_month_that_nobody_made_is_told(config: Config, database_url: str) -> None:
    """No payment fails for it, so nobody would notice that no worker has run for months."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP TABLE webhook_deliveries_first")
    await connection.close()

    told = await doctor(config=config(database_url=database_url))

    assert told.verdict("database") == "note"
    assert re.search(r"not made yet: webhook_deliveries_\d{4}_\d{2}", told.rows["database"][1])
    assert "worker" in told.rows["database"][2]
    await migrate(database_url)
    assert (await doctor(config=config(database_url=database_url))).verdict("database") == "fine"


async def test_redis_is_tried_where_it_is_configured(config: Config, cache: Cache) -> None:
    """Losing it loses speed and the limits, silently: here it is said."""
    assert (await doctor(config=config(redis_url=cache.url))).verdict("redis") == "fine"
    told = await doctor(config=config(redis_url=f"redis://:secret-pw@127.0.0.1:{free_port()}/0"))
    assert (told.code, told.verdict("redis")) == (1, "wrong")


async def test_what_may_be_meant_is_a_note_and_no_failure(world: World, config: Config) -> None:
    """A server that has not been started yet, or that announces nothing, need not stop a deployment."""
    path = config(api=f"http://127.0.0.1:{free_port()}", fulfilment_url="", operator_key="", shop_origins=[])
    told = await doctor(config=path)
    assert told.code == 0, told.text
    assert told.verdict("server") == "note"
    for key in ("operator_key", "fulfilment_url", "shop_origins"):
        assert key in told.text
    assert world.api not in told.text


async def test_a_gateway_that_is_left_alone_is_told(world: World, config: Config) -> None:
    """Its keys are fine and yet no payer reaches it: only the running server knows."""
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    path = config(api=api)
    with serving(path, port=port):
        await world.fault("register", "reset", times=FAILURES, path="orders")
        for _ in range(FAILURES):
            await replace(world, api=api).initiate()
        told = await doctor(config=path)
    assert told.code == 1
    assert told.rows["circuit breakers"][:2] == ("wrong", "left alone for being down: paymob")
    assert told.verdict("paymob") == "fine"


async def test_an_embedded_database_is_looked_at_whether_it_runs_or_not(world: World, tmp_path: Path) -> None:
    """After `qirsh dev` it does not run any more; where there is none, none is made."""
    config = write_config(
        tmp_path / "qirsh.toml",
        database_url="",
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        psps=world.psps,
    )
    none = await doctor("--data-dir", str(tmp_path))
    assert (none.code, none.verdict("database (embedded)")) == (1, "wrong")
    assert not (tmp_path / "pg").exists()

    assert (await ran("migrate", "--data-dir", str(tmp_path)))[0] == 0
    still = await doctor("--data-dir", str(tmp_path))
    assert (still.code, still.verdict("database (embedded)")) == (0, "fine"), still.text
    with serving(config, "--data-dir", str(tmp_path)):
        runs = await doctor("--data-dir", str(tmp_path))
    assert (runs.code, runs.verdict("database (embedded)")) == (0, "fine"), runs.text
