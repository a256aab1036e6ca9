"""What the operator does and watches: the catalogue, a payment's journal, health, metrics, the API's description."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from qirsh.store.embedded import EmbeddedPostgres
from world import OPERATOR_KEY, World, a_request, eventually, problem_of, serving, write_config

ANSWER_SECONDS: Final = 12.0
KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
TSHIRT: Final = {
    "name": {"en": "T-shirt", "ar": "تي شيرت"},
    "prices": {"EGP": "300.00", "USD": "10.00"},
    "purchasable": True,
}
PUBLIC: Final = {
    ("post", "/api/payments/initiate"),
    ("get", "/api/payments/methods"),
    ("get", "/api/payments/status/{}"),
    ("post", "/api/payments/webhook-handler"),
    ("post", "/api/payments/webhook-handler/{}"),
    ("get", "/api/payments/return/{}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
}
OPERATORS: Final = {
    ("put", "/api/products/{}"),
    ("get", "/api/products/{}"),
    ("get", "/api/products"),
    ("get", "/api/payments"),
    ("get", "/api/payments/{}"),
    ("post", "/api/payments/{}/reconcile"),
    ("post", "/api/payments/{}/review"),
    ("get", "/api/webhook-deliveries"),
    ("get", "/api/webhook-deliveries/{}"),
    ("post", "/api/webhook-deliveries/{}/replay"),
    ("post", "/api/fulfilments/{}/replay"),
}


def a_name() -> str:
    """A product id of the test's own."""
    return f"product-{uuid.uuid4().hex}"


async def put(world: World, product_id: str, body: object, headers: Mapping[str, str] = KEYED) -> httpx.Response:
    """Write a product, or try to."""
    # Not `json=`: its writer cannot write an unpaired surrogate, which a client in another language can.
    return await world.client.put(
        f"{world.api}/api/products/{product_id}",
        content=json.dumps(body),
        headers={"content-type": "application/json", **headers},
    )


async def get(world: World, path: str, headers: Mapping[str, str] = KEYED) -> httpx.Response:
    """Ask as the operator."""
    return await world.client.get(world.api + path, headers=headers)


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


async def test_a_product_is_written_read_and_listed(world: World) -> None:
    """The catalogue is the only place prices come from, so what is shown must be what was written."""
    product_id = a_name()

    written = await put(world, product_id, TSHIRT)
    read = await get(world, f"/api/products/{product_id}")
    listed = await get(world, f"/api/products?after={product_id[:-1]}")

    assert (written.status_code, written.json()) == (200, {"id": product_id, **TSHIRT})
    assert (read.status_code, read.json()) == (200, {"id": product_id, **TSHIRT})
    assert {"id": product_id, **TSHIRT} in listed.json()["products"]


async def test_writing_a_product_twice_replaces_all_of_it(world: World) -> None:
    """PUT is the whole product: a currency that is left out is not sold in any more."""
    product_id = a_name()
    await put(world, product_id, TSHIRT)
    other = {"name": {"en": "Shirt"}, "prices": {"KWD": "3.500", "JPY": "150"}, "purchasable": False}

    await put(world, product_id, other)

    assert (await get(world, f"/api/products/{product_id}")).json() == {"id": product_id, **other}


async def test_the_list_goes_on_where_a_page_ends(world: World, tmp_path: Path, database_url: str) -> None:
    """A catalogue outgrows one page; by keyset no product is shown twice or never, whatever is written meanwhile."""
    with another_server(world, tmp_path, database_url) as server:
        names = sorted(f"p{n:03}" for n in range(205))
        await asyncio.gather(*(server.put_product(name) for name in names))
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (await get(server, f"/api/products?after={after}")).json()
            seen += [product["id"] for product in page["products"]]
            after = page["next"]

    assert seen == names


@pytest.mark.parametrize(
    "path", ["/api/products", "/api/products/tshirt", "/api/payments/0199f000-0000-7000-8000-000000000000"]
)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {OPERATOR_KEY}",
        OPERATOR_KEY,
        f"Bearer {OPERATOR_KEY}x",
        f"Bearer {OPERATOR_KEY[:-1]}",
        f"Bearer  {OPERATOR_KEY}",
        f"Bearer {OPERATOR_KEY.upper()}",
        "Bearer é",
    ],
)
async def test_nobody_gets_in_without_the_operator_key(world: World, path: str, authorization: str | None) -> None:
    """These addresses stand beside the public ones, and show and set money."""
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]

    for method in ("GET", "PUT") if path.startswith("/api/products/") else ("GET",):
        answer = await world.client.request(method, world.api + path, headers=headers, json={})
        assert problem_of(answer, 401, "operator_key_required")["retry"] == "never"


