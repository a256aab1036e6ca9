"""From a claimed draft to a registered one: failover, doubt, and what each answer of a PSP leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from uuid import UUID, uuid5

import structlog

from qirsh.breaker import Breaker
from qirsh.clock import Clock
from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft, State, Verdict
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
    MethodNotSupported,
)
from qirsh.fault_points import Step, reached
from qirsh.fold import Fold
from qirsh.gateways.base import Cancels, Gateway, Lookup, Registration, Standing, deadline, seconds_left
from qirsh.metrics import REFUNDS
from qirsh.outcomes import outcomes_of
from qirsh.routing import PaymentMethodRouter
from qirsh.store.drafts import Source
from qirsh.store.refunds import Refund, RefundState
from qirsh.store.rows import Row
from qirsh.store.store import Store

PSP_SECONDS: Final = 10.0
"""All PSP calls of one initiate together, tokens and failover included; an initiate answers within 12."""
_LEAST_SECONDS: Final = 1.0
"""What is begun with less would only be cut off, and leave a doubt."""
_GRACE_SECONDS: Final = 0.5
"""The translator in gateways.http stops at the deadline by itself; this stops a gateway that does not use it."""

_REFUND_STATES: Final[Mapping[Kind, Literal[RefundState.SUCCEEDED, RefundState.FAILED]]] = MappingProxyType(
    {Kind.REFUNDED: RefundState.SUCCEEDED, Kind.REFUND_FAILED: RefundState.FAILED}
)

_log = structlog.get_logger("qirsh.registration")


class Asked(NamedTuple):
    """What came of asking a PSP about a draft."""

    standing: Standing
    row: Row
    """The draft after it."""
    unmeasured: bool
    """The PSP said that money went back, and not how much."""


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Bound all PSP calls inside together, also those of a gateway that ignores its deadline.

    Raises:
        GatewayOutcomeUnknown: it did, and was cut off after who knows what was sent.
    """
    try:
        with deadline(PSP_SECONDS):
            async with asyncio.timeout(seconds_left(PSP_SECONDS) + _GRACE_SECONDS):
                yield
    except TimeoutError:
        raise GatewayOutcomeUnknown("The PSP was asked and did not answer in time.") from None


