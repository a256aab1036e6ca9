"""Reading an initiate: every bad field named at once, no float on the way, and one fingerprint for one meaning."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_support import shared_json, thorough

from qirsh.api.requests import (
    MAX_FIELD_ERRORS,
    ReadRequest,
    ReturnRules,
    _read_at_once,
    _read_one_by_one,
    read_initiate,
)
from qirsh.draft import Payer
from qirsh.errors import FieldError, InvalidRequest, MethodNotSupported, PaymentError
from qirsh.methods import Method

RULES = ReturnRules(frozenset({"https://shop.example", "https://shop.example:8443"}))
DEV_RULES = ReturnRules(frozenset({"https://shop.example", "http://127.0.0.1:8000", "http://localhost:3000"}), dev=True)

KEY = "5f0c1d2e-3a4b-4c5d-8e6f-708192a3b4c5"
OTHER_KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
GOOD: dict[str, Any] = {
    "product_id": "tshirt",
    "product_amount": "300.00",
    "payment_method": "card",
    "idempotency_key": KEY,
}
FULL: dict[str, Any] = {
    **GOOD,
    "payment_method": "vodafone_cash",
    "currency": "EGP",
    "quantity": 2,
    "order_reference": "A-1001",
    "payer": {"name": "Sara Hassan", "email": "sara@example.com", "phone": "01012345678"},
    "return_url": "https://shop.example/thanks?order=1",
    "locale": "ar-EG",
}


def read(body: dict[str, Any] | bytes, header: str | None = None, rules: ReturnRules = RULES) -> ReadRequest:
    """Read a body, given as JSON or as the object in it."""
    return read_initiate(
        body if isinstance(body, bytes) else json.dumps(body).encode(), [] if header is None else [header], rules
    )


def refused(body: dict[str, Any] | bytes, header: str | None = None, rules: ReturnRules = RULES) -> InvalidRequest:
    """The refusal of a body that is not valid."""
    with pytest.raises(InvalidRequest) as raised:
        read(body, header, rules)
    assert raised.value.status == 400
    return raised.value


def pointers(body: dict[str, Any] | bytes, header: str | None = None, rules: ReturnRules = RULES) -> list[str]:
    """The fields that the refusal names, each with a sentence."""
    errors = refused(body, header, rules).errors
    assert all(error.detail for error in errors)
    return sorted({error.pointer for error in errors})


def with_amount(text: str) -> bytes:
    """The good request with this JSON in the place of its amount."""
    return json.dumps({**GOOD, "product_amount": "HERE"}).replace('"HERE"', text).encode()


def test_a_full_request_is_read() -> None:
    """Every field arrives where the draft keeps it."""
    request = read(FULL).request
    assert (request.product_id, request.amount, request.method) == ("tshirt", "300", Method.VODAFONE_CASH)
    assert (request.currency, request.quantity, request.order_reference) == ("EGP", 2, "A-1001")
    assert request.payer == Payer("Sara Hassan", "sara@example.com", "01012345678")
    assert (request.return_url, request.locale) == ("https://shop.example/thanks?order=1", "ar-EG")
    assert request.product_name is None


def test_four_fields_are_enough() -> None:
    """The rest has defaults, or is asked for where a method needs it."""
    answer = read(GOOD)
    assert (answer.key, answer.request.quantity, answer.request.currency) == (KEY, 1, None)
    assert len(answer.fingerprint) == 32


# The body.

NO_TEXTS: list[object] = [1, 1.5, True, [], {}, ["text"]]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"}", b'{"product_id"', b'{"product_id":', b"{'product_id': 1}", b"{} x", b"{}{}", b"{,}"),
        *(b"null", b"true", b"1", b'"text"', b"[]", b"[{}]", b"NaN", b"\xef\xbb\xbf{}", b"\x00", b"{}\x00"),
        *(b"\xff\xfe{\x00}\x00", b'{"\xff": 1}', b'{"\\ud800": 1}', b"product_id=tshirt&product_amount=300"),
        *(b"[" * 30_000, b"[" * 15_000 + b"]" * 15_000, b'{"a":' * 6_000, b'{"a":' * 6_000 + b"1" + b"}" * 6_000),
        *(
            b'{"product_id":' + b"[" * 15_000 + b"]" * 15_000 + b"}",
            b'{"payer":' + b'{"name":' * 3_700 + b"1" + b"}" * 3_701,
        ),
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Nesting, odd encodings and half texts are a 400, and never a 500 or a crash."""
    refused(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, wrong)
        for field in (
            "product_id",
            "payment_method",
            "idempotency_key",
            "currency",
            "order_reference",
            "return_url",
            "locale",
        )
        for wrong in NO_TEXTS
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    """No guessing: a number where a text belongs is a bug of the page."""
    assert pointers({**GOOD, field: value}) == [f"#/{field}"]


