"""Whatever shops, payers, PSPs, operators, workers and crashes do in whatever order: no money is lost or doubled.

The service is the real one over a real database; its PSPs are in memory, and what their books say is the truth.
"""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from property_gateways import Keyed, Scripted
from property_psp import Fate, Order, Post, Progress, Returned
from property_service import REQUESTS, Home, Service, fingerprint

from conftest import NewDatabase
from qirsh.actions import PaymentAction
from qirsh.draft import DraftRequest, Kind, State
from qirsh.errors import CallerError, GatewayError, GatewayRejected, IdempotencyConflict, RequestInProgress
from qirsh.money import Money
from qirsh.store.refunds import RefundState
from qirsh.store.rows import Row

SEEDS: Final = (1, 2)
"""The same stories everywhere. A story that fails is printed by Hypothesis as code, in its shortest form."""
bounded: Final = settings(
    deadline=None,
    database=None,
    max_examples=200,
    stateful_step_count=20,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
QUIET_WITHIN: Final = 200
"""Times that something may come due after the last trouble: a few drafts, and refunds of each that take a week."""

LAPSED: Final = timedelta(seconds=20)
"""Longer than the claim of a process that died, and short beside every schedule."""

PAID: Final = frozenset({State.COMPLETED, State.PARTIALLY_REFUNDED, State.REFUNDED})
OPEN: Final = frozenset({State.PENDING, State.AWAITING_USER_ACTION})

KEYS = st.integers(0, 1).map(lambda number: f"key-of-a-shop-page-{number}")
FATES = st.lists(st.sampled_from(Fate), max_size=3)
BREAKS: Final = (Fate.SWALLOWED, Fate.LOST, Fate.DIES_BEFORE, Fate.DIES_AFTER)
"""After each of these nobody knows what the PSP did."""
DEATHS = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 8))
"""After how many statements our process dies."""
WHICH = st.integers(0, 7)
TIMES = st.sampled_from(
    [
        *(timedelta(seconds=10), timedelta(seconds=20), timedelta(minutes=2), timedelta(minutes=15)),
        *(timedelta(minutes=40), timedelta(hours=2), timedelta(days=1), timedelta(days=8)),
    ]
)


