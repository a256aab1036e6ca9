"""GET status: how a payment stands, cheaply asked again and again, or answered as soon as it stands otherwise."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from world import World, eventually, problem_of, serving, write_config

CLIENTS: Final = 50
STILL_WAITING_SECONDS: Final = 0.5
LISTENING: Final = """
SELECT count(*) FILTER (WHERE query ILIKE 'LISTEN %') AS listening, count(*) AS connected
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@contextmanager
def another_server(world: World, folder: Path, database_url: str, **more: Any) -> Iterator[World]:
    """The world as seen through a server of the test's own."""
    config = write_config(
        folder / "qirsh.toml",
        database_url=database_url,
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        **more,
    )
    with serving(config) as server:
        yield replace(world, api=server.api, database_url=database_url)


async def begin(world: World, **fields: Any) -> tuple[str, httpx.Response]:
    """A payment that waits for its payer, and its status."""
    draft_id = str((await world.initiate(**fields)).json()["paymentDraftId"])
    return draft_id, await world.status(draft_id)


def waits(world: World, draft_id: str, etag: str, seconds: int = 25) -> asyncio.Task[httpx.Response]:
    """A client that waits until the draft stands otherwise."""
    return asyncio.create_task(
        world.status(draft_id, params={"wait": seconds}, headers={"if-none-match": etag}), name=draft_id
    )


async def all_still_wait(*tasks: asyncio.Task[httpx.Response]) -> None:
    """No one was answered yet: who is answered early says what, in the failure."""
    done, _ = await asyncio.wait(tasks, timeout=STILL_WAITING_SECONDS)
    assert not done, [(task.result().status_code, task.result().text) for task in done]


@pytest.mark.parametrize(
    "draft_id",
    [
        str(uuid.UUID(int=0)),
        "0199f000-0000-7000-8000-000000000000",
        "none",
        "0",
        "tshirt",
        "0199f000-0000-7000-8000-00000000000",
        "0199f000-0000-7000-8000-0000000000000",
        "' OR 1=1 --",
        "%00",
    ],
)
@pytest.mark.parametrize("query", ["", "?wait=25"])
async def test_an_id_that_names_no_draft_is_not_found(world: World, draft_id: str, query: str) -> None:
    """Malformed or unknown is the same to who asks; and nobody waits for what is not there."""
    begun = time.monotonic()

    answer = await world.client.get(f"{world.api}/api/payments/status/{draft_id}{query}")

    assert problem_of(answer, 404, "draft_not_found")["retry"] == "never"
    assert time.monotonic() - begun < 12


async def test_the_status_shows_what_the_contract_lists_and_no_more(world: World) -> None:
    """The address is public to whoever knows the id: the payer's data and the PSP's ids stay inside."""
    payer = {"name": "Mona Zaki", "email": "mona@shop.example", "phone": "01012345678"}
    draft_id, answer = await begin(world, payer=payer, order_reference="A-1001")

    common = {"paymentDraftId", "status", "reason", "amount", "currency", "refunded", "updatedAt"}
    assert set(answer.json()) == common | {"paymentAction", "actionData", "expiresAt"}
    assert answer.json()["paymentDraftId"] == draft_id
    assert answer.json()["updatedAt"].endswith("Z")

    await world.act(draft_id, "pay")
    completed = await world.becomes(draft_id, "completed")
    assert set(completed) == common
    for shown in (answer.text, (await world.status(draft_id)).text):
        assert not [value for value in payer.values() if value in shown]


