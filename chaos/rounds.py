"""A run: round after round of payments under some kinds of trouble, healed and recovered from before the next."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Final

from chaos.clockwork import jump, quiet, until
from chaos.evidence import completed
from chaos.faults import EXCLUSIVE, KINDS
from chaos.plan import Purchase, purchases
from chaos.refunds import RefundDesk
from chaos.shop import Sale, Shop
from chaos.system import System

MIXED: Final = "mixed"
MIX: Final = (3, 6)
"""How many kinds at once."""
RECOVER_SECONDS: Final = 300.0
"""Real time, in which what was paid must be known; what is not is a promise that was not kept."""
PER_SECOND: Final = 30
"""Payers, at most: about what two cores serve with everything on them."""
LINGER_SECONDS: Final = 5.0
"""How long trouble stays when everybody has come: a page that got stuck in it must be able to end."""
PAST_EXPIRY_SECONDS: Final = 3_700
"""Between rounds, so that those who are late meet drafts that have expired."""


@dataclass
class Round:
    """One round, and what came of it."""

    name: str
    kinds: Sequence[str]
    payments: int
    seconds: float
    """In which all payers come."""
    sales: list[Sale] = field(default_factory=list)
    injected: dict[str, int] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    """At which steps processes died."""
    healed_at: float = 0.0
    """By the PSPs' clock, in seconds since the epoch."""
    recovered_after: list[float] = field(default_factory=list)
    """Seconds, by the PSPs' clock, from the payer's act to the completed draft; from the healing where that came later
    and the draft had to wait for it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run should be, before anything is drawn."""

    kinds: Sequence[str]
    payments: int
    mixes: int
    alone: bool = True
    """Whether each kind comes alone first."""
    least_seconds: float = 0.0
    """What a round lasts at least; what its kinds need unless told."""
    given: Sequence[Sequence[str]] = ()
    """The mixes, where they are not to be drawn."""
    recovers: bool = True
    """Whether what was paid must be known after each round, and not only after the last."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of: each kind alone, and then mixes of them."""

    alone: Sequence[str]
    per_kind: int
    mixes: Sequence[Sequence[str]]
    per_mix: int

    least_seconds: float = 0.0
    """What a round lasts at least, in place of what its kinds need."""
    recovers: bool = True

    def seconds(self, kinds: Sequence[str], payments: int) -> float:
        """How long payers come in a round."""
        least = self.least_seconds or max(KINDS[kind].needs_seconds for kind in kinds)
        return max(least, payments / PER_SECOND)


def planned(random: Random, wish: Wish, kinds: Sequence[str]) -> Plan:
    """Share the payments out among the kinds that are possible: four in ten to them alone, the rest to the mixes."""
    if len(kinds) == 1:
        return Plan(kinds, wish.payments, (), 0, wish.least_seconds, wish.recovers)
    alone = list(kinds) if wish.alone else []
    per_kind = ceil(wish.payments * 4 / 10 / len(alone)) if alone else 0
    rest = wish.payments - per_kind * len(alone)
    mixes = [[kind for kind in mix if kind in kinds] for mix in wish.given]
    mixes += [_mix(random, kinds) for _ in range(wish.mixes - len(mixes))]
    return Plan(alone, per_kind, mixes, ceil(rest / len(mixes)), wish.least_seconds, wish.recovers)


class Run:
    """Rounds over one system."""

    def __init__(self, system: System, random: Random, say: Callable[[str], None]) -> None:
        """Draw everything from `random`; `say` tells whoever watches."""
        self._system = system
        self._random = random
        self._say = say
        self._shop = Shop(system, Random(random.random()))
        self.desk = RefundDesk(system, Random(random.random()))
        self.rounds: list[Round] = []
        self.unknown: list[str] = []
        """Drafts whose payers paid, and of which nobody knew when everything had had its time."""
        self._to_give_back: list[Sale] = []

    @property
    def sales(self) -> list[Sale]:
        """Everything that was sold."""
        return [sale for one in self.rounds for sale in one.sales]

    async def all(self, plan: Plan) -> None:
        """Every round of the plan, and one more in which the last refunds are made."""
        rounds = [Round(kind, (kind,), plan.per_kind, plan.seconds((kind,), plan.per_kind)) for kind in plan.alone]
        rounds += [Round(MIXED, mix, plan.per_mix, plan.seconds(mix, plan.per_mix)) for mix in plan.mixes]
        for this in rounds:
            await self._trouble(this)
            if plan.recovers:
                await self._recover(this)
                await quiet(self._system)
                await jump(self._system, PAST_EXPIRY_SECONDS)
        last = Round(rounds[-1].name, rounds[-1].kinds, 0, rounds[-1].seconds)
        await self._trouble(last)
        for this in [last] if plan.recovers else self.rounds:
            await self._recover(this)

    async def _trouble(self, this: Round) -> None:
        """Sell and give back under this trouble, and heal when everybody has come and most have done what they will."""
        self.rounds.append(this)
        self._say(f"{this.name}: {', '.join(this.kinds)}; {this.payments} payments")
        wanted = purchases(self._random, this.payments)
        give_back, self._to_give_back = self._to_give_back, this.sales
        async with AsyncExitStack() as stack:
            faults = {kind: KINDS[kind](self._system, Random(self._random.random())) for kind in this.kinds}
            for fault in faults.values():
                await stack.enter_async_context(fault)
            load = asyncio.create_task(self._load(this, wanted, give_back))
            await asyncio.wait({load}, timeout=this.seconds + LINGER_SECONDS)
        this.healed_at = self._system.psps.now()
        await load
        this.injected = {kind: fault.count for kind, fault in faults.items()}
        for fault in faults.values():
            this.struck.update(fault.struck)

    async def _load(self, this: Round, wanted: Sequence[Purchase], give_back: Sequence[Sale]) -> None:
        async with asyncio.TaskGroup() as group:
            selling = group.create_task(self._shop.sell(wanted, this.name, this.seconds))
            group.create_task(self._shop.pay_late())
            group.create_task(self.desk.give_back(give_back, this.seconds))
        this.sales.extend(selling.result())

    async def _recover(self, this: Round) -> None:
        """Wait, jumping from one due time to the next, until every payment of the round is a completed draft."""
        await self._system.ready()
        agreed = {f"{sale.draft_id}": sale.agreed_at for sale in this.sales if sale.agreed_at is not None}

        async def all_known() -> bool:
            return len(await completed(self._system, list(agreed))) == len(agreed)

        try:
            async with asyncio.timeout(RECOVER_SECONDS):
                await until(self._system, list(agreed), all_known)
        except TimeoutError:
            self._say(f"{this.name}: not everything is recovered after {RECOVER_SECONDS:.0f} s")
        known = await completed(self._system, list(agreed))
        self.unknown += sorted(agreed.keys() - known.keys())
        for draft_id, at in known.items():
            done, began = at.timestamp(), agreed[draft_id]
            assert began is not None
            waited_for = max(began, this.healed_at) if done > this.healed_at else began
            this.recovered_after.append(max(0.0, done - waited_for))


def _mix(random: Random, kinds: Sequence[str]) -> list[str]:
    """Some kinds that do not undo each other."""
    wanted = random.sample(list(kinds), min(len(kinds), random.randint(*MIX)))
    for exclusive in EXCLUSIVE:
        for kind in [kind for kind in wanted if kind in exclusive][1:]:
            wanted.remove(kind)
    return wanted
