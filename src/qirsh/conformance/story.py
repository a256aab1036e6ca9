"""One payment from its registration on, told to the core's own state table by what the gateway reports."""

from collections.abc import Sequence
from uuid import UUID, uuid4, uuid5

from qirsh.conformance.bench import Bench
from qirsh.conformance.drafts import Case, new_draft
from qirsh.conformance.psp import LedgerRow
from qirsh.conformance.verdicts import expect, some
from qirsh.draft import GatewayEvent, Kind, PaymentDraft, Verdict, apply
from qirsh.gateways.base import Captures, Delivery, Gateway, Hint, Lookup, RefundOrder, Registration


class Story:
    """What a gateway says of one draft. It folds as the server does, without a database."""

    def __init__(self, bench: Bench, draft: PaymentDraft, gateway: Gateway | None = None) -> None:
        """Begin with a draft that nobody has registered."""
        self.bench = bench
        self.draft = draft
        self.gateway = gateway or bench.gateway
        self.facts: list[GatewayEvent] = []
        """What deliveries, captures and refunds said; look-ups are not in it."""
        self.hints: list[Hint] = []
        self.deliveries: list[Delivery] = []

    @property
    def key(self) -> str:
        """The PSP key of the registration, as the server derives it."""
        return str(uuid5(self.draft.id, f"register:{self.draft.registration_attempt}"))

    async def register(self, draft: PaymentDraft | None = None) -> Registration:
        """Register the draft, or the same row as it stands in doubt."""
        registration = await self.gateway.register(draft or self.draft, key=self.key)
        event = GatewayEvent(
            kind=Kind.REGISTERED,
            gateway=self.bench.name,
            event_id=f"registered:{self.draft.id}",
            draft_id=self.draft.id,
            transaction_reference_id=registration.transaction_reference_id,
            action=registration.action,
        )
        self.fold([event])
        return registration

    async def act(
        self, act: str, *, amount_minor: int | None = None, captures: bool = True
    ) -> Sequence[GatewayEvent | Hint]:
        """Let the payer or the PSP act, and take in what comes of it: webhooks, and the capture of an approval.

        Raises:
            CannotActError: not at this PSP, or not now.
        """
        await self.bench.psp.act(self.draft.id, act, amount_minor)
        heard = list(await self.listen())
        if captures and self.draft.capture_due:
            heard += await self.capture()
            heard += await self.listen()
        return heard

    async def listen(self) -> Sequence[GatewayEvent | Hint]:
        """Read the webhooks that came since the last time. A hint is looked up, as the server does."""
        deliveries = await self.bench.psp.deliveries(self.draft.id)
        fresh = deliveries[len(self.deliveries) :]
        self.deliveries += fresh
        told = [one for delivery in fresh for one in await self.gateway.read_webhook(delivery)]
        facts = [one for one in told if isinstance(one, GatewayEvent)]
        hints = [one for one in told if isinstance(one, Hint)]
        self.facts += facts
        self.hints += hints
        self.fold(facts)
        if hints:
            await self.look_up()
        return told

    async def capture(self) -> Sequence[GatewayEvent]:
        """Take the money of an approved draft, with the key that the server would use."""
        captures = self.gateway if isinstance(self.gateway, Captures) else None
        gateway = some(captures, "the gateway reported an approval and has no `capture`: report `paid`, or write it")
        key = str(uuid5(self.draft.id, f"capture:{self.draft.capture_attempt}"))
        events = await gateway.capture(self.draft, key=key)
        self.facts += events
        self.fold(events)
        return events

    async def look_up(self) -> Lookup:
        """Ask the PSP's books, and fold what they say."""
        found = await self.gateway.lookup(self.draft)
        self.fold(found.events)
        return found

    async def refund(self, amount_minor: int, order_id: UUID | None = None) -> Sequence[GatewayEvent]:
        """Give some back; the same `order_id` is the same refund, under the same key."""
        order = RefundOrder(order_id or uuid4(), self.draft, amount_minor, "Wrong size")
        events = await self.gateway.refund(order, key=str(order.id))
        self.facts += events
        self.fold(events)
        return events

    async def ledger(self) -> LedgerRow:
        """What really happened.

        Raises:
            AssertionError: the PSP has nothing under our draft id.
        """
        row = await self.bench.psp.ledger(self.draft.id)
        return some(
            row, "the PSP's books have nothing under the draft's id: send str(draft.id) as the merchant reference"
        )

    def fold(self, events: Sequence[GatewayEvent]) -> None:
        """Move the draft, by the core's own table.

        Raises:
            AssertionError: an event contradicts the draft, which the server would put before a person.
        """
        for event in events:
            outcome = apply(self.draft, event)
            # Money went back and the PSP does not say how much: a person is asked, and rightly.
            unmeasured = event.kind is Kind.REFUNDED and event.amount is None
            expect(
                outcome.verdict is not Verdict.REVIEW or unmeasured,
                f"a {event.kind} event contradicts its draft ({outcome.review_reason}): report the amount, "
                "currency and references that the PSP has for this very payment",
            )
            self.draft = outcome.draft


async def registered(bench: Bench, case: Case) -> Story:
    """A story whose payer can pay."""
    story = Story(bench, new_draft(bench, case))
    await story.register()
    return story


async def paid(bench: Bench, case: Case) -> Story:
    """A story whose money has come: by webhooks and captures alone where those are facts."""
    story = await registered(bench, case)
    await story.act("pay")
    row = await story.ledger()
    expect(
        row["paid_minor"] == story.draft.amount.amount_minor,
        f"{case}: the payer paid, and the PSP's books have {row['paid_minor']} of "
        f"{story.draft.amount.amount_minor}: register, or capture, exactly the draft's amount",
    )
    some(
        story.draft.payment_reference,
        f"{case}: paid, and neither webhook nor look-up reported `paid` with a payment_reference: "
        "without one nothing can be refunded",
    )
    return story
