"""The adapters' refunds against the sandbox, over real sockets: what goes back, once, and what look-ups tell of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jsonschema
import msgspec
import pytest

from qirsh.actions import RedirectUrl
from qirsh.draft import DraftRequest, GatewayEvent, Kind, Payer, PaymentDraft, State, apply
from qirsh.errors import GatewayOutcomeUnknown, GatewayRejected
from qirsh.gateways.base import Gateway, RefundOrder, Surroundings
from qirsh.gateways.paymob import Credentials as PaymobCredentials
from qirsh.gateways.paymob import Paymob
from qirsh.gateways.paypal import Credentials as PayPalCredentials
from qirsh.gateways.paypal import PayPal
from qirsh.gateways.paypal.requests import refund_request
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.store.connection import new_id
from qirsh_sandbox import SandboxConfig, credentials, start

OPENAPI = Path(__file__).resolve().parents[3] / "shared" / "openapi" / "paypal" / "payments_payment_v2.json"
AMOUNTS = {"paymob": Money(30_000, "EGP"), "paypal": Money(30_000, "USD")}
METHODS = {"paymob": Method.CARD, "paypal": Method.PAYPAL}
BOTH = pytest.mark.parametrize("psp", ["paymob", "paypal"])


class Shop(NamedTuple):
    """A gateway, the draft that it was paid for, and the sandbox's control plane."""

    gateway: Gateway
    draft: PaymentDraft
    control: httpx.AsyncClient

    async def refund(self, amount_minor: int, order: RefundOrder | None = None) -> list[GatewayEvent]:
        """Give back this much, or what this refund says once more."""
        order = order or self.order(amount_minor)
        return list(await self.gateway.refund(order, key=str(order.id)))

    def order(self, amount_minor: int, draft: PaymentDraft | None = None) -> RefundOrder:
        """A refund of that much."""
        return RefundOrder(new_id(), draft or self.draft, amount_minor, "Wrong size")

    async def looked_up(self, draft: PaymentDraft | None = None) -> PaymentDraft:
        """The draft as a look-up leaves it."""
        draft = draft or self.draft
        for event in (await self.gateway.lookup(draft)).events:
            draft = apply(draft, event).draft
        return draft

    async def act(self, act: str, **more: Any) -> None:
        """Let the payer, the merchant in the dashboard, or the PSP act."""
        command = {"merchant_reference": str(self.draft.id), "act": act, **more}
        (await self.control.post("/__sandbox/payer", json=command)).raise_for_status()

    async def lose(self, kind: str) -> None:
        """Break the next refund."""
        fault = {"psp": self.draft.gateway, "operation": "refund", "kind": kind, "times": 1}
        (await self.control.post("/__sandbox/faults", json=fault)).raise_for_status()

    async def went_back(self) -> int:
        """What really went back, in minor units."""
        (row,) = (await self.control.get("/__sandbox/ledger")).json()
        refunded: int = row["refunded_minor"]
        return refunded


@asynccontextmanager
async def shop_at(psp: str, folder: Path) -> AsyncIterator[Shop]:
    """A draft that was paid at the sandbox, as its look-up left it."""
    sandbox = await start(SandboxConfig(state_file=folder / "sandbox.sqlite3", port=0))
    url = f"http://127.0.0.1:{sandbox.port}"
    keys, around = credentials(url, folder)[psp], Surroundings("http://localhost:1", dev=True, now=_now)
    gateway: Gateway = (
        Paymob(PaymobCredentials.model_validate(keys), around)
        if psp == "paymob"
        else PayPal(PayPalCredentials.model_validate(keys), around)
    )
    try:
        async with httpx.AsyncClient(base_url=url) as control:
            shop = Shop(gateway, _new(psp), control)
            shop = shop._replace(draft=await _paid(shop))
            yield shop
    finally:
        await gateway.aclose()
        await sandbox.stop()


def _new(psp: str) -> PaymentDraft:
    request = DraftRequest(product_id="tshirt", amount="300.00", method=METHODS[psp], payer=Payer(name="Sara Hassan"))
    return PaymentDraft(new_id(), psp, AMOUNTS[psp], request, _now(), _now() + timedelta(hours=1))


async def _paid(shop: Shop) -> PaymentDraft:
    registration = await shop.gateway.register(shop.draft, key=str(new_id()))
    assert isinstance(registration.action, RedirectUrl)
    draft = msgspec.structs.replace(
        shop.draft,
        state=State.AWAITING_USER_ACTION,
        transaction_reference_id=registration.transaction_reference_id,
        action=registration.action,
    )
    await shop.act("pay")
    if isinstance(shop.gateway, PayPal):
        await shop.gateway.capture(draft, key=str(new_id()))
    draft = await shop.looked_up(draft)
    assert draft.state is State.COMPLETED
    return draft


def _now() -> datetime:
    return datetime.now(UTC)