@pytest.mark.parametrize("field", ["product_id", "product_amount", "payment_method", "idempotency_key"])
def test_a_missing_or_null_required_field_is_named(field: str) -> None:
    """Null is the same as nothing."""
    assert pointers({name: value for name, value in GOOD.items() if name != field}) == [f"#/{field}"]
    assert pointers({**GOOD, field: None}) == [f"#/{field}"]
    assert refused({**GOOD, field: None}).errors[0].detail.startswith("is required")


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 10_001),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["card", "EGP", "ar", "A-1", KEY, "300.00", "01012345678", "sara@example.com", "\0", "\x85"]),
    st.dictionaries(st.sampled_from(["name", "email", "phone", "age"]), st.none() | st.text(max_size=9), max_size=3),
    st.lists(st.none(), max_size=1),
)


@thorough
@given(st.dictionaries(st.sampled_from([*FULL, "other"]), VALUES, max_size=6))
def test_a_body_is_read_the_same_at_once_and_field_by_field(changes: dict[str, Any]) -> None:
    """Reading at once is only faster: it accepts nothing that reading for errors refuses, and reads nothing else."""
    body = json.dumps({**FULL, **changes}).encode()
    errors: list[FieldError] = []
    slowly, at_once = _read_one_by_one(body, errors), _read_at_once(body)

    assert (at_once is None) == bool(errors)
    for fields, same in zip(at_once or (), slowly, strict=False):
        assert {name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in fields.items()} == {
            name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in same.items()
        }


def test_every_bad_field_is_named_in_one_answer() -> None:
    """The developer of a page mends everything in one go; an unknown method is one of many then."""
    body = {
        "product_id": "",
        "product_amount": "-1",
        "payment_method": "bitcoin",
        "idempotency_key": "short",
        "currency": "egp",
        "quantity": 0,
        "order_reference": "a\nb",
        "payer": {"name": "\x00", "email": "nobody", "phone": "12", "age": 30},
        "return_url": "javascript:alert(1)",
        "locale": "arabic",
        "discount": 100,
    }
    named = ["age", "email", "name", "phone"]
    assert pointers(body) == sorted(
        [*(f"#/{field}" for field in body if field != "payer"), *(f"#/payer/{field}" for field in named)]
    )


@pytest.mark.parametrize("payer", [1, "text", True, [], [{}]])
def test_a_payer_that_is_no_object_is_named_beside_the_others(payer: object) -> None:
    """It is one bad field like any other."""
    assert pointers({**GOOD, "payer": payer, "quantity": 0}) == ["#/payer", "#/quantity"]


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        ("amount", "#/amount"),
        ("PRODUCT_ID", "#/PRODUCT_ID"),
        ("", "#/"),
        ("a/b~c", "#/a~1b~0c"),
        ("__proto__", "#/__proto__"),
        ("product_name", "#/product_name"),
        ("price", "#/price"),
        ("\u0627\u0644\u0633\u0639\u0631", "#/\u0627\u0644\u0633\u0639\u0631"),
    ],
)
def test_an_unknown_field_is_refused_by_its_name(name: str, pointer: str) -> None:
    """A misspelt field would otherwise be a setting that silently does nothing."""
    assert pointers({**GOOD, name: 1}) == [pointer]


def test_an_answer_stays_small_whatever_is_sent() -> None:
    """64 kB of unknown fields must not come back as a megabyte of errors."""
    errors = refused({**GOOD, **{f"{number}-{'x' * 500}": 1 for number in range(100)}}).errors
    assert len(errors) <= MAX_FIELD_ERRORS
    assert all(len(error.pointer) < 250 for error in errors)


