"""What a check says: nothing when all is well, why it does not apply, or an AssertionError with one sentence."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from qirsh.errors import GatewayError, PaymentError, WebhookError

if TYPE_CHECKING:
    from qirsh.conformance.bench import Bench

T = TypeVar("T")

PATIENCE_SECONDS: Final = 20.0
"""How long a verb may take before it counts as stuck: twice the longest call of `gateways.http`. No check waits for
it unless the gateway has no deadline of its own."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The gateway's profile, or its PSP, has nothing that the check could try. Report the reason; never swallow it."""

    reason: str


Check = Callable[["Bench"], Awaitable[NotApplicable | None]]


def expect(fact: object, sentence: str) -> None:
    """Go on where this holds.

    Raises:
        AssertionError: it does not; the sentence says what is wrong and what to do.
    """
    if not fact:
        raise AssertionError(sentence)


def some(value: T | None, sentence: str) -> T:
    """A value that must be there.

    Raises:
        AssertionError: it is not.
    """
    if value is None:
        raise AssertionError(sentence)
    return value


async def error_of(
    call: Awaitable[object], what: str, patience_seconds: float = PATIENCE_SECONDS
) -> PaymentError | None:
    """What a verb raised, None where it answered. Anything but an error of the tree is a fault by itself.

    Raises:
        AssertionError: it raised something that the core does not know, or never came back.
    """
    try:
        async with asyncio.timeout(patience_seconds):
            await call
    except (GatewayError, WebhookError) as error:
        return error
    except TimeoutError:
        raise AssertionError(
            f"{what} was still waiting after {patience_seconds:.0f} s: "
            "make all calls through PspClient, which keeps to the deadline"
        ) from None
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__}, which the core does not know: "
            "make all calls through PspClient, and raise GatewayErrors and WebhookErrors only"
        ) from error
    return None


def expect_error(error: PaymentError | None, wanted: tuple[type[PaymentError], ...], what: str) -> None:
    """Go on where a verb raised one of these, as the error tree says.

    Raises:
        AssertionError: it raised something else, or nothing.
    """
    told = "nothing" if error is None else type(error).__name__
    expect(
        isinstance(error, wanted),
        f"{what} raised {told} where the error tree says {' or '.join(one.__name__ for one in wanted)}: "
        "see the table of PSP answers in ARCHITECTURE.md",
    )
