"""The bench: a gateway on one side, a simulator of its PSP on the other, real sockets and a recorder in between."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from qirsh.clock import Clock
from qirsh.conformance.psp import Inbox, Psp
from qirsh.conformance.recorder import Recorder, recording
from qirsh.conformance.sandbox import another_account, credentials_of, simulator
from qirsh.conformance.wire import served
from qirsh.gateways.base import Gateway, GatewayKind, Profile, Surroundings
from qirsh.gateways.registry import installed


@dataclass(frozen=True, slots=True)
class Bench:
    """What a check is given. `psp` tells what really happened; `recorder` what was sent."""

    name: str
    kind: GatewayKind
    gateway: Gateway
    psp: Psp
    clock: Clock
    recorder: Recorder
    inbox: Inbox
    golden: Path | None
    public_url: str
    keys: Mapping[str, Any] = field(repr=False)
    """The configuration that the gateway was made from, secrets in clear."""
    changes: Mapping[str, object] = field(repr=False)

    @property
    def profile(self) -> Profile:
        """What the gateway says of itself."""
        return self.gateway.profile

    @property
    def credentials(self) -> BaseModel:
        """The gateway's credentials as its own model reads them."""
        read: BaseModel = self.kind.credentials(**self.keys)
        return read

    @property
    def secrets(self) -> frozenset[str]:
        """Every secret that is configured, in clear."""
        return frozenset(secrets_in(self.credentials))

    async def advance(self, seconds: float) -> None:
        """Let time pass, for the PSP and for the gateway."""
        await self.psp.advance(seconds)
        self.clock.offset += timedelta(seconds=seconds)

    @asynccontextmanager
    async def made(
        self, changes: Mapping[str, object] = MappingProxyType({}), *, now: Callable[[], datetime] | None = None
    ) -> AsyncIterator[Gateway]:
        """Another instance of the gateway, with these keys changed, or left out where None; closed in the end."""
        keys = {name: value for name, value in {**self.keys, **changes}.items() if value is not None}
        async with _gateway(self.kind, keys, self.public_url, now or self.clock.now) as gateway:
            yield gateway

    def moved(self, origin: str) -> Mapping[str, object]:
        """The keys that lead to the PSP, leading to another origin instead."""
        moved = {name: replaced(value, self.recorder.origin, origin) for name, value in self.keys.items()}
        return {name: value for name, value in moved.items() if value != self.keys[name]}

    @asynccontextmanager
    async def elsewhere(self) -> AsyncIterator["Bench"]:
        """Another merchant: an account with other keys, at a simulator that shares nothing with this one.

        A key stays where the credentials take no other, as one that names an environment.
        """
        account = {name: value for name, value in another_account(self.name).items() if _is_taken(self, {name: value})}
        async with _opened(self.name, self.kind, self.golden, {**self.changes, **account}, account) as bench:
            yield bench


@asynccontextmanager
async def opened(
    name: str,
    *,
    kind: GatewayKind | None = None,
    golden: Path | None = None,
    changes: Mapping[str, object] = MappingProxyType({}),
) -> AsyncIterator[Bench]:
    """A bench for the gateway of this name, closed in the end.

    The gateway is the installed one, unless `kind` is given. `golden` is the folder of deliveries from the PSP's
    documentation. `changes` are keys of its configuration that are to be other than the sandbox gives them.

    Raises:
        AssertionError: no such gateway is installed, or the sandbox has no such PSP.
    """
    kind = kind or installed().get(name)
    if kind is None:
        raise AssertionError(
            f"no gateway called {name} is installed: name it by an entry point in the group qirsh.gateways, "
            "or give its GatewayKind as `kind`"
        )
    async with _opened(name, kind, golden, changes, {}) as bench:
        yield bench


def replaced(value: Any, old: str, new: str) -> Any:  # noqa: ANN401  any key of a configuration
    """The value with one text in it replaced by another, in lists too."""
    match value:
        case str():
            return value.replace(old, new)
        case list():
            return [replaced(one, old, new) for one in value]
        case _:
            return value


def secret_fields(credentials: BaseModel) -> Iterator[tuple[str, object]]:
    """The keys of a configuration that hold a secret, or a list of them, with their values."""
    for name in type(credentials).model_fields:
        value = getattr(credentials, name)
        if secrets_in(value):
            yield name, value


def secrets_in(value: object) -> list[str]:
    """The secrets in a credentials model, however deep."""
    match value:
        case SecretStr():
            return [value.get_secret_value()]
        case BaseModel():
            return [secret for name in type(value).model_fields for secret in secrets_in(getattr(value, name))]
        case tuple() | list():
            return [secret for one in value for secret in secrets_in(one)]
        case _:
            return []


def _is_taken(bench: Bench, changes: Mapping[str, object]) -> bool:
    try:
        bench.kind.credentials(**{**bench.keys, **changes})
    except ValidationError:
        return False
    return True


@asynccontextmanager
async def _opened(
    name: str, kind: GatewayKind, golden: Path | None, changes: Mapping[str, object], account: Mapping[str, object]
) -> AsyncIterator[Bench]:
    inbox, clock = Inbox(), Clock()
    async with (
        served(inbox.take) as public_url,
        simulator(public_url, {name: account}, fresh=bool(account)) as running,
        recording(running.origin) as recorder,
    ):
        keys = {**credentials_of(name, recorder.origin, running.folder, account), **changes}
        async with _gateway(kind, keys, public_url, clock.now) as gateway:
            psp = Psp(name, running.origin, inbox)
            yield Bench(name, kind, gateway, psp, clock, recorder, inbox, golden, public_url, keys, changes)


@asynccontextmanager
async def _gateway(
    kind: GatewayKind, keys: Mapping[str, object], public_url: str, now: Callable[[], datetime]
) -> AsyncIterator[Gateway]:
    gateway = kind.make(kind.credentials(**keys), Surroundings(public_url, dev=True, now=now))
    try:
        yield gateway
    finally:
        await gateway.aclose()
