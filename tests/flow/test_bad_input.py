"""Whatever anybody sends: a problem that says what to do, no 5xx, no draft, and nothing at the PSP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from world import World, a_request, a_wallet_request, problem_of

INITIATE: Final = "/api/payments/initiate"
WEBHOOK: Final = "/api/payments/webhook-handler"
SHOP: Final = "https://shop.example"
JSON: Final = {"content-type": "application/json"}
DEEP: Final = 15_000

BAD_TEXT: Final = [5, 1.5, True, [], {}]
PHONES: Final = ["1012345678", "01312345678", "0101234567", "010123456789", "+1 202 555 0100", "٠١٠١٢٣٤٥٦٧٨"]

BAD_FIELDS: Final[list[tuple[str, dict[str, Any]]]] = [
    *(("#/product_id", {"product_id": value}) for value in [*BAD_TEXT, "", "x" * 101, "a\nb", "a\x7fb", "a\u0085b"]),
    *(
        ("#/product_amount", {"product_amount": value})
        for value in [
            *("-1", "-0", "0", "0.00", "00.50", "0300.00", "+300", ".5", "5.", "", " 300", "300 ", "300\n", "3 00"),
            *("1e3", "1E999999999", "NaN", "nan", "Infinity", "-Infinity", "0x1", "1_000", "300,00", "1,000.00"),
            *("300.001", "300.000", "300.0000", "1000000000000", "9" * 30_000, "300." + "0" * 30_000),
            *("٣٠٠", "३००", "３００", "300．00", "³", "½", "EGP 300", "300\u200b", True, False, [], {}, [300]),  # noqa: RUF001  digits that are not ASCII are the point
        ]
    ),
    *(("#/payment_method", {"payment_method": value}) for value in [*BAD_TEXT, "x" * 51]),
    *(
        ("#/currency", {"currency": value})
        for value in [*BAD_TEXT, "", "egp", "EG", "EGPP", "ZZZ", "EGP\n", "ＥＧＰ", "XXX"]  # noqa: RUF001  as above
    ),
    *(("#/quantity", {"quantity": value}) for value in [0, -1, 10_001, 10**30, 1.5, "1", True, [], {}]),
    *(("#/order_reference", {"order_reference": value}) for value in [*BAD_TEXT, "", "x" * 201, "a\rb"]),
    *(("#/payer/name", {"payer": {"name": value}}) for value in [*BAD_TEXT, "", "x" * 101, "a\tb"]),
    *(
        ("#/payer/email", {"payer": {"email": value}})
        for value in [*BAD_TEXT, "", "nobody", "a@b", "@b.example", "a b@c.example", "é@c.example", "x" * 250 + "@c.de"]
    ),
    *(("#/payer/phone", {"payer": {"phone": value}}) for value in [*BAD_TEXT, "", *PHONES, "0101234567８"]),  # noqa: RUF001  as above
    ("#/payer/phone", a_wallet_request(payer=None)),
    ("#/payer/phone", a_wallet_request(payer={})),
    ("#/payer/phone", a_wallet_request(payer={"phone": "12345"})),
    ("#/payer/card_number", {"payer": {"card_number": "5123456789012346"}}),
    *(
        ("#/return_url", {"return_url": value})
        for value in [
            *(*BAD_TEXT, "", "thanks", "/thanks", "//shop.example/thanks", "javascript:alert(1)", "data:text/html,x"),
            *("JavaScript://shop.example/%0aalert(1)", "http://shop.example/thanks", "ftp://shop.example/"),
            *("https://evil.example/", "https://shop.example.evil.example/", "https://shop.example@evil.example/"),
            *("https://shop.example:444/", "https:/\\evil.example", "https://evil.example\\@shop.example/"),
            *(" https://shop.example/", "https://shop.example/\n", "https://shop.example\t.evil.example/", "https://["),
            *(
                "https://sh\u043ep.example/",
                "https://shop.example/é",
                f"{SHOP}/{'x' * 2000}",
                "https://shop.example:x/",
            ),
            "http://127.0.0.1:1/",
        ]
    ),
    *(("#/locale", {"locale": value}) for value in [*BAD_TEXT, "", "arabic", "AR", "ar_EG", "ar\n"]),
    *(
        ("#/idempotency_key", {"idempotency_key": value})
        for value in [
            *(*BAD_TEXT, "", "x" * 15, "x" * 201, "x" * 16 + "\n", "x" * 16 + "\x7f", "x" * 16 + " ", "é" * 20),
            "x" * 16 + "\u200b",
        ]
    ),
    ("#/idempotency_key", {"idempotency_key": None}),
    ("#/product_id", {"product_id": None}),
    ("#/product_amount", {"product_amount": None}),
    ("#/payment_method", {"payment_method": None}),
    ("#/card_number", {"card_number": "5123456789012346"}),
    ("#/a~1b~0c", {"a/b~c": 1}),
    ("#/", {"": 1}),
    ("#/Product_ID", {"Product_ID": "tshirt"}),
]
TEXT_FIELDS: Final = [
    *("product_id", "product_amount", "payment_method", "idempotency_key", "currency", "order_reference"),
    *("return_url", "locale", "payer.name", "payer.email", "payer.phone"),
]
LIMITS: Final = [
    (a_request(payment_method="bitcoin"), 422, "method_not_supported"),
    (a_request(payment_method="CARD"), 422, "method_not_supported"),
    (a_request(payment_method=""), 422, "method_not_supported"),
    (a_request(payment_method="card\x00"), 422, "method_not_supported"),
    (a_request(payment_method="google_pay"), 422, "method_not_supported"),
    (a_request(payment_method="apple_pay"), 422, "method_not_supported"),
    (a_request(payment_method="kiosk", currency="USD", product_amount="10.00"), 422, "method_not_supported"),
    (a_request(product_id="no-such-product"), 404, "product_not_found"),
    (a_request(product_id="T-shirt ✓ ' OR 1=1 --"), 404, "product_not_found"),
    (a_request(product_id="not-for-sale"), 409, "product_not_purchasable"),
    (a_request(product_amount="1.00"), 409, "price_mismatch"),
    (a_request(product_amount="300.01"), 409, "price_mismatch"),
    (a_request(product_amount="999999999999"), 409, "price_mismatch"),
    (a_request(quantity=2), 409, "price_mismatch"),
    (a_request(quantity=10_000, product_amount="300.00"), 409, "price_mismatch"),
    (a_request(currency="EUR"), 409, "price_mismatch"),
    (a_request(currency="KWD", product_amount="300.000"), 409, "price_mismatch"),
]


@asynccontextmanager
async def nothing_happens(world: World) -> AsyncIterator[None]:
    """What is asked inside leaves no draft, and no order at the PSP."""
    drafts = await _drafts(world)
    known = drafts | await _orders(world)
    yield
    assert await _drafts(world) == drafts
    assert await _orders(world) <= known


async def _drafts(world: World) -> set[str]:
    return set(await world.fetchval("SELECT coalesce(array_agg(id::text), '{}') FROM payment_drafts"))


async def _orders(world: World) -> set[str]:
    return {row["merchant_reference"] for row in (await world.client.get(f"{world.sandbox}/__sandbox/ledger")).json()}


async def refused(
    world: World,
    content: bytes | str,
    status: int = 400,
    code: str = "invalid_request",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Post a body that must be refused before anything happens."""
    raw = content.encode() if isinstance(content, str) else content
    async with nothing_happens(world):
        answer = await world.client.post(world.api + INITIATE, content=raw, headers={**JSON, **(headers or {})})
    return problem_of(answer, status, code)


