"""Orders: the drafts of one purchase, which have the same order reference."""

from qirsh.clock import Clock
from qirsh.draft import PaymentDraft
from qirsh.store.connection import Connection, Pool
from qirsh.store.sql import SQL


class Orders:
    """What the siblings of a draft are told by its reference. No table: an order is known by its drafts alone."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def is_paid(self, draft: PaymentDraft) -> bool:
        """Whether another draft of the same order is paid, and not all of it was given back."""
        if draft.request.order_reference is None:
            return False
        paid: bool = await self._pool.fetchval(SQL["order_is_paid"], draft.request.order_reference, draft.id)
        return paid

    async def vacate(self, connection: Connection, draft: PaymentDraft) -> bool:
        """Take an order from the draft that paid it first where no other than this one pays it now; whether it was."""
        return bool(await connection.fetchval(SQL["vacate_order"], draft.request.order_reference, draft.id))

    async def stage_siblings(self, draft: PaymentDraft) -> None:
        """Ask the PSPs as soon as a worker can about what else could be paid for a draft's order."""
        if draft.request.order_reference is not None:
            await self._pool.execute(SQL["stage_siblings"], draft.request.order_reference, draft.id, self._clock.offset)
