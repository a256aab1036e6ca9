"""What PayPal's refusals mean to us. Decided on `details[].issue`, never on its texts, which differ from its own files.

https://developer.paypal.com/api/rest/reference/orders/v2/errors/ and
https://developer.paypal.com/api/rest/reference/payments/v2/errors/ list them by operation.
"""

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from qirsh.draft import DeclineCode

_WORD: Final = re.compile(r"[A-Z0-9_]{1,64}\Z")

GONE: Final = frozenset({"INVALID_RESOURCE_ID", "RESOURCE_NOT_FOUND"})
"""A 404 that speaks of the resource. Any other 404 may come from something in between and proves nothing."""


class CaptureAnswer(Enum):
    """What a refused capture leads to, where it does not end the order."""

    NOT_YET = "not_yet"
    """The payer has not approved: nothing happened."""
    ASK = "ask"
    """The order says how it stands: get it and read the result."""
    ANOTHER_WAY = "another_way"
    """This way of paying was refused; the payer may choose another on the page that comes along. Without one: dead."""
    BACK_TO_PAYPAL = "back_to_paypal"
    """The payer has something left to do at PayPal; the order lives."""


REASONS: Final[Mapping[str, DeclineCode]] = MappingProxyType(
    {
        "INSTRUMENT_DECLINED": DeclineCode.CARD_DECLINED,
        "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": DeclineCode.CARD_DECLINED,
        "PAYER_ACTION_REQUIRED": DeclineCode.AUTHENTICATION_FAILED,
        "TRANSACTION_REFUSED": DeclineCode.CARD_DECLINED,
        "PAYER_CANNOT_PAY": DeclineCode.CARD_DECLINED,
        "PAYER_ACCOUNT_LOCKED_OR_CLOSED": DeclineCode.CARD_DECLINED,
        "PAYER_ACCOUNT_RESTRICTED": DeclineCode.CARD_DECLINED,
        "PAYMENT_SOURCE_DECLINED_BY_PROCESSOR": DeclineCode.CARD_DECLINED,
        "PAYMENT_SOURCE_CANNOT_BE_USED": DeclineCode.CARD_DECLINED,
        "CARD_EXPIRED": DeclineCode.EXPIRED_CARD,
        "REFERENCED_CARD_EXPIRED": DeclineCode.EXPIRED_CARD,
        "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": DeclineCode.LIMIT_EXCEEDED,
        "TRANSACTION_LIMIT_EXCEEDED": DeclineCode.LIMIT_EXCEEDED,
        "TRANSACTION_RECEIVING_LIMIT_EXCEEDED": DeclineCode.LIMIT_EXCEEDED,
        "MAX_VALUE_EXCEEDED": DeclineCode.LIMIT_EXCEEDED,
        "PAYEE_BLOCKED_TRANSACTION": DeclineCode.FRAUD_SUSPECTED,
        "TRANSACTION_BLOCKED_BY_PAYEE": DeclineCode.FRAUD_SUSPECTED,
    }
)
"""The refusals that are about the payer or the payment. What is about the request or the account is no word for a
payer: those are `processing_error`."""

CAPTURE_LIVES: Final[Mapping[str, CaptureAnswer]] = MappingProxyType(
    {
        "ORDER_NOT_APPROVED": CaptureAnswer.NOT_YET,
        "ORDER_ALREADY_CAPTURED": CaptureAnswer.ASK,
        "ORDER_COMPLETION_IN_PROGRESS": CaptureAnswer.ASK,
        "INSTRUMENT_DECLINED": CaptureAnswer.ANOTHER_WAY,
        "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": CaptureAnswer.ANOTHER_WAY,
        "PAYER_ACTION_REQUIRED": CaptureAnswer.BACK_TO_PAYPAL,
    }
)

