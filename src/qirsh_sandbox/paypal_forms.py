"""Reads PayPal's request bodies: what breaks the schema is one 400, what breaks a rule of business one 422."""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from .paypal_issues import detail, refused
from .paypal_money import BadAmount, parse
from .paypal_records import Unit

_VALUE: Final = re.compile(r"((-?[0-9]+)|(-?([0-9]+)?[.][0-9]+))")
_LOCALE: Final = re.compile(r"[a-z]{2}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?")
_URL: Final = re.compile(r"https?://[^\s/?#]+\S*")
_MAX_UNITS: Final = 10
_MAX_TEXT: Final = 127
_ADDED: Final = ("item_total", "tax_total", "shipping", "handling", "insurance")
_TAKEN_OFF: Final = ("shipping_discount", "discount")
_OTHERWISE: Final = {  # each API lists issues of its own, and each lacks one that the other has
    ("orders", "DECIMALS_NOT_SUPPORTED"): "DECIMAL_PRECISION",
    ("payments", "MAX_VALUE_EXCEEDED"): "REFUND_AMOUNT_EXCEEDED",
}
_ENUMS: Final = {
    "shipping_preference": {"GET_FROM_FILE", "NO_SHIPPING", "SET_PROVIDED_ADDRESS"},
    "landing_page": {"LOGIN", "GUEST_CHECKOUT", "BILLING", "NO_PREFERENCE"},
    "user_action": {"CONTINUE", "PAY_NOW"},
    "payment_method_preference": {"UNRESTRICTED", "IMMEDIATE_PAYMENT_REQUIRED"},
}


class OrderRequest(NamedTuple):
    """What a merchant asks for with a new order."""

    intent: str
    units: list[Unit]
    wallet_form: bool
    return_url: str | None
    cancel_url: str | None
    ships: bool


class RefundRequest(NamedTuple):
    """What a merchant asks for with a refund; without an amount, all that is left."""

    currency: str | None
    amount_minor: int | None
    custom_id: str | None
    invoice_id: str | None
    note_to_payer: str | None


class _Form:
    """One body. Read the fields, then `check`."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._schema: list[dict[str, Any]] = []
        self._business: list[dict[str, Any]] = []

    def wrong(self, issue: str, field: str, value: object = "") -> None:
        """Note a field that breaks the schema."""
        self._schema.append(detail(issue, field, f"{value}"))

    def unwanted(self, issue: str, field: str, value: object = "") -> None:
        """Note a field that breaks a rule of business."""
        self._business.append(detail(issue, field, f"{value}"))

    def check(self) -> None:
        """Refuse the body when a field was bad.

        Raises:
            Refused: 400 with all that breaks the schema, else 422 with all that breaks a rule.
        """
        if self._schema:
            raise refused(400, self._schema, api=self._api)
        if self._business:
            raise refused(422, self._business, api=self._api)

    def text(
        self,
        holder: dict[str, Any],
        pointer: str,
        name: str,
        *,
        shortest: int = 1,
        longest: int = _MAX_TEXT,
        required: bool = False,
        fits: Callable[[str], object] | None = None,
    ) -> str | None:
        """Read a string; None when it is absent or bad."""
        value, field = holder.get(name), f"{pointer}/{name}"
        if value is None or (required and value == ""):
            if required:
                self.wrong("MISSING_REQUIRED_PARAMETER", field)
            return None
        if not isinstance(value, str):
            self.wrong("INVALID_PARAMETER_SYNTAX", field, value)
        elif not shortest <= len(value) <= longest:
            self.wrong("INVALID_STRING_LENGTH", field, value)
        elif fits is not None and not fits(value):
            self.wrong("INVALID_PARAMETER_SYNTAX", field, value)
        else:
            return value
        return None

    def choice(self, holder: dict[str, Any], pointer: str, name: str, choices: set[str]) -> None:
        """Check that a string, when there is one, is one of these."""
        value = self.text(holder, pointer, name, longest=255)
        if value is not None and value not in choices:
            self.wrong("INVALID_PARAMETER_VALUE", f"{pointer}/{name}", value)

    def mapping(self, holder: dict[str, Any], pointer: str, name: str, *, required: bool = False) -> dict[str, Any]:
        """Read an object; an empty one when it is absent or bad."""
        value = holder.get(name)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.wrong("INVALID_PARAMETER_SYNTAX", f"{pointer}/{name}", value)
        elif required:
            self.wrong("MISSING_REQUIRED_PARAMETER", f"{pointer}/{name}")
        return {}

    def amount(self, holder: dict[str, Any], pointer: str) -> tuple[int, str]:
        """Read an amount: its minor units and currency. A bad one is zero."""
        value = self.text(holder, pointer, "value", longest=32, required=True, fits=_VALUE.fullmatch)
        currency = self.text(holder, pointer, "currency_code", shortest=3, longest=3, required=True)
        if value is None or currency is None:
            return 0, currency or ""
        try:
            return parse(value, currency), currency
        except BadAmount as bad:
            field = "currency_code" if bad.issue == "INVALID_CURRENCY_CODE" else "value"
            issue = _OTHERWISE.get((self._api, bad.issue), bad.issue)
            self.unwanted(issue, f"{pointer}/{field}", currency if field == "currency_code" else value)
            return 0, currency

    def payable(self, holder: dict[str, Any], pointer: str) -> tuple[int, str]:
        """Read an amount that must be more than nothing."""
        before = len(self._schema) + len(self._business)
        minor, currency = self.amount(holder, pointer)
        if minor <= 0 and len(self._schema) + len(self._business) == before:
            self.unwanted("CANNOT_BE_ZERO_OR_NEGATIVE", f"{pointer}/value", holder.get("value"))
        return minor, currency


async def read_body(request: web.Request, *, api: str) -> dict[str, Any]:
    """Read a JSON object; no bytes at all count as an empty one, which is what PayPal's SDKs send.

    Raises:
        Refused: another media type, no JSON, or no object.
    """
    if request.content_type != "application/json":
        raise refused(415, [], api=api)
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Payments lists no such issue as Orders has.
        name = "MALFORMED_REQUEST_JSON" if api == "orders" else "INVALID_PARAMETER_SYNTAX"
        raise refused(400, [detail(name, "/")], api=api) from None


def read_order(body: dict[str, Any], *, has_request_id: bool) -> OrderRequest:
    """Read a new order.

    Raises:
        Refused: with every field that PayPal would not take.
    """
    form = _Form("orders")
    intent = form.text(body, "", "intent", longest=255, required=True)
    if intent is not None and intent not in {"CAPTURE", "AUTHORIZE"}:
        form.wrong("INVALID_PARAMETER_VALUE", "/intent", intent)
    wallet_form = body.get("payment_source") is not None
    if wallet_form and not has_request_id:
        form.wrong("PAYPAL_REQUEST_ID_REQUIRED", "/PayPal-Request-Id")
    context, pointer = _context(form, body, wallet_form=wallet_form)
    for name, choices in _ENUMS.items():
        form.choice(context, pointer, name, choices)
    form.text(context, pointer, "brand_name")
    form.text(context, pointer, "locale", longest=10, fits=_LOCALE.fullmatch)
    request = OrderRequest(
        intent=intent or "",
        units=_units(form, body.get("purchase_units")),
        wallet_form=wallet_form,
        return_url=form.text(context, pointer, "return_url", longest=4000, fits=_URL.fullmatch),
        cancel_url=form.text(context, pointer, "cancel_url", longest=4000, fits=_URL.fullmatch),
        ships=context.get("shipping_preference") != "NO_SHIPPING",
    )
    form.check()
    return request


def read_refund(body: dict[str, Any]) -> RefundRequest:
    """Read a refund.

    Raises:
        Refused: with every field that PayPal would not take.
    """
    form = _Form("payments")
    minor, currency = None, None
    if body.get("amount") is not None:
        minor, currency = form.payable(form.mapping(body, "", "amount"), "/amount")
    request = RefundRequest(
        currency=currency,
        amount_minor=minor,
        custom_id=form.text(body, "", "custom_id"),
        invoice_id=form.text(body, "", "invoice_id"),
        note_to_payer=form.text(body, "", "note_to_payer", longest=255),
    )
    form.check()
    return request


def _context(form: _Form, body: dict[str, Any], *, wallet_form: bool) -> tuple[dict[str, Any], str]:
    """Return where the addresses and wishes stand: in the wallet's block, or in that of the old form."""
    if not wallet_form:
        return form.mapping(body, "", "application_context"), "/application_context"
    source = form.mapping(body, "", "payment_source")
    if not source:
        form.unwanted("NO_PAYMENT_SOURCE_PROVIDED", "/payment_source")
    elif "paypal" not in source:
        form.unwanted("PAYMENT_SOURCE_CANNOT_BE_USED", "/payment_source", next(iter(source)))
    wallet = form.mapping(source, "/payment_source", "paypal")
    pointer = "/payment_source/paypal"
    return form.mapping(wallet, pointer, "experience_context"), f"{pointer}/experience_context"