@pytest.mark.parametrize("value", ["\\u0000", "a\\u0000b", "a\\u001fb", "a\\u007fb", "a\\u0085b", "\\n", "\\t"])
@pytest.mark.parametrize("field", ["product_id", "order_reference", "payer.name"])
def test_control_characters_are_refused(field: str, value: str) -> None:
    """PostgreSQL takes no NUL, and a line break in a reference forges lines in somebody's log."""
    name, _, inner = field.partition(".")
    body = json.dumps({**GOOD, name: {inner: "HERE"} if inner else "HERE"}).replace("HERE", value).encode()
    assert pointers(body) == ["#/" + field.replace(".", "/")]


@pytest.mark.parametrize(
    "text", [b'"\\ud800"', b'"a\\udfffb"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\\x41"']
)
@pytest.mark.parametrize("field", ["product_id", "product_amount", "payment_method", "order_reference", "payer.name"])
def test_broken_text_is_refused(field: str, text: bytes) -> None:
    """Half a surrogate pair and broken UTF-8 cannot be stored, so they must not get as far as the database."""
    name, _, inner = field.partition(".")
    whole = json.dumps({**GOOD, name: {inner: "HERE"} if inner else "HERE"}).encode()
    refused(whole.replace(b'"HERE"', text))


# The method.


@pytest.mark.parametrize(
    "method", ["bitcoin", "CARD", "Card", " card", "card ", "", "vodafone cash", "cash", "\u0643\u0627\u0631\u062a"]
)
def test_an_unknown_method_alone_is_not_supported(method: str) -> None:
    """422 and not 400: the request is well made, there is only nobody to take it."""
    with pytest.raises(MethodNotSupported):
        read({**GOOD, "payment_method": method})


def test_an_unknown_method_among_other_errors_is_one_of_them() -> None:
    """Two answers for two errors would cost a developer two rounds."""
    assert pointers({**GOOD, "payment_method": "bitcoin", "quantity": 0}) == ["#/payment_method", "#/quantity"]


def test_every_method_can_be_asked_for() -> None:
    """The union on the wire is the enum of the code."""
    for method in Method:
        assert read({**FULL, "payment_method": method.value}).request.method is method


# The amount.

BAD_AMOUNTS_AS_TEXT = [
    *("", " ", "-1", "-300.00", "+300", "-0", "0", "0.0", "0.00", "0.000", "00", "0300", "300.", ".5", "1.2345"),
    *("1234567890123", "9" * 400, "9" * 5_000, "1e3", "1E9", "NaN", "Infinity", "-Infinity", "nan", "1_000", "1,000"),
    *("300 ", " 300", "300\n", "300\u0000", "300 EGP", "\u0663\u0660\u0660", "\uff13\uff10\uff10", "0x12c", "true"),
]
BAD_AMOUNTS_AS_JSON = [
    *("-1", "-300.00", "-0", "0", "0.0", "0.00", "1.2345", "1234567890123", "9" * 400, "9" * 5_000),
    *("1e3", "1E9", "3e2", "1e-2", "300.00e0", "true", "false", "[]", "{}", "[300]", '{"amount": 300}'),
    # No JSON at all, although some parsers take it.
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "+300",
        "0300",
        "300.",
        ".5",
        "1_000",
        "0x12c",
        "\u0663\u0660\u0660",
        "'300'",
        "300 EGP",
    ),
]


@pytest.mark.parametrize("text", BAD_AMOUNTS_AS_TEXT, ids=lambda text: ascii(text[:20]))
def test_a_bad_amount_as_text_is_named(text: str) -> None:
    """Zero, negative, huge, too precise, foreign digits, exponents: none is a sum that anybody was shown."""
    assert pointers(with_amount(json.dumps(text))) == ["#/product_amount"]


@pytest.mark.parametrize("text", BAD_AMOUNTS_AS_JSON, ids=lambda text: ascii(text[:20]))
def test_a_bad_amount_as_number_is_refused(text: str) -> None:
    """The same, and whatever else JSON lets stand there; `true` is not one pound."""
    assert pointers(with_amount(text)) in (["#/product_amount"], [])


