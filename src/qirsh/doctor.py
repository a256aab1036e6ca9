"""`qirsh doctor`: what is wrong with an installation, found by trying it, and how to mend it. It changes nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import RedisError

from qirsh.api.limits import SHARED_SECONDS
from qirsh.breaker import BreakerState
from qirsh.clock import Clock
from qirsh.database import database
from qirsh.draft import DraftRequest, PaymentDraft
from qirsh.errors import GatewayError, GatewayMisconfigured, GatewayUnavailable
from qirsh.gateways.base import Gateway, Profile, Surroundings, deadline
from qirsh.gateways.http import PspClient
from qirsh.gateways.registry import installed
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.settings import CONFIG_NAME, ConfigurationError, Settings, load
from qirsh.store.checkup import check_up
from qirsh.store.cluster import EmbeddedPostgresError
from qirsh.store.connection import new_id
from qirsh.store.migrate import MigrationError
from qirsh.work import handlers

SECONDS: Final = 10.0
"""What each part is given to answer."""
CLOCK_SECONDS: Final = 2.0
"""A PSP's signatures and a draft's life are judged by clocks that should agree; NTP keeps them to milliseconds."""
METRICS_BYTES: Final = 1_000_000

_BREAKER: Final = re.compile(rb'^qirsh_gateway_breaker\{gateway="([^"]+)",state="([a-z_]+)"\} 1\.0$', re.MULTILINE)


class Verdict(StrEnum):
    """How a part is."""

    FINE = "fine"
    NOTE = "note"
    """It may be meant so."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the installation, how it is, and how to mend it. None of this holds a secret."""

    part: str
    verdict: Verdict
    found: str
    mend: str = ""


async def examine(data_dir: Path) -> AsyncIterator[Finding]:
    """Try every part, those that payments depend on first."""
    try:
        settings = load(data_dir / CONFIG_NAME)
    except ConfigurationError as error:
        yield Finding("configuration", Verdict.WRONG, str(error), "mend these keys, then ask again")
        return
    for finding in _configuration(settings):
        yield finding
    yield await _database(settings, data_dir)
    if url := settings.redis_url.get_secret_value():
        yield await _redis(url)
    for name, credentials in settings.gateways.items():
        yield await _gateway(name, credentials, settings)
    async for finding in _server(settings):
        yield finding


def _configuration(settings: Settings) -> list[Finding]:
    """What no start refuses, since it may be meant, and what is seldom meant."""
    part, findings = "configuration", []
    if not settings.gateways:
        sections = ", ".join(f"[{name}]" for name in installed())
        mend = f"write the section of a PSP: {sections}"
        findings.append(Finding(part, Verdict.WRONG, "no gateway has credentials, so nothing can be paid", mend))
    if not settings.operator_key.get_secret_value():
        mend = "set operator_key, to anything long and random"
        findings.append(Finding(part, Verdict.NOTE, "nobody may use the operator's endpoints", mend))
    if not settings.fulfilment_url and not handlers.installed():
        mend = "set fulfilment_url and fulfilment_secrets"
        findings.append(Finding(part, Verdict.NOTE, "paid drafts are announced to nobody", mend))
    if not settings.shop_origins:
        mend = "set shop_origins"
        findings.append(Finding(part, Verdict.NOTE, "no page may call from a browser or be returned to", mend))
    if not settings.dev and urlsplit(settings.public_url).scheme != "https":
        mend = "set public_url to the address that your proxy serves"
        findings.append(Finding(part, Verdict.WRONG, f"public_url is not https: {settings.public_url}", mend))
    return findings or [Finding(part, Verdict.FINE, f"gateways: {', '.join(settings.gateways)}")]


async def _database(settings: Settings, data_dir: Path) -> Finding:
    part = "database" if settings.database_url.get_secret_value() else "database (embedded)"
    if not settings.database_url.get_secret_value() and not (data_dir / "pg").exists():
        found = f"there is none in {data_dir}, and database_url is not set"
        return Finding(part, Verdict.WRONG, found, "set database_url, or run `qirsh migrate` to make one here")
    clock = Clock()
    try:
        async with database(settings, data_dir) as url, asyncio.timeout(SECONDS):
            before = clock.now()
            vitals = await check_up(url)
            after = clock.now()
    except (MigrationError, EmbeddedPostgresError) as error:
        return Finding(part, Verdict.WRONG, str(error), "mend what it says, then ask again")
    except (OSError, TimeoutError) as error:
        found = f"nobody answers ({type(error).__name__})"
        return Finding(part, Verdict.WRONG, found, "start PostgreSQL, or mend database_url")
    if vitals.missing:
        return Finding(part, Verdict.WRONG, f"not migrated: {', '.join(vitals.missing)}", "run `qirsh migrate`")
    # The database looked at its clock at some moment between; only what lies outside is a difference.
    apart = max(before - vitals.now, vitals.now - after, timedelta(0)).total_seconds()
    if apart > CLOCK_SECONDS:
        found = f"its clock and this machine's are {apart:.0f} s apart"
        return Finding(part, Verdict.WRONG, found, "let NTP set both clocks")
    if vitals.unmade:
        found = f"not made yet: {', '.join(vitals.unmade)}; what belongs there is kept in the default partition"
        return Finding(part, Verdict.NOTE, found, "let a worker run, which makes months ahead, or run `qirsh migrate`")
    return Finding(part, Verdict.FINE, f"PostgreSQL {vitals.version}, migrated, clocks agree")


