"""What lies at the address that a PayPal delivery names: which are asked, how often, and what their answers mean."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import unit_psp
from unit_certificates import URL, WEBHOOK_ID, Authority, authority, leaf_of, signed
from unit_paypal import Clock, Served, credentials, gateway_at
from unit_psp import Behaviour, answer, closed_port, psp

from qirsh.errors import GatewayUnavailable, WebhookNotAuthentic
from qirsh.gateways.base import deadline
from qirsh.gateways.paypal import PayPal
from qirsh.gateways.paypal.account import CERT_HOSTS
from qirsh.gateways.paypal.certificates import (
    KEPT,
    MAX_FETCHES,
    MAX_KEPT,
    MAX_PEM_BYTES,
    REFUSED,
)

BODY = b'{"id":"WH-1","event_type":"CHECKOUT.ORDER.COMPLETED","resource":{}}'


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the gateway is told to trust."""
    return authority(tmp_path_factory.mktemp("ours"))


@asynccontextmanager
async def trusting(of: Authority, source: Served, **changes: Any) -> AsyncIterator[PayPal]:
    """A gateway that trusts this authority."""
    now = changes.pop("now", Clock())
    keys = credentials(**{"trust_file": of.file, "webhook_id": WEBHOOK_ID, **changes})
    async with gateway_at(keys, now=now, dev=False, certificates=source) as gateway:
        yield gateway


GOOD = "https://api.sandbox.paypal.com"
PATH = "/v1/notifications/certs/CERT-1"
TRICKS = [
    "",
    "CERT-1",
    PATH,
    f"//api.sandbox.paypal.com{PATH}",
    f"http://api.sandbox.paypal.com{PATH}",
    f"ftp://api.sandbox.paypal.com{PATH}",
    "file:///v1/notifications/certs/CERT-1",
    f"https://evil.example{PATH}",
    f"https://api.sandbox.paypal.com.evil.example{PATH}",
    f"https://evil-api.sandbox.paypal.com{PATH}",
    f"https://www.paypal.com{PATH}",
    f"https://api.sandbox.paypal.com.{PATH}",
    f"https://api.sandbox.paypal.com@evil.example{PATH}",
    f"https://api.sandbox.paypal.com:443@evil.example{PATH}",
    f"https://payer@api.sandbox.paypal.com{PATH}",
    f"https://:@api.sandbox.paypal.com{PATH}",
    f"https://evil.example#@api.sandbox.paypal.com{PATH}",
    f"https://evil.example?@api.sandbox.paypal.com{PATH}",
    f"https://evil.example\\@api.sandbox.paypal.com{PATH}",
    f"https://api.sandbox.paypal.com\\.evil.example{PATH}",
    f"{GOOD}:444{PATH}",
    f"{GOOD}:80{PATH}",
    f"{GOOD}:99999{PATH}",
    f"{GOOD}:x{PATH}",
    f"https://127.0.0.1{PATH}",
    f"https://[::1]{PATH}",
    f"https://[api.sandbox.paypal.com{PATH}",
    f"{GOOD}",
    f"{GOOD}/",
    f"{GOOD}/v1/notifications/certs/",
    f"{GOOD}/v1/notifications/certs",
    f"{GOOD}/v1/notifications/certs/a/b",
    f"{GOOD}/v1/notifications/certs/../webhooks",
    f"{GOOD}/v1/notifications/certs/..",
    f"{GOOD}/v1/notifications/certs/%2e%2e%2fwebhooks",
    f"{GOOD}/v1/notifications/certs/CERT%2d1",
    f"{GOOD}//v1/notifications/certs/CERT-1",
    f"{GOOD}/v1/notifications/certs//CERT-1",
    f"{GOOD}/v1/oauth2/token",
    f"{GOOD}/v2/../v1/notifications/certs/CERT-1",
    f"{GOOD}{PATH}?",
    f"{GOOD}{PATH}?x=1",
    f"{GOOD}{PATH}#x",
    f"{GOOD}{PATH};x",
    f"{GOOD}{PATH}/",
    f" {GOOD}{PATH}",
    f"{GOOD}{PATH} ",
    f"{GOOD}{PATH}\n",
    f"{GOOD}\t{PATH}",
    f"{GOOD}{PATH}\x00",
    f"https://api.sandbox.paypal\u3002com{PATH}",
    f"https://\u0430pi.sandbox.paypal.com{PATH}",
    f"{GOOD}/v1/notifications/certs/{'A' * 129}",
    f"{GOOD}/v1/notifications/certs/{'A' * 4096}",
]


