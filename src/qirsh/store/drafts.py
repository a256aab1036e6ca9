"""Payment drafts and their journal. Each verb is one statement, or part of the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from qirsh.catalog import Product
from qirsh.clock import Clock
from qirsh.draft import GatewayEvent, Outcome, PaymentDraft, Verdict
from qirsh.gateways.base import Hint
from qirsh.store.connection import Connection, Pool, Sender, new_id
from qirsh.store.inbox import Heard
from qirsh.store.rows import Row, action_of, event_text, product_of, row_of, text
from qirsh.store.sql import SQL

CLAIM: Final = timedelta(seconds=15)
"""Longer than an initiate may talk to PSPs (10 s) and write; so short that a crash delays a retry by seconds."""
DOUBT: Final = timedelta(seconds=90)
"""When a worker finishes what a dead or doubtful initiate began: after the shop had its chance to ask again."""

SOON: Final = timedelta(seconds=60)
"""What is due within it is somebody's already: so long is a worker's lease."""

Source = Literal["initiate", "webhook", "lookup", "capture", "refund", "otp", "operator", "sweep"]
Keep = Literal["keep"]
_Way = Literal["id", "transaction_reference", "payment_reference"]


class Folded(msgspec.Struct, frozen=True):
    """What a fold decided about a draft: the outcome of each event, and what else is written with them."""

    row: Row
    """The draft as it was read."""
    outcomes: Sequence[tuple[GatewayEvent, Outcome]]
    source: Source
    check_in: timedelta | Keep | None
    """When to ask the PSP next; None: never by itself."""
    release: UUID | None
    """The claim to let go of."""
    fulfil: bool
    """The draft completed: the shop must be told."""
    duplicate: bool
    """Another draft has paid the order before."""
    heard: Heard | None
    """The delivery that brought the event."""

    @property
    def after(self) -> PaymentDraft:
        """The draft after all events."""
        return self.outcomes[-1][1].draft

    @property
    def changed(self) -> bool:
        """Whether anything about the draft is new."""
        return self.after != self.row.draft

    @property
    def refunds(self) -> bool:
        """What was given back in all is another sum: the shop must be told."""
        return self.after.refunded_minor != self.row.draft.refunded_minor

    @property
    def verdict(self) -> Verdict:
        """What became of the last event."""
        return self.outcomes[-1][1].verdict


class Drafts:
    """The table payment_drafts."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """Work on a pool; every time is the database's plus the clock's offset."""
        self._pool = pool
        self._clock = clock

    async def find_for_initiate(self, sender: Sender, key: str, product_id: str) -> tuple[Row | None, Product | None]:
        """The draft of an idempotency key and the product of a request, in one statement."""
        record = await sender.fetchrow(SQL["find_for_initiate"], key, product_id)
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
        self,
        sender: Sender,
        draft: PaymentDraft,
        *,
        key: str,
        fingerprint: bytes,
        claim: UUID,
        lifetime: timedelta,
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
        record = await sender.fetchrow(SQL["claim_by_key"], *values)
        if record is None:  # somebody's; drafts are never deleted, so a fresh snapshot sees it
            record = await sender.fetchrow(SQL["draft_by_key"], key)
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

    async def get_moved(self, versions: Mapping[UUID, int]) -> list[Row]:
        """Of these drafts, those whose version is another, in no order."""
        if not versions:
            return []
        records = await self._pool.fetch(SQL["drafts_moved"], list(versions), list(versions.values()))
        return [row_of(record) for record in records]

    async def journal(self, draft_id: UUID) -> list[Mapping[str, Any]]:
        """What was folded into a draft, in that order, whatever the clocks of those who folded it said."""
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

    async def find_for(self, event: GatewayEvent) -> Row | None:
        """The draft an event is about, unlocked, found by the first reference it has: all of them are signed."""
        for way, values in _ways(event)[:1]:
            return await _by(self._pool, way, values, lock=False)
        return None

    async def lock_for(self, connection: Connection, fact: GatewayEvent | Hint) -> Row | None:
        """Lock the draft a fact is about. An event finds it by what is signed; a hint moves nothing, so by either."""
        ways = reversed(_ways(fact)) if isinstance(fact, Hint) else _ways(fact)[:1]
        for way, values in ways:
            if row := await _by(connection, way, values, lock=True):
                return row
        return None

    async def lock_by_id(self, connection: Connection, draft_id: UUID) -> Row | None:
        """Lock a draft by its id."""
        record = await connection.fetchrow(SQL["lock_by_id"], draft_id)
        return None if record is None else row_of(record)

    async def save(self, sender: Sender, folded: Folded) -> Row | None:
        """Write what a fold made of a draft; None when the row moved since it was read, or the event was heard before.

        One statement, so it needs no transaction of the caller's.
        """
        row, draft, heard = folded.row, folded.after, folded.heard
        keep = folded.check_in == "keep"
        delivery = None if heard is None else heard.delivery
        action = None if draft.action is None else text(draft.action)
        record = await sender.fetchrow(
            SQL["save_fold"],
            draft.id,
            row.version,
            draft.state,
            draft.reason,
            draft.needs_review,
            draft.refunded_minor,
            draft.transaction_reference_id,
            draft.payment_reference,
            action,
            draft.in_doubt,
            draft.capture_due,
            draft.capture_attempt,
            folded.release,
            keep,
            None if keep else folded.check_in,
            self._clock.offset,
            folded.changed,
            folded.source,
            sorted(new_id() for _ in folded.outcomes),  # entries of one fold are read in the order of their ids
            [event_text(event) for event, _ in folded.outcomes],
            [outcome.verdict for _, outcome in folded.outcomes],
            [outcome.review_reason for _, outcome in folded.outcomes],
            [outcome.draft.state for _, outcome in folded.outcomes],
            new_id() if folded.fulfil else None,
            None if heard is None else heard.gateway,
            None if heard is None else heard.event_id,
            None if delivery is None else new_id(),
            folded.verdict,
            *((None, None, None) if heard is None or delivery is None else heard.kept()),
            new_id() if folded.refunds else None,
            folded.duplicate,
        )
        if record is None:
            return None
        return msgspec.structs.replace(
            row,
            draft=msgspec.structs.replace(draft, action=action_of(action)),
            claimed_by=record["claimed_by"],
            version=record["version"],
            attempts=record["attempts"],
            updated_at=record["updated_at"],
        )

    async def count_code_try(self, draft_id: UUID, at_most: int) -> int | None:
        """Count one more try at a texted code and return their number; None when all are used, or none is awaited."""
        tries: int | None = await self._pool.fetchval(SQL["count_otp_try"], draft_id, at_most)
        return tries

    async def uncount_code_try(self, draft_id: UUID) -> None:
        """The code never reached the PSP."""
        await self._pool.execute(SQL["uncount_otp_try"], draft_id)

    async def stage_lookup(self, sender: Sender, draft_id: UUID, payment_reference: str | None) -> None:
        """Ask the PSP about a draft as soon as a worker can, and about the payment that a hint named."""
        await sender.execute(SQL["stage_lookup"], draft_id, self._clock.offset, payment_reference)

    async def stage_lookup_soon(self, draft_id: UUID, payment_reference: str | None) -> None:
        """The same, unless somebody is about to ask already, or is asking."""
        await self._pool.execute(SQL["stage_lookup_soon"], draft_id, self._clock.offset, payment_reference, SOON)


def _ways(fact: GatewayEvent | Hint) -> list[tuple[_Way, tuple[object, ...]]]:
    """Each reference of a fact that can find its draft."""
    ways: list[tuple[_Way, tuple[object, ...]]] = []
    if fact.draft_id is not None:
        ways.append(("id", (fact.draft_id,)))
    if fact.transaction_reference_id is not None:
        ways.append(("transaction_reference", (fact.gateway, fact.transaction_reference_id)))
    if fact.payment_reference is not None:
        ways.append(("payment_reference", (fact.gateway, fact.payment_reference)))
    return ways


async def _by(
    sender: Sender,
    way: Literal["id", "transaction_reference", "payment_reference"],
    values: tuple[object, ...],
    *,
    lock: bool,
) -> Row | None:
    statement = SQL[f"lock_by_{way}"] if lock else SQL[f"draft_by_{way}"]
    record = await sender.fetchrow(statement, *values)
    return None if record is None else row_of(record)
