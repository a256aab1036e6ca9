"""Reads the fake Stripe's requests: what a new session and a refund ask for, and what is wrong with them.

https://docs.stripe.com/api/checkout/sessions/create and https://docs.stripe.com/api/refunds/create.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .stripe_errors import invalid
from .stripe_money import is_known, is_too_small, step
from .stripe_params import integer, known, lacking, mapping, required, text

_URL: Final = re.compile(r"https?://[^\s/?#]+\S*\Z")
_SAID: Final = ("client_reference_id", "success_url", "cancel_url", "customer_email", "locale")
_LONGEST_REFERENCE: Final = 200  # documented
_MOST_ITEMS: Final = 100  # documented
_LARGEST: Final = 99_999_999  # documented: eight digits
_LIFE: Final = range(30 * 60, 24 * 3600 + 1)  # documented: 30 minutes to 24 hours
_SLACK: Final = 5  # seconds that a request may take on its way

_SESSION: Final = frozenset(
    {
        *("adaptive_pricing", "after_expiration", "allow_promotion_codes", "allowed_payment_method_types"),
        *("automatic_tax", "billing_address_collection", "branding_settings", "cancel_url", "client_reference_id"),
        *("consent_collection", "currency", "custom_fields", "custom_text", "customer", "customer_account"),
        *("customer_creation", "customer_email", "customer_update", "discounts", "excluded_payment_method_types"),
        *("expand", "expires_at", "invoice_creation", "line_items", "locale", "metadata", "mode"),
        *("name_collection", "optional_items", "origin_context", "payment_intent_data", "payment_method_collection"),
        *("payment_method_configuration", "payment_method_data", "payment_method_options", "payment_method_types"),
        *("permissions", "phone_number_collection", "redirect_on_completion", "return_url"),
        *("saved_payment_method_options", "setup_intent_data", "shipping_address_collection", "shipping_options"),
        *("submit_type", "subscription_data", "success_url", "tax_id_collection", "ui_mode", "wallet_options"),
    }
)
_NESTED: Final[Mapping[str, frozenset[str]]] = {
    "line_items": frozenset(
        {"adjustable_quantity", "dynamic_tax_rates", "metadata", "price", "price_data", "quantity", "tax_rates"}
    ),
    "price_data": frozenset(
        {"currency", "product", "product_data", "recurring", "tax_behavior", "unit_amount", "unit_amount_decimal"}
    ),
    "product_data": frozenset({"description", "images", "metadata", "name", "tax_code", "unit_label"}),
    "payment_intent_data": frozenset(
        {
            *("application_fee_amount", "capture_method", "description", "metadata", "on_behalf_of", "receipt_email"),
            *("setup_future_usage", "shipping", "statement_descriptor", "statement_descriptor_suffix"),
            *("transfer_data", "transfer_group"),
        }
    ),
}
_REFUND: Final = frozenset(
    {
        *("amount", "charge", "currency", "customer", "expand", "instructions_email", "metadata", "origin"),
        *("payment_intent", "reason", "refund_application_fee", "reverse_transfer"),
    }
)
_LOCALES: Final = (
    "auto bg cs da de el en en-GB es es-419 et fi fil fr fr-CA hr hu id it ja ko lt lv ms mt nb nl pl pt pt-BR ro ru "
    "sk sl sv th tr vi zh zh-HK zh-TW"
)
_REASONS: Final = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
_ENDIVE: Final = "2026-09-30"  # the version that refuses payment_method_types


class SessionRequest(NamedTuple):
    """What a merchant asks for with a new session. `line` is its first item, which says what is sold."""

    amount: int
    currency: str
    line: dict[str, Any]
    expires_at: int | None
    metadata: dict[str, str]
    payment_metadata: dict[str, str]
    said: dict[str, Any]


class RefundRequest(NamedTuple):
    """What a merchant asks for with a refund; without an amount, all that is left."""

    payment_intent: str | None
    charge: str | None
    amount: int | None
    reason: str | None
    metadata: dict[str, str]


def read_session(form: dict[str, Any], now: float, version: str) -> SessionRequest:
    """Read the body of a new session.

    Raises:
        Rejected: a parameter that is unknown, missing or wrong; nothing was executed.
    """
    known(form, _SESSION)
    if "payment_method_types" in form and version >= _ENDIVE:
        raise invalid(
            "Passing payment_method_types is no longer supported. Manage payment methods from your Dashboard.",
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        )
    if required(form, "mode") != "payment":
        raise invalid("Invalid mode: the sandbox plays payment only.", None, "mode")
    lines, amount = _lines(form)
    data = mapping(form, "payment_intent_data", _NESTED["payment_intent_data"])
    _check_page(form)
    text(form, "client_reference_id", longest=_LONGEST_REFERENCE)
    said: dict[str, Any] = {name: value for name in _SAID if (value := text(form, name)) is not None}
    if (description := text(data, "description", "payment_intent_data")) is not None:
        said["description"] = description
    return SessionRequest(
        amount,
        lines[0]["currency"],
        lines[0],
        _expiry(form, now),
        _metadata(form, "metadata"),
        _metadata(data, "payment_intent_data[metadata]"),
        said,
    )


def read_refund(form: dict[str, Any]) -> RefundRequest:
    """Read the body of a refund.

    Raises:
        Rejected: as above.
    """
    known(form, _REFUND)
    payment, charge, reason = text(form, "payment_intent"), text(form, "charge"), text(form, "reason")
    if not payment and not charge:
        raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
    if reason is not None and reason not in _REASONS:
        raise invalid(f"Invalid reason: must be one of {', '.join(sorted(_REASONS))}", None, "reason")
    amount = integer(form["amount"], "amount") if "amount" in form else None
    if amount is not None and amount < 1:
        raise invalid("Invalid positive integer", "parameter_invalid_integer", "amount")
    return RefundRequest(payment, charge, amount, reason, _metadata(form, "metadata"))


def _lines(form: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Read what is sold, and what it costs in all: in one currency, and worth what Stripe takes."""
    items = form.get("line_items")
    if not isinstance(items, list) or not items:
        raise lacking("line_items")
    if len(items) > _MOST_ITEMS:
        raise invalid(f"Invalid array: at most {_MOST_ITEMS} items", None, "line_items")
    lines = [_line(item, f"line_items[{number}]") for number, item in enumerate(items)]
    currency = lines[0]["currency"]
    if any(line["currency"] != currency for line in lines):
        raise invalid("All prices must have the same currency.", None, "line_items")
    amount = sum(line["unit_amount"] * line["quantity"] for line in lines)
    if amount > _LARGEST:
        raise invalid("Amount must be no more than 999999.99", "amount_too_large")
    if is_too_small(amount, currency):
        raise invalid("The Checkout Session's total amount due must add up to at least $0.50 usd", "amount_too_small")
    return lines, amount