@BOTH
async def test_parts_go_back_until_nothing_is_left(psp: str, tmp_path: Path) -> None:
    """Each answer tells the total, each look-up the same, and more than there is is refused with advice."""
    async with shop_at(psp, tmp_path) as shop:
        draft = shop.draft
        for amount, total, state in ((10_000, 10_000, State.PARTIALLY_REFUNDED), (20_000, 30_000, State.REFUNDED)):
            with pytest.raises(GatewayRejected, match="reconcile the draft"):
                await shop.refund(0, shop.order(30_001 - draft.refunded_minor, draft))
            order = shop.order(amount, draft)
            (event,) = await shop.refund(0, order)
            assert (event.kind, event.refund_id) == (Kind.REFUNDED, order.id)
            after = apply(draft, event).draft
            assert (after.refunded_minor, after.state) == (total, state)
            assert await shop.looked_up(draft) == after
            draft = after
        assert await shop.went_back() == 30_000
        with pytest.raises(GatewayRejected):
            await shop.refund(1)


@BOTH
async def test_a_dashboard_refund_beside_ours_is_in_the_total(psp: str, tmp_path: Path) -> None:
    """The merchant may refund behind the server's back, before and after."""
    async with shop_at(psp, tmp_path) as shop:
        await shop.act("refund", amount_minor=5_000)
        (event,) = await shop.refund(10_000)
        await shop.act("refund", amount_minor=2_500)
        assert (await shop.looked_up()).refunded_minor == 17_500
        found = (await shop.gateway.lookup(shop.draft)).events
        ours = [one.refund_id for one in found if one.refund_id is not None]
        assert ours == ([] if psp == "paymob" else [event.refund_id])


@pytest.mark.parametrize("kind", ["reset_after_accept", "error_after_accept"])
@BOTH
async def test_a_lost_answer_gives_back_once(psp: str, kind: str, tmp_path: Path) -> None:
    """PayPal's key tells what the first request did; at Paymob the total does, and nothing is sent again."""
    async with shop_at(psp, tmp_path) as shop:
        order = shop.order(10_000)
        await shop.lose(kind)
        with pytest.raises(GatewayOutcomeUnknown):
            await shop.refund(0, order)
        assert await shop.went_back() == 10_000
        row = await shop.looked_up()
        assert row.refunded_minor == 10_000
        if psp == "paypal":
            (event,) = await shop.refund(0, RefundOrder(order.id, row, order.amount_minor, order.reason))
            assert (event.refund_id, event.amount) == (order.id, Money(10_000, "USD"))
        assert await shop.went_back() == 10_000


@pytest.mark.parametrize(("act", "total"), [("release", 10_000), ("deny", 0)])
@BOTH
async def test_a_refund_that_waits_is_told_when_it_ends(psp: str, act: str, total: int, tmp_path: Path) -> None:
    """Nothing counts before, and a look-up meanwhile says nothing of it."""
    async with shop_at(psp, tmp_path) as shop:
        await shop.act("review")
        order = shop.order(10_000)
        assert await shop.refund(0, order) == []
        assert await shop.looked_up() == shop.draft
        await shop.act(act)
        assert (await shop.looked_up()).refunded_minor == total
        if psp == "paypal":
            (event,) = await shop.refund(0, order)
            assert event.kind is (Kind.REFUNDED if total else Kind.REFUND_FAILED)
            told = [one for one in (await shop.gateway.lookup(shop.draft)).events if one.refund_id == order.id]
            assert [one.kind for one in told] == [event.kind]


async def test_a_refund_that_fails_after_it_was_done_takes_the_total_down(tmp_path: Path) -> None:
    """The payer has not got the money: what stays given back is the rest, and a person must look."""
    async with shop_at("paypal", tmp_path) as shop:
        (first,) = await shop.refund(10_000)
        row = apply(shop.draft, first).draft
        (second,) = await shop.refund(0, shop.order(20_000, row))
        row = apply(row, second).draft
        assert row.state is State.REFUNDED
        await shop.act("deny")
        row = await shop.looked_up(row)
        assert (row.state, row.refunded_minor, row.needs_review) == (State.PARTIALLY_REFUNDED, 10_000, True)


async def test_a_refund_that_paymob_takes_and_that_fails_is_told_so(tmp_path: Path) -> None:
    """A child that did not succeed: nothing went back, and nothing is left to ask."""
    async with shop_at("paymob", tmp_path) as shop:
        await shop.act("deny")
        (event,) = await shop.refund(10_000)
        assert (event.kind, event.amount) == (Kind.REFUND_FAILED, Money(0, "EGP"))
        assert await shop.went_back() == 0


@pytest.mark.skipif(not OPENAPI.is_file(), reason="the shared folder is not beside this checkout")
@pytest.mark.parametrize("reason", ["", "Wrong\nsize", "ت" * 400])
def test_a_refund_fits_paypals_own_schema(reason: str) -> None:
    """Judged by PayPal's OpenAPI file, as orders are."""
    root = json.loads(OPENAPI.read_text("utf-8"))
    schema = {"$ref": "#/components/schemas/refund_request", "components": root["components"]}
    body = refund_request(RefundOrder(new_id(), _new("paypal"), 1_050, reason))
    jsonschema.Draft4Validator(schema).validate(body)
    assert body["amount"] == {"currency_code": "USD", "value": "10.50"}