def pointers(problem: dict[str, Any]) -> list[str]:
    """The fields that a problem names."""
    return [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(("pointer", "fields"), BAD_FIELDS)
async def test_a_bad_field_is_named_by_its_pointer(world: World, pointer: str, fields: dict[str, Any]) -> None:
    """A shop's developer must see which field is wrong; the only other way to learn it is our log."""
    problem = await refused(world, json.dumps(a_request(**fields)))

    assert pointers(problem) == [pointer]
    assert problem["retry"] == "never"
    assert all(error["detail"] for error in problem["errors"])


@pytest.mark.parametrize(
    "written",
    [
        *("-1", "-0", "0", "0.0", "1e3", "3e2", "1E999999999", "1e-9", "300.001", "300.0000", "1000000000000"),
        *("9" * 30_000, "0." + "0" * 30_000 + "1", "true", "[300]"),
        *('"\\u0663\\u0660\\u0660"', '"300.00\\u0000"'),
    ],
    ids=lambda written: written[:40],
)
async def test_an_amount_as_a_number_is_read_as_text_and_refused(world: World, written: str) -> None:
    """A float would turn 1e3 into an amount, 300.001 into another one, and a long number into minutes of work."""
    problem = await refused(world, json.dumps(a_request(product_amount="@")).replace('"@"', written))

    assert pointers(problem) == ["#/product_amount"]


@pytest.mark.parametrize(
    "body",
    [
        *("", " ", "{", "}", "nul", "{]", '{"product_id": }', "{'product_id': 'tshirt'}", "{,}", "\ufeff{}"),
        *("null", "true", "5", '"text"', "[]", "[{}]", "NaN"),
        *("[" * 30_000, "[" * DEEP + "]" * DEEP, '{"a":' * 5_000, '{"a":' * 5_000 + "1" + "}" * 5_000),
        '{"\\ud800": 1}',
        json.dumps(a_request(product_amount="@")).replace('"@"', "NaN"),
        json.dumps(a_request(product_amount="@")).replace('"@"', "Infinity"),
        json.dumps(a_request(product_amount="@")).replace('"@"', "0300"),
        json.dumps(a_request(product_amount="@")).replace('"@"', "+300"),
        json.dumps(a_request()) + "{}",
        json.dumps(a_request())[:-1] + ",}",
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_body_that_is_no_json_object_is_refused(world: World, body: str) -> None:
    """Scanners and half-written clients send these all day: none may look like a fault of ours, or cost a stack."""
    await refused(world, body)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        b'{"product_id": "\xff"}',
        b'{"\xed\xa0\x80": 1}',
        json.dumps(a_request(order_reference="@")).encode().replace(b"@", b"\xc3\x28"),
        json.dumps(a_request(order_reference="@")).encode().replace(b"@", b"\xed\xa0\x80"),
        json.dumps(a_request()).encode("utf-16"),
        json.dumps(a_request()).encode("utf-32"),
    ],
)
async def test_bytes_that_are_no_utf_8_are_refused(world: World, body: bytes) -> None:
    """PostgreSQL takes only UTF-8, so what is none must be found at the door."""
    await refused(world, body)


@pytest.mark.parametrize("name", TEXT_FIELDS)
@pytest.mark.parametrize("junk", ["\x00", "\x1b[2J", "\ud800", "\udc00x"], ids=["nul", "escape", "high", "low"])
async def test_nul_and_unpaired_surrogates_in_any_text_are_refused(world: World, name: str, junk: str) -> None:
    """JSON can write both; PostgreSQL can keep neither, so one that gets through is a 500."""
    outer, _, inner = name.partition(".")
    body: dict[str, Any] = a_request(
        order_reference="A-1001",
        return_url=f"{SHOP}/",
        locale="ar",
        payer={"name": "Mona", "email": "mona@shop.example", "phone": "01012345678"},
    )
    holder = body[outer] if inner else body
    holder[inner or outer] += junk
    if junk in {"\x00", "\x1b[2J"}:
        problem = (
            await refused(world, json.dumps(body), 422, "method_not_supported")
            if name == "payment_method"
            else await refused(world, json.dumps(body))
        )
        assert name == "payment_method" or pointers(problem) == ["#/" + name.replace(".", "/")]
    else:  # such a text is no JSON that can be read, so there is no field to name
        await refused(world, json.dumps(body))


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "payer", "quantity", "unknown"])
async def test_thirty_kilobytes_of_nesting_in_any_field_are_refused(world: World, name: str) -> None:
    """A parser that recurses runs out of stack, which Python turns into an exception and C into a dead process."""
    outer, _, inner = name.partition(".")
    body = json.dumps(a_request(**{outer: {inner: "@"} if inner else "@"})).replace('"@"', "[" * DEEP + "]" * DEEP)

    await refused(world, body)


