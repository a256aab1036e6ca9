"""The kit itself: every check finds a gateway that does what the check forbids. One that cannot fail proves nothing."""

import asyncio
import contextvars
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import UUID, uuid4

import msgspec
import pytest
import structlog
from pydantic import SecretStr

import qirsh.conformance
from qirsh.actions import RedirectUrl
from qirsh.conformance import CHECKS, Check, NotApplicable, opened
from qirsh.conformance.golden import Golden
from qirsh.draft import GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import (
    Delivery,
    Gateway,
    GatewayKind,
    Hint,
    Lookup,
    Profile,
    RefundOrder,
    Registration,
    Standing,
    Surroundings,
)
from qirsh.gateways.paypal import Credentials as PaypalCredentials
from qirsh.gateways.paypal.webhooks import read_event
from qirsh.gateways.registry import installed
from qirsh.money import Money

GOLDEN: Final = Path(__file__).with_name("golden")
DOCS: Final = Path(__file__).parents[2] / "docs" / "conformance.md"


class Same:
    """A gateway that does what the right one does. The wrong ones below change one thing each."""

    def __init__(self, inner: Any, credentials: Any) -> None:
        """Hand all on to the right one."""
        self.inner = inner
        self.credentials = credentials

    @property
    def profile(self) -> Profile:
        """The right one's."""
        profile: Profile = self.inner.profile
        return profile

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """As the right one."""
        registration: Registration = await self.inner.register(draft, key=key)
        return registration

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """As the right one."""
        found: Lookup = await self.inner.lookup(draft)
        return found

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """As the right one."""
        events: Sequence[GatewayEvent] = await self.inner.refund(order, key=key)
        return events

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """As the right one."""
        told: Sequence[GatewayEvent | Hint] = await self.inner.read_webhook(delivery)
        return told

    async def aclose(self) -> None:
        """As the right one."""
        await self.inner.aclose()


class Capturing(Same):
    """The same for a PSP that captures."""

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:
        """As the right one."""
        events: Sequence[GatewayEvent] = await self.inner.capture(draft, key=key)
        return events


class LeadsNowhere(Capturing):
    """Sends the payer to an address that is no page."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """The action is not one a browser may follow."""
        registration = await super().register(draft, key=key)
        return Registration(registration.transaction_reference_id, RedirectUrl("javascript:pay()", "redirect"))


class WrongMoney(Capturing):
    """Takes every currency for one with two decimals."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Ten times too much of what has none."""
        if draft.amount.currency == "JPY":
            draft = msgspec.structs.replace(draft, amount=Money(draft.amount.amount_minor * 100, "JPY"))
        return await super().register(draft, key=key)


class OwnReference(Capturing):
    """Sends an id of its own as the merchant reference."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Nobody could find it by the draft."""
        return await super().register(msgspec.structs.replace(draft, id=uuid4()), key=key)


class FreshKey(Capturing):
    """Makes a new PSP key for every call."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  that is the fault
        """Other bytes for the same row."""
        return await super().register(draft, key=str(uuid4()))

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:  # noqa: ARG002  as above
        """Twice the money."""
        return await super().refund(order, key=str(uuid4()))


class RegistersInDoubtAgain(Capturing):
    """Uses another key when it is in doubt."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Two payable references."""
        return await super().register(draft, key=f"{key}{'-2' if draft.in_doubt else ''}")


class Doubtful(Capturing):
    """Calls it unknown when nobody was listening."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """No other gateway would be tried."""
        try:
            return await super().register(draft, key=key)
        except GatewayUnavailable:
            raise GatewayOutcomeUnknown from None


class Careless(Capturing):
    """Calls silence "nothing was sent"."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Another gateway would register the same draft."""
        try:
            return await super().register(draft, key=key)
        except GatewayOutcomeUnknown:
            raise GatewayUnavailable from None


class BlamesThePayer(Capturing):
    """Calls wrong keys a refused payment."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """The shop would offer another method, and the operator never hear of it."""
        try:
            return await super().register(draft, key=key)
        except GatewayMisconfigured:
            raise GatewayRejected from None


class RaisesItsOwn(Capturing):
    """Lets an error of another library out."""

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Nobody catches it."""
        try:
            return await super().lookup(draft)
        except GatewayUnavailable:
            raise KeyError("status") from None