class Registrar:
    """Makes claimed drafts payable. The claim is the caller's, and released here whatever happens."""

    def __init__(
        self, store: Store, fold: Fold, gateways: Mapping[str, Gateway], router: PaymentMethodRouter, clock: Clock
    ) -> None:
        """Call these gateways in the router's order."""
        self._clock = clock
        self._store = store
        self._fold = fold
        self._gateways = gateways
        self._breakers = {name: Breaker(name, clock.monotonic) for name in gateways}
        self._router = router

    async def register(self, row: Row, claim: UUID) -> Row:
        """Register a draft at the first gateway that takes it, and return its row as it then stands.

        A draft in doubt is asked about first: it may be paid already. A row that comes back `pending` is in doubt.

        Raises:
            GatewayUnavailable, GatewayMisconfigured: nothing was registered, and the same key may try again.
        """
        try:
            async with bounded():
                if row.draft.in_doubt:
                    row = await self.look_up(row)
                    if row.draft.state is not State.PENDING:
                        return row
                return await self._try_gateways(row, claim)
        except (GatewayUnavailable, GatewayMisconfigured) as error:
            row = await self._released(row.draft.id, claim, in_doubt=False)
            if row.draft.state is State.PENDING and not row.draft.in_doubt:
                raise
            _log.warning("registration_in_doubt", draft_id=str(row.draft.id), code=error.code)
            return row
        except GatewayOutcomeUnknown as error:
            _log.warning("registration_in_doubt", draft_id=str(row.draft.id), code=error.code)
            return await self._released(row.draft.id, claim, in_doubt=True)
        except Exception:
            # A bug of ours or a gateway's, after who knows what was sent. Whoever comes next asks first.
            await self._released(row.draft.id, claim, in_doubt=True)
            raise

    async def look_up(self, row: Row) -> Row:
        """Ask the PSP about a draft and fold what it says.

        Raises:
            GatewayUnavailable, GatewayMisconfigured: the PSP did not say.
        """
        return (await self.asked(row)).row

    async def asked(self, row: Row) -> "Asked":
        """As `look_up`, with what else the PSP told."""
        return await self.told(row, await self.books(row.draft))

    async def books(self, draft: PaymentDraft) -> Lookup:
        """What the PSP's books say of a draft; nothing is folded.

        Raises:
            GatewayUnavailable, GatewayMisconfigured: the PSP did not say.
        """
        gateway = self.gateway(draft.gateway)
        try:
            async with bounded():
                return await gateway.lookup(draft)
        except (GatewayRejected, GatewayOutcomeUnknown) as error:
            # A question moves nothing, so a refused or broken one is only unanswered.
            raise GatewayUnavailable("The PSP did not answer the look-up.") from error

    async def undecided(self, draft: PaymentDraft, found: Lookup) -> Lookup:
        """What was found, without what a person has decided already: PSPs tell it again each time they are asked.

        That money went back by a sum that nobody told may be another time than the one that was decided, so it stays.
        """
        outcomes = outcomes_of(draft, found.events, source="lookup")
        if all(outcome.verdict is not Verdict.REVIEW for _, outcome in outcomes):
            return found
        entries = await self._store.listings.entries(draft.id)
        decided = {_fact(entry.event) for entry in entries if entry.event.decision is not None}
        events = [event for event in found.events if is_unmeasured(event) or _fact(event) not in decided]
        return Lookup(found.standing, events)

    async def told(self, row: Row, found: Lookup) -> "Asked":
        """Fold what the PSP's books said of the draft of a row."""
        reached(Step.LOOKUP_ANSWERED)
        events = (await self.undecided(row.draft, found)).events
        unmeasured = any(is_unmeasured(event) for event in events)
        refund = await self._store.refunds.find_in_flight(self._store.pool, row.draft.id) if unmeasured else None
        if explains(refund):
            # What became of that is for its own row to find out, and no surprise to anybody.
            events = [event for event in events if not is_unmeasured(event)]
        after = await self.believe(row, events, source="lookup") if events else row
        return Asked(found.standing, after, unmeasured=unmeasured)

    async def believe(self, row: Row, events: Sequence[GatewayEvent], *, source: Source) -> Row:
        """Fold what a PSP says, and move the refunds of ours that it names.

        Whoever dies in between leaves work that is due: a refund that failed is told before its draft is lowered, and
        one that succeeded after its draft counts it.
        """
        await self._tell_refunds(row.draft.id, [event for event in events if event.kind is Kind.REFUND_FAILED])
        row = await self._fold(row, events, source=source)
        await self._tell_refunds(row.draft.id, [event for event in events if event.kind is Kind.REFUNDED])
        return row

    async def cancel(self, draft: PaymentDraft) -> bool:
        """Make a draft unpayable where the PSP lets us; False where it was not asked or did not answer.

        Whether it worked, the next look-up tells.
        """
        gateway = self.gateway(draft.gateway)
        if not isinstance(gateway, Cancels):
            return False
        try:
            async with bounded():
                await gateway.cancel(draft)
        except GatewayError as error:
            _log.warning("not_cancelled", draft_id=str(draft.id), code=error.code)
            return False
        return True

    async def _tell_refunds(self, draft_id: UUID, events: Sequence[GatewayEvent]) -> None:
        for event in events:
            if event.refund_id is None:
                continue
            state = _REFUND_STATES[event.kind]
            if await self._store.refunds.told(event.refund_id, draft_id, state, event.psp_code):
                REFUNDS.labels(event.gateway, state).inc()
                _log.info("refund_told", draft_id=str(draft_id), refund_id=str(event.refund_id), state=state)

    def gateway(self, name: str) -> Gateway:
        """A configured gateway.

        Raises:
            GatewayMisconfigured: the row names one that is no longer configured.
        """
        try:
            return self._gateways[name]
        except KeyError:
            raise GatewayMisconfigured(f"{name} is not configured any more: restore its credentials.") from None

    async def _try_gateways(self, row: Row, claim: UUID) -> Row:
        if seconds_left(_LEAST_SECONDS) < _LEAST_SECONDS:
            raise GatewayUnavailable("No time is left to ask a PSP.")  # which is no PSP's fault: no breaker hears of it
        for name in self._route(row.draft):
            if name != row.draft.gateway:
                moved = await self._store.drafts.move_to_gateway(row.draft.id, claim, name)
                if moved is None:
                    break  # the claim is lost: whoever holds it goes on
                row = moved
            try:
                self._refuse_late_repeat(row.draft)
                with self._breakers[name].guarding(repeats=row.draft.in_doubt):
                    registration = await self._gateways[name].register(row.draft, key=psp_key(row.draft))
            except GatewayRejected as error:
                return await self._refuse(row, claim, error)
            except GatewayUnavailable as error:
                unavailable = error
                if row.draft.in_doubt:
                    break  # an earlier call may have reached this gateway: no other may be tried
                continue
            reached(Step.INITIATE_ANSWERED)
            return await self._fold(
                row, [_registered(row.draft, registration, claim)], source="initiate", release=claim
            )
        raise unavailable

    async def _refuse(self, row: Row, claim: UUID, error: GatewayRejected) -> Row:
        """Fold a PSP's refusal, which ends the draft only as it was read.

        Whoever moved it meanwhile may have made it payable: a claim that lapsed is taken over, and some PSPs refuse
        the second of two equal registrations.

        Raises:
            GatewayOutcomeUnknown: the draft moved, and is still pending.
        """
        after = await self._fold(row, [_refused(row.draft, error)], source="initiate", release=claim, unmoved=True)
        if after.draft.state is State.PENDING:
            raise GatewayOutcomeUnknown("The PSP refused a draft that somebody else is at.") from error
        return after

    def _refuse_late_repeat(self, draft: PaymentDraft) -> None:
        """Where only the PSP's key keeps a repeat from registering twice, none is sent once the key is forgotten.

        Raises:
            GatewayOutcomeUnknown: it is too late; the draft ends by itself, never having been handed out.
        """
        profile = self.gateway(draft.gateway).profile
        if not draft.in_doubt or profile.found_by == "merchant_reference":
            return
        if self._clock.now() - draft.created_at >= profile.idempotent_for.get("register", timedelta(0)):
            raise GatewayOutcomeUnknown("The PSP no longer knows our key: a repeat could register twice.")

    def _route(self, draft: PaymentDraft) -> list[str]:
        """The row's own gateway first: that is where an earlier try may have left something."""
        try:
            others = self._router.takers(draft.request.method, draft.amount)
        except MethodNotSupported:
            others = ()
        return [draft.gateway, *(name for name in others if name != draft.gateway)]

    async def _released(self, draft_id: UUID, claim: UUID, *, in_doubt: bool) -> Row:
        released = await self._store.drafts.release(draft_id, claim, in_doubt=in_doubt)
        row = released or await self._store.drafts.get(draft_id)
        assert row is not None, "drafts are never deleted"
        return row