async def test_all_bad_fields_are_named_in_one_answer(world: World) -> None:
    """One round trip a mistake is how integrations take a week."""
    bad = {
        "product_id": "",
        "product_amount": "-1",
        "payment_method": "bitcoin",
        "idempotency_key": "short",
        "currency": "ZZZ",
        "quantity": 0,
        "order_reference": "",
        "payer": {"name": 5, "email": "nobody", "phone": "911", "pin": "1234"},
        "return_url": "javascript:alert(1)",
        "locale": "arabic",
        "cvv": "123",
    }

    problem = await refused(world, json.dumps(bad))

    payer = {f"#/payer/{name}" for name in ("name", "email", "phone", "pin")}
    assert set(pointers(problem)) == {f"#/{name}" for name in bad if name != "payer"} | payer
    assert len(pointers(problem)) == len(set(pointers(problem)))


async def test_no_answer_repeats_what_a_payer_typed_into_the_wrong_field(world: World) -> None:
    """Answers are logged by shops, and a page may send card data by mistake."""
    problem = await refused(world, json.dumps(a_request(card_number="5123456789012346", payer={"name": 5123456789})))

    assert "5123456789" not in json.dumps(problem)


async def test_thousands_of_unknown_fields_are_answered_briefly(world: World) -> None:
    """An answer larger than its request would make the server an amplifier."""
    body = json.dumps({**a_request(), **{f"field{n}": 0 for n in range(4_000)}})

    problem = await refused(world, body)

    assert len(json.dumps(problem)) < len(body)


