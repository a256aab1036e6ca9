"""Limits: what is counted, for how long, under whose name, and what a counter that fails does to a payment."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from unit_psp import closed_port

from qirsh.api.clients import Clients
from qirsh.api.limits import Full, Limits, ProcessCounter, SharedCounter, Use
from qirsh.draft import DraftRequest, Payer
from qirsh.errors import TooManyRequests
from qirsh.methods import Method

PHONE = "01012345678"
CLIENT = "203.0.113.7"


@dataclass
class Time:
    """A clock that stands still until it is moved."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.seconds


@dataclass
class Noted:
    """A counter that has room for everything and notes what it was asked."""

    uses: list[Use] = field(default_factory=list)
    calls: int = 0

    async def take(self, uses: Sequence[Use]) -> Full | None:
        """Note them."""
        self.calls += 1
        self.uses += uses
        return None


def request(method: Method = Method.CARD, phone: str | None = None) -> DraftRequest:
    """A request by a method, with or without a phone number."""
    return DraftRequest(
        product_id="tshirt",
        amount="300",
        method=method,
        currency="EGP",
        quantity=1,
        order_reference=None,
        payer=Payer(None, None, phone),
        return_url=None,
        locale=None,
    )


def limits(counter: ProcessCounter | SharedCounter | Noted, *, drafts: int = 2, prompts: int = 2) -> Limits:
    """Limits over a counter."""
    clients = Clients(("127.0.0.1", "::1", "10.0.0.0/24"))
    return Limits(counter, clients, drafts_per_minute=drafts, prompts_per_10_minutes=prompts, secret="operator")


async def test_what_is_over_the_limit_is_told_how_long_to_wait() -> None:
    """The oldest use leaves the minute first; until then nothing fits, and what was refused counts for nothing."""
    time = Time()
    admitting = limits(ProcessCounter(now=time))
    await admitting.admit(CLIENT, request())
    time.seconds += 20
    await admitting.admit(CLIENT, request())
    for waited in range(30):
        with pytest.raises(TooManyRequests) as refused:
            await admitting.admit(CLIENT, request())
        assert refused.value.retry_after_seconds == 40 - waited
        time.seconds += 1
    time.seconds += 10
    await admitting.admit(CLIENT, request())
    with pytest.raises(TooManyRequests) as refused:
        await admitting.admit(CLIENT, request())
    assert refused.value.retry_after_seconds == 20


async def test_never_more_than_the_limit_in_any_minute() -> None:
    """Counting by whole minutes would let twice as many through around their edge."""
    time, admitted = Time(), []
    admitting = limits(ProcessCounter(now=time), drafts=3)
    for _ in range(400):
        time.seconds += 7
        try:
            await admitting.admit(CLIENT, request())
        except TooManyRequests:
            continue
        admitted.append(time.seconds)
    assert len(admitted) > 100
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[3:], strict=False))


async def test_a_refused_prompt_leaves_the_addresss_count_alone() -> None:
    """Both are taken together or not at all."""
    admitting = limits(ProcessCounter(), drafts=3, prompts=1)
    await admitting.admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    for _ in range(5):
        with pytest.raises(TooManyRequests, match="phone"):
            await admitting.admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    await admitting.admit(CLIENT, request())
    await admitting.admit(CLIENT, request())
    with pytest.raises(TooManyRequests, match="address"):
        await admitting.admit(CLIENT, request())


@pytest.mark.parametrize("method", [Method.CARD, Method.KIOSK, Method.FAWRY])
async def test_a_phone_counts_only_where_it_rings(method: Method) -> None:
    """A number given for the receipt is no prompt."""
    admitting = limits(ProcessCounter(), drafts=0, prompts=1)
    for _ in range(5):
        await admitting.admit(CLIENT, request(method, PHONE))


async def test_one_phone_is_counted_over_all_its_methods_and_clients() -> None:
    """Whoever is rung does not care from where."""
    admitting = limits(ProcessCounter(), prompts=2)
    await admitting.admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    await admitting.admit("198.51.100.1", request(Method.MOBILE_WALLET, PHONE))
    with pytest.raises(TooManyRequests) as refused:
        await admitting.admit("192.0.2.9", request(Method.VODAFONE_CASH, PHONE))
    assert 590 < (refused.value.retry_after_seconds or 0) <= 600
    await admitting.admit("192.0.2.9", request(Method.VODAFONE_CASH, "01112345678"))


async def test_a_limit_of_zero_asks_no_counter() -> None:
    """`qirsh dev` and whoever limits elsewhere pay nothing for it."""
    noted = Noted()
    await limits(noted, drafts=0, prompts=0).admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    await limits(noted, drafts=0).admit(CLIENT, request())
    assert noted.calls == 0


async def test_names_lead_back_to_nobody() -> None:
    """They are keys in a Redis that others may read, and all phone numbers can be tried against a plain hash."""
    noted = Noted()
    await limits(noted).admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    other = Limits(noted, Clients(()), drafts_per_minute=1, prompts_per_10_minutes=1, secret="another")
    await other.admit(CLIENT, request(Method.VODAFONE_CASH, PHONE))
    names = [use.name for use in noted.uses]
    assert len(set(names)) == 4
    assert not any(PHONE in name or CLIENT in name for name in names)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("unix", "unix", True),
    ],
)
def test_clients_are_told_apart_by_what_they_cannot_change(one: str, other: str, *, same: bool) -> None:
    """A household has one IPv4 address, and 2⁶⁴ of IPv6."""
    clients = Clients(())
    assert (clients.address_of(one) == clients.address_of(other)) is same


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.77"])
async def test_a_proxy_that_does_not_say_who_asks_stops_nobody(host: str) -> None:
    """Counted, every customer would be one client, and the sixty-first of a minute would be refused."""
    admitting = limits(ProcessCounter(), drafts=1)
    with capture_logs() as logged:
        for _ in range(5):
            await admitting.admit(host, request())
    assert [entry["event"] for entry in logged] == ["clients_unknown"]


async def test_a_counter_is_bounded() -> None:
    """Addresses are free to whoever has many; memory is not."""
    counter = ProcessCounter(max_entries=10)
    for number in range(1000):
        assert await counter.take([Use(f"address:{number}", 1, 60)]) is None
    assert await counter.take([Use("address:999", 1, 60)]) is not None
    assert await counter.take([Use("address:0", 1, 60)]) is None


async def test_a_counter_that_is_away_admits_everybody_and_says_so_once() -> None:
    """A payment is worth more than its count; a log line for each would hide what else happens."""
    with closed_port() as address, capture_logs() as logged:
        redis = Redis.from_url(address.replace("http", "redis"))
        admitting = limits(SharedCounter(redis), drafts=1)
        for _ in range(5):
            await admitting.admit(CLIENT, request())
        await redis.aclose()
    assert [entry["event"] for entry in logged] == ["limits_not_counted"]