async def test_without_the_key_no_price_is_changed(world: World) -> None:
    """The refusal comes before the write, not beside it."""
    product_id = a_name()
    await put(world, product_id, TSHIRT)

    await put(world, product_id, {**TSHIRT, "prices": {"EGP": "0.01"}}, headers={})

    assert (await get(world, f"/api/products/{product_id}")).json()["prices"] == TSHIRT["prices"]


async def test_without_a_configured_operator_key_nobody_gets_in(
    world: World, tmp_path: Path, database_url: str
) -> None:
    """An empty secret would equal an empty header."""
    with another_server(world, tmp_path, database_url, operator_key="") as server:
        for authorization in ("Bearer", "", "Bearer None", "Bearer ''"):
            answer = await get(server, "/api/products", {"authorization": authorization})
            problem_of(answer, 401, "operator_key_required")


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], None, "text", 5, {"name": {"en": "x"}}, {"name": {"en": "x"}, "prices": {"EGP": "1.00"}}),
        *({**TSHIRT, "name": value} for value in ({}, "T-shirt", {"en": ""}, {"en": 5}, {"english": "x"}, {"": "x"})),
        *({**TSHIRT, "name": {"en": value}} for value in ("a\x00b", "a\nb", "\ud800", "x" * 101)),
        *({**TSHIRT, "prices": {"EGP": value}} for value in (300, 300.5, None, ["300.00"])),
        *({**TSHIRT, "prices": {}}, {**TSHIRT, "prices": []}, {**TSHIRT, "prices": {"": "1"}}),
        *({**TSHIRT, "prices": {"EGP": text}} for text in ("0", "0.00", "-1", "1.001", "1e3", "NaN", "", "٣٠٠", "1,5")),
        *({**TSHIRT, "prices": {"EGP": text}} for text in ("9" * 13, "9" * 5_000, "300.00\x00")),
        *({**TSHIRT, "prices": {code: "1"}} for code in ("egp", "EG", "ZZZ", "EGP\x00", "\ud800", "XXX", "a/b")),
        {**TSHIRT, "prices": {"JPY": "1.5"}},
        *({**TSHIRT, "purchasable": value} for value in ("true", 1, None)),
        {**TSHIRT, "price": "300.00"},
        {**TSHIRT, "id": "another"},
    ],
)
async def test_a_product_that_cannot_be_is_refused(world: World, body: object) -> None:
    """A price that is misread once is misread in every payment after it."""
    product_id = a_name()

    answer = await put(world, product_id, body)

    assert problem_of(answer, 400, "invalid_request")["retry"] == "never"
    problem_of(await get(world, f"/api/products/{product_id}"), 404, "product_not_found")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 30_000, b'{"name":' * 5_000, b"NaN"])
async def test_a_product_that_is_no_json_is_refused(world: World, body: bytes) -> None:
    """The operator's script may break too."""
    headers = {**KEYED, "content-type": "application/json"}

    answer = await world.client.put(f"{world.api}/api/products/{a_name()}", content=body, headers=headers)

    problem_of(answer, 400, "invalid_request")


async def test_a_product_over_the_size_limit_is_refused(world: World) -> None:
    """The limit holds for everybody."""
    answer = await put(world, a_name(), {**TSHIRT, "name": {"en": "x" * 70_000}})

    problem_of(answer, 413, "body_too_large")


async def test_a_product_of_another_content_type_is_refused(world: World) -> None:
    """The contract says JSON for every address, and one rule is easier to keep than two."""
    product_id = a_name()
    headers = {**KEYED, "content-type": "text/plain"}

    answer = await world.client.put(
        f"{world.api}/api/products/{product_id}", content=json.dumps(TSHIRT), headers=headers
    )

    problem_of(answer, 415, "unsupported_content_type")


