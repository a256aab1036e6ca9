"""Payment drafts and their journal. Each verb is one statement, or part of the caller's transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from qirsh.catalog import Product
from qirsh.clock import Clock
from qirsh.draft import GatewayEvent, Outcome, PaymentDraft
from qirsh.gateways.base import Hint
from qirsh.store.connection import Connection, Pool, new_id
from qirsh.store.rows import Row, event_text, product_of, row_of, text
from qirsh.store.sql import SQL

CLAIM: Final = timedelta(seconds=15)
"""Longer than an initiate may talk to PSPs (10 s) and write; so short that a crash delays a retry by seconds."""
DOUBT: Final = timedelta(seconds=90)
"""When a worker finishes what a dead or doubtful initiate began: after the shop had its chance to ask again."""

Source = Literal["initiate", "webhook", "lookup", "capture", "sweep"]
Keep = Literal["keep"]


class Drafts:
    """The table payment_drafts."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def find_for_initiate(self, key: str, product_id: str) -> tuple[Row | None, Product | None]:
        """The draft of an idempotency key and the product of a request, in one statement."""
        record = await self._pool.fetchrow(SQL["find_for_initiate"], key, product_id)
        assert record is not None
        row = None if record["id"] is None else row_of(record)
        if record["catalogue_id"] is None:
            return row, None
        product = product_of(
            record["catalogue_id"],
            record["catalogue_name"],
            record["catalogue_prices"],
            purchasable=record["catalogue_purchasable"],
        )
        return row, product

    async def claim(
        self, draft: PaymentDraft, *, key: str, fingerprint: bytes, claim: UUID, lifetime: timedelta
    ) -> Row:
        """Write the draft, or take over the one of this key. `claimed_by` of the answer tells whether we hold it."""
        values = (
            draft.id,
            key,
            fingerprint,
            text(draft.request),
            draft.request.product_id,
            draft.request.method,
            draft.gateway,
            draft.request.order_reference,
            draft.amount.amount_minor,
            draft.amount.currency,
            claim,
            self._clock.offset,
            CLAIM,
            DOUBT,
            lifetime,
        )
        record = await self._pool.fetchrow(SQL["claim_by_key"], *values)
        if record is None:  # somebody's; drafts are never deleted, so a fresh snapshot sees it
            record = await self._pool.fetchrow(SQL["draft_by_key"], key)
        assert record is not None
        return row_of(record)

    async def claim_again(self, draft_id: UUID, version: int, claim: UUID) -> Row | None:
        """Take over a pending draft that nobody is at; None when somebody is, or it moved."""
        record = await self._pool.fetchrow(
            SQL["claim_by_id"], draft_id, claim, self._clock.offset, CLAIM, DOUBT, version
        )
        return None if record is None else row_of(record)

    async def move_to_gateway(self, draft_id: UUID, claim: UUID, gateway: str) -> Row | None:
        """Name the next gateway before it is called; None when the claim is lost or the draft is in doubt."""
        record = await self._pool.fetchrow(SQL["move_to_gateway"], draft_id, claim, gateway, self._clock.offset)
        return None if record is None else row_of(record)

    async def release(self, draft_id: UUID, claim: UUID, *, in_doubt: bool) -> Row | None:
        """Let go of a claim without a registration; None when it was lost meanwhile."""
        record = await self._pool.fetchrow(SQL["release_claim"], draft_id, claim, in_doubt, self._clock.offset, DOUBT)
        return None if record is None else row_of(record)

    async def get(self, draft_id: UUID) -> Row | None:
        """A draft by its id."""
        record = await self._pool.fetchrow(SQL["draft_by_id"], draft_id)
        return None if record is None else row_of(record)

    async def get_due(self, draft_id: UUID, version: int) -> tuple[Row, bool] | None:
        """A draft and whether its life is over by the database's clock; None when it moved since `version`."""
        record = await self._pool.fetchrow(SQL["due_draft"], draft_id, version, self._clock.offset)
        return None if record is None else (row_of(record), record["expired"])

    async def find(self, hint: Hint) -> Row | None:
        """The draft a hint is about, unlocked: by the PSP's reference, else by its id."""
        record = await self._pool.fetchrow(
            SQL["draft_by_hint"], hint.gateway, hint.transaction_reference_id, hint.draft_id
        )
        return None if record is None else row_of(record)

    async def get_many(self, draft_ids: Collection[UUID]) -> list[Row]:
        """Many drafts in one statement, in no order."""
        return [row_of(record) for record in await self._pool.fetch(SQL["drafts_by_id"], list(draft_ids))]

    async def journal(self, draft_id: UUID) -> list[Mapping[str, Any]]:
        """What was folded into a draft, oldest first."""
        return [dict(record) for record in await self._pool.fetch(SQL["journal"], draft_id)]

    async def reschedule(
        self, draft_id: UUID, version: int, check_in: timedelta | None, *, answered: bool = True
    ) -> None:
        """Say when to ask about a draft again, unless it has moved since `version`.

        Only an answered look-up is a step in its schedule: a PSP that is down must not use the schedule up.
        """
        await self._pool.execute(
            SQL["reschedule_draft"], draft_id, version, self._clock.offset, check_in, 1 if answered else 0
        )

    async def capture_answered(self, draft_id: UUID, version: int, check_in: timedelta) -> None:
        """The capture took nothing and refused nothing: a look-up says what became of it."""
        await self._pool.execute(SQL["capture_answered"], draft_id, version, self._clock.offset, check_in)

    async def lock(self, connection: Connection, fact: GatewayEvent | Hint) -> Row | None:
        """Lock the draft a fact is about. An event finds it by what is signed; a hint moves nothing, so by either."""
        ways: list[tuple[str, tuple[object, ...]]] = []
        if fact.draft_id is not None:
            ways.append(("lock_by_id", (fact.draft_id,)))
        if fact.transaction_reference_id is not None:
            ways.append(("lock_by_transaction_reference", (fact.gateway, fact.transaction_reference_id)))
        if fact.payment_reference is not None:
            ways.append(("lock_by_payment_reference", (fact.gateway, fact.payment_reference)))
        for name, values in reversed(ways) if isinstance(fact, Hint) else ways[:1]:
            if record := await connection.fetchrow(SQL[name], *values):
                return row_of(record)
        return None

    async def lock_by_id(self, connection: Connection, draft_id: UUID) -> Row | None:
        """Lock a draft by its id."""
        record = await connection.fetchrow(SQL["lock_by_id"], draft_id)
        return None if record is None else row_of(record)

    async def save(
        self,
        connection: Connection,
        folded: Sequence[tuple[GatewayEvent, Outcome]],
        *,
        source: Source,
        release: UUID | None,
        check_in: timedelta | Keep | None,
        fulfil: bool,
        changed: bool,
    ) -> Row:
        """Write what a fold made of a locked draft, its journal, and its fulfilment."""
        draft = folded[-1][1].draft
        keep = check_in == "keep"
        record = await connection.fetchrow(
            SQL["save_fold"],
            draft.id,
            draft.state,
            draft.reason,
            draft.needs_review,
            draft.refunded_minor,
            draft.transaction_reference_id,
            draft.payment_reference,
            None if draft.action is None else text(draft.action),
            draft.in_doubt,
            draft.capture_due,
            release,
            keep,
            None if keep else check_in,
            self._clock.offset,
            source,
            [new_id() for _ in folded],
            [event_text(event) for event, _ in folded],
            [outcome.verdict for _, outcome in folded],
            [outcome.review_reason for _, outcome in folded],
            [outcome.draft.state for _, outcome in folded],
            new_id() if fulfil else None,
            changed,
            draft.capture_attempt,
        )
        assert record is not None, "the caller holds the draft's lock"
        return row_of(record)

    async def stage_lookup(self, connection: Connection, draft_id: UUID, payment_reference: str | None) -> None:
        """Ask the PSP about a draft as soon as a worker can, and about the payment that a hint named."""
        await connection.execute(SQL["stage_lookup"], draft_id, self._clock.offset, payment_reference)
