"""A PSP that is down: after a few failures nobody waits for it any more, and it is found well again by one try."""

import re
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from qirsh.actions import RedirectUrl
from qirsh.breaker import FAILURES, OPEN_SECONDS
from qirsh.catalog import Product
from qirsh.clock import Clock
from qirsh.draft import DraftRequest, GatewayEvent, PaymentDraft, State
from qirsh.errors import GatewayError, GatewayOutcomeUnknown, GatewayUnavailable
from qirsh.gateways.base import Delivery, Hint, Lookup, Profile, RefundOrder, Registration, SignaturePlace, Standing
from qirsh.methods import Method
from qirsh.payments import Initiated, Payments
from qirsh.routing import PaymentMethodRouter
from qirsh.store.connection import Pool, connect_pool
from qirsh.store.store import Store
from world import World, a_request, eventually, free_port, problem_of, serving, write_config

OPEN: Final = timedelta(seconds=OPEN_SECONDS)


@dataclass
class Psp:
    """A gateway whose PSP is well, or fails as told."""

    name: str
    fails: type[GatewayError] | None = None
    asked: list[uuid.UUID] = field(default_factory=list)

    @property
    def profile(self) -> Profile:
        """It takes cards in pounds."""
        return Profile(
            name=self.name,
            methods=frozenset({Method.CARD}),
            currencies=frozenset({"EGP"}),
            signature_place=SignaturePlace("header", f"{self.name}-signature"),
            found_by="merchant_reference",
        )

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  the protocol's
        """Register, or fail."""
        self.asked.append(draft.id)
        if self.fails is not None:
            raise self.fails
        return Registration(f"{self.name}-{draft.id}", RedirectUrl("https://psp.example/pay", "redirect"))

    async def lookup(self, draft: PaymentDraft) -> Lookup:  # noqa: ARG002  as above
        """It never heard of anything."""
        return Lookup(Standing.UNKNOWN)

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Nobody asks for it here."""
        raise NotImplementedError

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """As above."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""


class Unheard:
    """Nobody waits for changes here."""

    def draft(self, draft_id: uuid.UUID) -> None:
        """Nobody waits."""

    def due(self) -> None:
        """Nobody works."""


@dataclass
class Shop:
    """The verbs over two PSPs, the first of which is asked first."""

    first: Psp
    second: Psp
    clock: Clock
    payments: Payments

    async def initiate(self, key: str | None = None) -> Initiated:
        """A card payment."""
        request = DraftRequest(product_id="tshirt", amount="300", method=Method.CARD, currency="EGP")
        return await self.payments.initiate(request, key=key or str(uuid.uuid4()), fingerprint=b"f" * 32, admit=admit)


async def admit() -> None:
    """There is room for everybody."""


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Shop]:
    """Two PSPs, over a database of the test's own."""
    first, second = Psp("paymob"), Psp("newcomer")
    clock, pool = Clock(), Pool(await connect_pool(database_url))
    store = Store(pool, clock)
    await store.products.put(Product("tshirt", {"en": "T-shirt"}, {"EGP": 30000}, purchasable=True))
    router = PaymentMethodRouter([first.profile, second.profile])
    gateways = {psp.name: psp for psp in (first, second)}
    try:
        yield Shop(first, second, clock, Payments(store, gateways, router, clock, Unheard()))
    finally:
        await pool.aclose()


async def test_while_it_is_open_the_next_gateway_is_asked_at_once(two: Shop) -> None:
    """Nothing was sent, so another gateway may have the draft; without this each payer first waits for the first."""
    two.first.fails = GatewayUnavailable
    for _ in range(FAILURES):
        assert (await two.initiate()).row.draft.gateway == "newcomer"
    assert len(two.first.asked) == FAILURES

    for _ in range(3):
        draft = (await two.initiate()).row.draft
        assert (draft.gateway, draft.state) == ("newcomer", State.AWAITING_USER_ACTION)
        assert draft.id not in two.first.asked

    two.first.fails = None
    two.clock.offset += OPEN
    assert [(await two.initiate()).row.draft.gateway for _ in range(2)] == ["paymob", "paymob"]