@pytest.mark.parametrize("product_id", ["x" * 101, "a%00b", "a%0ab", "%c2%85"], ids=["long", "nul", "line", "control"])
async def test_a_product_id_that_no_payment_could_name_is_refused(world: World, product_id: str) -> None:
    """It could be written and never be sold."""
    problem_of(await put(world, product_id, TSHIRT), 400, "invalid_request")
    problem_of(await get(world, f"/api/products/{product_id}"), 404, "product_not_found")


@pytest.mark.parametrize("product_id", ["تي-شيرت", "a b", "a%26b=c", "100%25", "a'b\"c", "x" * 100])
async def test_a_product_id_of_any_visible_text_works(world: World, product_id: str) -> None:
    """Shops bring the ids they have."""
    assert (await put(world, product_id, TSHIRT)).status_code == 200
    read = await get(world, f"/api/products/{product_id}")

    assert read.status_code == 200, read.text
    assert (await world.initiate(product_id=read.json()["id"])).status_code == 201


@pytest.mark.parametrize("after", ["%00", "%ff", "x" * 10_000, "%ed%a0%80"])
async def test_a_list_after_junk_is_a_list(world: World, after: str) -> None:
    """The page's start is text like any other."""
    assert "products" in (await get(world, f"/api/products?after={after}")).json()


async def test_a_new_price_counts_at_once_on_every_server(world: World, tmp_path: Path) -> None:
    """A price that lives on in a cache would sell at yesterday's, and refuse today's."""
    product_id = a_name()
    with another_server(world, tmp_path, world.database_url) as other:
        for price in ("300.00", "350.00", "0.01", "300.00"):
            await put(world, product_id, {**TSHIRT, "prices": {"EGP": price}})
            for server in (world, other):
                assert (await server.initiate(product_id=product_id, product_amount=price)).status_code == 201
                stale = await server.initiate(product_id=product_id, product_amount="299.00")
                problem_of(stale, 409, "price_mismatch")
                methods = (await get(server, f"/api/payments/methods?product_id={product_id}", {})).json()["methods"]
                assert {method["amount"] for method in methods} == {price}


async def test_a_product_taken_from_sale_cannot_be_bought_from_then_on(world: World) -> None:
    """Sold out is sold out, also for the page that was open."""
    product_id = a_name()
    await put(world, product_id, TSHIRT)
    assert (await world.initiate(product_id=product_id)).status_code == 201

    await put(world, product_id, {**TSHIRT, "purchasable": False})

    problem_of(await world.initiate(product_id=product_id), 409, "product_not_purchasable")
    assert (await get(world, f"/api/payments/methods?product_id={product_id}", {})).json()["methods"] == []
    await put(world, product_id, TSHIRT)
    assert (await world.initiate(product_id=product_id)).status_code == 201


async def test_the_operator_sees_a_payment_with_its_journal(world: World) -> None:
    """What happened, in which order and who said so: all that a support question needs, and not the payer's data."""
    payer = {"name": "Mona Zaki", "email": "mona@shop.example", "phone": "01012345678"}
    order = f"A-{uuid.uuid4()}"
    answer = await world.initiate(order_reference=order, payer=payer)
    draft_id = answer.json()["paymentDraftId"]
    await world.act(draft_id, "decline")
    await world.delivered(draft_id)
    await world.act(draft_id, "pay")
    status = await world.becomes(draft_id, "completed")

    shown = await get(world, f"/api/payments/{draft_id}")

    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    payment = shown.json()
    assert {name: payment[name] for name in status} == status
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    assert payment["transaction_reference_id"] == ledger["transaction_reference_id"]
    assert (payment["gateway"], payment["payment_method"], payment["order_reference"]) == ("paymob", "card", order)
    assert (payment["needs_review"], payment["in_doubt"]) == (False, False)
    journal = payment["journal"]
    assert [(one["event"]["kind"], one["verdict"], one["state"]) for one in journal] == [
        ("registered", "applied", "awaiting_user_action"),
        ("declined", "repeated", "awaiting_user_action"),
        ("paid", "applied", "completed"),
    ]
    assert [one["source"] for one in journal] == ["initiate", "webhook", "webhook"]
    assert [one["at"] for one in journal] == sorted(one["at"] for one in journal)
    assert not [value for value in payer.values() if value in shown.text]


@pytest.mark.parametrize("draft_id", ["0199f000-0000-7000-8000-000000000000", "none", "%00"])
async def test_a_payment_that_is_not_there_is_not_found(world: World, draft_id: str) -> None:
    """As in the status."""
    problem_of(await get(world, f"/api/payments/{draft_id}"), 404, "draft_not_found")