async def _redis(url: str) -> Finding:
    try:
        redis = Redis.from_url(url, socket_connect_timeout=SECONDS)
    except ValueError:
        return Finding(
            "redis", Verdict.WRONG, "redis_url is no address of a Redis", "write it like redis://host:6379/0"
        )
    try:
        async with asyncio.timeout(SECONDS):
            await redis.ping()
            began = time.monotonic()
            await redis.ping()
            took = time.monotonic() - began
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        found = f"does not answer ({type(error).__name__}): nothing is lost, repeats cost more, limits are off"
        return Finding("redis", Verdict.WRONG, found, "start it, mend redis_url, or leave redis_url empty")
    finally:
        await redis.aclose()
    if took > SHARED_SECONDS:
        found = f"takes {took * 1000:.0f} ms, and is not waited for longer than {SHARED_SECONDS * 1000:.0f}"
        return Finding("redis", Verdict.NOTE, found, "use one that is nearer")
    return Finding("redis", Verdict.FINE, f"answers in {took * 1000:.1f} ms")


async def _gateway(name: str, credentials: BaseModel, settings: Settings) -> Finding:
    """Look up a draft that never was: whoever answers that there is none has taken our credentials."""
    clock = Clock()
    try:
        gateway = installed()[name].make(credentials, Surroundings(settings.public_url, settings.dev, clock.now))
    except GatewayMisconfigured as error:
        return Finding(name, Verdict.WRONG, error.detail, f"mend [{name}]")
    try:
        return await _asked(gateway, clock, dev=settings.dev)
    finally:
        await gateway.aclose()


async def _asked(gateway: Gateway, clock: Clock, *, dev: bool) -> Finding:
    profile = gateway.profile
    try:
        with deadline(SECONDS):
            async with asyncio.timeout(SECONDS + 1):
                await gateway.lookup(_never_was(profile, clock))
    except GatewayMisconfigured as error:
        return Finding(profile.name, Verdict.WRONG, _said(error), f"copy the keys of [{profile.name}] once more")
    except (GatewayUnavailable, TimeoutError) as error:
        found = _said(error) if isinstance(error, GatewayError) else "does not answer"
        mend = "start `qirsh dev`, which runs the sandbox" if dev else "try its base_url from this machine"
        return Finding(profile.name, Verdict.WRONG, found, mend)
    except GatewayError:
        pass  # it refuses the made-up reference, and so has let us in
    if not profile.methods:
        return Finding(profile.name, Verdict.WRONG, "takes our keys, and no method", f"set the ids in [{profile.name}]")
    found = f"takes our keys for {', '.join(sorted(profile.methods))}; its first webhook will prove the signing secret"
    return Finding(profile.name, Verdict.FINE, found)


def _said(error: GatewayError) -> str:
    """What happened, without what it means to a payer's page."""
    return error.detail.partition(":")[0].rstrip(".")


def _never_was(profile: Profile, clock: Clock) -> PaymentDraft:
    """A draft with an id that nobody registered, and a PSP's id where only that could be asked about."""
    currency = "EGP" if "EGP" in profile.currencies else min(profile.currencies)
    return PaymentDraft(
        id=new_id(),
        gateway=profile.name,
        amount=Money(100, currency),
        request=DraftRequest(product_id="doctor", amount="1", method=min(profile.methods, default=Method.CARD)),
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=1),
        transaction_reference_id="0DOCTOR0000000000" if profile.found_by == "own_id" else None,
    )


async def _server(settings: Settings) -> AsyncIterator[Finding]:
    """The server that payers and PSPs reach, which may well run elsewhere, or not yet."""
    try:
        client = PspClient(settings.public_url, psp="public_url", plain_http=True)
    except GatewayMisconfigured:
        found, mend = "public_url is no address", "write it like https://pay.shop.example"
        yield Finding("server", Verdict.WRONG, found, mend)
        return
    try:
        with deadline(SECONDS):
            status, _ = await client.fetch("/health/ready", at_most_bytes=METRICS_BYTES)
        if status != HTTPStatus.OK:
            found = f"{settings.public_url} answers {status} to /health/ready"
            yield Finding("server", Verdict.WRONG, found, "look into its log; a 503 is its database")
            return
        yield Finding("server", Verdict.FINE, f"ready at {settings.public_url}")
        if not _is_private(settings.public_url):
            found = "are not asked for: the operator's key goes over https or stays on this machine"
            yield Finding("circuit breakers", Verdict.NOTE, found, "make public_url https")
            return
        headers = {"Authorization": f"Bearer {settings.operator_key.get_secret_value()}"}
        with deadline(SECONDS):
            status, metrics = await client.fetch("/metrics", at_most_bytes=METRICS_BYTES, headers=headers)
        yield _breakers(status, metrics)
    except GatewayUnavailable:
        found = f"nobody answers at {settings.public_url}"
        mend = "start `qirsh serve`, and the proxy in front of it, or mend public_url"
        yield Finding("server", Verdict.NOTE, found, mend)
    finally:
        await client.aclose()


def _is_private(url: str) -> bool:
    """Whether what is sent there is read by nobody else."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", "localhost"}


def _breakers(status: int, metrics: bytes) -> Finding:
    part = "circuit breakers"
    states = {name.decode(): state.decode() for name, state in _BREAKER.findall(metrics)}
    if status != HTTPStatus.OK:
        return Finding(part, Verdict.NOTE, f"/metrics answers {status}", "set the operator_key that the server has")
    if away := sorted(name for name, state in states.items() if state != BreakerState.CLOSED):
        mend = "see what the log says of it; it is tried again every half minute"
        return Finding(part, Verdict.WRONG, f"left alone for being down: {', '.join(away)}", mend)
    return Finding(part, Verdict.FINE, f"closed: {', '.join(sorted(states)) or 'there are none'}")
