"""A refund whose time has come: sent, or asked about."""

from uuid import UUID

from qirsh.refunds import Refunder
from qirsh.store.store import Store


async def advance(refunder: Refunder, store: Store, refund_id: UUID, version: int) -> None:
    """Handle a due refund. Harmless when lost, doubled or late: every write is fenced by the version."""
    refund = await store.refunds.get_due(refund_id, version)
    if refund is not None:
        await refunder.advance(refund)
