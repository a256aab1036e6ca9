"""PSPs that do not answer as they should, and webhooks that do not come as they should."""

from typing import Any, Final

from chaos.faults.base import Fault
from chaos.psps import PSPS

CALLS: Final = (
    *(("paymob", "token"), ("paypal", "token"), ("paypal", "verify"), ("paypal", "capture")),
    *((psp, operation) for psp in PSPS for operation in ("register", "lookup", "refund")),
)
"""What each PSP can be asked for. A fault of something that nobody asks for would wait for ever."""
OFTEN: Final = frozenset({"register", "lookup"})
WEBHOOKS: Final = tuple((psp, "webhook") for psp in PSPS)
HANG_SECONDS: Final = 12.0
"""Longer than Qirsh waits for a PSP."""
LATE_SECONDS: Final = (3_700.0, 40_000.0, 86_000.0)
"""By the PSPs' clock: past the expiry of what is paid at a page, half a day, and most of a day."""
COPIES: Final = 5


class PspFault(Fault):
    """Keeps a fault of some kind armed at each place."""

    kinds: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = CALLS
    most_skipped = 5
    """Of the calls that are made all the time, how many pass before one is hit, at most; of the others it is one."""

    async def inject(self) -> None:
        """Arm again what has hit."""
        while True:
            armed = await self.system.psps.armed()
            taken = {(one["psp"], one["operation"]) for one in armed if one["kind"] in self.kinds}
            for psp, operation in self.places:
                if (psp, operation) not in taken:
                    kind = self.random.choice(self.kinds)
                    skip = self.random.randint(0, self.most_skipped if operation in OFTEN else 1)
                    await self.system.psps.arm(psp, operation, kind, skip=skip, **self.more(kind))
            await self.pause(0.2, 0.8)

    async def heal(self) -> None:
        """No more of them. All kinds heal together, so that each is counted by what it has hit."""
        await self.system.psps.disarm()
        hit = self.system.psps.hit
        self.count = sum(hit.pop(kind, 0) for kind in self.kinds)

    def more(self, kind: str) -> dict[str, Any]:
        """What else the sandbox is told of a fault."""
        return {"seconds": HANG_SECONDS} if kind.startswith("hang") else {}


class PspResets(PspFault):
    """The connection is reset before the PSP has done anything."""

    kinds = ("reset",)


class PspHangs(PspFault):
    """The PSP takes the call and says nothing, until nobody waits any more."""

    kinds = ("hang",)


class AnswersLost(PspFault):
    """The PSP did what it was asked, and its answer never comes, or is an error."""

    kinds = ("reset_after_accept", "hang_after_accept", "error_after_accept")


class PspErrors(PspFault):
    """500s, and pages of HTML from a proxy."""

    kinds = ("error", "html")


class PspRateLimits(PspFault):
    """429s."""

    kinds = ("rate_limit",)


class PspSlow(PspFault):
    """The right answer, seconds late."""

    kinds = ("slow",)


class _WebhookFault(PspFault):
    places = WEBHOOKS


class WebhooksDropped(_WebhookFault):
    """They are never sent."""

    kinds = ("drop",)


class WebhooksFivefold(_WebhookFault):
    """Each comes five times, and all at once."""

    kinds = ("duplicate",)

    def more(self, kind: str) -> dict[str, Any]:  # noqa: ARG002  all of one kind
        """How many."""
        return {"copies": COPIES}


class WebhooksLate(_WebhookFault):
    """They come when the draft has expired."""

    kinds = ("delay",)

    def more(self, kind: str) -> dict[str, Any]:  # noqa: ARG002  all of one kind
        """How late."""
        return {"seconds": self.random.choice(LATE_SECONDS)}


class WebhooksReordered(_WebhookFault):
    """A later one overtakes them."""

    kinds = ("reorder",)


class WebhooksForged(_WebhookFault):
    """Their signature is wrong, at each of their tries."""

    kinds = ("corrupt_signature",)


class WebhooksOfWrongAmounts(_WebhookFault):
    """Well signed, and about another sum than was asked for."""

    kinds = ("wrong_amount",)
