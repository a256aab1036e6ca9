"""The twenty checks, in the order in which a gateway is best built."""

from functools import wraps
from typing import Final

from qirsh.conformance.bench import Bench
from qirsh.conformance.delivering import (
    event_ids_are_stable_and_distinct,
    forged_delivery_is_refused,
    golden_delivery_is_read,
    unknown_event_says_nothing,
)
from qirsh.conformance.disturbing import (
    answers_map_as_the_error_tree_says,
    refused_connection_is_unavailable,
    silence_after_sending_is_outcome_unknown,
    slow_psp_is_cut_at_the_deadline,
)
from qirsh.conformance.refunding import refund_amounts_are_cumulative, refund_happens_once
from qirsh.conformance.registering import (
    registration_carries_our_draft_id,
    registration_is_one_action,
    registration_repeats_itself,
    registration_sends_the_exact_money,
)
from qirsh.conformance.separating import instances_share_nothing, secrets_stay_secret, wrong_environment_is_refused
from qirsh.conformance.telling import (
    lookup_tells_what_webhooks_told,
    retriable_decline_is_not_failed,
    standings_are_told_apart,
)
from qirsh.conformance.verdicts import Check, NotApplicable
from qirsh.errors import PaymentError

_IN_ORDER: Final[tuple[Check, ...]] = (
    registration_is_one_action,
    registration_sends_the_exact_money,
    registration_carries_our_draft_id,
    registration_repeats_itself,
    refused_connection_is_unavailable,
    silence_after_sending_is_outcome_unknown,
    answers_map_as_the_error_tree_says,
    slow_psp_is_cut_at_the_deadline,
    golden_delivery_is_read,
    forged_delivery_is_refused,
    event_ids_are_stable_and_distinct,
    unknown_event_says_nothing,
    refund_amounts_are_cumulative,
    retriable_decline_is_not_failed,
    wrong_environment_is_refused,
    lookup_tells_what_webhooks_told,
    standings_are_told_apart,
    refund_happens_once,
    secrets_stay_secret,
    instances_share_nothing,
)


def _in_words(check: Check) -> Check:
    """A check to which an error that no check waited for is a fault as well, said as such."""

    @wraps(check)
    async def checked(bench: Bench) -> NotApplicable | None:
        try:
            return await check(bench)
        except PaymentError as error:
            raise AssertionError(
                f"the gateway raised {type(error).__name__} where nothing was wrong: {error.detail}"
            ) from error

    return checked


CHECKS: Final[tuple[Check, ...]] = tuple(map(_in_words, _IN_ORDER))