class Patient(Capturing):
    """Waits as long as it likes."""

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """The deadline is not in this context."""
        return await asyncio.create_task(super().register(draft, key=key), context=contextvars.Context())


class Deaf(Capturing):
    """Finds nothing in any delivery."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Verified, and thrown away."""
        await super().read_webhook(delivery)
        return ()


class Trusting(Capturing):
    """Reads before it verifies, and does not verify."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Anybody pays with a curl."""
        return read_event(delivery.body)


class AlmostTrusting(Capturing):
    """Wants a signature, whichever."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """As before, with one more header."""
        place = self.profile.signature_place
        if not place.is_in(delivery):
            return await super().read_webhook(delivery)
        return read_event(delivery.body)


class BelievesUnsigned(Same):
    """Takes the field that no signature covers for the draft's id."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """A payer could complete another draft of the same price."""
        return [
            msgspec.structs.replace(one, draft_id=one.hinted_draft_id) if isinstance(one, GatewayEvent) else one
            for one in await super().read_webhook(delivery)
        ]


class NewIds(Capturing):
    """Names every delivery, not every event."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Nothing would ever be a repeat."""
        return list(_with_ids(await super().read_webhook(delivery), lambda: str(uuid4())))


class OneId(Capturing):
    """Gives all events one name."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Only the first would ever be heard."""
        return list(_with_ids(await super().read_webhook(delivery), lambda: "event"))


class Talkative(Capturing):
    """Takes what it does not know for a reason to look."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """A hint for everything."""
        return await super().read_webhook(delivery) or (Hint(gateway=self.profile.name, event_id="any"),)


class Pessimist(Capturing):
    """Takes a word that it does not know for the end."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Only an explicit end is one."""
        told = await super().read_webhook(delivery)
        return [_failed(one) if isinstance(one, Hint) else one for one in told]


