"""The fake Stripe's answers, judged by Stripe's own OpenAPI file and, where that is too old, by its newest fixtures.

The file is of API version 2023-08-16, the newest complete one that could be had; the sandbox speaks 2026-10-28.endive.
`data/stripe_deviations.json` lists where the two differ.
"""

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import pytest
import schemathesis
from fidelity_files import corrected
from fidelity_openapi import AnyCase, Judge, judging

from judged import Judged, needs_shared, shared_json
from qirsh_sandbox import StripeConfig

ACCOUNT = StripeConfig()
SESSIONS, SESSION = "/v1/checkout/sessions", "/v1/checkout/sessions/{session}"
READ = {
    SESSION: "session",
    f"{SESSION}/line_items": "session",
    "/v1/payment_intents/{intent}": "intent",
    "/v1/charges/{charge}": "charge",
    "/v1/refunds/{refund}": "refund",
    "/v1/disputes/{dispute}": "dispute",
    "/v1/events/{id}": "id",
}
LISTED = (SESSIONS, "/v1/payment_intents", "/v1/charges", "/v1/refunds", "/v1/disputes", "/v1/events")
POSTED = (SESSIONS, f"{SESSION}/expire", "/v1/refunds")

pytestmark = needs_shared


@pytest.fixture
def judge(sandbox: Judged) -> Iterator[Judge]:
    """A judge that calls with the account's key."""
    with calling(sandbox) as made:
        yield made


@pytest.fixture(scope="module")
def ids(sandbox: Judged) -> dict[str, str]:
    """A payment that was refunded in part, and disputed: its ids, by the names of path parameters."""
    with calling(sandbox) as judge:
        return disputed(judge, sandbox, str(uuid.uuid4()))


def test_every_answer_of_a_payment_its_refunds_and_its_dispute_is_one_that_stripe_describes(
    judge: Judge, sandbox: Judged, reference: str
) -> None:
    """Generated calls rarely pay, so a payment is walked from its session to its dispute."""
    ids = disputed(judge, sandbox, reference)
    for path, name in READ.items():
        judge.ask("GET", path, path_parameters={name: ids[name]})
    for path in LISTED:
        judge.ask("GET", path, query={"limit": 3})
    expanded = {"expand": ["payment_intent.latest_charge", "line_items"]}
    session = judge.ask("GET", SESSION, path_parameters={"session": ids["session"]}, query=expanded)
    assert session["payment_intent"]["latest_charge"]["id"] == ids["charge"], "what is expanded is judged too"

    assert judge.seen == {
        f"POST {SESSIONS}": {200},
        "POST /v1/refunds": {200, 400},
        **{f"GET {path}": {200} for path in (*READ, *LISTED)},
    }


@pytest.mark.parametrize(
    ("method", "path"), [*(("GET", path) for path in (*READ, *LISTED)), *(("POST", path) for path in POSTED)]
)
def test_whatever_stripe_is_asked_it_answers_as_it_describes(
    judge: Judge, ids: dict[str, str], method: str, path: str
) -> None:
    """Refusals are answers too, and a client that cannot read one does not know what became of its call."""
    judge.ask_anything(method, path, ids)
    assert judge.seen[f"{method} {path}"] & {400, 404}, "too tame: nothing was refused"


def test_objects_have_the_fields_of_todays_stripe(judge: Judge, ids: dict[str, str]) -> None:
    """Fields that later versions took away would let a reader live on what Stripe no longer sends."""
    fixtures = shared_json("openapi/stripe/fixtures3_latest.json")["resources"]
    for path, name in READ.items():
        shape = judge.ask("GET", path, path_parameters={name: ids[name]})
        if shape["object"] != "list":
            gone = set(shape) - set(fixtures[shape["object"]])
            assert not gone, f"today's {shape['object']} has no {gone}"


def calling(sandbox: Judged) -> AbstractContextManager[Judge]:
    """A judge with the account's key."""
    return judging(described(), sandbox.url, {"Authorization": f"Bearer {ACCOUNT.secret_key}"}, in_brackets)


@cache
def described() -> schemathesis.BaseSchema:
    """Stripe's file, corrected: the operations that the sandbox plays, and no bodies of GETs."""
    file = shared_json("openapi/stripe/spec3_2023-09-12.json")
    served: dict[str, Any] = {path: {} for path in (*READ, *LISTED, *POSTED)}
    for path in (*READ, *LISTED):
        served[path]["get"] = {word: part for word, part in file["paths"][path]["get"].items() if word != "requestBody"}
    for path in POSTED:
        served[path]["post"] = file["paths"][path]["post"]
    return schemathesis.openapi.from_dict(corrected({**file, "paths": served}, "stripe_deviations"))


def in_brackets(case: AnyCase) -> None:
    """Write nested parameters as Stripe reads them, which is no style of OpenAPI's: `line_items[0][quantity]=1`."""
    if isinstance(case.body, dict):
        case.body = dict(_flat("", case.body))
        case.media_type = "application/x-www-form-urlencoded"
    if case.query:
        case.query = dict(_flat("", case.query))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs = [(f"{name}[{key}]" if name else key, one) for key, one in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{name}[{index}]", one) for index, one in enumerate(value)]
    else:
        yield name, value
    for inside, one in pairs:
        yield from _flat(inside, one)


def a_session(reference: str) -> dict[str, Any]:
    """The body of a session of 123.45 EGP, with Arabic in it."""
    price = {"currency": "egp", "unit_amount": 12345, "product_data": {"name": "قميص"}}
    return {
        "mode": "payment",
        "client_reference_id": reference,
        "metadata": {"draft_id": reference},
        "success_url": "https://shop.example/ok",
        "line_items": [{"quantity": 1, "price_data": price}],
    }


def disputed(judge: Judge, sandbox: Judged, reference: str) -> dict[str, str]:
    """A payment that was refunded in part, and disputed: its ids, by the names of path parameters."""
    session = judge.ask("POST", SESSIONS, body=a_session(reference))["id"]
    sandbox.act(reference, "pay")
    payment = judge.ask("GET", SESSION, path_parameters={"session": session})["payment_intent"]
    refund = judge.ask("POST", "/v1/refunds", body={"payment_intent": payment, "amount": 45})
    judge.ask("POST", "/v1/refunds", body={"payment_intent": payment, "amount": 12345})
    sandbox.act(reference, "reverse")
    (dispute,) = judge.ask("GET", "/v1/disputes", query={"payment_intent": payment})["data"]
    event = judge.ask("GET", "/v1/events", query={"limit": 1})["data"][0]
    return {
        "session": session,
        "intent": payment,
        "charge": refund["charge"],
        "refund": refund["id"],
        "dispute": dispute["id"],
        "id": event["id"],
    }
