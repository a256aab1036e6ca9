"""Our own answers, judged by our own /openapi.json: shops generate their clients from it, and find what it promises."""

import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from fidelity_openapi import Judge, judging

from world import OPERATOR_KEY, World, a_request

KEYED: Final = {"Authorization": f"Bearer {OPERATOR_KEY}"}
INITIATE, STATUS = "/api/payments/initiate", "/api/payments/status/{draft_id}"
PAYMENT, REFUNDS = "/api/payments/{draft_id}", "/api/payments/{draft_id}/refunds"
REPLAY: Final = "/api/fulfilments/{fulfilment_id}/replay"
DELIVERIES: Final = "/api/webhook-deliveries"
PRODUCT, PRODUCTS = "/api/products/{product_id}", "/api/products"
OPERATIONS: Final = {
    ("POST", INITIATE): {400},
    ("GET", STATUS): {200, 404},
    ("POST", "/api/payments/{draft_id}/otp"): {400},
    ("GET", "/api/payments/methods"): {404},
    ("GET", "/api/payments/return/{gateway}"): {404},
    ("GET", "/api/payments/return/{gateway}/{draft_id}"): {303, 404},
    ("POST", "/api/payments/webhook-handler"): {401},
    ("POST", "/api/payments/webhook-handler/{gateway}"): {401},
    ("GET", "/health/live"): {200},
    ("GET", "/health/ready"): {200},
    ("PUT", PRODUCT): {400},
    ("GET", PRODUCT): {200, 404},
    ("GET", PRODUCTS): {200},
    ("GET", PAYMENT): {200, 404},
    ("POST", REFUNDS): {400},
    ("POST", f"{REFUNDS}/{{refund_id}}/review"): {400},
    ("POST", REPLAY): {404},
    ("GET", "/api/payments"): {200, 400},
    ("POST", f"{PAYMENT}/reconcile"): {200, 404},
    ("POST", f"{PAYMENT}/review"): {400},
    ("GET", DELIVERIES): {200, 400},
    ("GET", f"{DELIVERIES}/{{delivery_id}}"): {404},
    ("POST", f"{DELIVERIES}/{{delivery_id}}/replay"): {404},
}
"""Every operation, and what generated calls of it are answered at the least: fewer, and the calls were too tame."""
UNKNOWN: Final = {name: str(uuid.uuid4()) for name in ("refund_id", "fulfilment_id", "delivery_id")}
"""Ids of nothing, by the names of path parameters."""


@pytest.fixture(scope="module")
def judge(running_world: World) -> Iterator[Judge]:
    """A judge with the operator's key."""
    api = schemathesis.openapi.from_url(f"{running_world.api}/openapi.json")
    with judging(api, running_world.api, KEYED) as made:
        yield made


@pytest.fixture(scope="module")
def ids(judge: Judge) -> dict[str, str]:
    """A product and a draft, by the names of path parameters."""
    return the_tshirt(judge) | {"draft_id": initiated(judge)["paymentDraftId"], "gateway": "paymob"}


def test_every_operation_is_judged(judge: Judge) -> None:
    """A route that somebody adds must be described as truly as the others."""
    described = {
        (method.upper(), path) for path, methods in judge.api.raw_schema["paths"].items() for method in methods
    }
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_one_that_we_describe(
    judge: Judge, ids: dict[str, str], method: str, path: str
) -> None:
    """No 5xx, no status and no field that a generated client has never heard of."""
    judge.ask_anything(method, path, UNKNOWN | ids)
    assert judge.seen[f"{method} {path}"] >= OPERATIONS[method, path]


