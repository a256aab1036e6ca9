"""Problems: every error as application/problem+json (RFC 9457), saying which field, why, and whether to retry."""

import traceback
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from qirsh.errors import BodyTooLarge, GatewayRejected, InvalidRequest, PaymentError
from qirsh.store.connection import AWAY
from qirsh.store.store import StoreBusyError

PROBLEM_TYPE: Final = "application/problem+json"

RETRY_SECONDS: Final = 2
"""How soon the same key is welcome again where nobody knows better."""

TRACE_FRAMES: Final = 12

_log = structlog.get_logger("qirsh.api")


def payment_problem(_request: Request[Any, Any, Any], error: PaymentError) -> Response[bytes]:
    """An error of our own tree."""
    headers = {}
    body: dict[str, object] = dict(error.members)
    if error.retry_after_seconds is not None or error.retry == "same_key":
        headers["Retry-After"] = str(error.retry_after_seconds or RETRY_SECONDS)
    if isinstance(error, InvalidRequest) and error.errors:
        body["errors"] = [{"pointer": one.pointer, "detail": one.detail} for one in error.errors]
    if isinstance(error, GatewayRejected):
        body["reason"] = error.reason
        if error.draft_id is not None:
            body["paymentDraftId"] = str(error.draft_id)
        if error.replayed:
            headers["Idempotent-Replayed"] = "true"
    title = (type(error).__doc__ or "").partition("\n")[0].partition(":")[0].rstrip(".")
    return problem(error.status, error.code, title, error.detail, retry=error.retry, headers=headers, **body)


def http_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """An error of the framework: no such path, wrong verb, too large a body."""
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return payment_problem(request, BodyTooLarge())
    status = HTTPStatus(error.status_code)
    retry = "same_key" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "never"
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return problem(status, code, status.phrase, status.description or status.phrase, retry=retry, headers=headers)


def store_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The database is away: nothing is lost, and the same key asks again."""
    _log.error("store_unavailable", path=request.scope["path"], error=type(error).__name__)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "store_unavailable",
        "The database is not available",
        "Nothing was lost: try again with the same key.",
        retry="same_key",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def unexpected_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A bug of ours. The log says where; an exception's own text may quote a payer's data, so it is left out."""
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__)[-TRACE_FRAMES:])
    _log.error("unexpected", path=request.scope["path"], error=type(error).__name__, trace="".join(trace))
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "Something went wrong on our side",
        "The same key finds what this request began.",
        retry="same_key",
    )


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    retry: str,
    headers: dict[str, str] | None = None,
    **more: object,
) -> Response[bytes]:
    """A problem answer; `code` and `retry` are our extension members."""
    body = {"type": f"urn:qirsh:problem:{code}", "title": title, "status": int(status), "detail": detail}
    return Response(
        msgspec.json.encode({**body, "code": code, "retry": retry, **more}),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    PaymentError: payment_problem,
    HTTPException: http_problem,
    **dict.fromkeys((*AWAY, StoreBusyError), store_problem),
    Exception: unexpected_problem,
}