def _line(item: Any, param: str) -> dict[str, Any]:  # noqa: ANN401 - text, or what is nested
    if not isinstance(item, dict):
        raise invalid("Invalid object", None, param)
    known(item, _NESTED["line_items"], param)
    if "price" in item:
        raise invalid(f"No such price: '{item['price']}'", "resource_missing", f"{param}[price]")
    price = mapping(item, "price_data", _NESTED["price_data"], param)
    if not price:
        raise lacking(f"{param}[price_data]")
    inside = f"{param}[price_data]"
    required(price, "currency", inside)
    currency = (text(price, "currency", inside) or "").lower()
    if not is_known(currency):
        raise invalid(f"Invalid currency: {currency}", None, f"{inside}[currency]")
    unit_amount = integer(required(price, "unit_amount", inside), f"{inside}[unit_amount]")
    if unit_amount < 0 or unit_amount % step(currency):
        raise invalid("Invalid amount for this currency", "parameter_invalid_integer", f"{inside}[unit_amount]")
    product = mapping(price, "product_data", _NESTED["product_data"], inside)
    quantity = integer(required(item, "quantity", param), f"{param}[quantity]")
    if quantity < 1:
        raise invalid("Invalid positive integer", "parameter_invalid_integer", f"{param}[quantity]")
    required(product, "name", f"{inside}[product_data]")
    return {
        "currency": currency,
        "unit_amount": unit_amount,
        "quantity": quantity,
        "name": text(product, "name", f"{inside}[product_data]"),
    }


def _check_page(form: Mapping[str, Any]) -> None:
    """Check where the payer comes back to, and the language of the page."""
    required(form, "success_url")
    for name in ("success_url", "cancel_url"):
        url = text(form, name)
        if url is not None and not _URL.match(url):
            raise invalid(f"Not a valid URL: {url}", "url_invalid", name)
    if (text(form, "locale") or "auto") not in _LOCALES.split():
        raise invalid(f"Invalid locale: must be one of {_LOCALES}", None, "locale")


def _expiry(form: Mapping[str, Any], now: float) -> int | None:
    if "expires_at" not in form:
        return None
    expires_at = integer(form["expires_at"], "expires_at")
    if not _LIFE.start - _SLACK <= expires_at - now <= _LIFE.stop + _SLACK:
        raise invalid(
            "The `expires_at` timestamp must be 30 minutes to 24 hours after the creation of the Checkout Session.",
            None,
            "expires_at",
        )
    return expires_at


def _metadata(holder: Mapping[str, Any], param: str) -> dict[str, str]:
    value = holder.get("metadata") or {}
    # A list is what names of digits make of it; Stripe's metadata has names.
    if isinstance(value, list):
        value = {str(number): one for number, one in enumerate(value)}
    if not isinstance(value, dict) or any(not isinstance(one, str) for one in value.values()):
        raise invalid("Metadata values must be strings.", None, param)
    too_long = any(len(name) > 40 or len(one) > 500 for name, one in value.items())  # noqa: PLR2004 - documented
    if too_long or len(value) > 50:  # noqa: PLR2004 - documented
        raise invalid("Metadata has at most 50 keys of 40 characters and values of 500.", None, param)
    return value
