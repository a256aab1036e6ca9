"""Named places between two effects, where chaos and tests let a process die. In production there is nothing at them.

Between any two effects the process may end for good, so that what is not written yet is lost. Each place has a name,
the list is closed, and a server or worker that finds something registered refuses to start outside `dev`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """Where a process may die. What stands left of the dot is under way; right of it is what was done last."""

    INITIATE_CLAIMED = "initiate.claimed"
    """The draft is written and claimed; no PSP was asked."""
    INITIATE_ANSWERED = "initiate.answered"
    """The PSP registered it; we have not written that down."""
    INITIATE_FOLDED = "initiate.folded"
    """Written down; the page was not answered."""
    WEBHOOK_VERIFIED = "webhook.verified"
    """It is authentic; nothing of it is stored."""
    WEBHOOK_FOLDED = "webhook.folded"
    """Stored; the PSP was not answered."""
    LOOKUP_ANSWERED = "lookup.answered"
    """The PSP said how the payment stands; we have not written that down."""
    CAPTURE_DUE = "capture.due"
    """The payer approved; the PSP was not asked for the money."""
    CAPTURE_ANSWERED = "capture.answered"
    """The PSP took the money; we have not written that down."""
    REFUND_SENT = "refund.sent"
    """Marked as sent; the PSP was not asked."""
    REFUND_ANSWERED = "refund.answered"
    """The PSP gave the money back; we have not written that down."""
    FULFILMENT_LEASED = "fulfilment.leased"
    """An announcement is due and ours to make; the shop was not told."""
    FULFILMENT_POSTED = "fulfilment.posted"
    """The shop was told; we have not written that down."""
    SWEEP_LEASED = "sweep.leased"
    """Rows are leased; their jobs are not enqueued, and nothing is committed."""
    WORKER_TAKEN = "worker.taken"
    """A job was taken from the queue; nothing of it is done."""


Action = Callable[[], None]

_actions: Final[dict[Step, Action]] = {}


def reached(step: Step) -> None:
    """Do what is registered for a step: nothing, at the cost of looking into an empty dictionary."""
    if _actions and (action := _actions.get(step)) is not None:
        action()


def register(step: Step | str, action: Action) -> None:
    """Let something happen whenever a step is reached in this process, in place of what was registered before.

    Raises:
        ValueError: there is no such step.
    """
    _actions[Step(step)] = action


def registered() -> frozenset[Step]:
    """The steps at which something happens."""
    return frozenset(_actions)


def clear() -> None:
    """Nothing happens anywhere any more."""
    _actions.clear()