@pytest.mark.parametrize(("body", "status", "code"), LIMITS)
async def test_what_cannot_be_sold_like_this_is_refused(
    world: World, body: dict[str, Any], status: int, code: str
) -> None:
    """The catalogue and the routes decide; a page decides nothing."""
    await world.put_product("not-for-sale", purchasable=False)

    problem = await refused(world, json.dumps(body), status, code)

    assert problem["retry"] == "never"


async def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    """A page that mends its request keeps its key: nothing was promised under it."""
    request = a_request(product_amount="299.00")
    await refused(world, json.dumps(request), 409, "price_mismatch")

    assert (await world.initiate(**{**request, "product_amount": "300.00"})).status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        *(b"short", b"x" * 201, b"", b'""', b'"short"', b"x" * 16 + b" y", b'"' + b"x" * 201 + b'"', b"\xe9" * 20),
        *("é".encode() * 20, b"x" * 16 + b"\ty", b"x" * 50_000),
    ],
    ids=lambda header: repr(header[:40]),
)
async def test_a_bad_key_in_the_header_is_refused(world: World, header: bytes) -> None:
    """The header means the same as the field, so it is held to the same form."""
    body = a_request(idempotency_key=None)

    async with nothing_happens(world):
        answer = await world.client.post(
            world.api + INITIATE,
            content=json.dumps(body),
            headers=[(b"content-type", b"application/json"), (b"idempotency-key", header)],
        )

    assert pointers(problem_of(answer, 400, "invalid_request")) == ["#/idempotency_key"]


@pytest.mark.parametrize("header", ["another-key-0123456789", '"another-key-0123456789"'])
async def test_a_key_in_the_header_that_differs_from_the_field_is_refused(world: World, header: str) -> None:
    """To pick one of two keys would be to guess which payment is meant."""
    problem = await refused(world, json.dumps(a_request()), headers={"idempotency-key": header})

    assert pointers(problem) == ["#/idempotency_key"]


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"),
        *("application/problem+json", "application/jsonp", "text/plain; application/json", "", "*/*", "json"),
    ],
)
async def test_another_content_type_is_refused(world: World, content_type: str) -> None:
    """A browser sends these three forms to foreign servers without asking first; JSON it must ask about."""
    body = json.dumps(a_request())

    problem = await refused(world, body, 415, "unsupported_content_type", {"content-type": content_type})

    assert problem["retry"] == "never"


async def test_a_request_without_a_content_type_is_refused(world: World) -> None:
    """As any other type that is not JSON."""
    async with nothing_happens(world):
        answer = await world.client.post(world.api + INITIATE, content=json.dumps(a_request()).encode())

    problem_of(answer, 415, "unsupported_content_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]
)
async def test_json_by_any_of_its_names_is_taken(world: World, content_type: str) -> None:
    """Media types are the same in either case, and frameworks add the charset by themselves."""
    answer = await world.client.post(
        world.api + INITIATE, content=json.dumps(a_request()), headers={"content-type": content_type}
    )

    assert answer.status_code == 201, answer.text


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 8_000):
        yield body[start : start + 8_000]


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize(
    ("path", "size"),
    [(INITIATE, 66_000), (INITIATE, 5_000_000), (WEBHOOK + "/paymob", 1_100_000), (WEBHOOK, 5_000_000)],
)
async def test_a_body_over_the_limit_is_refused_with_and_without_a_length(
    world: World, path: str, size: int, *, chunked: bool
) -> None:
    """A limit that trusts Content-Length is none, and one that reads everything first is none either."""
    body = json.dumps(a_request(order_reference="x" * size)).encode()

    async with nothing_happens(world):
        answer = await world.client.post(
            f"{world.api}{path}?hmac={'0' * 128}", content=_chunks(body) if chunked else body, headers=JSON
        )

    problem_of(answer, 413, "body_too_large")


