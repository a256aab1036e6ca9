"""A worker freezes in the middle of a call, past its lease, and wakes with an answer that is old news by then."""

import signal
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from flow_books import REQUESTS, command, lose_webhooks

from wire import Kept, Wire, over, wired
from world import OPERATOR_KEY, QIRSH, TLS, Process, World, a_request, eventually, system

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
FIRST_LOOKUP: Final = 125
"""Seconds until a new payment is asked about, and until a refund is looked into."""
EVER: Final = ("--since", "2000-01-01")


@dataclass
class Ground:
    """Two workers whose every call goes over the wire, and a server that says what is asked of it."""

    world: World
    wire: Wire
    first: Process
    second: Process
    looked: bool = False

    async def begun(self, psp: str) -> str:
        """A payment that waits for its payer."""
        answer = await self.world.initiate(**a_request(**REQUESTS[psp]))
        return str(answer.json()["paymentDraftId"])

    async def paid(self, psp: str) -> str:
        """A payment that is completed, and not by a worker."""
        draft_id = await self.begun(psp)
        await self.world.act(draft_id, "pay")
        asked = await self.world.client.post(f"{self.world.api}/api/payments/{draft_id}/reconcile", headers=KEYED)
        assert asked.json()["status"] == "completed", asked.text
        return draft_id

    async def look_ups(self) -> None:
        """Let the first look-ups come due, once: what is in hand by then must not come due again."""
        if not self.looked:
            self.looked = True
            await self.world.advance(FIRST_LOOKUP)

    def freeze(self, worker: Process) -> None:
        """Stop it in its tracks, as a machine that swaps or a container that is paused."""
        worker.process.send_signal(signal.SIGSTOP)

    def thaw(self, worker: Process) -> None:
        """Let it go on as if nothing had been."""
        worker.process.send_signal(signal.SIGCONT)


@dataclass
class Work:
    """One kind of work, up to the answer that its worker does not hear, and what must be true in the end."""

    ground: Ground
    path: str
    """Where its call goes."""
    draft_id: str = ""
    kept: Kept = field(default_factory=lambda: Kept(""))

    async def prepared(self) -> None:
        """Everything that comes before the call."""

    async def begin(self) -> None:
        """Make the call due."""

    async def meanwhile(self) -> None:
        """What the world does while the worker is frozen."""

    async def done(self) -> bool:
        """Whether somebody has finished it."""
        return await self.ground.world.state(self.draft_id) == "completed"

    async def assert_right(self) -> None:
        """Nothing was done twice, and nothing was taken back."""
        await assert_books(self.ground.world, self.draft_id, ["payment.completed"])

    def keep(self) -> None:
        """Keep the answer to its call."""
        self.kept = self.ground.wire.keep(self.path)

    async def in_hand(self) -> None:
        """Wait until the other side has done its part, and nobody has heard of it."""
        await self.begin()
        await eventually(self._given, f"{type(self).__name__}: the answer")

    async def _given(self) -> bool:
        return self.kept.given.is_set()


class LookUp(Work):
    """It was told that nobody has paid, of a payment that is over by our clock; then the payer pays."""

    async def prepared(self) -> None:
        """A payment whose life ends soon here, and later at the PSP."""
        self.draft_id = await self.ground.begun("paymob")
        end = "UPDATE payment_drafts SET expires_at = created_at + interval '1 minute' WHERE id = $1"
        await self.ground.world.fetchval(end, uuid.UUID(self.draft_id))

    async def begin(self) -> None:
        """The first look-up."""
        await self.ground.look_ups()

    async def meanwhile(self) -> None:
        """At the last moment, as payers do."""
        await self.ground.world.act(self.draft_id, "pay")


class Capture(Work):
    """PayPal took the money of an approval that a look-up had found."""

    async def prepared(self) -> None:
        """Approved, and nobody was told."""
        self.draft_id = await self.ground.begun("paypal")
        await self.ground.world.act(self.draft_id, "pay")

    async def begin(self) -> None:
        """The look-up that finds the approval."""
        await self.ground.look_ups()


class Refund(Work):
    """The PSP gave the money back."""

    psp = "paymob"

    async def prepared(self) -> None:
        """A payment, of which the shop has heard."""
        self.draft_id = await self.ground.paid(self.psp)
        await eventually(lambda: delivered(self.ground.world, self.draft_id), "the announcement")

    async def begin(self) -> None:
        """An operator asks for all of it."""
        url = f"{self.ground.world.api}/api/payments/{self.draft_id}/refunds"
        asked = await self.ground.world.client.post(
            url, json={}, headers={**KEYED, "idempotency-key": str(uuid.uuid4())}
        )
        assert asked.status_code == 202, asked.text

    async def meanwhile(self) -> None:
        """Until a refund that was sent is looked into."""
        await self.ground.world.advance(FIRST_LOOKUP)

    async def done(self) -> bool:
        """Whether it is known what became of it."""
        refunds = (await self.ground.world.payment(self.draft_id))["refunds"]
        return [one["status"] for one in refunds] == ["succeeded"]

    async def assert_right(self) -> None:
        """Given back once, and told once."""
        await assert_books(self.ground.world, self.draft_id, ["payment.completed", "payment.refunded"])


class KeyedRefund(Refund):
    """The same at a PSP that may be asked again with the refund's key."""

    psp = "paypal"


class Announcement(Work):
    """The shop has taken it."""

    async def begin(self) -> None:
        """A payment."""
        self.draft_id = await self.ground.paid("paymob")

    async def done(self) -> bool:
        """Whether it counts as delivered."""
        return await delivered(self.ground.world, self.draft_id)

    async def assert_right(self) -> None:
        """Told twice, under one id, by which the shop knows that it is one."""
        await super().assert_right()
        told = self.ground.world.shop.of(self.draft_id)
        assert (len(told), len({headers["webhook-id"] for headers, _ in told})) == (2, 1)


