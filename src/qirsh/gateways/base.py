"""What a gateway is: a few verbs that return facts. Protocols, so there is nothing to inherit and nothing to forget."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

from qirsh.actions import PaymentAction
from qirsh.draft import GatewayEvent, PaymentDraft
from qirsh.methods import Method
from qirsh.money import Money


class Standing(StrEnum):
    """What a look-up found."""

    UNKNOWN = "unknown"
    """The PSP never heard of it."""
    OPEN = "open"
    """It can still be paid."""
    IN_PROGRESS = "in_progress"
    """Money is moving, or under the PSP's review."""
    CLOSED = "closed"
    """Nothing more will come of it by itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook as it came off the wire, not yet believed. Header names are lower case.

    Its repr shows nothing: the signature is in there, and a payer's data.
    """

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    received_at: datetime | None = None
    """When it came, where it is taken once more: a signed time was fresh then or never. None: it comes now."""
    signature_header: str | None = None
    """The header that the gateway's profile names, if it names one: kept, or no replay could be believed."""


@dataclass(frozen=True, slots=True)
class SignaturePlace:
    """Where a PSP puts its signature: how a delivery without a gateway in its path is recognised."""

    kind: Literal["query", "header", "body"]
    name: str

    def is_in(self, delivery: Delivery) -> bool:
        """Whether something stands there; whether it is a valid signature only the gateway can say."""
        match self.kind:
            case "query":
                return bool(delivery.query.get(self.name))
            case "header":
                return bool(delivery.headers.get(self.name))
            case "body":
                return f'"{self.name}"'.encode() in delivery.body


def _any_amount(_amount: Money) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything the core may know of a gateway without calling it."""

    name: str
    methods: frozenset[Method]
    currencies: frozenset[str]
    signature_place: SignaturePlace
    found_by: Literal["merchant_reference", "own_id"]
    """How a look-up can find what was registered: by our draft id, or only by an id the PSP gave."""
    idempotent_for: Mapping[str, timedelta] = field(default_factory=dict)
    """How long the PSP honours our key for "register", "capture" or "refund"; without one, never resent blind."""
    takes: Callable[[Money], bool] = _any_amount
    """Whether an amount in one of the currencies can be taken: some PSPs take fewer decimals than a currency has."""
    partial_refunds: bool = False
    """Whether less than all can be given back."""
    unrefundable: frozenset[Method] = frozenset()
    """Methods whose money the PSP cannot give back."""
    shows_refunds: bool = False
    """Whether a look-up shows the total given back as soon as a refund is accepted, so that comparing settles doubt."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gateway may know of the server it runs in."""

    public_url: str
    """Where payers and PSPs reach this server."""
    dev: bool
    """Plain http origins are allowed."""
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Registration:
    """What the PSP answered to `register`: its id for the draft, and what the payer must do."""

    transaction_reference_id: str
    action: PaymentAction


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Give back this much of a draft's money. `draft` is the row as it stands when the PSP is asked."""

    id: UUID
    draft: PaymentDraft
    amount_minor: int
    reason: str = ""
    """Why, in the operator's words; PSPs may show it to the payer."""

    @property
    def total_minor(self) -> int:
        """What is given back in all once this refund is done."""
        return self.draft.refunded_minor + self.amount_minor


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the PSP's books say: the standing, and its events in causal order."""

    standing: Standing
    events: Sequence[GatewayEvent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Something a delivery says that its signature does not cover, or says without an amount: look up, never apply."""

    gateway: str
    event_id: str
    draft_id: UUID | None = None
    transaction_reference_id: str | None = None
    payment_reference: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayKind:
    """How a gateway is made. An outside one is named by an entry point in the group `qirsh.gateways`."""

    credentials: type[Any]
    """A pydantic model of its keys in the configuration, secrets as SecretStr; absent, the gateway is not offered."""
    make: Callable[[Any, Surroundings], "Gateway"]


class Gateway(Protocol):
    """The verbs of every PSP. All raise `GatewayError`s as `gateways.http` translates them."""

    @property
    def profile(self) -> Profile:
        """What this gateway takes."""
        ...

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Make the draft payable at the PSP. A pure function of the row: same row, same bytes, same PSP key.

        When `draft.in_doubt`, an earlier call may have reached the PSP: ask before sending.
        """
        ...

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask what the PSP's books say of the draft. Never moves money."""
        ...

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Give money back; the same key gives it back once where the profile says that refund keys are honoured.

        `refunded` with the total and the order's id when it is done, `refund_failed` when the PSP took it and it came
        to nothing; nothing when the PSP has it and is not done: look-ups will tell. A refusal before that raises.
        """
        ...

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Verify, then parse; one method, so that unverified fields cannot be reached.

        Raises:
            WebhookNotAuthentic: the signature is missing, empty or wrong.
            WebhookMalformed: the body cannot be parsed.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections to the PSP."""
        ...


@runtime_checkable
class Captures(Gateway, Protocol):
    """A PSP where the payer's approval moves no money until we capture it (PayPal)."""

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:
        """Take the money of an approved draft; the same key takes it once.

        Only a definite refusal is `declined` or `failed`; nothing means not yet, and a look-up will tell.
        """
        ...


@runtime_checkable
class AsksForCode(Gateway, Protocol):
    """A PSP that texts the payer a code, which comes back through us (`otp_token`)."""

    async def submit_code(self, draft: PaymentDraft, *, token: str, code: str, key: str) -> Sequence[GatewayEvent]:
        """Hand in the code that the payer typed; `token` is the one of the draft's action.

        `paid` when it was right, `declined` with AUTHENTICATION_FAILED when it was wrong and another may be tried,
        `failed` when the reference is dead. Nothing: the PSP has not decided, and a look-up will tell.
        """
        ...


@runtime_checkable
class Cancels(Gateway, Protocol):
    """A PSP where an open reference can be made unpayable."""

    async def cancel(self, draft: PaymentDraft) -> None:
        """End an open reference. One that is gone, ended or paid already is left as it is: look-ups tell which."""
        ...


@runtime_checkable
class ReadsReturn(Gateway, Protocol):
    """A PSP that sends every payer back to one fixed address, and names the payment in the query (Paymob)."""

    def read_return(self, query: Mapping[str, str]) -> Hint | None:
        """Which draft the browser came back from; None when the query is not the PSP's."""
        ...


_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all PSP calls inside together, tokens and failover included; inside another, the earlier end counts."""
    end, outer = asyncio.get_running_loop().time() + seconds, _deadline.get()
    token = _deadline.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left(at_most: float) -> float:
    """How long a PSP call may take now."""
    end = _deadline.get()
    return at_most if end is None else min(at_most, end - asyncio.get_running_loop().time())
