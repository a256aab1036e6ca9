"""What Stripe's refusals mean. Decided on types and codes, never on messages.

https://docs.stripe.com/api/errors, https://docs.stripe.com/error-codes and https://docs.stripe.com/declines/codes.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec

from qirsh.draft import DeclineCode
from qirsh.errors import GatewayError, GatewayOutcomeUnknown, GatewayRejected, GatewayUnavailable
from qirsh.gateways.http import Effect

_WORD: Final = re.compile(r"[a-z0-9_]{1,64}\Z")

REASONS: Final[Mapping[str, DeclineCode]] = MappingProxyType(
    {
        "insufficient_funds": DeclineCode.INSUFFICIENT_FUNDS,
        "card_declined": DeclineCode.CARD_DECLINED,
        "generic_decline": DeclineCode.CARD_DECLINED,
        "do_not_honor": DeclineCode.CARD_DECLINED,
        "transaction_not_allowed": DeclineCode.CARD_DECLINED,
        "card_not_supported": DeclineCode.CARD_DECLINED,
        "currency_not_supported": DeclineCode.CARD_DECLINED,
        "incorrect_cvc": DeclineCode.CARD_DECLINED,
        "invalid_cvc": DeclineCode.CARD_DECLINED,
        "incorrect_number": DeclineCode.CARD_DECLINED,
        "invalid_number": DeclineCode.CARD_DECLINED,
        "invalid_account": DeclineCode.CARD_DECLINED,
        # Stripe asks that a payer be told nothing more of these: who holds a stolen card would learn that it is known.
        "fraudulent": DeclineCode.CARD_DECLINED,
        "lost_card": DeclineCode.CARD_DECLINED,
        "stolen_card": DeclineCode.CARD_DECLINED,
        "pickup_card": DeclineCode.CARD_DECLINED,
        "merchant_blacklist": DeclineCode.CARD_DECLINED,
        "expired_card": DeclineCode.EXPIRED_CARD,
        "invalid_expiry_month": DeclineCode.EXPIRED_CARD,
        "invalid_expiry_year": DeclineCode.EXPIRED_CARD,
        "authentication_required": DeclineCode.AUTHENTICATION_FAILED,
        "authentication_not_handled": DeclineCode.AUTHENTICATION_FAILED,
        "payment_intent_authentication_failure": DeclineCode.AUTHENTICATION_FAILED,
        "incorrect_pin": DeclineCode.WRONG_PIN,
        "invalid_pin": DeclineCode.WRONG_PIN,
        "pin_try_exceeded": DeclineCode.LIMIT_EXCEEDED,
        "card_velocity_exceeded": DeclineCode.LIMIT_EXCEEDED,
        "withdrawal_count_limit_exceeded": DeclineCode.LIMIT_EXCEEDED,
        "amount_too_large": DeclineCode.LIMIT_EXCEEDED,
        "payment_intent_payment_attempt_expired": DeclineCode.EXPIRED,
        "payment_method_provider_timeout": DeclineCode.EXPIRED,
        "processing_error": DeclineCode.PROCESSING_ERROR,
        "issuer_not_available": DeclineCode.PROCESSING_ERROR,
        "try_again_later": DeclineCode.PROCESSING_ERROR,
    }
)
"""Stripe's words about a payer or a payment, its decline codes among them. What is about the request or the account is
no word for a payer: those are `processing_error`."""

_SENTENCES: Final = MappingProxyType(
    {
        "amount_too_small": "Stripe does not take so small an amount: offer another payment method.",
        "amount_too_large": "Stripe does not take so large an amount: offer another payment method.",
        "charge_already_refunded": "Stripe has given all of this payment back already.",
    }
)


class StripeError(msgspec.Struct):
    """The `error` of an answer, or a payment's `last_payment_error`."""

    type: str | None = None
    code: str | None = None
    decline_code: str | None = None

    @property
    def word(self) -> str | None:
        """The narrowest of Stripe's own words for it."""
        words = (self.decline_code, self.code, self.type)
        return next((word for word in words if word is not None and _WORD.match(word)), None)

    @property
    def reason(self) -> DeclineCode:
        """The refusal in the words for payers: the narrowest that we know."""
        for word in (self.decline_code, self.code):
            if word is not None and word in REASONS:
                return REASONS[word]
        if self.word is None:
            return DeclineCode.UNKNOWN
        return DeclineCode.CARD_DECLINED if self.type == "card_error" else DeclineCode.PROCESSING_ERROR


class _Body(msgspec.Struct):
    error: StripeError


def explained(error: GatewayRejected, effect: Effect) -> GatewayError:
    """A refusal with Stripe's own code for the record and ours for the payer; or what is no refusal though it is a 4xx.

    https://docs.stripe.com/api/errors: 424 is something that Stripe depends on, and `rate_limit` comes as a 400 too.
    `idempotency_error` says that our key was used with other parameters: that request may have made something.
    """
    said = _read(error)
    status = error.answer.status if error.answer else None
    if said.code == "rate_limit":
        return _with_answer(GatewayUnavailable("Stripe asks us to slow down: try again with the same key."), error)
    if status == HTTPStatus.FAILED_DEPENDENCY or said.type == "idempotency_error":
        sentence = "Stripe was asked and did not say what became of it."
        unknown = GatewayUnavailable(sentence) if effect is Effect.READS else GatewayOutcomeUnknown(sentence)
        return _with_answer(unknown, error)
    sentence = _SENTENCES.get(said.code or "", error.detail)
    return _with_answer(
        GatewayRejected(sentence, reason=said.reason, psp_code=said.word or error.psp_code),
        error,
    )


def is_gone(error: GatewayRejected) -> bool:
    """Whether Stripe says that it has nothing of this id: `resource_missing`. Any other 404 proves nothing."""
    return error.psp_code == "resource_missing"


def is_kept(error: GatewayOutcomeUnknown) -> bool:
    """Whether Stripe goes on answering so under this key: a 5xx of its own, or a use with other parameters.

    https://docs.stripe.com/api/idempotent_requests: the first answer is kept, a 500 included. A request that is still
    running (409), one that got no answer, and what something in between answered are not among them.
    """
    status, said = (error.answer.status if error.answer else 0), _read(error)
    other_parameters = status == HTTPStatus.BAD_REQUEST and said.type == "idempotency_error"
    return other_parameters or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and said.type is not None)


def _read(error: GatewayError) -> StripeError:
    try:
        return msgspec.convert(error.answer.body if error.answer else None, _Body).error
    except msgspec.ValidationError:
        return StripeError()


def _with_answer(error: GatewayError, source: GatewayError) -> GatewayError:
    error.answer = source.answer
    return error
