"""The fake PayPal's answers, judged by PayPal's own OpenAPI files."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import httpx
import pytest
import schemathesis
from fidelity_files import corrected
from fidelity_openapi import Judge, judging

from judged import Judged, needs_shared, shared_json
from qirsh_sandbox import PaypalConfig

ACCOUNT = PaypalConfig()
ORDERS, ORDER, CAPTURE = "/v2/checkout/orders", "/v2/checkout/orders/{id}", "/v2/checkout/orders/{id}/capture"
PAYMENT, REFUND = "/v2/payments/captures/{capture_id}", "/v2/payments/refunds/{refund_id}"
VERIFY = "/v1/notifications/verify-webhook-signature"

pytestmark = needs_shared


@pytest.fixture
def judge_of(sandbox: Judged) -> Iterator[Callable[[str], Judge]]:
    """Makes a judge of one of PayPal's files, which calls with a token of the sandbox's."""
    asked = httpx.post(
        f"{sandbox.url}/v1/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(ACCOUNT.client_id, ACCOUNT.client_secret),
    )
    headers = {"Authorization": f"Bearer {asked.json()['access_token']}"}
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(judging(described(name), sandbox.url, headers))


@pytest.mark.parametrize("prefer", ["return=minimal", "return=representation"])
def test_every_answer_of_a_payment_and_its_refunds_is_one_that_paypal_describes(
    judge_of: Callable[[str], Judge], sandbox: Judged, reference: str, prefer: str
) -> None:
    """Generated calls rarely pay, so a payment is walked from its order to its last refund, in both forms of answer."""
    orders, payments = judge_of("checkout_orders_v2"), judge_of("payments_payment_v2")
    order_id = orders.ask("POST", ORDERS, body=an_order(reference), headers=named(reference, prefer))["id"]
    order = {"id": order_id}
    orders.ask("GET", ORDER, path_parameters=order)
    orders.ask("POST", CAPTURE, path_parameters=order, body={}, headers=named(f"0:{reference}", prefer))
    sandbox.act(reference, "pay")
    orders.ask("GET", ORDER, path_parameters=order)
    for _ in range(2):
        orders.ask("POST", CAPTURE, path_parameters=order, body={}, headers=named(f"c:{reference}", prefer))
    orders.ask("POST", CAPTURE, path_parameters=order, body={}, headers=named(f"again:{reference}", prefer))
    unit = orders.ask("GET", ORDER, path_parameters=order)["purchase_units"][0]

    capture = {"capture_id": unit["payments"]["captures"][0]["id"]}
    payments.ask("GET", PAYMENT, path_parameters=capture)
    part = {"amount": {"currency_code": "USD", "value": "2.50"}, "note_to_payer": "آسفون"}
    calls: list[Any] = [part, {"amount": {"currency_code": "USD", "value": "8.00"}}, {}, {}]
    for number, body in enumerate(calls):
        headers = named(f"{number}:{reference}", prefer)
        made = payments.ask("POST", f"{PAYMENT}/refund", path_parameters=capture, body=body, headers=headers)
        if "id" in made:
            payments.ask("GET", REFUND, path_parameters={"refund_id": made["id"]})
    payments.ask("GET", PAYMENT, path_parameters=capture)
    orders.ask("GET", ORDER, path_parameters=order)

    assert orders.seen == {f"POST {ORDERS}": {200}, f"GET {ORDER}": {200}, f"POST {CAPTURE}": {200, 201, 422}}
    assert payments.seen == {f"GET {PAYMENT}": {200}, f"POST {PAYMENT}/refund": {201, 422}, f"GET {REFUND}": {200}}


@pytest.mark.parametrize("act", ["review", "decline", "reverse"])
def test_payments_that_wait_fail_or_are_taken_back_are_told_as_paypal_describes(
    judge_of: Callable[[str], Judge], sandbox: Judged, reference: str, act: str
) -> None:
    """These states have fields of their own: reasons, other protections, no fees."""
    orders, payments = judge_of("checkout_orders_v2"), judge_of("payments_payment_v2")
    order = {"id": orders.ask("POST", ORDERS, body=an_order(reference), headers=named(reference))["id"]}
    sandbox.act(reference, "pay" if act == "reverse" else act)
    orders.ask("POST", CAPTURE, path_parameters=order, body={}, headers=named(f"c:{reference}"))
    if act == "reverse":
        sandbox.act(reference, "reverse")
    for unit in orders.ask("GET", ORDER, path_parameters=order)["purchase_units"]:
        for capture in unit.get("payments", {}).get("captures", ()):
            payments.ask("GET", PAYMENT, path_parameters={"capture_id": capture["id"]})


@pytest.mark.parametrize(
    ("file", "method", "path", "statuses"),
    [
        ("checkout_orders_v2", "POST", ORDERS, {400}),
        ("checkout_orders_v2", "GET", ORDER, {200, 404}),
        ("checkout_orders_v2", "POST", CAPTURE, {404, 422}),
        ("payments_payment_v2", "GET", PAYMENT, {200, 404}),
        ("payments_payment_v2", "POST", f"{PAYMENT}/refund", {201, 404}),
        ("payments_payment_v2", "GET", REFUND, {200, 404}),
        ("notifications_webhooks_v1", "POST", VERIFY, {200, 400}),
    ],
)
def test_whatever_paypal_is_asked_it_answers_as_it_describes(  # a case is these four, and two fixtures
    judge_of: Callable[[str], Judge],
    sandbox: Judged,
    reference: str,
    file: str,
    method: str,
    path: str,
    statuses: set[int],
) -> None:
    """Refusals are answers too, and a client that cannot read one does not know what became of its call."""
    judge = judge_of(file)
    ids = paid(judge_of, sandbox, reference)
    judge.ask_anything(method, path, ids)
    assert judge.seen[f"{method} {path}"] >= statuses, "too tame: answers of one kind judge little"


@pytest.mark.parametrize(
    ("value", "currency", "issue"),
    [
        ("10.005", "USD", "DECIMAL_PRECISION"),
        ("1000.50", "JPY", "DECIMAL_PRECISION"),
        ("0.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("-1.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("10.00", "EGP", "INVALID_CURRENCY_CODE"),
        ("1000000000000000.00", "USD", "MAX_VALUE_EXCEEDED"),
        ("ten", "USD", "INVALID_PARAMETER_SYNTAX"),
    ],
)
def test_amounts_are_refused_with_issues_that_orders_have(
    judge_of: Callable[[str], Judge], reference: str, value: str, currency: str, issue: str
) -> None:
    """PayPal lists the issues of each operation, and those of refunds are others."""
    body = an_order(reference)
    body["purchase_units"][0]["amount"] = {"currency_code": currency, "value": value}
    refusal = judge_of("checkout_orders_v2").ask("POST", ORDERS, body=body, headers=named(reference))
    assert [one["issue"] for one in refusal["details"]] == [issue]


@pytest.mark.parametrize(
    ("value", "currency", "issue"),
    [
        ("1.005", "USD", "DECIMAL_PRECISION"),
        ("1.50", "JPY", "DECIMALS_NOT_SUPPORTED"),
        ("0.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("1.00", "EGP", "INVALID_CURRENCY_CODE"),
        ("1.00", "EUR", "REFUND_CAPTURE_CURRENCY_MISMATCH"),
        ("7.51", "USD", "REFUND_AMOUNT_EXCEEDED"),
        ("1000000000000000.00", "USD", "REFUND_AMOUNT_EXCEEDED"),
    ],
)
def test_amounts_are_refused_with_issues_that_refunds_have(
    judge_of: Callable[[str], Judge], sandbox: Judged, reference: str, value: str, currency: str, issue: str
) -> None:
    """As above, for what goes back of ten dollars of which 2.50 went back."""
    at = {"capture_id": paid(judge_of, sandbox, reference)["capture_id"]}
    body = {"amount": {"currency_code": currency, "value": value}}
    refusal = judge_of("payments_payment_v2").ask("POST", f"{PAYMENT}/refund", path_parameters=at, body=body)
    assert [one["issue"] for one in refusal["details"]] == [issue]


@pytest.mark.parametrize(
    ("changes", "issue"),
    [
        ({"payment_source": {}}, "NO_PAYMENT_SOURCE_PROVIDED"),
        ({"payment_source": {"token": {"id": "1", "type": "BILLING_AGREEMENT"}}}, "PAYMENT_SOURCE_CANNOT_BE_USED"),
        ({"purchase_units": []}, "INVALID_ARRAY_MIN_ITEMS"),
        ({"purchase_units": None}, "MISSING_REQUIRED_PARAMETER"),
        ({"intent": "TAKE"}, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_orders_are_refused_with_issues_that_orders_have(
    judge_of: Callable[[str], Judge], reference: str, changes: dict[str, Any], issue: str
) -> None:
    """As above, for the parts that are no amounts."""
    body = an_order(reference) | changes
    refusal = judge_of("checkout_orders_v2").ask("POST", ORDERS, body=body, headers=named(reference))
    assert [one["issue"] for one in refusal["details"]] == [issue]


def test_the_judge_sees_what_is_wrong(judge_of: Callable[[str], Judge], reference: str) -> None:
    """A judge that finds everything right would be no test."""
    judge = judge_of("checkout_orders_v2")
    for text, instead in (('"PAYER_ACTION_REQUIRED"', '"WAITING"'), ('"links"', '"lnks"')):
        judge.session.hooks["response"] = [lambda answer, *_, a=text, b=instead, **__: altered(answer, a, b)]
        with pytest.raises(BaseException, match=r"WAITING|lnks"):
            judge.ask("POST", ORDERS, body=an_order(reference), headers=named(str(uuid.uuid4())))


@cache
def described(name: str) -> schemathesis.BaseSchema:
    """One of PayPal's files, with its texts of issues corrected, and of the ways to pay with the one that is played."""
    file = shared_json(f"openapi/paypal/{name}.json")
    if name == "notifications_webhooks_v1":  # it has neither
        return schemathesis.openapi.from_dict(file)
    api = corrected(file, f"{name}_deviations")
    source = api["components"]["schemas"].get("payment_source", {})
    source["properties"] = {"paypal": source.get("properties", {}).get("paypal", {})}
    return schemathesis.openapi.from_dict(api)


def an_order(reference: str) -> dict[str, Any]:
    """An order of 10.00 USD in today's form, with Arabic in it."""
    context = {
        "return_url": "https://shop.example/return",
        "cancel_url": "https://shop.example/cancel",
        "user_action": "PAY_NOW",
        "brand_name": "متجر",
        "locale": "ar-EG",
    }
    amount = {"currency_code": "USD", "value": "10.00"}
    unit = {"amount": amount, "custom_id": reference, "invoice_id": reference, "description": "قميص"}
    source = {"paypal": {"experience_context": context}}
    return {"intent": "CAPTURE", "purchase_units": [unit], "payment_source": source}


def named(request_id: str, prefer: str = "return=representation") -> dict[str, str]:
    """The headers of a call that is done once."""
    return {"PayPal-Request-Id": request_id, "Prefer": prefer}


def paid(judge_of: Callable[[str], Judge], sandbox: Judged, reference: str) -> dict[str, str]:
    """An order that was paid and refunded in part: its ids, by the names of path parameters."""
    orders, payments = judge_of("checkout_orders_v2"), judge_of("payments_payment_v2")
    order_id = orders.ask("POST", ORDERS, body=an_order(reference), headers=named(reference))["id"]
    sandbox.act(reference, "pay")
    order = orders.ask("POST", CAPTURE, path_parameters={"id": order_id}, body={}, headers=named(f"c:{reference}"))
    capture_id = order["purchase_units"][0]["payments"]["captures"][0]["id"]
    part = {"amount": {"currency_code": "USD", "value": "2.50"}}
    at = {"capture_id": capture_id}
    refund = payments.ask("POST", f"{PAYMENT}/refund", path_parameters=at, body=part, headers=named(reference))
    return {"id": order_id, "capture_id": capture_id, "refund_id": refund["id"]}


def altered(answer: Any, text: str, instead: str) -> Any:
    """An answer in which a text was put in the place of another on its way."""
    answer._content = answer.content.replace(text.encode(), instead.encode())  # noqa: SLF001 - requests has no other way
    return answer