async def test_an_unchanged_status_is_not_sent_again(world: World) -> None:
    """Thousands of pages ask every few seconds; most of the answers are the last one."""
    draft_id, first = await begin(world)
    etag = first.headers["etag"]

    again = await world.status(draft_id, headers={"if-none-match": etag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert (await world.status(draft_id)).headers["etag"] == etag


@pytest.mark.parametrize(
    "form", ["W/{etag}", '"other", {etag}', '{etag}, "other"', '"other",W/{etag} ,"more"', '"a,b", {etag}']
)
async def test_every_form_of_if_none_match_is_understood(world: World, form: str) -> None:
    """Proxies weaken tags when they compress, and caches ask with all the tags they hold."""
    draft_id, first = await begin(world)

    again = await world.status(draft_id, headers={"if-none-match": form.format(etag=first.headers["etag"])})

    assert again.status_code == 304


@pytest.mark.parametrize("form", ["", '"other"', "{bare}", '"{bare}x"', 'W/"other"', "\xff"])
async def test_another_tag_gets_the_whole_answer(world: World, form: str) -> None:
    """A tag that only looks like ours must not hide a change."""
    draft_id, first = await begin(world)
    tag = form.format(bare=first.headers["etag"].strip('"')).encode("latin-1")

    again = await world.status(draft_id, headers={b"if-none-match": tag})

    assert (again.status_code, again.content) == (200, first.content)


async def test_the_tag_follows_every_visible_change(world: World) -> None:
    """A decline leaves the state as it is and changes the reason: a page must see that too."""
    draft_id, first = await begin(world)

    await world.act(draft_id, "decline")
    await world.delivered(draft_id)
    declined = await world.status(draft_id, headers={"if-none-match": first.headers["etag"]})
    assert (declined.status_code, declined.json()["reason"]) == (200, "card_declined")

    await world.act(draft_id, "pay")
    await world.becomes(draft_id, "completed")
    tags = {first.headers["etag"], declined.headers["etag"], (await world.status(draft_id)).headers["etag"]}
    assert len(tags) == 3


async def test_a_waiting_client_hears_of_a_payment_when_it_happens(world: World) -> None:
    """This is what makes a page say "paid" while the payer still looks at it."""
    draft_id, first = await begin(world)
    client = waits(world, draft_id, first.headers["etag"])
    await all_still_wait(client)

    await world.act(draft_id, "pay")
    answer = await asyncio.wait_for(client, 12)

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["etag"] != first.headers["etag"]


async def test_a_waiting_client_hears_of_a_decline(world: World) -> None:
    """The payer may try again, and must be told why the first try was refused."""
    draft_id, first = await begin(world)
    client = waits(world, draft_id, first.headers["etag"])
    await all_still_wait(client)

    await world.act(draft_id, "decline")
    answer = await asyncio.wait_for(client, 12)

    assert (answer.status_code, answer.json()["reason"]) == (200, "card_declined")


@pytest.mark.parametrize("headers", [{}, {"if-none-match": '"other"'}], ids=["no tag", "another tag"])
async def test_wait_without_the_present_tag_answers_at_once(world: World, headers: dict[str, str]) -> None:
    """Who does not know how it stands must not wait to learn it."""
    draft_id, first = await begin(world)
    begun = time.monotonic()

    answer = await world.status(draft_id, params={"wait": "30"}, headers=headers)

    assert (answer.status_code, answer.content) == (200, first.content)
    assert time.monotonic() - begun < 12


async def test_wait_with_nothing_new_ends_in_304(world: World) -> None:
    """Proxies cut connections that say nothing for long, so a wait has an end."""
    draft_id, first = await begin(world)
    client = waits(world, draft_id, first.headers["etag"], seconds=2)
    await all_still_wait(client)

    answer = await asyncio.wait_for(client, 12)

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == first.headers["etag"]


async def test_wait_zero_does_not_wait(world: World) -> None:
    """The default, written out."""
    draft_id, first = await begin(world)
    begun = time.monotonic()

    answer = await world.status(draft_id, params={"wait": "0"}, headers={"if-none-match": first.headers["etag"]})

    assert answer.status_code == 304
    assert time.monotonic() - begun < 12


@pytest.mark.parametrize(
    "wait", ["abc", "", "-1", "1.5", "+5", " 5", "1e1", "0x5", "\u0665", "NaN", "inf", "99999999999999999999"]
)
async def test_a_wait_that_is_no_number_of_seconds_is_refused(world: World, wait: str) -> None:
    """int() and float() take more than digits, and a wait of infinity would hold its connection for ever."""
    draft_id, _ = await begin(world)
    begun = time.monotonic()

    answer = await world.client.get(f"{world.api}/api/payments/status/{draft_id}?wait={wait}")

    assert problem_of(answer, 400, "invalid_request")["retry"] == "never"
    assert time.monotonic() - begun < 12


async def test_fifty_clients_wait_on_one_draft_over_one_listening_connection(
    world: World, database_url: str, tmp_path: Path
) -> None:
    """A connection for each waiting page would use PostgreSQL's hundred up with a hundred payers."""
    with another_server(world, tmp_path, database_url, database_pool=2) as server:
        await server.put_product("tshirt")
        draft_id, first = await begin(server)
        monitor = await asyncpg.connect(database_url)
        try:
            before = await monitor.fetchrow(LISTENING)
            clients = [waits(server, draft_id, first.headers["etag"]) for _ in range(CLIENTS)]
            await all_still_wait(*clients)
            during = await monitor.fetchrow(LISTENING)
        finally:
            await monitor.close()
        assert before is not None
        assert during is not None
        assert before["listening"] == during["listening"] == 1
        assert during["connected"] <= 1 + 2

        await server.act(draft_id, "pay")
        delivery = (await server.delivered(draft_id))[0]
        await server.post_webhook(delivery, url=_at(server, delivery["url"]))
        answers = await asyncio.wait_for(asyncio.gather(*clients), 12)

    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "completed")}
    assert len({answer.content for answer in answers}) == 1


