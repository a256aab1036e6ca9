"""PayPal's errors: their two shapes, their issues by operation, and the words of those that the sandbox itself raises.

paypal_issues.json has the issues of PayPal's OpenAPI files (Orders 2.13, Payments 2.5) by operation and status, for
`PayPal-Mock-Response` may ask for any.
Real descriptions differ from the published ones, so a client must decide on `issue`; most of them are left out here.
"""

import secrets
from pathlib import Path
from typing import Any, Final

import msgspec

from .psp import Refused

_TABLE: Final[dict[str, dict[int, list[str]]]] = msgspec.json.decode(
    Path(__file__).with_suffix(".json").read_bytes(), type=dict[str, dict[int, list[str]]]
)
MOCKS: Final = {name: {issue for issues in table.values() for issue in issues} for name, table in _TABLE.items()}
_STATUSES: Final = {issue: status for table in _TABLE.values() for status, issues in table.items() for issue in issues}
_NAMES: Final = {
    400: ("INVALID_REQUEST", "Request is not well-formed, syntactically incorrect, or violates schema."),
    401: (
        "AUTHENTICATION_FAILURE",
        "Authentication failed due to missing authorization header, or invalid authentication credentials.",
    ),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: ("RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The server does not support the request payload's media type."),
    422: (
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect, or failed business validation.",
    ),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
}
_DESCRIPTIONS: Final = {
    "AMOUNT_MISMATCH": "Should equal item_total + tax_total + shipping + handling + insurance - shipping_discount"
    " - discount.",
    "CANNOT_BE_ZERO_OR_NEGATIVE": "Must be greater than zero. If the currency supports decimals, only two decimal place"
    " precision is supported.",
    "CAPTURE_FULLY_REFUNDED": "The capture has already been fully refunded",
    "DECIMAL_PRECISION": "If the currency supports decimals, only two decimal place precision is supported.",
    "DECIMALS_NOT_SUPPORTED": "Currency does not support decimals. Please refer to"
    " https://developer.paypal.com/docs/api/reference/currency-codes/ for more information.",
    "DUPLICATE_INVOICE_ID": "Duplicate Invoice ID detected. To avoid a potential duplicate transaction your account"
    " setting requires that Invoice Id be unique for each transaction.",
    # The two blanks are PayPal's.
    "INSTRUMENT_DECLINED": "The instrument presented  was either declined by the processor or bank, or it can't be used"
    " for this payment.",
    "INVALID_CURRENCY_CODE": "Currency code is invalid or is not currently supported. Please refer"
    " https://developer.paypal.com/api/rest/reference/currency-codes/ for list of supported currency codes.",
    "INVALID_PARAMETER_SYNTAX": "The value of a field does not conform to the expected format.",
    "INVALID_PARAMETER_VALUE": "A parameter value is not valid.",
    "INVALID_RESOURCE_ID": "Specified resource ID does not exist. Please check the resource ID and try again.",
    "INVALID_STRING_LENGTH": "The value of a field is either too short or too long",
    "MALFORMED_REQUEST_JSON": "The request JSON is not well formed.",
    "MISSING_REQUIRED_PARAMETER": "A required field / parameter is missing.",
    "ORDER_ALREADY_CAPTURED": "Order already captured.If 'intent=CAPTURE' only one capture per order is allowed.",
    "ORDER_NOT_APPROVED": "Payer has not yet approved the Order for payment. Please redirect the payer to the"
    " 'rel':'approve' url returned as part of the HATEOAS links within the Create Order call.",
    "PAYPAL_REQUEST_ID_REQUIRED": "A PayPal-Request-Id is required if you are trying to process payment for an Order."
    " Please specify a PayPal-Request-Id or Create the Order without a 'payment_source' specified.",
    "PENDING_CAPTURE": "Cannot initiate a refund as the capture is pending.",
    "PREVIOUS_REQUEST_IN_PROGRESS": "A previous request on this resource is currently in progress. Please wait for"
    " sometime and try again.",
    "REFUND_AMOUNT_EXCEEDED": "The refund amount must be less than or equal to the capture amount that has not yet"
    " been refunded.",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "Refund must be in the same currency as the capture",
    "REFUND_NOT_ALLOWED": "Capture cannot be refunded.",
    "REFUND_TIME_LIMIT_EXCEEDED": "You are over the time limit to perform a refund on this capture",
}


def debug_id() -> str:
    """Return a fresh `paypal-debug-id`: thirteen hexadecimal digits, as recorded."""
    return secrets.token_hex(7)[1:]


def answer_headers(debug: str) -> dict[str, str]:
    """Return what every answer of the API carries."""
    return {"paypal-debug-id": debug}


def status_of(issue: str) -> int:
    """Return the status that PayPal answers an issue with."""
    return _STATUSES.get(issue, 422)


def detail(issue: str, field: str | None = None, value: str = "", *, in_body: bool = True) -> dict[str, Any]:
    """Return one entry of `details`; `field` is a JSON pointer. There is a word for the body, and none for headers."""
    where = {} if field is None else {"field": field, "value": value}
    if where and in_body:
        where["location"] = "body"
    return {**where, "issue": issue, "description": _DESCRIPTIONS.get(issue, issue)}


def refused(status: int, details: list[dict[str, Any]], *, api: str = "orders", more: Any = ()) -> Refused:  # noqa: ANN401 - links
    """Return the refusal of a call, with `more` links after PayPal's own."""
    name, message = _NAMES[status]
    debug = debug_id()
    address = f"https://developer.paypal.com/docs/api/{api}/v2/#error-{details[0]['issue'] if details else name}"
    body: dict[str, Any] = {
        "name": name,
        "details": details,
        "message": message,
        "debug_id": debug,
        "links": [{"href": address, "rel": "information_link", "method": "GET"}, *more],
    }
    if not details:
        del body["details"]
    return Refused(status, body, answer_headers(debug))


def issue(name: str, *, api: str = "orders", more: Any = ()) -> Refused:  # noqa: ANN401 - links
    """Return the refusal with one issue that concerns no field."""
    return refused(status_of(name), [detail(name)], api=api, more=more)


def oauth_refused(status: int, error: str, description: str) -> Refused:
    """Return a refusal of the OAuth layer, whose shape is not the API's."""
    return Refused(status, {"error": error, "error_description": description}, answer_headers(debug_id()))