async def test_a_healthy_server_says_so(world: World) -> None:
    """Orchestrators ask these two: restart me, and send me work."""
    for path, word in (("/health/live", "live"), ("/health/ready", "ready")):
        answer = await get(world, path, {})
        assert (answer.status_code, answer.text) == (200, word)


async def test_metrics_count_what_is_answered(world: World) -> None:
    """An operator's first sight that something is wrong is a counter that moves, or does not."""

    async def counted() -> dict[str, float]:
        answer = await get(world, "/metrics", {})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        lines = (line.rpartition(" ") for line in answer.text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    moved = {
        'qirsh_initiates_total{status="201"}': 2.0,
        'qirsh_webhooks_total{gateway="paymob",verdict="applied"}': 1.0,
        'qirsh_webhooks_refused_total{code="webhook_not_authentic"}': 1.0,
        'qirsh_folds_total{kind="registered",source="initiate",verdict="applied"}': 2.0,
        'qirsh_folds_total{kind="paid",source="webhook",verdict="applied"}': 1.0,
    }
    before = await counted()

    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.initiate()
    await world.act(draft_id, "pay")
    await world.delivered(draft_id)
    await world.client.post(f"{world.api}/api/payments/webhook-handler/paymob", json={})

    after = await counted()
    assert {name: after[name] - before.get(name, 0.0) for name in moved} == moved


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, {"locale": "arabic"}),
        (404, {"product_id": "no-such-product"}),
        (409, {"product_amount": "1.00"}),
        (422, {"payment_method": "bitcoin"}),
        (402, {"order_reference": "refused"}),
        (201, {"order_reference": "repeated"}),
    ],
)
async def test_metrics_count_every_answer_to_initiate_by_its_status(
    world: World, status: int, fields: dict[str, Any]
) -> None:
    """Without the refused ones a shop whose every request is wrong looks like a shop without customers."""
    name = f'qirsh_initiates_total{{status="{status}"}} '

    async def counted() -> float:
        lines = (await get(world, "/metrics", {})).text.splitlines()
        return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)

    before, request = await counted(), a_request(**fields)
    if status == 402:
        await world.fault("register", "error", status=422)

    answers = [await world.initiate(**request) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status] * 3
    assert await counted() - before == 3


async def test_metrics_need_the_key_from_elsewhere(world: World) -> None:
    """Behind a proxy on the same machine every payer comes from loopback; the proxy says who it really was."""
    elsewhere = {"x-forwarded-for": "203.0.113.9"}

    problem_of(await get(world, "/metrics", elsewhere), 401, "operator_key_required")
    assert (await get(world, "/metrics", {**elsewhere, **KEYED})).status_code == 200


async def test_a_database_that_goes_away_is_told_and_its_return_is_noticed(
    world: World, scratch: Path, tmp_path: Path
) -> None:
    """The one part that has no spare: while it is gone nothing may hang or be lost, and no restart may be needed."""
    postgres = EmbeddedPostgres(scratch / f"own-{uuid.uuid4().hex[:8]}", {"fsync": "off"})
    try:
        with another_server(world, tmp_path, await asyncio.to_thread(postgres.start)) as server:
            await server.put_product("tshirt")
            first = a_request()
            answered = await server.initiate(**first)
            assert answered.status_code == 201
            draft_id = answered.json()["paymentDraftId"]
            assert (await get(server, "/health/ready", {})).status_code == 200

            await asyncio.to_thread(postgres.stop)
            during = a_request()
            for _ in range(3):
                await _is_away(await _timed(get(server, "/health/ready", {})))
                await _is_away(await _timed(server.initiate(**during)))
                await _is_away(await _timed(server.status(draft_id)))
                await _is_away(await _timed(get(server, "/api/products")))
                await _is_away(await _timed(get(server, "/api/payments/methods?product_id=tshirt", {})))
            await _is_away(*await asyncio.gather(*(_timed(server.initiate(**a_request())) for _ in range(30))))
            assert (await get(server, "/health/live", {})).status_code == 200
            cached = await server.initiate(**first)
            assert (cached.status_code, cached.content) == (201, answered.content)

            await asyncio.to_thread(postgres.start)

            async def ready() -> bool:
                return (await get(server, "/health/ready", {})).status_code == 200

            await eventually(ready, "the server ready again")
            back = await server.initiate(**during)
            assert back.status_code == 201, back.text
            ledger = await server.ledger(back.json()["paymentDraftId"])
            assert ledger is not None
            assert ledger["registered"] == 1
            assert (await server.status(draft_id)).json()["status"] == "awaiting_user_action"
    finally:
        await asyncio.to_thread(postgres.stop)