class LastRefundOnly(Capturing):
    """Reports each refund's own amount."""

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """The total is only ever as large as one of them."""
        found = await super().lookup(draft)
        part = Money(draft.amount.amount_minor // 100 * 10, draft.amount.currency)
        return Lookup(
            found.standing,
            [msgspec.structs.replace(one, amount=part) if one.kind is Kind.REFUNDED else one for one in found.events],
        )


class GivesUp(Capturing):
    """Calls every declined try the end."""

    async def capture(self, draft: PaymentDraft, *, key: str) -> Sequence[GatewayEvent]:
        """The payer could still choose another card."""
        events = await super().capture(draft, key=key)
        return [msgspec.structs.replace(one, kind=Kind.FAILED) if one.kind is Kind.DECLINED else one for one in events]


class Forgetful(Capturing):
    """Looks up how things stand, and not what happened."""

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """A lost webhook would be lost for ever."""
        return Lookup((await super().lookup(draft)).standing)


class Optimist(Capturing):
    """Thinks that everything can still be paid."""

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Whatever the PSP says."""
        return Lookup(Standing.OPEN, (await super().lookup(draft)).events)


class Generous(Capturing):
    """Gives back what there is when it is asked for more."""

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Nobody asked for that sum."""
        most = min(order.amount_minor, order.draft.amount.amount_minor)
        return await super().refund(RefundOrder(order.id, order.draft, most, order.reason), key=key)


class Indiscreet(Capturing):
    """Explains itself with its keys."""

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """In an exception's cause, where nobody looks until it is in a tracker."""
        try:
            return await super().lookup(draft)
        except GatewayUnavailable as error:
            cause = ValueError(f"asked with {self.credentials.client_secret.get_secret_value()}")
            raise error from cause


class Logging(Capturing):
    """Logs what helps."""

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """A valid signature is a payment to whoever has it."""
        structlog.get_logger("wrong").debug("delivery", headers=dict(delivery.headers))
        return await super().read_webhook(delivery)


class Shared(Capturing):
    """Keeps its client in a global."""

    first: ClassVar[Any] = None

    def __init__(self, inner: Any, credentials: Any) -> None:
        """Whoever comes second speaks as the first."""
        super().__init__(inner, credentials)
        Shared.first = Shared.first or inner

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """With the first one's keys."""
        registration: Registration = await Shared.first.register(draft, key=key)
        return registration


class NothingBack(Capturing):
    """A PSP that gives no money back, and says so."""

    @property
    def profile(self) -> Profile:
        """No method's money."""
        profile = super().profile
        return replace(profile, unrefundable=profile.methods)


class LaxCredentials(PaypalCredentials):
    """Take an empty secret."""

    client_secret: SecretStr = SecretStr("")


WRONG: Final[Sequence[tuple[str, type[Same], str]]] = (
    ("registration_is_one_action", LeadsNowhere, "page's URL"),
    ("registration_sends_the_exact_money", WrongMoney, "convert by the currency's exponent"),
    ("registration_carries_our_draft_id", OwnReference, "as the merchant reference"),
    ("registration_repeats_itself", FreshKey, "was not the same bytes"),
    ("registration_repeats_itself", RegistersInDoubtAgain, "2 payable references"),
    ("refused_connection_is_unavailable", Doubtful, "GatewayUnavailable"),
    ("silence_after_sending_is_outcome_unknown", Careless, "GatewayOutcomeUnknown"),
    ("answers_map_as_the_error_tree_says", BlamesThePayer, "GatewayMisconfigured"),
    ("answers_map_as_the_error_tree_says", RaisesItsOwn, "KeyError, which the core does not know"),
    ("slow_psp_is_cut_at_the_deadline", Patient, "still waiting"),
    ("golden_delivery_is_read", Deaf, "was read as 0 facts"),
    ("forged_delivery_is_refused", Trusting, "signature is missing was believed"),
    ("forged_delivery_is_refused", AlmostTrusting, "was believed"),
    ("event_ids_are_stable_and_distinct", NewIds, "has another id"),
    ("event_ids_are_stable_and_distinct", OneId, "stands for two events"),
    ("unknown_event_says_nothing", Talkative, "yields ()"),
    ("unknown_event_says_nothing", Pessimist, "only an explicit end is `failed`"),
    ("refund_amounts_are_cumulative", LastRefundOnly, "cumulative sums"),
    ("retriable_decline_is_not_failed", GivesUp, "report `declined`"),
    ("wrong_environment_is_refused", Trusting, "signed for another account was believed"),
    ("lookup_tells_what_webhooks_told", Forgetful, "and the look-up does not"),
    ("standings_are_told_apart", Optimist, "where it is unknown"),
    ("refund_happens_once", FreshKey, "send `key` as it is"),
    ("refund_happens_once", Generous, "a refund of twice the payment"),
    ("secrets_stay_secret", Indiscreet, "an exception or the PspAnswer in it holds"),
    ("secrets_stay_secret", Logging, "a log line holds"),
    ("instances_share_nothing", Shared, "with this merchant's own keys"),
)
"""A check, a gateway that it must not let pass, and what it says of it."""
_BY_NAME: Final = {check.__name__: check for check in CHECKS}


def wrong_kind(name: str, wrong: type[Same], credentials: type[Any] | None = None) -> GatewayKind:
    """How a wrong gateway is made around the right one."""
    right = installed()[name]

    def make(keys: Any, surroundings: Surroundings) -> Gateway:
        return wrong(right.make(keys, surroundings), keys)

    return GatewayKind(credentials or right.credentials, make)


async def verdict_of(check: Check, name: str, kind: GatewayKind) -> NotApplicable | None:
    """What a check says of a gateway."""
    async with opened(name, kind=kind, golden=GOLDEN / name) as bench:
        return await check(bench)


def test_there_are_twenty_checks_and_each_has_a_gateway_to_find() -> None:
    """A check without a wrong gateway here may be one that nothing can fail."""
    assert len(CHECKS) == len(_BY_NAME) == 20
    assert {check for check, _, _ in WRONG} == set(_BY_NAME)
    for number, check in enumerate(CHECKS, 1):
        assert (check.__doc__ or "").startswith(f"{number}. "), check.__name__


@pytest.mark.parametrize(("check", "wrong", "sentence"), WRONG, ids=lambda one: getattr(one, "__name__", None))
async def test_a_wrong_gateway_is_found(check: str, wrong: type[Same], sentence: str) -> None:
    """Each is wrong in one way that has cost somebody money."""
    with pytest.raises(AssertionError) as complaint:
        await verdict_of(_BY_NAME[check], "paypal", wrong_kind("paypal", wrong))
    assert sentence in str(complaint.value)


@pytest.mark.parametrize("name", ["paypal", "paymob"])
async def test_the_wrapper_alone_changes_nothing(name: str) -> None:
    """Otherwise the wrong gateways could be found by what they have in common."""
    wrapper = Capturing if name == "paypal" else Same
    for check in ("registration_is_one_action", "golden_delivery_is_read", "lookup_tells_what_webhooks_told"):
        assert await verdict_of(_BY_NAME[check], name, wrong_kind(name, wrapper)) is None


async def test_a_field_that_is_not_signed_must_not_be_believed() -> None:
    """Paymob's signature leaves our own reference out: believed, one payment could complete somebody else's draft."""
    with pytest.raises(AssertionError, match="a field that the signature does not cover"):
        await verdict_of(_BY_NAME["forged_delivery_is_refused"], "paymob", wrong_kind("paymob", BelievesUnsigned))


async def test_an_empty_secret_must_be_refused() -> None:
    """An empty key would let anyone sign."""
    kind = wrong_kind("paypal", Capturing, LaxCredentials)
    with pytest.raises(AssertionError, match="the credentials take an empty client_secret"):
        await verdict_of(_BY_NAME["forged_delivery_is_refused"], "paypal", kind)


async def test_a_check_that_does_not_apply_says_why() -> None:
    """What is skipped in silence is believed to be proved."""
    for check in ("refund_amounts_are_cumulative", "refund_happens_once"):
        verdict = await verdict_of(_BY_NAME[check], "paypal", wrong_kind("paypal", NothingBack))
        assert verdict == NotApplicable("the profile says that the money of no method can be given back")


def test_the_page_on_the_kit_lists_what_there_is() -> None:
    """Authors elsewhere have that page and nothing else."""
    page = DOCS.read_text("utf-8")
    assert re.findall(r"^\| ([0-9]+) \|", page, re.MULTILINE) == [str(number) for number in range(1, len(CHECKS) + 1)]
    table = page[page.index("### Golden deliveries") : page.index("## The checks")]
    named = {
        name for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    assert named == {field.name for field in msgspec.structs.fields(Golden)} - {"name"}


async def test_what_is_not_installed_is_said_in_words() -> None:
    """An author's first run of the kit fails so, and must tell what is missing."""
    with pytest.raises(AssertionError, match=r"no gateway called wallet is installed: .*qirsh\.gateways"):
        async with opened("wallet"):
            pass
    with pytest.raises(AssertionError, match=r"the sandbox has no PSP called wallet: .*qirsh\.sandbox"):
        async with opened("wallet", kind=installed()["paypal"]):
            pass


async def test_a_gateway_without_golden_deliveries_does_not_pass() -> None:
    """Reading what one's own simulator writes proves that one agrees with oneself."""
    async with opened("paypal") as bench:
        with pytest.raises(AssertionError, match="give the folder of the PSP's own deliveries"):
            await _BY_NAME["golden_delivery_is_read"](bench)


def test_the_kit_knows_no_psp_by_name() -> None:
    """What it knew of one, no author of another could pass."""
    folder = Path(qirsh.conformance.__file__).parent
    for file in folder.glob("*.py"):
        text = file.read_text("utf-8").lower()
        assert not [name for name in (*installed(), "fawry", "stripe") if name in text], file.name
        assert "import pytest" not in text.replace("    import pytest", ""), file.name


def _with_ids(told: Sequence[GatewayEvent | Hint], fresh: Callable[[], str]) -> Iterator[GatewayEvent | Hint]:
    for one in told:
        yield (
            msgspec.structs.replace(one, event_id=fresh())
            if isinstance(one, GatewayEvent)
            else Hint(
                gateway=one.gateway,
                event_id=fresh(),
                draft_id=one.draft_id,
                transaction_reference_id=one.transaction_reference_id,
                payment_reference=one.payment_reference,
            )
        )


def _failed(hint: Hint) -> GatewayEvent:
    return GatewayEvent(
        kind=Kind.FAILED,
        gateway=hint.gateway,
        event_id=hint.event_id,
        draft_id=hint.draft_id or UUID(int=0),
        transaction_reference_id=hint.transaction_reference_id,
    )