@pytest.mark.parametrize("url", TRICKS)
async def test_no_other_address_is_ever_asked(ours: Authority, url: str) -> None:
    """The header is anyone's to write: a stranger's host would serve his certificate, ours would be asked for him."""
    source = Served({})
    async with trusting(ours, source) as gateway:
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(signed(BODY, leaf_of(ours), paypal_cert_url=url))
    assert source.fetched == []


@pytest.mark.parametrize(
    "url",
    [f"{GOOD}{PATH}", f"{GOOD}:443{PATH}", f"HTTPS://API.Sandbox.PayPal.com{PATH}"],
)
async def test_the_same_origin_in_another_spelling_is_the_same(ours: Authority, url: str) -> None:
    """And it is asked for in one spelling, so that spellings do not fill what is kept."""
    leaf = leaf_of(ours)
    source = Served({f"{GOOD}{PATH}": leaf.pem})
    async with trusting(ours, source) as gateway:
        await gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=url))
    assert source.fetched == [f"{GOOD}{PATH}"]


@pytest.mark.parametrize("origin", CERT_HOSTS)
async def test_paypals_four_hosts_serve_certificates(ours: Authority, origin: str) -> None:
    """The host is no part of the environment: links and certificates live on older hosts."""
    leaf = leaf_of(ours)
    async with trusting(ours, Served({origin + PATH: leaf.pem})) as gateway:
        assert await gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=origin + PATH)) == ()


async def test_a_certificate_is_fetched_once_a_day(ours: Authority) -> None:
    """However many deliveries come, also at the same moment."""
    leaf, clock = leaf_of(ours), Clock()
    source = Served({URL: leaf.pem}, pause_seconds=0.01)
    async with trusting(ours, source, now=clock) as gateway:
        await asyncio.gather(*(gateway.read_webhook(signed(BODY, leaf)) for _ in range(20)))
        await gateway.read_webhook(signed(BODY, leaf))
        assert len(source.fetched) == 1
        clock.advance(KEPT)
        await gateway.read_webhook(signed(BODY, leaf))
        assert len(source.fetched) == 2


async def test_a_delivery_that_goes_away_stops_the_fetch_for_nobody(ours: Authority) -> None:
    """The first who asked may hang up; the second still waits for the same answer."""
    leaf = leaf_of(ours)
    source = Served({URL: leaf.pem}, pause_seconds=0.05)
    async with trusting(ours, source) as gateway:
        first = asyncio.create_task(gateway.read_webhook(signed(BODY, leaf)))
        await asyncio.sleep(0)
        second = asyncio.create_task(gateway.read_webhook(signed(BODY, leaf)))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second == ()
    assert len(source.fetched) == 1


async def test_a_bad_address_is_not_asked_again_at_once(ours: Authority) -> None:
    """A flood of it costs one fetch a minute; what is put right there is then found."""
    leaf, clock = leaf_of(ours), Clock()
    served: dict[str, bytes | Exception] = {URL: WebhookNotAuthentic()}
    source = Served(served)
    async with trusting(ours, source, now=clock) as gateway:
        for _ in range(3):
            with pytest.raises(WebhookNotAuthentic):
                await gateway.read_webhook(signed(BODY, leaf))
        assert len(source.fetched) == 1
        served[URL] = leaf.pem
        clock.advance(REFUSED)
        assert await gateway.read_webhook(signed(BODY, leaf)) == ()