async def test_waiting_clients_leave_room_for_others(world: World, database_url: str, tmp_path: Path) -> None:
    """With a pool of two connections, fifty clients that wait must not keep a payer from paying."""
    with another_server(world, tmp_path, database_url, database_pool=2) as server:
        await server.put_product("tshirt")
        draft_id, first = await begin(server)
        clients = [waits(server, draft_id, first.headers["etag"], seconds=2) for _ in range(CLIENTS)]
        await all_still_wait(*clients)

        assert (await server.initiate()).status_code == 201

        assert {answer.status_code for answer in await asyncio.wait_for(asyncio.gather(*clients), 12)} == {304}


async def test_a_client_that_leaves_while_it_waits_harms_nobody(world: World) -> None:
    """Payers close tabs: the others who wait for the same draft still hear of it."""
    draft_id, first = await begin(world)
    stays, leaves = (waits(world, draft_id, first.headers["etag"]) for _ in range(2))
    await all_still_wait(stays, leaves)
    leaves.cancel()

    await world.act(draft_id, "pay")

    assert (await asyncio.wait_for(stays, 12)).json()["status"] == "completed"


async def test_only_those_who_wait_for_the_draft_are_woken(world: World) -> None:
    """Another payer's payment is no news."""
    paid, its_first = await begin(world)
    other, others_first = await begin(world)
    woken, sleeps = waits(world, paid, its_first.headers["etag"]), waits(world, other, others_first.headers["etag"], 3)
    await all_still_wait(woken, sleeps)

    await world.act(paid, "pay")

    assert (await asyncio.wait_for(woken, 12)).json()["paymentDraftId"] == paid
    assert (await asyncio.wait_for(sleeps, 12)).status_code == 304


async def test_a_change_made_through_another_server_wakes_those_who_wait_here(world: World, tmp_path: Path) -> None:
    """The webhook reaches whichever server the load balancer picks."""
    draft_id, first = await begin(world)
    with another_server(world, tmp_path, world.database_url) as server:
        here, there = waits(server, draft_id, first.headers["etag"]), waits(world, draft_id, first.headers["etag"])
        await all_still_wait(here, there)

        await world.act(draft_id, "pay")
        answers = await asyncio.wait_for(asyncio.gather(here, there), 12)

    assert [answer.json()["status"] for answer in answers] == ["completed", "completed"]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["etag"] == answers[1].headers["etag"]


async def test_those_who_wait_hear_of_it_though_the_listening_connection_was_cut(
    world: World, database_url: str, tmp_path: Path
) -> None:
    """A NOTIFY is only a hint: a failover of the database loses some, and no payer may wait the full time for it."""
    with another_server(world, tmp_path, database_url) as server:
        await server.put_product("tshirt")
        draft_id, first = await begin(server)
        client = waits(server, draft_id, first.headers["etag"])
        await all_still_wait(client)

        cut = await server.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query ILIKE 'LISTEN %' AND pid <> pg_backend_pid()"
        )
        await server.act(draft_id, "pay")
        delivery = (await server.delivered(draft_id))[0]
        await server.post_webhook(delivery, url=_at(server, delivery["url"]))

        assert cut == 1
        assert (await asyncio.wait_for(client, 12)).json()["status"] == "completed"

        async def listens_again() -> bool:
            return bool(await server.fetchval(LISTENING) == 1)

        await eventually(listens_again, "the listening connection")


def _at(server: World, url: str) -> str:
    """The same address at another server."""
    parts = urlsplit(url)
    return f"{server.api}{parts.path}?{parts.query}"