def _units(form: _Form, given: object) -> list[Unit]:
    if given is None:
        form.wrong("MISSING_REQUIRED_PARAMETER", "/purchase_units")
        return []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        form.wrong("INVALID_PARAMETER_SYNTAX", "/purchase_units")
        return []
    if not 1 <= len(given) <= _MAX_UNITS:
        form.wrong("INVALID_ARRAY_MAX_ITEMS" if given else "INVALID_ARRAY_MIN_ITEMS", "/purchase_units")
        return []
    units = [_unit(form, each, f"/purchase_units/{number}") for number, each in enumerate(given)]
    if len(units) > 1 and not all(each.get("reference_id") for each in given):
        form.unwanted("REFERENCE_ID_REQUIRED", "/purchase_units")
    elif len({unit.reference_id for unit in units}) < len(units):
        form.unwanted("DUPLICATE_REFERENCE_ID", "/purchase_units")
    if len({unit.currency for unit in units}) > 1:
        form.unwanted("MULTI_CURRENCY_ORDER", "/purchase_units")
    return units


def _unit(form: _Form, given: dict[str, Any], pointer: str) -> Unit:
    reference_id = form.text(given, pointer, "reference_id", longest=256) or "default"
    for name, longest in (("custom_id", 127), ("invoice_id", 127), ("description", 127), ("soft_descriptor", 22)):
        form.text(given, pointer, name, longest=longest)
    amount = form.mapping(given, pointer, "amount", required=True)
    minor, currency = form.payable(amount, f"{pointer}/amount") if "amount" in given else (0, "")
    breakdown = form.mapping(amount, f"{pointer}/amount", "breakdown")
    total = 0
    for name in (*_ADDED, *_TAKEN_OFF):
        if name in breakdown:
            where = f"{pointer}/amount/breakdown"
            part, _ = form.amount(form.mapping(breakdown, where, name), f"{where}/{name}")
            total += part if name in _ADDED else -part
    if breakdown and total != minor:
        form.unwanted("AMOUNT_MISMATCH", f"{pointer}/amount/value", amount.get("value"))
    said = {name: value for name, value in given.items() if name not in {"amount", "reference_id", "payee"}}
    return Unit(
        reference_id=reference_id, amount_minor=minor, currency=currency, breakdown=breakdown or None, said=said
    )
