"""What a fake PSP is to the rest of the sandbox. Adding one is a file that fits `Psp` and a line in app.py."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from aiohttp import web

from .clock import Clock
from .deliveries import Deliveries, Sealed
from .store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Claim = Callable[[web.Request], AbstractContextManager[None]]
Lost = Callable[[web.Request, int], Awaitable[None]]
Operation = Literal["token", "register", "capture", "lookup", "refund", "verify", "webhook"]
State = Literal["open", "paid", "partially_refunded", "refunded", "voided", "expired", "failed"]
Act = Literal["pay", "decline", "cancel", "expire", "refund", "review", "release", "deny", "reverse"]

_RETRY_SUFFIX = re.compile(r"~\d+$")


class Refused(Exception):
    """The PSP does not do what it was asked. Control plane and pages show `detail`."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The refusal as one sentence."""
        return str(self.body.get("detail") or self.body.get("message") or self.body)


class UnknownReferenceError(Exception):
    """No order of this PSP has that merchant reference."""


class CannotActError(Exception):
    """The payer cannot do that with this reference now."""


def _no_claim(_request: web.Request) -> AbstractContextManager[None]:
    return nullcontext()


async def _forget(_request: web.Request, _status: int) -> None:
    """Most PSPs keep no error: a repeat is answered anew."""


class Route(NamedTuple):
    """One path of a PSP; `operation` says which faults hit it, None that none does.

    `claim` is held while the PSP works on a call, a `slow` fault's time included; it may refuse the call.
    `lost` hears that a call was done and its caller given an error with this status instead of the answer.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    handler: Handler
    operation: Operation | None = None
    claim: Claim = _no_claim
    lost: Lost = _forget


class PayerCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the payer does; for `refund` the merchant in the PSP's dashboard, for the acts after it the PSP itself.

    `transaction_reference_id` picks one order where a reference and its retry both exist.
    """

    merchant_reference: str
    act: Act
    amount_minor: int | None = None
    psp: str | None = None
    transaction_reference_id: str | None = None


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What really happened under one merchant reference."""

    psp: str
    merchant_reference: str | None
    transaction_reference_id: str
    amount_minor: int
    currency: str
    state: State
    registered: int
    paid_minor: int
    refunded_minor: int


class World(NamedTuple):
    """What every fake PSP shares with the others.

    `webhooks` and `returns` are where the payment server listens, without the PSP's name at the end; empty: nowhere.
    """

    store: Store
    clock: Clock
    deliveries: Deliveries
    folder: Path
    webhooks: str = ""
    returns: str = ""

    def webhook(self, psp: str) -> str:
        """Return where this PSP's webhooks go."""
        return f"{self.webhooks}/{psp}" if self.webhooks else ""


class Psp(Protocol):
    """One fake PSP. The last two methods make it the `Sender` of its webhooks."""

    @property
    def name(self) -> str:
        """The PSP's name in the ledger, in faults and at the end of the webhook address."""
        ...

    def routes(self) -> Sequence[Route]:
        """Return the data plane: the PSP's own paths."""
        ...

    def ledger(self) -> list[LedgerRow]:
        """Return what really happened, one row per merchant reference."""
        ...

    def act(self, command: PayerCommand) -> None:
        """Do what the payer does; only webhooks tell.

        Raises:
            UnknownReferenceError: the PSP has no such order.
            CannotActError: not with this order in its present state.
        """
        ...

    def seal(self, body: bytes, *, corrupt: bool) -> Sealed:
        """Sign a webhook: its address and headers."""
        ...

    def wrong_amount(self, body: bytes) -> bytes:
        """Return the webhook's body with another amount in it, to be signed like the right one."""
        ...


def _base_url(url: str, _folder: Path) -> dict[str, object]:
    return {"base_url": url}


class Kind(NamedTuple):
    """How the sandbox opens a fake PSP. An outside one is named by an entry point in the group `qirsh.sandbox`.

    `account` is a dataclass of what the PSP's dashboard shows, each field with a default that names itself a sandbox's;
    its fields are called as in the payment server's configuration. `addresses` gives, for the sandbox's own address and
    the folder of its state, what else that configuration needs in order to find the sandbox and to believe it.
    """

    account: type[Any]
    make: Callable[[Any, World], Psp]
    addresses: Callable[[str, Path], dict[str, object]] = _base_url

    def open(self, account: Mapping[str, object], world: World) -> Psp:
        """Return the PSP with this account; fields that are left out, or None, are the sandbox's own."""
        known = {field.name for field in fields(self.account)}
        given = {name: value for name, value in account.items() if name in known and value is not None}
        return self.make(self.account(**given), world)

    def credentials(self, url: str, folder: Path) -> dict[str, object]:
        """Return the configuration that makes a payment server use this PSP at `url`."""
        return {**asdict(self.account()), **self.addresses(url, folder)}


def folded(merchant_reference: str) -> str:
    """Return the reference without the suffix that a second registration of it carries."""
    return _RETRY_SUFFIX.sub("", merchant_reference)


def json_answer(
    body: Any,  # noqa: ANN401 - any JSON value is an answer
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)