def explains(refund: Refund | None) -> bool:
    """Whether a refund of ours may be why a PSP says that money went back: not while it waits to be sent."""
    return refund is not None and refund.state is not RefundState.REQUESTED


def _fact(event: GatewayEvent) -> tuple[object, ...]:
    """What an event says, whatever brought it."""
    return event.kind, event.transaction_reference_id, event.payment_reference, event.amount


def is_unmeasured(event: GatewayEvent) -> bool:
    """Whether the PSP says that money went back and not how much."""
    return event.kind is Kind.REFUNDED and event.amount is None


def psp_key(draft: PaymentDraft) -> str:
    """The key we send to PSPs: derived, so that the same intent has the same key for ever."""
    return str(uuid5(draft.id, f"register:{draft.registration_attempt}"))


def _registered(draft: PaymentDraft, registration: Registration, claim: UUID) -> GatewayEvent:
    return GatewayEvent(
        kind=Kind.REGISTERED,
        gateway=draft.gateway,
        event_id=f"registered:{claim}",
        draft_id=draft.id,
        transaction_reference_id=registration.transaction_reference_id,
        action=registration.action,
    )


def _refused(draft: PaymentDraft, error: GatewayRejected) -> GatewayEvent:
    return GatewayEvent(
        kind=Kind.FAILED,
        gateway=draft.gateway,
        event_id="refused",
        draft_id=draft.id,
        reason=DeclineCode(error.reason),
        psp_code=error.psp_code,
    )