@pytest.mark.parametrize(("path", "size", "status"), [(INITIATE, 60_000, 400), (WEBHOOK + "/paymob", 950_000, 401)])
async def test_a_body_under_the_limit_is_read(world: World, path: str, size: int, status: int) -> None:
    """The limit is the contract's, not a smaller one of the framework."""
    obj = {"id": "x" * size}
    body = {"type": "TRANSACTION", "obj": obj} if path != INITIATE else a_request(order_reference="x" * size)

    answer = await world.client.post(f"{world.api}{path}?hmac={'0' * 128}", json=body)

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", INITIATE, 405, "method_not_allowed"),
        ("PUT", INITIATE, 405, "method_not_allowed"),
        ("DELETE", INITIATE, 405, "method_not_allowed"),
        ("GET", WEBHOOK, 405, "method_not_allowed"),
        ("GET", WEBHOOK + "/paymob", 405, "method_not_allowed"),
        ("POST", "/api/payments/methods", 405, "method_not_allowed"),
        ("POST", "/api/payments/status/x", 405, "method_not_allowed"),
        ("POST", "/health/live", 405, "method_not_allowed"),
        ("GET", "/no/such/path", 404, "not_found"),
        ("POST", "/api/payments/initiate/more", 404, "not_found"),
        ("GET", "/api/payments/status", 404, "not_found"),
        ("GET", "/api", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/%ff%fe", 404, "not_found"),
        ("GET", "/" + "x" * 20_000, 404, "not_found"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_wrong_verb_or_path_is_a_problem_too(
    world: World, method: str, path: str, status: int, code: str
) -> None:
    """A client parses every error in one way, also those that the framework finds."""
    answer = await world.client.request(method, world.api + path)

    problem_of(answer, status, code)
    assert status != 405 or answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/checkout/..%2f..%2fsettings.py", "/checkout/%00", "/checkout/pay.html%00", "/pay/%00"],
)
async def test_pages_and_files_answer_junk_names_without_a_fault(world: World, path: str) -> None:
    """Files are served by name: no name may reach another file, or a 500."""
    answer = await world.client.get(world.api + path)

    assert answer.status_code in {200, 404}
    assert "root:" not in answer.text
    assert "import " not in answer.text


@pytest.mark.parametrize(
    "junk",
    [
        b"POST /api/payments/initiate HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n",
        b"POST /api/payments/initiate HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/payments/initiate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/payments/status/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-junk: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_http_are_answered_400_and_the_server_lives(world: World, junk: bytes) -> None:
    """Port scanners speak TLS and worse to every port."""
    at = urlsplit(world.api)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(junk)
    line = await asyncio.wait_for(reader.readline(), 12)
    writer.close()
    await writer.wait_closed()

    assert line == b"" or line.split()[1] == b"400", line
    assert (await world.client.get(f"{world.api}/health/live")).text == "live"


async def test_a_shops_page_may_ask_from_its_origin_and_read_the_headers_it_needs(world: World) -> None:
    """Without these a browser hides the answer from the shop's own page."""
    preflight = await world.client.options(
        world.api + INITIATE,
        headers={
            "origin": SHOP,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,idempotency-key,if-none-match",
        },
    )
    answer = await world.client.post(world.api + INITIATE, json=a_request(), headers={"origin": SHOP})

    assert preflight.status_code in {200, 204}
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert {"content-type", "idempotency-key", "if-none-match"} <= _names(preflight, "access-control-allow-headers")
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert {"date", "etag", "retry-after", "idempotent-replayed"} <= _names(answer, "access-control-expose-headers")
    assert "origin" in _names(answer, "vary")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", INITIATE, b"{}", 400),
        ("POST", INITIATE, b"x" * 70_000, 413),
        ("GET", INITIATE, b"", 405),
        ("GET", "/api/payments/status/none", b"", 404),
        ("GET", "/no/such/path", b"", 404),
    ],
)
async def test_a_shops_page_can_read_errors_too(world: World, method: str, path: str, body: bytes, status: int) -> None:
    """An error without the header reaches the page as "network error", which no page can explain to a payer."""
    answer = await world.client.request(method, world.api + path, content=body, headers={**JSON, "origin": SHOP})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == SHOP


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null"]
)
async def test_a_foreign_origin_gets_no_cors_headers(world: World, origin: str) -> None:
    """Another site's page must not start payments, or read how they stand, in its visitor's browser."""
    preflight = await world.client.options(
        world.api + INITIATE,
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        },
    )
    answer = await world.client.post(world.api + INITIATE, content=b"{}", headers={**JSON, "origin": origin})

    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in answer.headers


