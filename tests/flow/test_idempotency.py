"""One key, one registration, one answer: whoever asks, how often, through which server, and whatever dies meanwhile."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from qirsh.api.answer import Answer
from qirsh.api.cache import ProcessCache
from world import (
    Cache,
    Server,
    World,
    a_request,
    a_wallet_request,
    eventually,
    free_port,
    problem_of,
    serving,
    write_config,
)

ANSWER_SECONDS: Final = 12.0
"""What an initiate may take, whatever its PSP or its cache does."""
RECOVERY_SECONDS: Final = 20.0
"""A claim lapses 15 s after its holder died; the rest is the work itself."""
REPLAYED: Final = "idempotent-replayed"

ServeMore = Callable[..., World]


@pytest.fixture
def serve_more(world: World, tmp_path: Path) -> Iterator[ServeMore]:
    """Start servers beside the world's; on the world's database unless told otherwise. Their caches are cold."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(database_url: str = "", **more: Any) -> World:
            config = a_config(world, tmp_path / f"qirsh-{next(count)}.toml", database_url or world.database_url, **more)
            return beside(world, stack.enter_context(serving(config)), database_url)

        yield start


def a_config(world: World, path: Path, database_url: str, **more: Any) -> Path:
    """A configuration like the world's, on another database."""
    return write_config(
        path, database_url=database_url, api=world.api, sandbox=world.sandbox, shop_url=world.shop.url, **more
    )


def beside(world: World, server: Server, database_url: str = "") -> World:
    """The world as seen through another server."""
    return replace(world, api=server.api, database_url=database_url or world.database_url)


async def answered(world: World, request: dict[str, Any], seconds: float = RECOVERY_SECONDS) -> httpx.Response:
    """Send a request as a page does: again while it still runs, is not known yet, or could not be sent."""
    deadline = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        answer = await world.initiate(**request)
        assert time.monotonic() - begun < ANSWER_SECONDS
        if answer.status_code not in {202, 409, 503}:
            return answer
        assert int(answer.headers["retry-after"]) >= 1 or answer.status_code == 503
        if answer.status_code == 409:
            assert problem_of(answer, 409, "request_in_progress")["retry"] == "same_key"
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)


async def registered_once(world: World, draft_id: str) -> None:
    """The PSP's own books show one order a payer could pay."""
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert (ledger["registered"], ledger["paid_minor"]) == (1, 0)


async def orders(world: World) -> int:
    """How many merchant references the PSP has seen."""
    return len((await world.client.get(f"{world.sandbox}/__sandbox/ledger")).json())


async def drafts_of(world: World, key: str) -> int:
    """How many drafts there are of a key."""
    return int(await world.fetchval("SELECT count(*) FROM payment_drafts WHERE idempotency_key = $1", key))