CAPTURE_ENDS: Final = frozenset(
    {
        # About the payer or the payment.
        *("TRANSACTION_REFUSED", "PAYER_CANNOT_PAY", "PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED"),
        *("MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED", "TRANSACTION_LIMIT_EXCEEDED", "DECLINED_DUE_TO_RELATED_TXN"),
        *("TRANSACTION_RECEIVING_LIMIT_EXCEEDED", "PAYEE_BLOCKED_TRANSACTION", "TRANSACTION_BLOCKED_BY_PAYEE"),
        # About the merchant's account: no try of this order can succeed.
        *("COMPLIANCE_VIOLATION", "DOMESTIC_TRANSACTION_REQUIRED", "DUPLICATE_INVOICE_ID", "AUTH_CAPTURE_NOT_ENABLED"),
        *("PAYEE_ACCOUNT_INVALID", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED", "PAYEE_ACCOUNT_RESTRICTED"),
    }
)
"""Refusals of a capture after which the order is dead."""

CAPTURE_NEVER_ASKED: Final = frozenset(
    {
        # Cards, tokens, vaults and merchant-initiated payments.
        *("CARD_BRAND_NOT_SUPPORTED", "CARD_NUMBER_REQUIRED", "CARD_EXPIRY_REQUIRED", "REFERENCED_CARD_EXPIRED"),
        *("MISSING_PREVIOUS_REFERENCE", "MISSING_CRYPTOGRAM", "TOKEN_ID_NOT_FOUND", "APPLE_PAY_AMOUNT_MISMATCH"),
        *("INVALID_SECURITY_CODE_LENGTH", "VAULT_INSTRUCTION_REQUIRED", "MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE"),
        *("RETURN_URL_REQUIRED", "CANCEL_URL_REQUIRED", "REQUIRED_PARAMETER_FOR_CUSTOMER_INITIATED_PAYMENT"),
        *("MERCHANT_INITIATED_WITH_SECURITY_CODE", "MERCHANT_INITIATED_WITH_AUTHENTICATION_RESULTS"),
        *("MERCHANT_INITIATED_WITH_MULTIPLE_PURCHASE_UNITS", "INVALID_PREVIOUS_TRANSACTION_REFERENCE"),
        *("PREVIOUS_TRANSACTION_REFERENCE_HAS_CHARGEBACK", "PREVIOUS_TRANSACTION_REFERENCE_VOIDED"),
        *("PAYMENT_SOURCE_MISMATCH", "NOT_ENABLED_FOR_CARD_PROCESSING", "PAYEE_NOT_ENABLED_FOR_CARD_PROCESSING"),
        # Billing agreements, older references, other payment sources.
        *("AGREEMENT_ALREADY_CANCELLED", "BILLING_AGREEMENT_NOT_FOUND", "BILLING_AGREEMENT_ID_MISMATCH"),
        *("PAYPAL_TRANSACTION_ID_EXPIRED", "PAYPAL_TRANSACTION_ID_NOT_FOUND", "PNREF_EXPIRED", "PNREF_NOT_FOUND"),
        *("NOT_ELIGIBLE_FOR_PNREF_PROCESSING", "NOT_ELIGIBLE_FOR_PAYPAL_TRANSACTION_ID_PROCESSING"),
        *("PREFERRED_PAYMENT_SOURCE_MISMATCH", "PAYMENT_SOURCE_NOT_SUPPORTED", "IDENTIFIER_NOT_FOUND"),
        # Banks.
        *("NOT_ENABLED_FOR_BANK_PROCESSING", "PAYEE_NOT_ENABLED_FOR_BANK_PROCESSING", "SETUP_ERROR_FOR_BANK"),
        *("BANK_NOT_SUPPORTED_FOR_VERIFICATION", "CURRENCY_NOT_SUPPORTED_FOR_BANK", "ONLY_ONE_BANK_SOURCE_ALLOWED"),
        *("INVALID_IBAN", "IBAN_COUNTRY_NOT_SUPPORTED"),
        # Shipping, fees, exchange rates, and parameters: our capture has no body.
        *("INVALID_PICKUP_ADDRESS", "SHIPPING_ADDRESS_INVALID", "PLATFORM_FEE_PAYEE_CANNOT_BE_SAME_AS_PAYER"),
        *("PAYEE_FX_RATE_ID_EXPIRED", "INCOMPATIBLE_PARAMETER_VALUE"),
    }
)
"""Refusals about what our captures never contain. Should one come all the same, it is looked into and not believed."""


_ANOTHER_WAY: Final = "give the money back another way, and note it in the shop's books."
_LOCKED: Final = "PayPal has restricted the merchant's account: ask PayPal's support, then refund again."

REFUND_ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CAPTURE_FULLY_REFUNDED": "PayPal has given all of this payment back already: reconcile the draft.",
        "REFUND_AMOUNT_EXCEEDED": "PayPal has less than that left: reconcile the draft, then refund what is left.",
        "REFUND_AMOUNT_TOO_LOW": "The amount comes to nothing in the currency that PayPal settled in: refund more.",
        "REFUND_FAILED_INSUFFICIENT_FUNDS": "The PayPal account has too little money: fund it, then refund again.",
        "PARTIAL_REFUND_NOT_ALLOWED": "PayPal gives this payment back as a whole only: refund all of it.",
        "PENDING_CAPTURE": "PayPal still reviews this payment: refund it when the review has ended.",
        "TRANSACTION_DISPUTED": (
            "The payer has opened a case: settle it in PayPal's Resolution Center, or refund all that is left."
        ),
        "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": (
            "The payer's bank is taking this payment back: answer the chargeback in PayPal's Resolution Center."
        ),
        "REFUND_TIME_LIMIT_EXCEEDED": f"PayPal's time for refunds of this payment is over: {_ANOTHER_WAY}",
        "MAX_NUMBER_OF_REFUNDS_EXCEEDED": f"PayPal takes no further refund of this payment: {_ANOTHER_WAY}",
        "REFUND_NOT_ALLOWED": f"PayPal does not let this payment be refunded: {_ANOTHER_WAY}",
        "PAYER_ACCOUNT_LOCKED_OR_CLOSED": f"The payer's PayPal account is locked or closed: {_ANOTHER_WAY}",
        "PAYEE_ACCOUNT_LOCKED_OR_CLOSED": _LOCKED,
        "PAYEE_ACCOUNT_RESTRICTED": _LOCKED,
        "REFUND_IS_RESTRICTED": (
            "Only the application that took this payment may refund it: refund it there, or restore its credentials."
        ),
        "INVALID_RESOURCE_ID": "PayPal knows no such payment: check that paypal.client_id is the one that took it.",
    }
)
"""What the operator does about a refund that PayPal refused."""

