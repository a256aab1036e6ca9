"""The error tree, its page in the docs, and the problem answers that it becomes on the wire."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.testing import RequestFactory
from unit_support import ROOT, data_json, shared_json

from qirsh import errors
from qirsh.api.problems import HANDLERS, http_problem, payment_problem, store_problem, unexpected_problem
from qirsh.draft import DeclineCode
from qirsh.errors import (
    CallerError,
    FieldError,
    GatewayError,
    GatewayOutcomeUnknown,
    GatewayRejected,
    InvalidRequest,
    PaymentError,
    RequestInProgress,
    Retry,
    WebhookError,
)

BRANCHES: set[type[PaymentError]] = {PaymentError, CallerError, GatewayError, WebhookError}
"""Who must act. These are caught, never raised."""


def tree(root: type[PaymentError] = PaymentError) -> Iterator[type[PaymentError]]:
    """Every class of the tree."""
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


CONCRETE = [error for error in tree() if error not in BRANCHES]

every_error = pytest.mark.parametrize("error", CONCRETE, ids=lambda error: error.__name__)


@every_error
def test_every_error_says_code_status_and_retry(error: type[PaymentError]) -> None:
    """The three are what a program reads; a class that inherits another's code would be a lie on the wire."""
    assert "code" in vars(error)
    assert "status" in vars(error)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert HTTPStatus(error.status) >= HTTPStatus.BAD_REQUEST
    assert error.retry in get_args(Retry)


def test_no_two_errors_share_a_code() -> None:
    """Programs branch on the code."""
    codes = [error.code for error in CONCRETE]
    assert len(codes) == len(set(codes))


@every_error
def test_the_docstring_is_the_message(error: type[PaymentError]) -> None:
    """One sentence, in one place: in the code, in the docs and on the wire."""
    (sentence, *_) = (error.__doc__ or "").splitlines()
    assert sentence.endswith(".")
    assert str(error()) == error().detail == sentence
    assert str(error("Something special.")) == "Something special."


@every_error
def test_an_error_stands_under_who_must_act(error: type[PaymentError]) -> None:
    """Each `except` of ours names a branch; an error beside them all would be a 500."""
    assert sum(issubclass(error, branch) for branch in BRANCHES - {PaymentError}) == 1
    assert vars(errors)[error.__name__] is error


def test_an_unreadable_answer_is_an_unknown_outcome() -> None:
    """Whoever catches the doubt must catch this doubt too, or a charge would be forgotten."""
    assert issubclass(errors.GatewayProtocolError, GatewayOutcomeUnknown)
    assert not issubclass(errors.GatewayUnavailable, GatewayOutcomeUnknown)


def test_the_errors_page_lists_exactly_the_tree() -> None:
    """People write their shops by this page: each code is on it once, with its status, its retry and its sentence."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert re.search(r"^\| code \| status \| retry \| meaning \|$", page, re.MULTILINE)
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+) \| `([a-z_]+)` \| (.+) \|$", page, re.MULTILINE)
    expected = [
        (error.code, str(error.status), error.retry, (error.__doc__ or "").partition("\n")[0]) for error in CONCRETE
    ]
    assert sorted(rows) == sorted(expected)


def test_the_errors_page_lists_every_decline_reason() -> None:
    """A page translates the reason for its payer, so it must know them all."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    sentence = re.search(r"^The reasons are (.+)\.$", page, re.MULTILINE)
    assert sentence is not None
    assert set(re.findall(r"`([a-z_]+)`", sentence[1])) == set(DeclineCode)


# On the wire: RFC 9457.


@pytest.fixture(name="request_")
def a_request() -> Request[Any, Any, Any]:
    """Any request: answers may say its path to the log and nothing else."""
    return RequestFactory().get("/api/payments/status/1")