def _names(answer: httpx.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in answer.headers[header].split(",")}


SIGNED: Final = "?hmac=" + "0" * 128


@pytest.mark.parametrize("gateway", ["", "/paymob"])
@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("", b"", 401, "webhook_not_authentic"),
        ("", b"junk", 401, "webhook_not_authentic"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        (SIGNED, b'{"type": "NO_SUCH_TYPE", "obj": {}}', 401, "webhook_not_authentic"),
        (SIGNED, b'{"type": "TOKEN", "obj": {"id": [1], "token": {"a": 1.5}}}', 401, "webhook_not_authentic"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": "\\u0000"}}', 401, "webhook_not_authentic"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"order": [[]], "source_data": 5}}', 401, "webhook_not_authentic"),
        ("?hmac=%00", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=%ff%fe", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=%ed%a0%80", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=%D9%A3%D9%A0", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=" + "f" * 30_000, b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        ("?hmac=a&hmac=b", b'{"type": "TRANSACTION", "obj": {}}', 401, "webhook_not_authentic"),
        (SIGNED, b"", 400, "webhook_malformed"),
        (SIGNED, b"junk", 400, "webhook_malformed"),
        (SIGNED, b"[]", 400, "webhook_malformed"),
        (SIGNED, b"null", 400, "webhook_malformed"),
        (SIGNED, b"{}", 400, "webhook_malformed"),
        (SIGNED, b'{"type": 5, "obj": {}}', 400, "webhook_malformed"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": []}', 400, "webhook_malformed"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": "\\ud800"}}', 400, "webhook_malformed"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": "\xff"}}', 400, "webhook_malformed"),
        (SIGNED, b"[" * 30_000, 400, "webhook_malformed"),
        (SIGNED, b'{"type": "TRANSACTION", "obj": ' + b'{"a":' * 90_000 + b"1" + b"}" * 90_001, 400, None),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": ' + b"9" * 5_000 + b"}}", None, None),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": ' + b"9" * 500_000 + b"}}", None, None),
        (SIGNED, b'{"type": "TRANSACTION", "obj": {"id": 1e999999}}', None, None),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_webhook_that_no_psp_sent_is_refused(
    world: World, gateway: str, query: str, body: bytes, status: int | None, code: str | None
) -> None:
    """The address is open to everyone, and everything before the signature's check is read from a stranger."""
    answer = await world.client.post(f"{world.api}{WEBHOOK}{gateway}{query}", content=body, headers=JSON)

    assert answer.status_code in {400, 401}, answer.text
    problem = problem_of(answer, status or answer.status_code, code or answer.json()["code"])
    assert problem["retry"] == "never"