@pytest.mark.parametrize(
    "text", ['"300"', '"300.0"', '"300.00"', '"300.000"', "300", "300.0", "300.00", "300.000", " 300 "]
)
def test_a_good_amount_is_read_as_it_is_written(text: str) -> None:
    """Text or number, with as many zeros as the page likes: the same sum."""
    assert read(with_amount(text)).request.amount == "300"


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0.1", "0.1"), ("0.10", "0.1"), ("4.35", "4.35"), ("100", "100"), ("999999999999.999", "999999999999.999")],
)
def test_no_digit_is_lost_on_the_way(text: str, amount: str) -> None:
    """A float would write the last one as 999999999999.9990234375."""
    assert read(with_amount(text)).request.amount == read(with_amount(f'"{text}"')).request.amount == amount


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("300.001", "EGP"), ("300.000", "EGP"), ("300.5", "JPY"), ("300.0", "JPY"), ("1.999", "USD")],
)
def test_more_decimals_than_the_named_currency_has_are_refused(amount: str, currency: str) -> None:
    """When the currency is named, the request alone can tell."""
    assert pointers({**GOOD, "product_amount": amount, "currency": currency}) == ["#/product_amount"]


@thorough
@given(st.integers(0, 10**12 - 1), st.integers(0, 999))
def test_an_amount_is_canonical_however_it_is_written(whole: int, thousandths: int) -> None:
    """Text and number, with and without trailing zeros, end in the same characters, which parse to the same sum."""
    written = f"{whole}.{thousandths:03d}"
    if not whole and not thousandths:
        assert pointers(with_amount(written)) == ["#/product_amount"]
        return
    amount = read(with_amount(written)).request.amount
    assert read(with_amount(f'"{written}"')).request.amount == amount
    assert read(with_amount(amount)).request.amount == amount
    assert amount == written.rstrip("0").rstrip(".")


# The currency, the quantity and the other fields.


@pytest.mark.parametrize("currency", ["egp", "Egp", "XXX", "EG", "EGPP", "", " EGP", "EGP\n", "\u0645.\u062c", "818"])
def test_what_is_no_currency_is_refused(currency: str) -> None:
    """Upper case only: two spellings would be two fingerprints for one request."""
    assert pointers({**GOOD, "currency": currency}) == ["#/currency"]


@pytest.mark.parametrize("quantity", [0, -1, 10_001, 10**30, 1.5, "1", True, [1], {}])
def test_what_is_no_quantity_is_refused(quantity: object) -> None:
    """True is not one, and a negative quantity is not a discount."""
    assert pointers({**GOOD, "quantity": quantity}) == ["#/quantity"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product_id", "x" * 101),
        ("product_id", ""),
        ("order_reference", "x" * 201),
        ("order_reference", ""),
        ("payment_method", "x" * 51),
        ("return_url", "https://shop.example/" + "x" * 2_000),
        ("locale", "ar_EG"),
        ("locale", "AR"),
        ("locale", "ar-eg"),
        ("locale", "ar\n"),
        ("locale", "../../etc"),
    ],
)
def test_every_field_has_a_limit(field: str, value: str) -> None:
    """Columns, PSPs' fields and pages all end somewhere."""
    assert pointers({**GOOD, field: value}) == [f"#/{field}"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("01012345678", "01012345678"),
        ("01112345678", "01112345678"),
        ("01212345678", "01212345678"),
        ("01512345678", "01512345678"),
        ("+201012345678", "01012345678"),
        ("00201012345678", "01012345678"),
    ],
)
def test_an_egyptian_mobile_is_kept_in_its_national_form(written: str, kept: str) -> None:
    """PSPs want eleven digits; payers type what they like."""
    assert read({**FULL, "payer": {"phone": written}}).request.payer.phone == kept