REFUND_NEVER_ASKED: Final = frozenset(
    {
        # Amounts and currencies: ours are the payment's, in PayPal's own decimals.
        *("CANNOT_BE_ZERO_OR_NEGATIVE", "CANNOT_BE_NEGATIVE", "DECIMAL_PRECISION", "DECIMALS_NOT_SUPPORTED"),
        *("INVALID_CURRENCY_CODE", "CURRENCY_MISMATCH", "REFUND_CAPTURE_CURRENCY_MISMATCH"),
        # Invoice ids and platforms' fees, which we do not send.
        *("DUPLICATE_INVOICE_ID", "PLATFORM_FEE_EXCEEDED", "PLATFORM_FEE_NOT_ENABLED"),
    }
)
"""Refusals about what our refunds never contain. A refusal all the same: nothing went back."""


def refund_advice(issue: str | None) -> str:
    """What happened to a refused refund and what to do, in a sentence for the operator."""
    unknown = f"PayPal refused the refund ({issue}): look at the payment in PayPal's dashboard, and refund it there."
    return REFUND_ADVICE.get(issue or "", unknown)


def issue_of(body: object) -> str | None:
    """The issue that an error names, else the error's own name; None where it names neither.

    Wrong credentials are answered in OAuth's form, `{"error", "error_description"}`.
    """
    if not isinstance(body, dict):
        return None
    details = body.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and (word := _word(detail.get("issue"))):
            return word
    return _word(body.get("name"))


def reason_of(issue: str | None) -> DeclineCode:
    """A refusal in the words for payers."""
    return DeclineCode.UNKNOWN if issue is None else REASONS.get(issue, DeclineCode.PROCESSING_ERROR)


def _word(text: object) -> str | None:
    return text if isinstance(text, str) and _WORD.match(text) else None