@pytest.mark.parametrize(
    "name",
    ["nobody", "stripe", "PAYMOB", "paymob%00", "%ff", "x" * 10_000, "..", "paymob%20"],
    ids=lambda name: name[:20],
)
async def test_a_webhook_for_a_gateway_we_do_not_have_is_refused(world: World, name: str) -> None:
    """A name in the path is only a name: what is not configured can sign nothing."""
    answer = await world.client.post(f"{world.api}{WEBHOOK}/{name}{SIGNED}", json={"type": "TRANSACTION", "obj": {}})

    if name == "..":  # the client takes the path's dots away before it asks
        assert answer.status_code in {401, 404, 405}
        return
    problem_of(answer, 401, "webhook_not_authentic")


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-junk": b"\xff\xfe"},
        {b"user-agent": b"\xff\xfe\x80"},
        {b"x-junk": b"x" * 30_000},
        {b"content-type": "ünïcode".encode()},
        {b"content-type": b""},
        {b"paypal-transmission-sig": b"\xff", b"stripe-signature": b"t=1,v1=\xff"},
    ],
    ids=lambda headers: repr(headers)[:60],
)
async def test_a_webhook_with_junk_headers_is_refused_and_not_a_fault(
    world: World, headers: dict[bytes, bytes]
) -> None:
    """Headers are bytes, and a proxy may pass on any of them."""
    answer = await world.client.post(
        f"{world.api}{WEBHOOK}/paymob{SIGNED}",
        content=b'{"type": "TRANSACTION", "obj": {}}',
        headers=list(headers.items()),
    )

    problem_of(answer, 401, "webhook_not_authentic")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("&junk=%00", {}),
        ("&%00=1", {}),
        ("&junk=%ff%fe", {}),
        ("&junk=%ed%a0%80", {}),
        ("&junk=" + "x" * 30_000, {}),
        ("&junk=1&junk=2", {}),
        ("", {b"user-agent": b"\xff\xfe\x80"}),
        ("", {b"content-type": b"\xff\xfe"}),
        ("", {b"date": b"x" * 30_000}),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_an_authentic_webhook_with_junk_around_it_is_taken(
    world: World, query: str, headers: dict[bytes, bytes]
) -> None:
    """A signature covers neither the rest of the query nor the headers, and a payment must not be lost to them."""
    draft_id = (await world.initiate()).json()["paymentDraftId"]
    await world.fault("webhook", "drop", times=5)
    await world.act(draft_id, "pay")
    delivery = (await world.deliveries(draft_id))[0]
    body = delivery["body"] if isinstance(delivery["body"], str) else json.dumps(delivery["body"])

    answer = await world.client.post(delivery["url"] + query, content=body.encode(), headers=list(headers.items()))

    assert answer.status_code == 200, answer.text
    assert await world.state(draft_id) == "completed"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/payments/status/%00", 404),
        ("/api/payments/status/%ff", 404),
        ("/api/payments/status/" + "x" * 10_000, 404),
        ("/api/payments/status/٠١٩٩٠١٩٩-٠١٩٩-٧٠١٩-٨٠١٩-٠١٩٩٠١٩٩٠١٩٩", 404),
        ("/api/payments/methods", 400),
        ("/api/payments/methods?product_id=", 404),
        ("/api/payments/methods?product_id=%00", 404),
        ("/api/payments/methods?product_id=%ff", 404),
        ("/api/payments/methods?product_id=%ed%a0%80", 404),
        ("/api/payments/methods?product_id=" + "x" * 10_000, 404),
        ("/api/payments/methods?product_id=tshirt&currency=%00", 200),
        ("/api/payments/methods?product_id=tshirt&currency=ZZZ", 200),
        ("/api/payments/return/paymob", 404),
        ("/api/payments/return/paymob?hmac=%00&order=%00", 404),
        ("/api/payments/return/paymob?hmac=%ff&order=%ff&merchant_order_id=%00", 404),
        ("/api/payments/return/paymob?hmac=" + "0" * 128 + "&order=" + "9" * 10_000, 404),
        ("/api/payments/return/paymob?hmac=1&hmac=2&order=1&order=2", 404),
        ("/api/payments/return/nobody?hmac=1", 404),
        ("/api/payments/return/%00?hmac=1", 404),
    ],
    ids=lambda value: repr(value)[:80],
)
async def test_public_addresses_answer_junk_without_a_fault(world: World, path: str, status: int) -> None:
    """All of these are open to the internet."""
    answer = await world.client.get(world.api + path)

    assert answer.status_code == status, answer.text
    if status != 200:
        problem_of(answer, status, answer.json()["code"])


async def test_the_methods_of_a_currency_nobody_takes_are_none(world: World) -> None:
    """An empty list is an answer a page can show; nobody here is asked for dinars."""
    of = {
        currency: [
            offer["payment_method"]
            for offer in (
                await world.client.get(f"{world.api}/api/payments/methods?product_id=tshirt&currency={currency}")
            ).json()["methods"]
        ]
        for currency in ("EGP", "USD", "KWD", "%00")
    }

    assert of == {
        "EGP": ["card", "vodafone_cash", "mobile_wallet", "wallet_qr", "fawry", "kiosk"],
        "USD": ["card", "paypal", "apple_pay", "google_pay"],
        "KWD": [],
        "%00": [],
    }


async def test_two_requests_on_one_connection_after_a_refusal_are_both_answered(world: World) -> None:
    """A refusal that leaves half a body unread would make the next request on the connection begin in its middle."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=12) as client:
        for body in (b"x" * 200_000, b"{", b"x" * 64_500):
            refusal = await client.post(world.api + INITIATE, content=body, headers=JSON)
            assert refusal.status_code in {400, 413}
            assert (await world.initiate(client)).status_code == 201