def test_every_answer_of_a_payment_and_its_refund_is_one_that_we_describe(judge: Judge, running_world: World) -> None:
    """Generated calls rarely pay, so a payment is walked from its product to its refunds."""
    product = the_tshirt(judge)
    first = initiated(judge)
    draft = {"draft_id": first["paymentDraftId"]}
    assert first["paymentAction"] == "redirect_url"
    judge.ask("GET", "/api/payments/methods", query=product)
    judge.ask("GET", "/api/payments/methods", query={**product, "currency": "EGP"})
    assert judge.ask("GET", STATUS, path_parameters=draft)["status"] == "awaiting_user_action"
    early = judge.ask("POST", REFUNDS, path_parameters=draft, headers=a_key(), body={})
    assert early["code"] == "refund_not_allowed"
    otp = {"token": "none", "otp": "123456"}
    assert judge.ask("POST", f"{PAYMENT}/otp", path_parameters=draft, body=otp)["code"] == "code_not_awaited"

    paid(running_world, first["paymentDraftId"])
    judge.ask("GET", STATUS, path_parameters=draft, query={"wait": "20"}, headers={"If-None-Match": '"other"'})
    completed(judge, draft)

    key = a_key()
    refund = judge.ask("POST", REFUNDS, path_parameters=draft, headers=key, body={"amount": "100.00", "reason": "torn"})
    assert refund["amount"] == "100.00"
    again = judge.ask("POST", REFUNDS, path_parameters=draft, headers=key, body={"amount": "1"})
    assert again["code"] == "idempotency_conflict"
    review = {**draft, "refund_id": refund["refundId"]}
    judge.ask("POST", f"{REFUNDS}/{{refund_id}}/review", path_parameters=review, body={"resolution": "dismiss"})
    view = judge.ask("GET", PAYMENT, path_parameters=draft)
    assert [one["refundId"] for one in view["refunds"]] == [refund["refundId"]]
    assert view["journal"]
    order = {"order_reference": view["order_reference"]}
    for question in (order, {**order, "created_since": "2026-01-01", "needs_review": "false"}):
        listed = judge.ask("GET", "/api/payments", query=question)["payments"]
        assert draft["draft_id"] in [one["paymentDraftId"] for one in listed]
    assert judge.ask("POST", f"{PAYMENT}/reconcile", path_parameters=draft)["status"] in {
        "completed",
        "partially_refunded",
    }
    decided = judge.ask("POST", f"{PAYMENT}/review", path_parameters=draft, body={"resolution": "accept"})
    assert decided["code"] == "nothing_to_review"
    (delivered, *_) = judge.ask("GET", DELIVERIES, query={"draft": draft["draft_id"]})["deliveries"]
    delivery = {"delivery_id": delivered["id"]}
    assert judge.ask("GET", f"{DELIVERIES}/{{delivery_id}}", path_parameters=delivery)["body"]
    assert judge.ask("POST", f"{DELIVERIES}/{{delivery_id}}/replay", path_parameters=delivery)["verdicts"]
    (told, *_) = view["fulfilments"]
    again = judge.ask("POST", REPLAY, path_parameters={"fulfilment_id": told["fulfilmentId"]})
    assert again["fulfilmentId"] == told["fulfilmentId"]

    refused = judge.ask("POST", INITIATE, body=a_request(product_id="described", product_amount="1.00"))
    assert refused["code"] == "price_mismatch"
    assert judge.ask("GET", PRODUCT, path_parameters=product)["id"] == "described"
    assert judge.ask("GET", PRODUCTS, query={"after": "descri"})["products"]


def test_without_the_operator_key_the_refusal_is_one_that_we_describe(judge: Judge, ids: dict[str, str]) -> None:
    """And each operation that needs the key says so, so that clients ask their users for it."""
    public = ("/health/", INITIATE, "/api/payments/status/", "/api/payments/methods", "/api/payments/return/")
    operators = [one for one in OPERATIONS if not one[1].startswith((*public, "/api/payments/webhook-handler"))]
    operators.remove(("POST", f"{PAYMENT}/otp"))
    assert len(operators) >= 13
    anybody = Judge(judge.api, judge.url, {}, judge.session)
    for method, path in operators:
        described = judge.api.raw_schema["paths"][path][method.lower()]
        assert described["security"] == [{"operatorKey": []}]
        known = UNKNOWN | ids
        parameters = {name: known[name] for name in known if f"{{{name}}}" in path}
        fields: dict[str, Any] = {"body": {}} if "requestBody" in described else {}
        refused = anybody.ask(method, path, path_parameters=parameters, headers=a_key(), **fields)
        assert refused["code"] == "operator_key_required"


def the_tshirt(judge: Judge) -> dict[str, str]:
    """A product of this file's own, by the name of its parameter."""
    product = {"product_id": "described"}
    fields = {"name": {"en": "T-shirt", "ar": "قميص"}, "prices": {"EGP": "300.00"}, "purchasable": True}
    judge.ask("PUT", PRODUCT, path_parameters=product, body=fields)
    return product


def initiated(judge: Judge) -> Any:
    """A card payment of it."""
    answer = judge.ask("POST", INITIATE, body=a_request(product_id="described", order_reference=str(uuid.uuid4())))
    assert "paymentDraftId" in answer, answer
    return answer


def completed(judge: Judge, draft: dict[str, str]) -> None:
    """Follow the status, as a page does, until the payment has completed."""
    for _ in range(10):
        if judge.ask("GET", STATUS, path_parameters=draft)["status"] == "completed":
            return
        known = requests.get(f"{judge.url}/api/payments/status/{draft['draft_id']}", timeout=30).headers["etag"]
        judge.ask("GET", STATUS, path_parameters=draft, query={"wait": "2"}, headers={"If-None-Match": known})
    raise AssertionError("the payment never completed")


def paid(world: World, draft_id: str) -> None:
    """The payer pays at the PSP."""
    act = {"merchant_reference": draft_id, "act": "pay"}
    answer = requests.post(f"{world.sandbox}/__sandbox/payer", json=act, timeout=30)
    assert answer.status_code == 200, answer.text


def a_key() -> dict[str, str]:
    """A header with a new idempotency key."""
    return {"Idempotency-Key": str(uuid.uuid4())}
