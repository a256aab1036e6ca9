"""A PSP in memory. Its books are the truth that the service is measured by; what becomes of a call is scripted."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from qirsh.clock import Clock
from qirsh.draft import GatewayEvent
from qirsh.errors import GatewayOutcomeUnknown, GatewayRejected, GatewayUnavailable
from qirsh.gateways.base import Delivery, Hint
from qirsh.money import Money


class Fate(Enum):
    """What becomes of one call to a PSP."""

    WORKS = auto()
    REFUSED = auto()
    """The PSP says no, and does nothing."""
    DOWN = auto()
    """Nothing was sent."""
    SWALLOWED = auto()
    """Who knows what was sent; the PSP has not got it."""
    LOST = auto()
    """The PSP does it, and its answer comes too late."""
    DIES_BEFORE = auto()
    """Our process is killed before the PSP is reached."""
    DIES_AFTER = auto()
    """The PSP does it, and our process is killed before it hears of that."""
    SLOW = auto()
    """A refund is accepted and is done some day; whatever else is asked for works."""
    WEBHOOKS_FIRST = auto()
    """The PSP does it, and all its webhooks arrive before its answer."""
    PAYER_FIRST = auto()
    """As above, and the payer acted in between."""
    REPEAT_MEANWHILE = auto()
    """The shop sends the same key again before the PSP has answered."""
    WORKER_MEANWHILE = auto()
    """A worker runs whatever is due before the PSP has answered."""


RACES = frozenset({Fate.WEBHOOKS_FIRST, Fate.PAYER_FIRST, Fate.REPEAT_MEANWHILE, Fate.WORKER_MEANWHILE})


class Script:
    """The fates of the calls to come, in their order; those that nobody wrote work."""

    def __init__(self, kill: Callable[[], BaseException], race: Callable[[Fate, UUID], Awaitable[None]]) -> None:
        """`kill` ends our process; `race` does what happens while the PSP thinks about a draft."""
        self._kill = kill
        self._race = race
        self._racing = False
        self.fates = deque[Fate]()

    async def begin(self) -> Fate:
        """One call begins, and may end before the PSP hears of it."""
        fate = self.fates.popleft() if self.fates else Fate.WORKS
        match fate:
            case Fate.REFUSED:
                raise GatewayRejected(reason="card_declined")
            case Fate.DOWN:
                raise GatewayUnavailable
            case Fate.SWALLOWED:
                raise GatewayOutcomeUnknown
            case Fate.DIES_BEFORE:
                raise self._kill()
        return fate

    async def end(self, fate: Fate, draft_id: UUID) -> None:
        """The PSP has done it. What happens before its answer, and whether that is heard."""
        if fate in RACES and not self._racing:
            self._racing = True
            try:
                await self._race(fate, draft_id)
            finally:
                self._racing = False
        if fate is Fate.LOST:
            raise GatewayOutcomeUnknown
        if fate is Fate.DIES_AFTER:
            raise self._kill()


class Progress(Enum):
    """How far a refund is at the PSP."""

    PENDING = auto()
    DONE = auto()
    FAILED = auto()


@dataclass
class Returned:
    """A refund in the books: ours, by the key that came with it, or the dashboard's."""

    id: str
    amount_minor: int
    ours: UUID | None
    progress: Progress
    asked_at: datetime


@dataclass
class Order:
    """A registration in the books, and what became of it."""

    id: str
    draft_id: UUID
    amount: Money
    dies_at: datetime
    tries: int = 0
    declined: bool = False
    busy: bool = False
    approved: bool = False
    broke: bool = False
    ended: bool = False
    payment_id: str | None = None
    refunds: list[Returned] = field(default_factory=list)
    declined_keys: set[str] = field(default_factory=set)

    @property
    def given_back(self) -> int:
        """What went back, in minor units."""
        return sum(one.amount_minor for one in self.refunds if one.progress is Progress.DONE)

    @property
    def left(self) -> int:
        """What can still go back, in minor units."""
        held = sum(one.amount_minor for one in self.refunds if one.progress is not Progress.FAILED)
        return self.amount.amount_minor - held


@dataclass
class Post:
    """A webhook: a fact, and whether it ever arrived. One that `may_be_lost` is found by a look-up without it."""

    gateway: str
    fact: GatewayEvent | Hint
    may_be_lost: bool


class Books:
    """Everything that a PSP knows."""

    def __init__(self, name: str, clock: Clock, life: timedelta, key_life: timedelta, posted: list[Post]) -> None:
        """Orders live for `life`, keys are honoured for `key_life`; what is to be told is `posted`."""
        self.name = name
        self.orders: list[Order] = []
        self.posted = posted
        self._clock = clock
        self._life = life
        self._key_life = key_life
        self._keys: dict[str, tuple[Order, datetime]] = {}

    def open(self, draft_id: UUID, amount: Money, key: str | None) -> Order:
        """Make an order, always a new one unless the key is known and young: this PSP minds no reference used twice."""
        now = self._clock.now()
        if key is not None and key in self._keys and now - self._keys[key][1] < self._key_life:
            return self._keys[key][0]
        order = Order(f"{self.name}-order-{len(self.orders)}", draft_id, amount, now + self._life)
        self.orders.append(order)
        if key is not None:
            self._keys[key] = (order, now)
        return order

    def of_draft(self, draft_id: UUID) -> Order | None:
        """The order of a draft, found by our id."""
        return next((order for order in self.orders if order.draft_id == draft_id), None)

    def refund_of_key(self, order: Order, key: str, key_life: timedelta) -> Returned | None:
        """The refund that a key asked for, as long as the key is remembered."""
        young = self._clock.now() - key_life
        return next((one for one in order.refunds if str(one.ours) == key and one.asked_at > young), None)

    def by_id(self, order_id: str | None) -> Order | None:
        """An order by the PSP's own id."""
        return next((order for order in self.orders if order.id == order_id), None)

    def is_payable(self, order: Order) -> bool:
        """Whether the payer can still pay it."""
        return not order.ended and order.payment_id is None and self._clock.now() < order.dies_at

    def pay(self, order: Order) -> None:
        """The money moves."""
        order.payment_id = f"{order.id}-payment"
        order.busy = order.declined = order.approved = order.broke = False

    def give_back(self, order: Order, amount_minor: int, ours: UUID | None, progress: Progress) -> Returned:
        """Money goes back, or begins to."""
        refund = Returned(f"{order.id}-refund-{len(order.refunds)}", amount_minor, ours, progress, self._clock.now())
        order.refunds.append(refund)
        return refund

    def post(self, fact: GatewayEvent | Hint, *, may_be_lost: bool) -> None:
        """Tell the server, some day."""
        self.posted.append(Post(self.name, fact, may_be_lost))


class Letters:
    """Deliveries that carry a number; the facts stay here."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self._sent: list[Post] = []

    def write(self, post: Post) -> Delivery:
        """The delivery of a post."""
        self._sent.append(post)
        return Delivery(str(len(self._sent) - 1).encode(), {f"{post.gateway}-signature": "valid"}, {})

    def read(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """What a delivery says."""
        return (self._sent[int(delivery.body)].fact,)