async def test_a_hundred_callers_with_one_key_register_once_and_hear_the_same(world: World) -> None:
    """A page that is reloaded, a proxy that repeats, a payer with two thumbs: one payment."""
    request, before = a_request(), await orders(world)

    answers = await asyncio.gather(*(answered(world, request) for _ in range(100)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert await orders(world) == before + 1
    await registered_once(world, answers[0].json()["paymentDraftId"])


async def test_a_hundred_callers_with_one_wallet_key_prompt_the_payer_once(world: World) -> None:
    """A second pay call would send a second prompt to the payer's phone."""
    request = a_wallet_request()

    answers = await asyncio.gather(*(answered(world, request) for _ in range(100)))

    assert {answer.content for answer in answers} == {answers[0].content}
    await registered_once(world, answers[0].json()["paymentDraftId"])


async def test_a_caller_meanwhile_is_told_to_come_back(world: World) -> None:
    """It must not wait for somebody else's PSP call, and must not start another."""
    request = a_request()
    await world.fault("register", "slow", seconds=3)
    first = asyncio.create_task(world.initiate(**request))

    async def claimed() -> bool:
        return await drafts_of(world, request["idempotency_key"]) == 1

    await eventually(claimed, "the first caller's claim")
    second = await world.initiate(**request)

    assert problem_of(second, 409, "request_in_progress")["retry"] == "same_key"
    assert int(second.headers["retry-after"]) >= 1
    assert (await first).status_code == 201
    assert (await answered(world, request)).content == (await first).content


async def test_a_repeat_says_that_it_is_one(world: World) -> None:
    """A shop that counts payments must be able to tell."""
    request = a_request()

    first, second = await world.initiate(**request), await world.initiate(**request)

    assert (first.status_code, second.status_code) == (201, 201)
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert first.headers["cache-control"] == second.headers["cache-control"] == "no-store"


async def test_the_key_means_the_same_in_the_field_and_in_the_header_bare_or_quoted(world: World) -> None:
    """The draft standard quotes it, most clients do not, and old ones send only a field."""
    request = a_request()
    key = request["idempotency_key"]
    first = await world.initiate(**request)

    for headers, field in (({"idempotency-key": key}, None), ({"idempotency-key": f'"{key}"'}, None), ({}, key)):
        for both in {field, key}:
            body = a_request(**{**request, "idempotency_key": both})
            answer = await world.client.post(f"{world.api}/api/payments/initiate", json=body, headers=headers)
            assert answer.content == first.content
            assert answer.headers[REPLAYED] == "true"


@pytest.mark.parametrize("length", [16, 200], ids=["shortest", "longest"])
async def test_keys_of_every_allowed_form_work(world: World, length: int) -> None:
    """All visible ASCII, so that any page's random text will do."""
    visible = "".join(chr(code) for code in range(0x21, 0x7F))
    key = (str(time.monotonic_ns())[-14:] + visible * 3)[:length]

    first, second = await world.initiate(idempotency_key=key), await world.initiate(idempotency_key=key)

    assert first.status_code == 201, first.text
    assert second.content == first.content


@pytest.mark.parametrize(
    "changed",
    [
        {"product_amount": "600.00", "quantity": 2},
        {"product_id": "another"},
        {"payment_method": "vodafone_cash", "payer": {"name": "Mona", "phone": "01010101010"}},
        {"order_reference": "A-1002"},
        {"order_reference": None},
        {"payer": {"name": "Nour"}},
        {"payer": None},
        {"return_url": "https://shop.example/elsewhere"},
        {"locale": "en"},
    ],
    ids="+".join,
)
async def test_the_same_key_with_another_request_is_refused(
    world: World, serve_more: ServeMore, changed: dict[str, Any]
) -> None:
    """Answering the first payment to another wish would let a payer pay for the wrong thing."""
    await world.put_product("another")
    request = a_request(
        order_reference="A-1001", payer={"name": "Mona"}, return_url="https://shop.example/", locale="ar"
    )
    first = await world.initiate(**request)
    assert first.status_code == 201, first.text

    for server in (world, serve_more()):
        refusal = await server.initiate(**{**request, **changed})
        assert problem_of(refusal, 422, "idempotency_conflict")["retry"] == "never"
        again = await server.initiate(**request)
        assert (again.content, again.headers[REPLAYED]) == (first.content, "true")


async def test_the_same_request_written_differently_is_the_same(world: World) -> None:
    """Serialisers differ in order, spaces, number forms and nulls; the payment meant does not."""
    request = a_wallet_request()
    first = await world.initiate(**request)
    assert first.status_code == 201, first.text
    key = request["idempotency_key"]
    rest = f'"currency":"EGP","product_id":"tshirt","payment_method":"vodafone_cash","idempotency_key":"{key}"'

    for written in (
        f'{{"product_amount":300,{rest},"payer":{{"phone":"01010101010"}}}}',
        f'{{"product_amount":300.0,{rest},"payer":{{"phone":"+201010101010","name":null}}}}',
        f'{{"product_amount":"300",{rest},"payer":{{"phone":"00201010101010"}},"quantity":1,"locale":null}}',
        f'\n{{ "product_\\u0061mount" : "300.0" , {rest},"payer":{{"phone":"01010101010"}}}}\n',
    ):
        answer = await world.client.post(
            f"{world.api}/api/payments/initiate", content=written, headers={"content-type": "application/json"}
        )
        assert answer.content == first.content, answer.text
        assert answer.headers[REPLAYED] == "true"


@pytest.mark.parametrize("becomes", ["dearer", "not for sale", "gone"])
async def test_the_first_answer_stands_whatever_the_catalogue_says_now(
    world: World, serve_more: ServeMore, becomes: str
) -> None:
    """The payer was shown a price and has an order for it; a repeat is no new sale."""
    product = f"product-{time.monotonic_ns()}"
    await world.put_product(product)
    request = a_request(product_id=product)
    first = await world.initiate(**request)

    match becomes:
        case "dearer":
            await world.put_product(product, prices={"EGP": "400.00"})
        case "not for sale":
            await world.put_product(product, purchasable=False)
        case _:
            await world.fetchval("DELETE FROM products WHERE id = $1", product)

    for server in (world, serve_more()):
        again = await server.initiate(**request)
        assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
        fresh = await server.initiate(**a_request(product_id=product))
        assert fresh.status_code == (404 if becomes == "gone" else 409)


async def test_a_completed_payment_answers_its_key_as_before(world: World, serve_more: ServeMore) -> None:
    """A page restored from a laptop's sleep repeats its request; the status then tells it that all is paid."""
    request = a_request()
    first = await world.initiate(**request)
    await world.act(first.json()["paymentDraftId"], "pay")
    await world.becomes(first.json()["paymentDraftId"], "completed")

    for server in (world, serve_more()):
        again = await server.initiate(**request)
        assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")


@pytest.mark.parametrize(("call", "status"), [("ecommerce/orders", 400), ("payment_keys", 422), ("payment_keys", 404)])
async def test_a_refusal_is_final_and_the_same_for_every_repeat(
    world: World, serve_more: ServeMore, call: str, status: int
) -> None:
    """A key that could turn from refused to payable would let a page show one payer both."""
    request = a_request()
    await world.fault("register", "error", status=status, path=call)

    first = await world.initiate(**request)

    problem = problem_of(first, 402, "gateway_rejected")
    assert problem["retry"] == "never"
    assert problem["reason"]
    assert REPLAYED not in first.headers
    for server in (world, serve_more()):
        again = await server.initiate(**request)
        assert (again.status_code, again.headers[REPLAYED]) == (402, "true")
        assert again.json() == problem
        assert again.headers["content-type"] == "application/problem+json"
    status_now = (await world.status(problem["paymentDraftId"])).json()
    assert (status_now["status"], status_now["reason"]) == ("failed", problem["reason"])


async def test_two_servers_on_one_database_register_a_key_once(
    world: World, serve_more: ServeMore, database_url: str
) -> None:
    """A load balancer sends a page's repeat to another server than its first request."""
    servers = [serve_more(database_url), serve_more(database_url)]
    await servers[0].put_product("tshirt")
    request = a_request()

    answers = await asyncio.gather(*(answered(servers[n % 2], request) for n in range(60)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await drafts_of(servers[0], request["idempotency_key"]) == 1
    await registered_once(world, answers[0].json()["paymentDraftId"])


async def test_two_servers_told_different_things_under_one_key_keep_the_first(
    serve_more: ServeMore, database_url: str
) -> None:
    """Two requests race for one key: one is served, and the other must not be answered with its payment."""
    servers = [serve_more(database_url), serve_more(database_url)]
    await servers[0].put_product("tshirt")
    for _ in range(10):
        request = a_request()
        requests = [{**request, "order_reference": "one"}, {**request, "order_reference": "two"}]

        answers = await asyncio.gather(*(answered(servers[n % 2], requests[n % 2]) for n in range(6)))

        statuses = [answer.status_code for answer in answers]
        assert sorted([set(statuses[0::2]).pop(), set(statuses[1::2]).pop()]) == [201, 422], statuses
        assert len({answer.content for answer in answers}) == 2
        assert await drafts_of(servers[0], request["idempotency_key"]) == 1


@pytest.mark.parametrize(
    ("operation", "kind", "call", "real_time"),
    [
        ("register", "hang_after_accept", "ecommerce/orders", True),
        ("register", "hang_after_accept", "payment_keys", False),
        ("register", "hang", "ecommerce/orders", False),
        ("register", "hang", "payment_keys", False),
        ("token", "hang", "", False),
    ],
)
async def test_the_key_of_a_killed_server_works_again_and_registers_once(
    world: World, database_url: str, tmp_path: Path, operation: str, kind: str, call: str, *, real_time: bool
) -> None:
    """The machine dies between the PSP and us, and nobody knows what arrived there. One run waits the 15 s out."""
    config = a_config(world, tmp_path / "qirsh.toml", database_url)
    request = a_request()
    with serving(config) as server:
        dying = beside(world, server, database_url)
        await dying.put_product("tshirt")
        await world.fault(operation, kind, path=call)
        asked = asyncio.create_task(dying.initiate(**request))

        async def hangs() -> bool:
            armed = (await world.client.get(f"{world.sandbox}/__sandbox/faults")).json()
            return not armed and await drafts_of(dying, request["idempotency_key"]) == 1

        await eventually(hangs, "the call that hangs")
        assert not asked.done()
        server.process.stop(signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await asked
    died = time.monotonic()
    if not real_time:
        await world.advance(16)

    with serving(config) as server:
        answer = await answered(beside(world, server, database_url), request)
        assert time.monotonic() - died < RECOVERY_SECONDS
        again = await beside(world, server, database_url).initiate(**request)

    assert answer.status_code == 201, answer.text
    assert again.content == answer.content
    await registered_once(world, answer.json()["paymentDraftId"])


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done inside must be over in time."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


async def cached(world: World, cache: Cache, request: dict[str, Any]) -> httpx.Response:
    """Ask until the cache holds the answer: on a busy machine the first write may be given up."""

    async def there() -> httpx.Response | None:
        answer = await world.initiate(**request)
        return answer if await cache.client.dbsize() else None

    answer: httpx.Response = await eventually(there, "the answer in the cache")
    assert answer.status_code == 201, answer.text
    return answer


async def test_servers_share_their_answers_through_redis(
    serve_more: ServeMore, cache: Cache, database_url: str
) -> None:
    """The row is spoiled on purpose, so that only the cache can have the answer."""
    one, other = (serve_more(database_url, redis_url=cache.url) for _ in range(2))
    await one.put_product("tshirt")
    request = a_request()
    first = await cached(one, cache, request)
    spoiled = await one.fetchval(
        "UPDATE payment_drafts SET fingerprint = sha256('another') WHERE idempotency_key = $1 RETURNING true",
        request["idempotency_key"],
    )
    assert spoiled

    async def shared() -> httpx.Response | None:
        answer = await other.initiate(**request)
        return answer if answer.status_code == 201 else None

    again = await eventually(shared, "the answer from the cache")
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")


async def test_a_redis_that_hangs_or_dies_changes_no_answer(
    world: World, serve_more: ServeMore, cache: Cache, database_url: str
) -> None:
    """A stopped Redis is the worst: it accepts connections and never answers."""
    servers = [serve_more(database_url, redis_url=cache.url) for _ in range(2)]
    await servers[0].put_product("tshirt")
    request = a_request()
    first = await cached(servers[0], cache, request)

    for number in (signal.SIGSTOP, signal.SIGKILL):
        cache.send(number)
        fresh = a_request()
        with within(ANSWER_SECONDS):
            for server in servers:
                again = await server.initiate(**request)
                assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
        with within(ANSWER_SECONDS):
            answers = await asyncio.gather(*(answered(servers[n % 2], fresh) for n in range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        await registered_once(world, answers[0].json()["paymentDraftId"])


async def test_a_redis_that_hangs_and_comes_back_gives_nobody_anothers_answer(
    serve_more: ServeMore, cache: Cache, database_url: str
) -> None:
    """A question given up after 50 ms is answered later: that answer must not be read as the next question's."""
    server = serve_more(database_url, redis_url=cache.url)
    await server.put_product("tshirt")
    requests = [a_request() for _ in range(12)]
    first = [await server.initiate(**request) for request in requests]
    assert {answer.status_code for answer in first} == {201}

    for _ in range(5):
        cache.send(signal.SIGSTOP)
        hung = await asyncio.gather(*(server.initiate(**request) for request in requests))
        cache.send(signal.SIGCONT)
        back = await asyncio.gather(*(server.initiate(**request) for request in reversed(requests)))
        assert [answer.content for answer in hung] == [answer.content for answer in first]
        assert [answer.content for answer in reversed(back)] == [answer.content for answer in first]


async def test_a_redis_that_forgets_everything_costs_no_second_registration(
    world: World, serve_more: ServeMore, cache: Cache, database_url: str
) -> None:
    """FLUSHALL, an eviction, a failover to an empty replica: the row still has the answer."""
    servers = [serve_more(database_url, redis_url=cache.url) for _ in range(2)]
    await servers[0].put_product("tshirt")
    request = a_request()
    first = await cached(servers[0], cache, request)

    for server in servers:
        await cache.client.flushall()
        again = await server.initiate(**request)
        assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
    await registered_once(world, first.json()["paymentDraftId"])


async def test_junk_in_redis_is_a_miss(world: World, serve_more: ServeMore, cache: Cache, database_url: str) -> None:
    """An older release, another program with the same prefix, a bit flip: the row still has the answer."""
    server = serve_more(database_url, redis_url=cache.url)
    await server.put_product("tshirt")
    request = a_request()
    first = await cached(server, cache, request)

    for junk in (b"junk", b"\x90", b"\x93\x01\xa1x\xa1y", b"\xff" * 100):
        for name in await cache.client.keys("*"):
            await cache.client.set(name, junk)
        again = await server.initiate(**request)
        assert (again.status_code, again.content) == (201, first.content), again.text
    await registered_once(world, first.json()["paymentDraftId"])


async def test_a_redis_that_was_never_there_changes_no_answer(
    world: World, serve_more: ServeMore, database_url: str
) -> None:
    """Losing the cache loses speed, nothing else; that holds from the first request on."""
    server = serve_more(database_url, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    await server.put_product("tshirt")
    request = a_request()

    with within(ANSWER_SECONDS):
        first = await server.initiate(**request)
    with within(ANSWER_SECONDS):
        again = await server.initiate(**request)

    assert (first.status_code, REPLAYED in first.headers) == (201, False)
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    await registered_once(world, first.json()["paymentDraftId"])


async def test_the_cache_in_the_process_forgets_its_oldest_entries() -> None:
    """Without a bound a year of payments would end in the kernel's out-of-memory killer."""
    cache = ProcessCache(max_entries=3)

    for n in range(10):
        await cache.set(f"key{n}", an_answer(n))

    assert [await cache.get(f"key{n}") for n in range(10)] == [None] * 7 + [an_answer(n) for n in (7, 8, 9)]


async def test_writing_an_entry_again_pushes_no_other_out() -> None:
    """Else a hundred repeats of one key would empty the cache."""
    cache = ProcessCache(max_entries=2)
    await cache.set("a", an_answer(1))
    await cache.set("b", an_answer(2))

    for n in range(5):
        await cache.set("b", an_answer(n))

    assert (await cache.get("a"), await cache.get("b")) == (an_answer(1), an_answer(4))


async def test_an_expired_entry_is_gone() -> None:
    """Entries live a day; what is over must not answer."""
    cache = ProcessCache(max_entries=2, seconds=0)

    await cache.set("a", an_answer(1))

    assert await cache.get("a") is None


def an_answer(n: int) -> Answer:
    """A finished answer."""
    return Answer(201, ((b"content-type", b"application/json"),), b"%d" % n)