@pytest.mark.parametrize(
    "phone",
    [
        *("", "1012345678", "0101234567", "010123456789", "01312345678", "01612345678", "0212345678", "+201312345678"),
        *("+20 1012345678", "010-1234-5678", "010 1234 5678", "+966501234567", "tel:01012345678", "01012345678\n"),
        *("\u0660\u0661\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "0101234567\u0668", "0" * 5_000),
    ],
    ids=lambda phone: ascii(phone[:24]),
)
def test_what_is_no_egyptian_mobile_is_refused(phone: str) -> None:
    """A prompt on a stranger's phone is worse than a 400."""
    assert pointers({**FULL, "payer": {"phone": phone}}) == ["#/payer/phone"]


@pytest.mark.parametrize("method", ["vodafone_cash", "mobile_wallet"])
@pytest.mark.parametrize("payer", [None, {}, {"phone": None}, {"name": "Sara"}])
def test_a_wallet_needs_its_number(method: str, payer: object) -> None:
    """Asked for here, before a draft exists that nobody could pay."""
    assert pointers({**GOOD, "payment_method": method, "payer": payer}) == ["#/payer/phone"]


@pytest.mark.parametrize(
    "email",
    ["", "nobody", "@example.com", "a@b", "a b@example.com", "a@exa mple.com", "a@b@c.d", "a@b.c\n", "a@b.c\r\nBcc: x"],
)
def test_what_is_no_email_is_refused(email: str) -> None:
    """It goes on to the PSP, which refuses the whole payment for it."""
    assert pointers({**GOOD, "payer": {"email": email}}) == ["#/payer/email"]


# The return address: where a payer is sent, so where a forger would like to send him.


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example/thanks?order=1&to=https://evil.example#done",
        "https://shop.example:8443/thanks",
        "https://shop.example?@evil.example",
        "https://shop.example#@evil.example",
        "https://shop.example/@evil.example",
        "https://shop.example//evil.example",
    ],
)
def test_a_return_address_at_the_shop_is_taken(url: str) -> None:
    """What comes after the origin is the shop's own affair."""
    assert read({**GOOD, "return_url": url}).request.return_url == url