class Story(RuleBasedStateMachine):
    """Each rule is one act; each invariant holds after every one of them, and `teardown` asks what was left behind."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service
        self.service.race = self._race
        self.rows: dict[str, Row] = {}
        self.undecided: list[Any] = []
        self.paid: set[UUID] = set()
        self.drafts: dict[str, UUID] = {}
        self.actions: dict[str, PaymentAction] = {}
        self.refunds: dict[tuple[UUID, str], tuple[UUID, str | None]] = {}
        self.arrived: list[Post] = []

    @initialize(key=KEYS, request=st.sampled_from(REQUESTS), paid=st.sampled_from([True, True, False]))
    def begins(self, key: str, request: DraftRequest, paid: bool) -> None:  # noqa: FBT001
        """Most stories are about a payment that went well so far: left to chance, few ever get there."""
        self.what_is_completed_is_paid_and_announced_once()
        self._do(self._initiated(key, request), [], None)
        if paid:
            self.payer_whose_payment_is_told(0, [], None)

    # The shop.

    @rule(key=KEYS, request=st.sampled_from(REQUESTS), fates=FATES, death=DEATHS)
    def initiate(self, key: str, request: DraftRequest, fates: list[Fate], death: int | None) -> None:
        """With a new key, with the same again, or with the same key for something else."""
        self._do(self._initiated(key, request), fates, death)

    @rule(key=KEYS, request=st.sampled_from(REQUESTS), fate=st.sampled_from(Fate), fates=FATES, death=DEATHS)
    def initiate_until_the_claim_lapsed(
        self, key: str, request: DraftRequest, fate: Fate, fates: list[Fate], death: int | None
    ) -> None:
        """As a page does whose payer waits: something goes wrong, and the same key asks once more."""
        self._do(self._initiated(key, request), [Fate.WORKS, fate], death)
        self.service.clock.offset += LAPSED
        self._do(self._initiated(key, request), fates, None)

    @precondition(lambda self: self.rows)
    @rule(which=WHICH, cancelled=st.booleans(), fates=FATES, death=DEATHS)
    def return_of_the_browser(self, which: int, cancelled: bool, fates: list[Fate], death: int | None) -> None:  # noqa: FBT001
        """From the PSP to the draft's own address."""
        draft = _one(list(self.rows.values()), which).draft
        come_back = self.service.process.payments.come_back_to
        self._do(come_back(draft.gateway, draft.id, cancelled=cancelled), fates, death)

    # The payer, at the PSP.

    @precondition(lambda self: self._payable())
    @rule(which=WHICH, act=st.sampled_from(["pay", "pay", "pay", "decline", "end", "begin"]))
    def payer(self, which: int, act: str) -> None:
        """Pays or approves, is declined, gives up, or has begun and is not done."""
        gateway, order = _one(self._payable(), which)
        if act == "begin":
            order.busy = True
        else:
            getattr(gateway, act)(order)

    @precondition(lambda self: self._payable())
    @rule(which=WHICH, fates=FATES, death=DEATHS)
    def payer_whose_payment_is_told(self, which: int, fates: list[Fate], death: int | None) -> None:
        """Nothing unusual: pays, and the webhook comes at once."""
        gateway, order = _one(self._payable(), which)
        gateway.pay(order)
        self._do(self._delivered(self.service.posts[-1]), fates, death)

    # The PSP.

    @precondition(lambda self: self.service.posts)
    @rule(which=WHICH, fates=FATES, death=DEATHS)
    def webhook(self, which: int, fates: list[Fate], death: int | None) -> None:
        """One of those that are on their way, in any order. The PSP sends it again where we died over it."""
        self._do(self._delivered(_one(self.service.posts, which)), fates, death)

    @precondition(lambda self: self.arrived)
    @rule(which=WHICH, death=DEATHS)
    def webhook_again(self, which: int, death: int | None) -> None:
        """One that arrived before."""
        self._do(self._delivered(_one(self.arrived, which)), [], death)

    @precondition(lambda self: any(post.may_be_lost for post in self.service.posts))
    @rule(which=WHICH)
    def webhook_is_lost(self, which: int) -> None:
        """For ever; the books still tell."""
        self.service.posts.remove(_one([post for post in self.service.posts if post.may_be_lost], which))

    @precondition(lambda self: self._handed_out())
    @rule(which=WHICH, more=st.sampled_from([-1, 1, 30_000]))
    def webhook_of_another_amount(self, which: int, more: int) -> None:
        """Signed, and not what the draft costs. Somebody was told to pay it, else the books would know of it."""
        gateway, order = _one(self._handed_out(), which)
        fact = msgspec.structs.replace(
            gateway.posted(order, Kind.PAID),
            event_id=f"{order.id}:{more}",
            amount=Money(order.amount.amount_minor + more, "EGP"),
            payment_reference=f"{order.id}-other",
        )
        gateway.books.post(fact, may_be_lost=False)

    @precondition(lambda self: self._orders())
    @rule(which=WHICH, number=WHICH)
    def webhook_without_signature(self, which: int, number: int) -> None:
        """A hint, true or not."""
        gateway, order = _one(self._orders(), which)
        gateway.books.post(gateway.hint(order, f"{order.id}:hint:{number}"), may_be_lost=False)

    @precondition(lambda self: self._given_back(Progress.DONE) or self._given_back(Progress.PENDING))
    @rule(which=WHICH, fails=st.booleans())
    def refund_ends(self, which: int, fails: bool) -> None:  # noqa: FBT001
        """One that was accepted is done, or comes to nothing; one that was done comes to nothing after all."""
        pending = self._given_back(Progress.PENDING)
        gateway, order, refund = _one(pending or self._given_back(Progress.DONE), which)
        if fails or not pending:
            gateway.fail_refund(order, refund)
        else:
            gateway.finish_refund(order, refund)

    # The operator.

    @precondition(lambda self: self.rows)
    @rule(which=WHICH, key=KEYS, amount=st.sampled_from([None, "100", "100", "250.50"]), death=DEATHS)
    def refund(self, which: int, key: str, amount: str | None, death: int | None) -> None:
        """Through us, of whatever draft; the same key asks for the same refund."""
        self._do(self._refunded(_one(list(self.rows.values()), which).draft.id, key, amount), [], death)

    @precondition(lambda self: self._is_paid())
    @rule(
        which=WHICH,
        key=KEYS,
        amount=st.sampled_from(["100", "100", None, "250.50"]),
        fates=st.tuples(st.sampled_from([*[Fate.WORKS] * 20, *Fate]), st.sampled_from([*BREAKS, *BREAKS, *Fate])),
        time=TIMES,
        death=DEATHS,
    )
    def refund_that_a_worker_sends(
        self, which: int, key: str, amount: str | None, fates: tuple[Fate, Fate], time: timedelta, death: int | None
    ) -> None:
        """Of a payment, at once and once more later: the worker is woken by the request."""
        draft_id = _one(self._is_paid(), which)
        self._do(self._refunded(draft_id, key, amount), [], None)
        self._do(self.service.work(), list(fates), death)
        self.service.clock.offset += time
        self._do(self.service.work(), [], None)

    @precondition(lambda self: any(order.payment_id and order.left for _, order in self._orders()))
    @rule(which=WHICH, amount_minor=st.sampled_from([10_000, 7]))
    def refund_in_the_dashboard(self, which: int, amount_minor: int) -> None:
        """Behind our back."""
        gateway, order = _one([one for one in self._orders() if one[1].payment_id and one[1].left], which)
        gateway.refund_in_dashboard(order, min(amount_minor, order.left))

    @precondition(lambda self: self.undecided)
    @rule(which=WHICH, death=DEATHS)
    def decision(self, which: int, death: int | None) -> None:
        """A person looks into the dashboard, and says what is there about a refund that nobody else can decide."""
        self._do(self._decided(which), [], death)

    # Time, and our own processes.

    @rule(fates=FATES, death=DEATHS)
    def worker(self, fates: list[Fate], death: int | None) -> None:
        """Does whatever is due."""
        self._do(self.service.work(), fates, death)

    @rule(time=TIMES)
    def time_passes(self, time: timedelta) -> None:
        """For us and the PSPs."""
        self.service.clock.offset += time

    # What always holds.

    @invariant()
    def what_is_completed_is_paid_and_announced_once(self) -> None:
        """And stays so."""
        rows = self.service.run(self.service.rows())
        assert rows is not None
        self.rows = rows
        undecided = self.service.run(self.service.fetch("SELECT * FROM refunds WHERE state = 'review' ORDER BY id"))
        assert undecided is not None
        self.undecided = undecided
        paid = {row.draft.id for row in rows.values() if row.draft.state in PAID}
        assert self.paid <= paid
        self.paid = paid
        announced = self.service.run(
            self.service.fetch("SELECT draft_id FROM fulfilments WHERE kind = 'payment.completed'")
        )
        assert announced is not None
        assert sorted(record["draft_id"] for record in announced) == sorted(paid)
        for draft in (row.draft for row in rows.values() if row.draft.id in paid):
            order = self.service.gateways[draft.gateway].books.of_draft(draft.id)
            assert order is not None
            assert (order.payment_id, order.amount) == (draft.payment_reference, draft.amount)

    @invariant()
    def a_key_is_one_registration(self) -> None:
        """At all PSPs together, whatever was lost in between."""
        orders = Counter(order.draft_id for _, order in self._orders())
        assert all(count == 1 for count in orders.values())

    @invariant()
    def a_refund_goes_back_once(self) -> None:
        """And no row counts what never went back."""
        done = Counter(
            refund.ours
            for _, order in self._orders()
            for refund in order.refunds
            if refund.ours is not None and refund.progress is not Progress.FAILED
        )
        assert all(count == 1 for count in done.values())
        for draft in (row.draft for row in self.rows.values() if row.draft.refunded_minor):
            order = self.service.gateways[draft.gateway].books.of_draft(draft.id)
            assert order is not None
            ever = sum(one.amount_minor for one in order.refunds if one.progress is not Progress.PENDING)
            assert draft.refunded_minor <= ever

    def teardown(self) -> None:
        """No more trouble; once everything due is done, the books agree."""
        try:
            if sys.exc_info()[0] is None:  # otherwise something else has failed already
                self._ends_well()
        finally:
            self.service.end()

    def _ends_well(self) -> None:
        self.service.run(self._healed())
        self.what_is_completed_is_paid_and_announced_once()
        self.a_key_is_one_registration()
        self.a_refund_goes_back_once()
        refunds = self.service.run(self.service.fetch("SELECT * FROM refunds"))
        assert refunds is not None
        self._nothing_waits(refunds)
        self._the_books_agree({one["draft_id"] for one in refunds if one["state"] == RefundState.REVIEW})

    def _nothing_waits(self, refunds: list[Any]) -> None:
        assert not [row for row in self.rows.values() if row.draft.state in OPEN or row.claimed_by is not None]
        assert not [one for one in refunds if one["state"] in {RefundState.REQUESTED, RefundState.SENT}]

    def _the_books_agree(self, undecided: set[UUID]) -> None:
        drafts = {row.draft.id: row.draft for row in self.rows.values()}
        for _, order in self._orders():
            draft = drafts[order.draft_id]
            assert (draft.state in PAID) is (order.payment_id is not None)
            if not draft.needs_review and draft.id not in undecided:
                assert draft.refunded_minor == order.given_back

    async def _healed(self) -> None:
        for gateway, order in self._orders():
            if order.busy:
                gateway.decline(order)
        for gateway, order, refund in self._given_back(Progress.PENDING):
            gateway.finish_refund(order, refund)
        for _ in range(QUIET_WITHIN):
            while self.service.posts:
                await self._delivered(self.service.posts[0])
            due = await self.service.next_due()
            if due is None:
                return
            wait = due - self.service.clock.now() + timedelta(seconds=1)
            self.service.clock.offset += max(wait, LAPSED)
            await self.service.work()
        raise AssertionError(f"something is due for ever: {await self.service.next_due()}")

    async def _initiated(self, key: str, request: DraftRequest) -> None:
        known = self.rows.get(key)
        clashes = known is not None and known.fingerprint != fingerprint(request)
        try:
            answer = await self.service.initiate(key, request)
        except IdempotencyConflict:
            assert clashes
            return
        except GatewayRejected as error:
            draft_id, action = error.draft_id, None
        except (GatewayError, RequestInProgress):
            assert not clashes
            assert key not in self.actions, "an answer that was given is taken back"
            return
        else:
            draft_id, action = answer.row.draft.id, answer.row.draft.action
        assert not clashes
        assert draft_id is not None
        assert draft_id == self.drafts.setdefault(key, draft_id)
        if action is not None:
            self.actions.setdefault(key, action)
        assert action == self.actions.get(key)

    async def _refunded(self, draft_id: UUID, key: str, amount: str | None) -> None:
        try:
            refund, _ = await self.service.process.payments.refunder.request(draft_id, amount, "", key=key)
        except IdempotencyConflict:
            assert self.refunds[draft_id, key][1] != amount
        except CallerError:
            assert (draft_id, key) not in self.refunds
        else:
            assert (refund.id, amount) == self.refunds.setdefault((draft_id, key), (refund.id, amount))

    async def _decided(self, which: int) -> None:
        refund = _one(self.undecided, which)
        order = self.service.gateways[refund["gateway"]].books.of_draft(refund["draft_id"])
        assert order is not None
        found = [one for one in order.refunds if one.ours == refund["id"]]
        if not any(one.progress is Progress.PENDING for one in found):
            done = any(one.progress is Progress.DONE for one in found)
            refunder = self.service.process.payments.refunder
            await refunder.decide(refund["draft_id"], refund["id"], done=done, note="")

    async def _delivered(self, post: Post) -> None:
        await self.service.process.payments.receive(self.service.letters.write(post), None)
        if post in self.service.posts:
            self.service.posts.remove(post)
            self.arrived.append(post)

    async def _race(self, fate: Fate, draft_id: UUID) -> None:
        if fate is Fate.PAYER_FIRST:
            for gateway, order in self._payable():
                if order.draft_id == draft_id:
                    gateway.pay(order)
        if fate in {Fate.PAYER_FIRST, Fate.WEBHOOKS_FIRST}:
            for post in list(self.service.posts):
                await self._delivered(post)
        elif fate is Fate.WORKER_MEANWHILE:
            await self.service.work()
        else:
            for key, row in (await self.service.rows()).items():
                if row.draft.id == draft_id:
                    asked = next(one for one in REQUESTS if one.method is row.draft.request.method)
                    await self._initiated(key, asked)

    def _do(self, act: Coroutine[Any, Any, Any], fates: list[Fate], death: int | None) -> None:
        self.service.script.fates = deque(fates)
        self.service.process.pool.statements_left = death
        self.service.run(act)
        self.service.script.fates.clear()
        self.service.process.pool.statements_left = None

    def _orders(self) -> list[tuple[Scripted, Order]]:
        return [(one, order) for one in self.service.gateways.values() for order in one.books.orders]

    def _payable(self) -> list[tuple[Scripted, Order]]:
        """What a payer can reach: beta's page is known to those alone whom we sent there."""
        handed_out = self._handed_out()
        return [
            (gateway, order)
            for gateway, order in self._orders()
            if gateway.books.is_payable(order) and (gateway.books.name != "beta" or (gateway, order) in handed_out)
        ]

    def _is_paid(self) -> list[UUID]:
        return [row.draft.id for row in self.rows.values() if row.draft.state in PAID]

    def _handed_out(self) -> list[tuple[Scripted, Order]]:
        drafts = {self.drafts[key] for key in self.actions}
        return [(gateway, order) for gateway, order in self._orders() if order.draft_id in drafts]

    def _given_back(self, progress: Progress) -> list[tuple[Keyed, Order, Returned]]:
        """The refunds at PSPs that tell of them by name."""
        return [
            (gateway, order, refund)
            for gateway, order in self._orders()
            if isinstance(gateway, Keyed)
            for refund in order.refunds
            if refund.progress is progress
        ]


def _one(choices: list[Any], which: int) -> Any:
    return choices[which % len(choices)]


@pytest.fixture(scope="module")
def home(new_database: NewDatabase) -> Iterator[Home]:
    """One database for all stories: each begins with it empty."""
    home = Home(asyncio.run(new_database()))
    yield home
    home.close()


@pytest.mark.timeout(600)  # a story that fails is told again and again, until it is short
@pytest.mark.parametrize("number", SEEDS)
def test_no_money_is_lost_doubled_or_made_up(home: Home, number: int) -> None:
    """Crash tests and fault tests tell the stories that somebody thought of; here are those that nobody did."""
    # Hypothesis takes whatever makes a machine, and its type says less than its docstring.
    story: Any = seed(number)(lambda: Story(home.service()))
    run_state_machine_as_test(story, settings=bounded)