async def test_an_unreachable_paypal_is_asked_again_at_once(ours: Authority) -> None:
    """It proves nothing about the delivery: neither believed nor refused, so that PayPal delivers again."""
    leaf = leaf_of(ours)
    served: dict[str, bytes | Exception] = {URL: GatewayUnavailable()}
    async with trusting(ours, Served(served)) as gateway:
        with pytest.raises(GatewayUnavailable):
            await gateway.read_webhook(signed(BODY, leaf))
        served[URL] = leaf.pem
        assert await gateway.read_webhook(signed(BODY, leaf)) == ()


async def test_strangers_addresses_do_not_push_out_what_is_kept(ours: Authority) -> None:
    """Only what is proved is kept."""
    leaf = leaf_of(ours)
    others = [f"{GOOD}/v1/notifications/certs/CERT-{number}" for number in range(100, 100 + 4 * MAX_KEPT)]
    source = Served({URL: leaf.pem, **dict.fromkeys(others, b"<html>")})
    async with trusting(ours, source) as gateway:
        await gateway.read_webhook(signed(BODY, leaf))
        for url in others:
            with pytest.raises(WebhookNotAuthentic):
                await gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=url))
        await gateway.read_webhook(signed(BODY, leaf))
    assert source.fetched.count(URL) == 1


async def test_only_so_many_are_fetched_at_once(ours: Authority) -> None:
    """The rest is told to come again; a certificate that is kept needs no fetch."""
    leaf = leaf_of(ours)
    urls = [f"{GOOD}/v1/notifications/certs/CERT-{number}" for number in range(100, 100 + 3 * MAX_FETCHES)]
    source = Served({URL: leaf.pem, **dict.fromkeys(urls, b"<html>")})
    async with trusting(ours, source) as gateway:
        await gateway.read_webhook(signed(BODY, leaf))
        source.pause_seconds = 0.05
        flood = [asyncio.create_task(gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=url))) for url in urls]
        await asyncio.sleep(0.01)
        assert await gateway.read_webhook(signed(BODY, leaf)) == ()
        errors = [type(error) for error in await asyncio.gather(*flood, return_exceptions=True)]
    assert errors.count(WebhookNotAuthentic) == MAX_FETCHES
    assert errors.count(GatewayUnavailable) == len(urls) - MAX_FETCHES


async def test_a_flood_of_strangers_does_not_starve_an_address_that_was_proved(ours: Authority) -> None:
    """Unsigned posts cost nobody anything; the day on which PayPal's certificate must be fetched again is no worse."""
    leaf, clock = leaf_of(ours), Clock()
    urls = [f"{GOOD}/v1/notifications/certs/CERT-{number}" for number in range(100, 100 + MAX_FETCHES)]
    source = Served({URL: leaf.pem, **dict.fromkeys(urls, b"<html>")})
    async with trusting(ours, source, now=clock) as gateway:
        await gateway.read_webhook(signed(BODY, leaf))
        clock.advance(KEPT)
        source.pause_seconds = 60
        flood = [asyncio.create_task(gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=url))) for url in urls]
        for _ in urls:
            await asyncio.sleep(0)
        assert len(source.fetched) == 1 + MAX_FETCHES
        source.pause_seconds = 0
        assert await gateway.read_webhook(signed(BODY, leaf)) == ()
        with pytest.raises(GatewayUnavailable):
            await gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=f"{GOOD}/v1/notifications/certs/CERT-99"))
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert source.fetched.count(URL) == 2


@asynccontextmanager
async def over_http(of: Authority, behaviour: Behaviour) -> AsyncIterator[tuple[PayPal, str]]:
    """A gateway that fetches over a real socket, from a host that behaves so."""
    async with psp(behaviour) as origin:
        keys = credentials(origin, cert_hosts=[origin], trust_file=of.file, webhook_id=WEBHOOK_ID)
        async with gateway_at(keys) as gateway:
            yield gateway, origin + PATH