@pytest.fixture(scope="module", name="schema")
def the_schema() -> Draft202012Validator:
    """JSON Schema of a problem, from appendix A of RFC 9457."""
    return Draft202012Validator(
        data_json("rfc9457_problem.schema.json"), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def problem_in(response: Response[bytes], schema: Draft202012Validator) -> dict[str, Any]:
    """The body of a problem answer that is valid as such, and that no cache keeps."""
    body: dict[str, Any] = json.loads(response.content)
    schema.validate(body)
    assert response.media_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert body.keys() >= {"type", "title", "status", "detail", "code", "retry"}
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:qirsh:problem:{body['code']}"
    assert body["title"]
    assert body["retry"] in get_args(Retry)
    return body


@every_error
def test_every_error_becomes_a_problem(
    error: type[PaymentError], request_: Request[Any, Any, Any], schema: Draft202012Validator
) -> None:
    """One shape for all, so that a shop needs one place to read them."""
    body = problem_in(payment_problem(request_, error("What happened.")), schema)
    assert (body["code"], body["status"], body["retry"]) == (error.code, error.status, error.retry)
    assert body["detail"] == "What happened."


def test_every_bad_field_is_named(request_: Request[Any, Any, Any], schema: Draft202012Validator) -> None:
    """As in the RFC's own example: a pointer and a sentence each."""
    error = InvalidRequest(errors=[FieldError("#/quantity", "must be 1 or more"), FieldError("#/a~1b", "is unknown")])
    body = problem_in(payment_problem(request_, error), schema)
    assert body["errors"] == [
        {"pointer": "#/quantity", "detail": "must be 1 or more"},
        {"pointer": "#/a~1b", "detail": "is unknown"},
    ]


def test_when_to_ask_again_is_a_header(request_: Request[Any, Any, Any], schema: Draft202012Validator) -> None:
    """Any HTTP client understands Retry-After; most understand no extension member."""
    response = payment_problem(request_, RequestInProgress(retry_after_seconds=3))
    assert problem_in(response, schema)["retry"] == "same_key"
    assert response.headers["Retry-After"] == "3"


@every_error
def test_only_what_the_same_key_mends_says_when(error: type[PaymentError], request_: Request[Any, Any, Any]) -> None:
    """A page that may ask again with the same key is told when; any other must not be invited to."""
    response = payment_problem(request_, error())
    assert ("Retry-After" in response.headers) is (error.retry == "same_key")
    assert int(response.headers.get("Retry-After", "1")) > 0


def test_a_decline_says_why_and_of_which_draft(request_: Request[Any, Any, Any], schema: Draft202012Validator) -> None:
    """The page shows the reason; the PSP's own word stays with us."""
    error = GatewayRejected(reason="insufficient_funds", psp_code="6051", replayed=True)
    response = payment_problem(request_, error)
    body = problem_in(response, schema)
    assert body["reason"] == "insufficient_funds"
    assert "6051" not in response.content.decode()
    assert response.headers["Idempotent-Replayed"] == "true"
    assert "paymentDraftId" not in body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFoundException(detail="secret"), 404, "not_found"),
        (MethodNotAllowedException(detail="secret"), 405, "method_not_allowed"),
        (HTTPException(status_code=413, detail="secret"), 413, "body_too_large"),
        (HTTPException(status_code=400, detail="secret"), 400, "bad_request"),
        (HTTPException(status_code=429, detail="secret"), 429, "too_many_requests"),
        (HTTPException(status_code=500, detail="secret"), 500, "internal_server_error"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(
    error: HTTPException,
    status: int,
    code: str,
    request_: Request[Any, Any, Any],
    schema: Draft202012Validator,
) -> None:
    """Its own answers have another shape, and its details can quote what was sent."""
    response = http_problem(request_, error)
    body = problem_in(response, schema)
    assert (body["status"], body["code"]) == (status, code)
    assert "secret" not in response.content.decode()


def test_an_absent_database_and_a_bug_say_nothing_of_themselves(
    request_: Request[Any, Any, Any], schema: Draft202012Validator
) -> None:
    """Their texts can hold addresses, SQL and payers' data; the log has the type, the answer the way on."""
    for response, status in (
        (store_problem(request_, OSError("password=secret")), 503),
        (unexpected_problem(request_, KeyError("secret")), 500),
    ):
        body = problem_in(response, schema)
        assert (body["status"], body["retry"]) == (status, "same_key")
        assert "secret" not in response.content.decode()


def test_every_error_has_a_handler() -> None:
    """Handlers are found by class; the tree's root and Exception leave nothing out."""
    assert {PaymentError, HTTPException, Exception} <= HANDLERS.keys()


def test_our_schema_is_the_shared_one() -> None:
    """The copy that works everywhere must be the RFC's."""
    assert data_json("rfc9457_problem.schema.json") == shared_json("vectors/rfc9457/problem.schema.json")


def test_the_schema_judges_the_rfcs_examples_as_the_rfc_does(schema: Draft202012Validator) -> None:
    """A schema that accepts everything would make every test here pass."""
    vectors = shared_json("vectors/rfc9457/examples.json")["vectors"]
    assert vectors
    for vector in vectors:
        assert schema.is_valid(vector["inputs"]["body"]) is vector["expected"]["schema_valid"], vector["name"]


def test_the_schema_refuses_what_is_no_problem(schema: Draft202012Validator) -> None:
    """The same without the shared vectors."""
    assert schema.is_valid({"title": "x", "status": 400, "balance": 30})
    assert not schema.is_valid({"title": "x", "status": "400"})
    assert not schema.is_valid({"title": "x", "status": 42})
    assert not schema.is_valid([])


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        ("missing-key", InvalidRequest),
        ("reused-with-other-payload", errors.IdempotencyConflict),
        ("still-in-progress", RequestInProgress),
    ],
)
def test_key_errors_have_the_status_of_the_ietf_draft(vector: str, error: type[PaymentError]) -> None:
    """Clients that know the Idempotency-Key draft know what these answers mean."""
    vectors = {one["name"]: one for one in shared_json("vectors/idempotency/ietf_draft.json")["vectors"]}
    assert error.status == vectors[vector]["expected"]["status"]