async def test_a_draft_in_doubt_waits_for_its_own_gateway(two: Shop) -> None:
    """The PSP may have it: sent to another as well, its payer could pay twice."""
    key = str(uuid.uuid4())
    two.first.fails = GatewayOutcomeUnknown
    doubtful = (await two.initiate(key)).row.draft
    for _ in range(FAILURES - 1):
        assert (await two.initiate()).row.draft.in_doubt
    asked = len(two.first.asked)

    again = (await two.initiate(key)).row.draft

    assert (again.id, again.gateway, again.state, again.in_doubt) == (doubtful.id, "paymob", State.PENDING, True)
    assert len(two.first.asked) == asked
    assert not two.second.asked
    assert (await two.initiate()).row.draft.gateway == "newcomer"

    two.first.fails = None
    two.clock.offset += OPEN
    finished = (await two.initiate(key)).row.draft
    assert (finished.gateway, finished.state) == ("paymob", State.AWAITING_USER_ACTION)


async def test_when_every_gateway_is_down_nothing_is_sent_and_the_same_key_works_later(two: Shop) -> None:
    """503 in a moment instead of after ten seconds."""
    two.first.fails = two.second.fails = GatewayUnavailable
    for _ in range(FAILURES):
        with pytest.raises(GatewayUnavailable):
            await two.initiate()
    asked, key = (len(two.first.asked), len(two.second.asked)), str(uuid.uuid4())
    with pytest.raises(GatewayUnavailable, match="was not asked") as refused:
        await two.initiate(key)
    assert 0 < (refused.value.retry_after_seconds or 0) <= OPEN_SECONDS
    assert (len(two.first.asked), len(two.second.asked)) == asked

    two.first.fails = two.second.fails = None
    two.clock.offset += OPEN
    assert (await two.initiate(key)).row.draft.state is State.AWAITING_USER_ACTION


async def test_a_paymob_that_resets_is_left_alone_and_found_well_again(world: World, tmp_path: Path) -> None:
    """The whole of it over HTTP, as an operator sees it in the metrics."""
    with serving(config_like(world, tmp_path)) as server:
        here = replace(world, api=server.api)
        await world.fault("register", "reset", times=FAILURES, path="orders")
        doubtful = [await here.initiate() for _ in range(FAILURES)]
        assert {answer.status_code for answer in doubtful} == {202}
        assert await breakers(here) == {"closed": 0, "open": 1, "half_open": 0}

        request = a_request()
        refused = await here.initiate(**request)

        assert problem_of(refused, 503, "gateway_unavailable")["retry"] == "same_key"
        assert 0 < int(refused.headers["retry-after"]) <= OPEN_SECONDS
        draft_id = await world.fetchval(
            "SELECT id FROM payment_drafts WHERE idempotency_key = $1", request["idempotency_key"]
        )
        assert await world.ledger(str(draft_id)) is None

        await world.advance(OPEN_SECONDS)

        async def taken() -> str | None:
            answer = await here.initiate(**request)
            assert answer.status_code in {201, 503}, answer.text
            return answer.json()["paymentDraftId"] if answer.status_code == 201 else None

        # The server follows the sandbox's clock a quarter of a second behind.
        assert await eventually(taken, "the try that finds Paymob well") == str(draft_id)
        assert await breakers(here) == {"closed": 1, "open": 0, "half_open": 0}


async def test_a_paymob_that_refuses_connections_is_answered_for_at_once(world: World, tmp_path: Path) -> None:
    """Connection refused is certain: nothing was sent, before it opens and after."""
    nowhere = {"base_url": f"http://127.0.0.1:{free_port()}"}
    with serving(config_like(world, tmp_path, paymob=nowhere)) as server:
        here = replace(world, api=server.api)
        for _ in range(FAILURES + 2):
            problem_of(await here.initiate(), 503, "gateway_unavailable")
        assert await breakers(here) == {"closed": 0, "open": 1, "half_open": 0}


def config_like(world: World, folder: Path, **more: Any) -> Path:
    """A configuration like the world's, for a server whose breakers are its own."""
    return write_config(
        folder / "qirsh.toml",
        database_url=world.database_url,
        api=world.api,
        sandbox=world.sandbox,
        shop_url=world.shop.url,
        **more,
    )


async def breakers(world: World) -> dict[str, float]:
    """What the metrics say of Paymob's breaker."""
    text = (await world.client.get(f"{world.api}/metrics")).text
    found = re.findall(r'^qirsh_gateway_breaker\{gateway="paymob",state="(\w+)"\} ([\d.]+)$', text, re.MULTILINE)
    return {state: float(value) for state, value in found}