@pytest.mark.parametrize(
    "url",
    [
        # Other schemes.
        *("javascript:alert(1)", "JavaScript:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x"),
        *(
            "http://shop.example/",
            "HTTP://shop.example/",
            "ftp://shop.example/",
            "file:///etc/passwd",
            "//shop.example/",
        ),
        *(
            "shop.example",
            "/thanks",
            "",
            "https:",
            "https:/shop.example",
            "https:///shop.example",
            "https:shop.example",
        ),
        # Other hosts that look like the shop's.
        *("https://evil.example/", "https://shop.example.evil.com", "https://evil.com/https://shop.example"),
        *("https://shop.example@evil.com", "https://shop.example:x@evil.com/", "https://user@shop.example/"),
        *(
            "https://user:secret@shop.example/",
            "https://@shop.example/",
            "https://shop.example:443/",
            "https://shop.example:99999/",
        ),
        *(
            "https://shop.example:/",
            "https://shop.example./",
            "https://SHOP.example/",
            "https://xshop.example/",
            "https://hop.example/",
        ),
        *("https://shop.example%2eevil.com/", "https://shop.example%00.evil.com/", "https://shop.example;evil.com/"),
        *("https://shop.example&evil.com/", "https://shop.example,evil.com/", "https://shop%2eexample/"),
        # What browsers read otherwise than a parser does.
        *(
            "https://evil.com\\@shop.example/",
            "https:\\\\shop.example/",
            "https://shop.example\\.evil.com/",
            "https://shop.example/a\\b",
            "\\\\evil.com",
        ),
        *(
            " https://shop.example/",
            "https://shop.example/ ",
            "https://shop.example/\n",
            "https://shop.example\t.evil.com/",
        ),
        *(
            "java\nscript:alert(1)",
            "https://shop.example/\r\nSet-Cookie: a=b",
            "https://shop.example/\x00",
            "https://shop.example/\x7f",
        ),
        *(
            "https://shop.example\uff0eevil.com/",
            "https://shop.example/\u0634\u0643\u0631\u0627",
            "https://\uff53hop.example/",
        ),
        *("https://[::1", "https://[shop.example]/", "https://shop.example]/", "https://[::1]/", "https://127.0.0.1/"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("rules", [RULES, DEV_RULES], ids=["production", "dev"])
def test_a_return_address_anywhere_else_is_refused(url: str, rules: ReturnRules) -> None:
    """An open redirect behind a payment page is a phisher's dream."""
    assert pointers({**GOOD, "return_url": url}, rules=rules) == ["#/return_url"]


def test_dev_may_return_to_this_machine_over_plain_http() -> None:
    """A developer's shop has no certificate; in production the same address is refused even when configured."""
    for url in ("http://127.0.0.1:8000/", "http://localhost:3000/thanks"):
        body = {**GOOD, "return_url": url}
        assert read(body, rules=DEV_RULES).request.return_url == url
        assert pointers(body, rules=ReturnRules(DEV_RULES.origins, dev=False)) == ["#/return_url"]
    assert pointers({**GOOD, "return_url": "http://localhost:3001/"}, rules=DEV_RULES) == ["#/return_url"]
    plain = ReturnRules(frozenset({"http://shop.example"}), dev=True)
    assert pointers({**GOOD, "return_url": "http://shop.example/"}, rules=plain) == ["#/return_url"]


def test_a_configured_user_makes_no_return_address() -> None:
    """Whatever stands before the @ is what a payer reads; a slip in the configuration must not open that door."""
    rules = ReturnRules(frozenset({"https://shop.example@evil.example"}))
    assert pointers({**GOOD, "return_url": "https://shop.example@evil.example/"}, rules=rules) == ["#/return_url"]


# The idempotency key.

WITHOUT_KEY = {name: value for name, value in GOOD.items() if name != "idempotency_key"}


@pytest.mark.parametrize("length", [16, 17, 199, 200])
def test_a_key_has_16_to_200_characters(length: int) -> None:
    """Both ends are inside, as field and as header."""
    key = "~!" * 100
    assert read({**GOOD, "idempotency_key": key[:length]}).key == key[:length]
    assert read(WITHOUT_KEY, key[:length]).key == key[:length]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "k",
        "k" * 15,
        "k" * 201,
        "k" * 60_000,
        "k" * 15 + " ",
        "k" * 8 + " " + "k" * 8,
        "k" * 16 + "\n",
        "k" * 16 + "\x00",
        "k" * 16 + "\x7f",
        "k" * 16 + "\u00e9",
        "k" * 16 + "\u2028",
        "\u0643" * 16,
        "\uff4b" * 16,
    ],
    ids=lambda key: ascii(key[:20]),
)
def test_what_is_no_key_is_refused(key: str) -> None:
    """Too short is guessable, too long is no key, and what cannot be seen cannot be compared by people."""
    assert pointers({**GOOD, "idempotency_key": key}) == ["#/idempotency_key"]
    assert pointers(WITHOUT_KEY, key) == ["#/idempotency_key"]


@pytest.mark.parametrize("header", [OTHER_KEY, f'"{OTHER_KEY}"'])
def test_the_header_means_the_same_as_the_field(header: str) -> None:
    """Bare as most send it, or quoted as the IETF draft wants it; beside the same field too."""
    assert read(WITHOUT_KEY, header).key == OTHER_KEY
    assert read({**GOOD, "idempotency_key": OTHER_KEY}, header).key == OTHER_KEY
    assert read({**GOOD, "idempotency_key": None}, header).key == OTHER_KEY
    assert read(WITHOUT_KEY, header).fingerprint == read(GOOD).fingerprint


@pytest.mark.parametrize("header", [OTHER_KEY, f'"{OTHER_KEY}"', KEY.upper(), KEY + "0"])
def test_two_different_keys_are_refused(header: str) -> None:
    """Nobody can tell which of them the page will repeat."""
    assert pointers(GOOD, header) == ["#/idempotency_key"]


@pytest.mark.parametrize(
    "header", ["", '"', '""', '"short"', '"' + "k" * 16, "k" * 16 + " ", '"' + "k" * 201 + '"', "\u00e9" * 16]
)
def test_a_bad_header_is_refused_beside_a_good_field(header: str) -> None:
    """It says that something between page and server is broken."""
    assert refused(GOOD, header).errors[0].pointer == "#/idempotency_key"


def test_no_key_at_all_is_refused() -> None:
    """Without one a reload would be a second purchase."""
    assert pointers(WITHOUT_KEY) == ["#/idempotency_key"]
    assert pointers({**GOOD, "idempotency_key": None}) == ["#/idempotency_key"]


def test_the_examples_of_the_ietf_draft_are_read() -> None:
    """Clients that follow the draft quote the key."""
    vectors = shared_json("vectors/idempotency/ietf_draft.json")["vectors"]
    examples = [vector for vector in vectors if "key" in vector["expected"]]
    assert examples
    for vector in examples:
        assert read(WITHOUT_KEY, vector["inputs"]["header"]).key == vector["expected"]["key"], vector["name"]


# The fingerprint.


@pytest.mark.parametrize(
    "text", ['"300"', '"300.0"', '"300.00"', "300", "300.0", "300.00", ' "300" ', '"\\u0033\\u0030\\u0030"']
)
def test_one_sum_has_one_fingerprint(text: str) -> None:
    """A page that writes the amount another way after a reload repeats its request; it does not make another."""
    assert read(with_amount(text)).fingerprint == read(GOOD).fingerprint


@pytest.mark.parametrize(
    "same",
    [
        {"quantity": 1},
        {"quantity": None},
        {"currency": None},
        {"order_reference": None},
        {"payer": None},
        {"payer": {}},
        {"payer": {"name": None, "email": None, "phone": None}},
        {"return_url": None},
        {"locale": None},
        {"idempotency_key": OTHER_KEY},
    ],
    ids=str,
)
def test_a_default_said_and_a_default_meant_are_the_same_request(same: dict[str, Any]) -> None:
    """Null, absent and the default spelt out mean one thing; the key is not part of what is asked for."""
    assert read({**GOOD, **same}).fingerprint == read(GOOD).fingerprint


def test_order_and_spacing_do_not_matter() -> None:
    """JSON is a value, not a text."""
    backwards = json.dumps(dict(reversed(FULL.items())), indent=3, ensure_ascii=True).encode()
    assert read(backwards).fingerprint == read(FULL).fingerprint


def test_a_phone_number_has_one_fingerprint() -> None:
    """The national and the international form are the same phone."""
    international = {**FULL, "payer": {**FULL["payer"], "phone": "+201012345678"}}
    assert read(international).fingerprint == read(FULL).fingerprint


TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "product_id": TEXTS,
        "product_amount": st.integers(1, 10**9).map(str),
        "payment_method": st.sampled_from([method.value for method in Method]),
        "currency": st.sampled_from(["EGP", "USD", "KWD", "JPY"]),
        "quantity": st.integers(1, 10_000),
        "order_reference": TEXTS,
        "return_url": TEXTS.map(lambda text: f"https://shop.example/{text.replace(chr(92), '')}"),
        "locale": st.sampled_from(["ar", "en", "ar-EG", "fr"]),
        "payer": st.fixed_dictionaries(
            {"phone": st.sampled_from(["01012345678", "01112345678"])}, optional={"name": TEXTS}
        ),
    },
)


@thorough
@given(CHANGES, CHANGES)
def test_requests_share_a_fingerprint_only_when_they_are_the_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Same key, other request: that must be a conflict, whichever field changed; and never one without a change."""
    base = {**FULL, "product_amount": "300"}  # what every currency can say
    first, second = read({**base, **one}), read({**base, **two, "idempotency_key": OTHER_KEY})
    assert (first.fingerprint == second.fingerprint) is (first.request == second.request)


@pytest.mark.parametrize("field", [field for field in FULL if field != "idempotency_key"])
def test_every_field_but_the_key_is_in_the_fingerprint(field: str) -> None:
    """Field by field, so that a new one cannot be forgotten."""
    other: dict[str, Any] = {
        "product_id": "mug",
        "product_amount": "300.01",
        "payment_method": "mobile_wallet",
        "currency": "USD",
        "quantity": 3,
        "order_reference": "A-1002",
        "payer": {**FULL["payer"], "name": "Sara Ali"},
        "return_url": "https://shop.example/thanks?order=2",
        "locale": "en",
    }
    assert read({**FULL, field: other[field]}).fingerprint != read(FULL).fingerprint


@thorough
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, "other"]), inner, max_size=8)
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Whatever the world sends, the answer is of our own tree."""
    try:
        read(json.dumps(value).encode())
    except PaymentError as error:
        assert error.status in {400, 422}  # noqa: PT017  most of what is drawn here is refused, and some is not


@thorough
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    """No request is that short, so nothing but a refusal can come of them."""
    refused(body)


def test_two_header_lines_that_differ_are_refused() -> None:
    """A proxy may add a line of its own; taking either would make a repeat another request."""
    with pytest.raises(InvalidRequest) as refusal:
        read_initiate(json.dumps(WITHOUT_KEY).encode(), [KEY, OTHER_KEY], RULES)
    assert [error.pointer for error in refusal.value.errors] == ["#/idempotency_key"]
    assert read_initiate(json.dumps(WITHOUT_KEY).encode(), [KEY, KEY], RULES).key == KEY