@pytest.mark.parametrize(("status", "taken"), [(200, True), (203, False), (206, False), (302, False), (404, False)])
async def test_a_certificate_comes_over_a_socket(ours: Authority, status: int, taken: bool) -> None:  # noqa: FBT001
    """In development from the sandbox over plain http; an answer that is no 200 is none, whatever its body holds."""
    leaf = leaf_of(ours)
    async with over_http(ours, answer(status, leaf.pem)) as (gateway, url):
        with nullcontext() if taken else pytest.raises(WebhookNotAuthentic):
            assert await gateway.read_webhook(signed(BODY, leaf, paypal_cert_url=url)) == ()


REFUSED_ANSWERS = {
    "301": answer(301, b"", headers=("Location: http://127.0.0.1:9/",)),
    "302": answer(302, b"", headers=("Location: https://api.sandbox.paypal.com/v1/notifications/certs/CERT-2",)),
    "401": answer(401),
    "403": answer(403),
    "404": answer(404, b'{"name":"RESOURCE_NOT_FOUND"}'),
    "204": answer(204),
    "html": answer(200, b"<html>"),
    "huge": answer(200, b"A" * (MAX_PEM_BYTES + 1)),
    "without end": unit_psp.drip_without_end,
}
NO_ANSWERS = {
    "500": answer(500),
    "503": answer(503, b"<html>"),
    "429": answer(429),
    "408": answer(408),
    "hung up": unit_psp.end_after_reading,
    "reset": unit_psp.reset_after_reading,
    "reset in the body": unit_psp.reset_in_the_body,
    "no http": unit_psp.raw(b"220 mail.example ESMTP\r\n"),
}


@pytest.mark.parametrize("name", REFUSED_ANSWERS)
async def test_an_answer_that_is_no_certificate_refuses_the_delivery(ours: Authority, name: str) -> None:
    """No redirect is followed, and nothing larger than a certificate is read."""
    async with over_http(ours, REFUSED_ANSWERS[name]) as (gateway, url):
        with pytest.raises(WebhookNotAuthentic):
            await gateway.read_webhook(signed(BODY, leaf_of(ours), paypal_cert_url=url))


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_no_answer_leaves_it_open(ours: Authority, name: str) -> None:
    """Never 401 and never 200: PayPal delivers again what was not answered."""
    async with over_http(ours, NO_ANSWERS[name]) as (gateway, url):
        with pytest.raises(GatewayUnavailable):
            await gateway.read_webhook(signed(BODY, leaf_of(ours), paypal_cert_url=url))


@pytest.mark.parametrize("behaviour", [unit_psp.hang, unit_psp.hang_in_the_body])
async def test_a_slow_host_is_given_up(ours: Authority, behaviour: Behaviour) -> None:
    """Within three seconds; here the caller has even less time."""
    async with over_http(ours, behaviour) as (gateway, url):
        with pytest.raises(GatewayUnavailable), deadline(0.1):
            await gateway.read_webhook(signed(BODY, leaf_of(ours), paypal_cert_url=url))


async def test_a_closed_port_leaves_it_open(ours: Authority) -> None:
    """Nobody listens."""
    with closed_port() as origin:
        keys = credentials(origin, cert_hosts=[origin], trust_file=ours.file, webhook_id=WEBHOOK_ID)
        async with gateway_at(keys) as gateway:
            with pytest.raises(GatewayUnavailable):
                await gateway.read_webhook(signed(BODY, leaf_of(ours), paypal_cert_url=origin + PATH))


async def test_closing_ends_a_fetch(ours: Authority) -> None:
    """A server that stops does not wait for PayPal."""
    source = Served({URL: b""}, pause_seconds=60)
    async with trusting(ours, source) as gateway:
        waiting = asyncio.create_task(gateway.read_webhook(signed(BODY, leaf_of(ours))))
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiting
