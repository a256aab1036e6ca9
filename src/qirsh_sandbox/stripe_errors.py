"""The fake Stripe's refusals: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes."""

import secrets
from typing import Any, Final

from .psp import Refused

_DOCS: Final = "https://docs.stripe.com/error-codes/"


class Rejected(Refused):
    """A refusal of one call, whose id it carries. `executed`: it came while the call ran, so a key keeps it."""

    def __init__(self, status: int, error: dict[str, Any], *, executed: bool) -> None:
        super().__init__(status, {"error": error}, {"request-id": fresh_request_id()})
        self.executed = executed

    @property
    def detail(self) -> str:
        """The refusal as one sentence."""
        return str(self.body["error"]["message"])


def fresh_request_id() -> str:
    """Return an id of a call, as every answer carries one: https://docs.stripe.com/api/request_ids."""
    return f"req_{secrets.token_urlsafe(10).replace('-', 'A').replace('_', 'B')}"


def invalid(
    message: str, code: str | None = None, param: str | None = None, *, status: int = 400, executed: bool = False
) -> Rejected:
    """Return a refusal of the request itself."""
    error: dict[str, Any] = {"message": message, "type": "invalid_request_error"}
    if code is not None:
        error |= {"code": code, "doc_url": _DOCS + code.replace("_", "-")}
    if param is not None:
        error["param"] = param
    return Rejected(status, error, executed=executed)


def missing(kind: str, name: str, param: str = "id") -> Rejected:
    """Return the 404 of an id that nothing has."""
    return invalid(f"No such {kind}: '{name}'", "resource_missing", param, status=404)


def unauthorized(key: str) -> Rejected:
    """Return the 401 of a missing or a wrong key, most of which is not shown."""
    if not key:
        return invalid("You did not provide an API key. Put it into the header Authorization: Bearer.", status=401)
    key = key.encode(errors="replace").decode()
    return invalid(f"Invalid API Key provided: {key[:4]}****{key[-4:] if len(key) > 12 else ''}", status=401)  # noqa: PLR2004 - as Stripe shows it


def other_parameters(key: str) -> Rejected:
    """Return the refusal of a key that stands for another request."""
    message = (
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    return Rejected(400, {"message": message, "type": "idempotency_error"}, executed=False)


def in_flight(key: str) -> Rejected:
    """Return the refusal of a key whose first request is still running."""
    message = f"There is currently another in-progress request using this Idempotent Key: {key}. Try again later."
    error = {"message": message, "type": "idempotency_error", "code": "idempotency_key_in_use"}
    return Rejected(409, error, executed=False)


def broken() -> dict[str, Any]:
    """Return the body of a 5xx."""
    return {"error": {"message": "An unknown error occurred.", "type": "api_error"}}