MakeWork = Callable[[Ground], Work]

KINDS: Final[dict[str, MakeWork]] = {
    "look-up": lambda ground: LookUp(ground, "transaction_inquiry"),
    "capture": lambda ground: Capture(ground, "/capture"),
    "refund at Paymob": lambda ground: Refund(ground, "/void_refund/refund"),
    "refund at PayPal": lambda ground: KeyedRefund(ground, "/refund"),
    "announcement": lambda ground: Announcement(ground, "/fulfilments"),
}


@pytest.fixture
async def ground(tmp_path: Path, database_url: str) -> AsyncIterator[Ground]:
    """A system whose PSPs tell nothing by themselves, with two workers, of which the second is asleep."""
    with system(tmp_path, database_url, works=False) as running:
        async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
            world = replace(running, client=client)
            await world.put_product("tshirt", prices={"EGP": "300.00", "USD": "10.00"})
            await lose_webhooks(world)
            async with wired(world) as wire:
                environment = {"QIRSH_CONFIG": str(over(wire, world))}
                workers = [Process(QIRSH, "worker", environment=environment) for _ in range(2)]
                try:
                    for worker in workers:
                        worker.wait_ready()
                    ready = Ground(world, wire, first=workers[0], second=workers[1])
                    await eventually(lambda: at_rest(world), "the daily work to be done: none of it is frozen half way")
                    ready.freeze(ready.second)
                    yield ready
                finally:
                    for worker in workers:
                        worker.stop(signal.SIGKILL)


async def at_rest(world: World) -> bool:
    """Whether what workers do on their first day is done."""
    done = await world.fetchval("SELECT bool_and(next_check_at > now() + interval '12 hours') FROM daily_work")
    return bool(done) and not await world.fetchval("SELECT count(*) FROM pgqueuer.pgqueuer")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_a_frozen_worker_hears_late_changes_nothing(ground: Ground, kind: str) -> None:
    """Another worker has finished what it had in hand; what it then believes to know is not true any more."""
    work = KINDS[kind](ground)
    await work.prepared()
    work.keep()
    await work.in_hand()
    ground.freeze(ground.first)
    await work.meanwhile()

    await lapse(ground)
    ground.thaw(ground.second)
    await eventually(work.done, "the other worker to finish it")
    work.kept.let_go.set()
    await wakes_and_works(ground)

    await work.assert_right()
    await assert_no_contradiction(ground.world)


async def test_a_worker_that_was_frozen_for_longer_than_its_lease_does_no_harm_with_all_that_it_had_in_hand(
    ground: Ground,
) -> None:
    """Nothing is hastened here: its jobs go to another when it has been silent for half a minute, and its calls end."""
    works = [make(ground) for make in KINDS.values()]
    for work in works:
        await work.prepared()
    for work in works:
        work.keep()  # all before any begins: what makes one due makes others due as well
    for work in works:
        await work.in_hand()
    ground.freeze(ground.first)
    for work in works:
        await work.meanwhile()

    ground.thaw(ground.second)
    for work in works:
        await eventually(work.done, f"{type(work).__name__} finished by the other worker", 75)
        work.kept.let_go.set()
    await wakes_and_works(ground)

    for work in works:
        await work.assert_right()
    await assert_no_contradiction(ground.world)


async def lapse(ground: Ground) -> None:
    """Let the lease end, and let the queue believe that as much time has passed since it heard of the frozen one."""
    await ground.world.fetchval("UPDATE pgqueuer.pgqueuer SET heartbeat = heartbeat - interval '61 s'")
    await ground.world.advance(61)


async def wakes_and_works(ground: Ground) -> None:
    """Wake the frozen worker, and see it do something new: by then it has done all that it was in the middle of."""
    ground.freeze(ground.second)
    ground.thaw(ground.first)
    draft_id = await ground.begun("paymob")
    await ground.world.act(draft_id, "pay")
    await ground.world.advance(FIRST_LOOKUP)
    await ground.world.becomes(draft_id, "completed")
    ground.thaw(ground.second)


async def delivered(world: World, draft_id: str) -> bool:
    """Whether the shop is known to have been told that it was paid."""
    query = "SELECT state = 'delivered' FROM fulfilments WHERE draft_id = $1 AND draft_version = 0"
    return bool(await world.fetchval(query, uuid.UUID(draft_id)))


async def assert_books(world: World, draft_id: str, told: list[str]) -> None:
    """The PSP's ledger and our books tell of one payment, and of as much money back."""
    payment: dict[str, Any] = await world.payment(draft_id)
    ledger = await world.ledger(draft_id)
    assert ledger is not None
    back = ledger["refunded_minor"]
    assert (ledger["registered"], ledger["paid_minor"]) == (1, ledger["amount_minor"])
    assert (payment["status"], back) in {("completed", 0), ("refunded", ledger["paid_minor"])}
    paid = [one for one in payment["journal"] if one["event"]["kind"] == "paid" and one["verdict"] == "applied"]
    assert len(paid) == 1
    assert not payment["needs_review"]
    kinds = "SELECT array_agg(kind ORDER BY draft_version) FROM fulfilments WHERE draft_id = $1"
    assert await world.fetchval(kinds, uuid.UUID(draft_id)) == told


async def assert_no_contradiction(world: World) -> None:
    """The journal tells what the rows are, and so do the PSPs' books."""
    for asked in (("journal", "verify"), ("reconcile", "--dry-run", *EVER)):
        assert await command(world, *asked) == (0, "nothing differs\n"), asked
