"""The operator's routes: which gateway takes what is configuration, and a slip in it stops the start."""

from pathlib import Path
from typing import Any

import pytest

from world import QIRSH, Process, World, a_request, a_wallet_request, problem_of, serving, write_config


def config_with(world: World, path: Path, routes: dict[str, Any]) -> Path:
    """A configuration like the world's, with these routes."""
    return write_config(
        path,
        database_url=world.database_url,
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        routes=routes,
    )


async def test_an_empty_route_switches_a_method_off_for_its_currency(world: World, tmp_path: Path) -> None:
    """No contract for cards yet, say: the method is not offered, refused when asked for, and nothing else changes."""
    with serving(config_with(world, tmp_path / "qirsh.toml", {"card": {"EGP": []}})) as server:
        offered = await world.client.get(f"{server.api}/api/payments/methods", params={"product_id": "tshirt"})
        url = f"{server.api}/api/payments/initiate"
        refused = await world.client.post(url, json=a_request())
        taken = await world.client.post(url, json=a_wallet_request())

    methods = [one["payment_method"] for one in offered.json()["methods"] if one["currency"] == "EGP"]
    assert "card" not in methods
    assert "vodafone_cash" in methods
    problem_of(refused, 422, "method_not_supported")
    assert taken.status_code == 201, taken.text


@pytest.mark.parametrize(
    ("routes", "named"),
    [
        ({"crad": {"EGP": ["paymob"]}}, "routes.crad"),
        ({"card": {"EGY": ["paymob"]}}, "card.EGY"),
        ({"card": {"EGP": ["paymbo"]}}, "card.EGP names paymbo"),
    ],
)
def test_a_slip_in_a_route_stops_the_start_and_is_named(
    running_world: World, tmp_path: Path, routes: Any, named: str
) -> None:
    """A server that started without the method would lose sales until somebody looked."""
    config = config_with(running_world, tmp_path / "qirsh.toml", routes)
    process = Process(QIRSH, "serve", "--port", "0", environment={"QIRSH_CONFIG": str(config)})

    assert process.process.wait(30) == 1
    process.stop()

    said = "\n".join(process.lines)
    assert named in said
    assert "Traceback" not in said