async def _timed(asked: Any) -> httpx.Response:
    begun = time.monotonic()
    answer: httpx.Response = await asked
    assert time.monotonic() - begun < ANSWER_SECONDS
    return answer


async def _is_away(*answers: httpx.Response) -> None:
    for answer in answers:
        assert problem_of(answer, 503, "store_unavailable")["retry"] == "same_key"
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_webhook_is_taken_after_the_database_came_back(world: World, scratch: Path, tmp_path: Path) -> None:
    """5xx is what makes a PSP deliver again: an answer of 200 while nothing was stored would lose the payment."""
    postgres = EmbeddedPostgres(scratch / f"own-{uuid.uuid4().hex[:8]}", {"fsync": "off"})
    try:
        with another_server(world, tmp_path, await asyncio.to_thread(postgres.start)) as server:
            await server.put_product("tshirt")
            draft_id = (await server.initiate()).json()["paymentDraftId"]
            await world.fault("webhook", "drop", times=5)
            await server.act(draft_id, "pay")
            delivery = (await server.deliveries(draft_id))[0]
            url = delivery["url"].replace(world.api, server.api)

            await asyncio.to_thread(postgres.stop)
            await _is_away(await _timed(server.post_webhook(delivery, url=url)))
            await asyncio.to_thread(postgres.start)

            async def taken() -> bool:
                return (await server.post_webhook(delivery, url=url)).status_code == 200

            await eventually(taken, "the delivery taken")
            assert await server.state(draft_id) == "completed"
    finally:
        await asyncio.to_thread(postgres.stop)


async def test_the_api_describes_itself(world: World) -> None:
    """Shops generate their clients from it."""
    answer = await get(world, "/openapi.json", {})

    assert answer.status_code == 200
    assert "json" in answer.headers["content-type"]
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    described = {
        (method, "/".join("{}" if part.startswith("{") else part for part in path.split("/")))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described >= PUBLIC | OPERATORS
    assert list(_dangling(document, document)) == []


async def test_the_description_of_initiate_has_every_field_of_the_contract(world: World) -> None:
    """Its body is read by our own reader, so the framework does not describe it by itself."""
    document = (await get(world, "/openapi.json", {})).json()

    operation = document["paths"]["/api/payments/initiate"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert set(schema["properties"]) == {
        *("product_id", "product_amount", "payment_method", "idempotency_key", "currency", "quantity"),
        *("order_reference", "payer", "return_url", "locale"),
    }
    assert {"product_id", "product_amount", "payment_method"} <= set(schema["required"])
    assert operation["requestBody"]["required"] is True


async def test_the_description_of_the_answers_is_what_is_answered(world: World) -> None:
    """They are written by our own code, so the framework does not describe them by itself."""
    document = (await get(world, "/openapi.json", {})).json()

    def described(path: str, method: str, status: str) -> set[str]:
        answer = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
        return set(document["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["properties"])

    initiated = await world.initiate()
    draft_id = initiated.json()["paymentDraftId"]
    assert described("/api/payments/initiate", "post", "201") == set(initiated.json())
    assert described("/api/payments/initiate", "post", "202") == set(initiated.json())
    status = await world.status(draft_id)
    assert described("/api/payments/status/{draft_id}", "get", "200") == set(status.json())
    assert described("/api/payments/webhook-handler", "post", "200") == {"received"}
    assert "Answer" not in document["components"]["schemas"]


def _dangling(part: object, document: dict[str, Any]) -> Iterator[str]:
    """The references of a document that lead nowhere."""
    if isinstance(part, list):
        for one in part:
            yield from _dangling(one, document)
    if isinstance(part, dict):
        for name, one in part.items():
            if name == "$ref" and isinstance(one, str):
                at: Any = document
                for step in one.removeprefix("#/").split("/"):
                    at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
                if at is None:
                    yield one
            else:
                yield from _dangling(one, document)
