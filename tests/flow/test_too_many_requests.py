"""Too many new payments from one address or for one phone: refused kindly, counted together, and never for a repeat."""

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from world import Cache, Server, World, a_request, a_wallet_request, problem_of, serving, write_config

ServeLimited = Callable[..., Server]
PROXIED: Final = "x-forwarded-for"


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Iterator[ServeLimited]:
    """Start servers on the world's database with limits, which `dev = true` leaves out otherwise."""
    with ExitStack() as stack:

        def start(drafts: int = 0, prompts: int = 0, **more: Any) -> Server:
            config = write_config(
                tmp_path / f"{uuid.uuid4().hex}.toml",
                database_url=world.database_url,
                api=world.api,
                sandbox=world.sandbox,
                shop_url=world.shop.url,
                limits={"drafts_per_minute": drafts, "prompts_per_10_minutes": prompts},
                **more,
            )
            return stack.enter_context(serving(config))

        yield start


async def ask(world: World, server: Server, client: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """An initiate through a proxy on this machine, which writes down who asked it."""
    url = f"{server.api}/api/payments/initiate"
    return await world.client.post(url, json=body or a_request(), headers={PROXIED: client})


def a_phone() -> str:
    """A number of the test's own: Redis and the server may know the others."""
    return f"010{uuid.uuid4().int % 10**8:08}"


def refused(answer: httpx.Response, at_most_seconds: int) -> None:
    """A 429 as the contract says it."""
    assert problem_of(answer, 429, "too_many_requests")["retry"] == "same_key"
    assert 0 < int(answer.headers["retry-after"]) <= at_most_seconds


async def test_the_third_draft_of_an_address_is_refused_and_nothing_of_it_is_kept(
    world: World, serve: ServeLimited
) -> None:
    """Nothing is stored, so the key stays free: the same request goes through where there is room."""
    server, late = serve(drafts=2), a_request()
    for _ in range(2):
        assert (await ask(world, server, "203.0.113.7")).status_code == 201

    answer = await ask(world, server, "203.0.113.7", late)

    refused(answer, 60)
    assert await world.fetchval(
        "SELECT count(*) = 0 FROM payment_drafts WHERE idempotency_key = $1", late["idempotency_key"]
    )
    assert (await ask(world, server, "203.0.113.8", late)).status_code == 201


async def test_a_repeat_is_not_counted_and_never_refused(world: World, serve: ServeLimited) -> None:
    """A page that polls with its key must hear its answer, from the cache and from the row, limit or not."""
    first, second = serve(drafts=1), serve(drafts=1)
    body = a_request()
    answer = await ask(world, first, "203.0.113.7", body)
    assert answer.status_code == 201

    repeats = [await ask(world, server, "203.0.113.7", body) for server in (first, second) for _ in range(5)]

    assert {repeat.status_code for repeat in repeats} == {201}
    assert {repeat.content for repeat in repeats} == {answer.content}
    refused(await ask(world, first, "203.0.113.7"), 60)
    assert (await ask(world, second, "203.0.113.7")).status_code == 201, "ten repeats were counted there"


async def test_a_draft_that_could_not_be_sent_may_be_tried_again_over_the_limit(
    world: World, serve: ServeLimited
) -> None:
    """Its key is known: asking the PSP again is no new draft."""
    server, body = serve(drafts=1), a_request()
    await world.fault("register", "rate_limit")
    assert (await ask(world, server, "203.0.113.7", body)).status_code == 503

    assert (await ask(world, server, "203.0.113.7", body)).status_code == 201


async def test_what_was_refused_for_itself_is_not_counted(world: World, serve: ServeLimited) -> None:
    """A page with a stale price makes no drafts, however often it asks."""
    server = serve(drafts=1)
    for _ in range(3):
        problem_of(await ask(world, server, "203.0.113.7", a_request(product_amount="1.00")), 409, "price_mismatch")
    assert (await ask(world, server, "203.0.113.7")).status_code == 201


async def test_a_phone_is_prompted_so_often_whoever_asks(world: World, serve: ServeLimited) -> None:
    """Prompts ring at somebody who may never have bought anything."""
    server, phone = serve(prompts=2), a_phone()
    for client in ("203.0.113.1", "203.0.113.2"):
        wallet = a_wallet_request(payer={"phone": phone})
        assert (await ask(world, server, client, wallet)).status_code == 201

    # The same number, written otherwise.
    answer = await ask(world, server, "203.0.113.3", a_wallet_request(payer={"phone": f"+2{phone}"}))

    refused(answer, 600)
    assert phone[1:] not in answer.text
    assert (await ask(world, server, "203.0.113.3", a_wallet_request(payer={"phone": a_phone()}))).status_code == 201
    assert not any(phone[1:] in line for line in server.process.lines)


async def test_a_client_cannot_choose_its_address(world: World, serve: ServeLimited) -> None:
    """What a client writes stands before what the proxy adds; and without a trusted proxy nothing of it is read."""
    server = serve(drafts=1)
    assert (await ask(world, server, "198.51.100.1, 203.0.113.7")).status_code == 201
    refused(await ask(world, server, "198.51.100.2, 203.0.113.7"), 60)

    bare = serve(drafts=1, trusted_proxies=[])
    assert (await ask(world, bare, "203.0.113.7")).status_code == 201
    refused(await ask(world, bare, "203.0.113.8"), 60)


def lost(servers: list[Server]) -> int:
    """How often these servers said that they could not count."""
    return sum("limits_not_counted" in line for server in servers for line in server.process.lines)


async def counted(servers: list[Server], story: Callable[[], Awaitable[list[int]]]) -> list[int]:
    """What a story gives when each of its counts reached Redis: on a busy machine one may be given up, and admits."""
    for _ in range(10):
        before, statuses = lost(servers), await story()
        if lost(servers) == before:
            return statuses
    raise AssertionError("Redis was never there for a whole story")


async def test_servers_count_together_through_redis(world: World, serve: ServeLimited, cache: Cache) -> None:
    """Four servers must not mean four times the limit, and Redis must not hold whom it was about."""
    servers = [serve(drafts=3, prompts=2, redis_url=cache.url) for _ in range(2)]

    async def story() -> list[int]:
        await cache.client.flushall()
        wallet = [a_wallet_request(payer={"phone": "01012345678"}) for _ in range(4)]
        bodies = [*wallet, a_request(), a_request()]
        return [(await ask(world, servers[n % 2], "203.0.113.7", bodies[n])).status_code for n in range(6)]

    # Two prompts, then two refused ones, which count for nothing; one draft more, then none.
    assert await counted(servers, story) == [201, 201, 429, 429, 201, 429]
    names = [bytes(name).decode() async for name in cache.client.scan_iter("QIRSH:limits:*")]
    assert len(names) == 2
    assert not any("1012345678" in name or "203.0.113" in name for name in names)
    assert {0 < await cache.client.pttl(name) <= 600_000 for name in names} == {True}


async def test_a_redis_that_hangs_or_dies_refuses_nobody(world: World, serve: ServeLimited, cache: Cache) -> None:
    """Limits are a convenience; a stopped Redis accepts connections and never answers, which is the worst of both."""
    server = serve(drafts=1, redis_url=cache.url)

    async def story() -> list[int]:
        return [(await ask(world, server, "203.0.113.7")).status_code for _ in range(3)]

    assert (await counted([server], story))[1:] == [429, 429]
    before = lost([server])
    for number in (signal.SIGSTOP, signal.SIGKILL):
        cache.send(number)
        assert await story() == [201, 201, 201]
    assert lost([server]) == before + 1, server.process.lines


async def test_many_at_once_are_not_more_than_the_limit(world: World, serve: ServeLimited, cache: Cache) -> None:
    """Counting is one step: a burst must not slip through between looking and counting."""
    servers = [serve(drafts=10, redis_url=cache.url) for _ in range(2)]

    async def story() -> list[int]:
        await cache.client.flushall()
        answers = await asyncio.gather(*(ask(world, servers[n % 2], "203.0.113.7") for n in range(40)))
        return sorted(answer.status_code for answer in answers)

    assert await counted(servers, story) == [201] * 10 + [429] * 30
