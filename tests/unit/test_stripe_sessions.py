"""Registering at Stripe: what a session is asked for, and how a doubt ends in one page."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from unit_stripe import (
    DRAFT_ID,
    KEY,
    NOW,
    PAGE_URL,
    SECRET_KEY,
    SESSION_ID,
    SESSIONS,
    Answer,
    draft_of,
    error_of,
    gateway_of,
    listed,
    payer,
    session_of,
    stripe_and_gateway,
)

from qirsh.actions import RedirectUrl
from qirsh.draft import PaymentDraft
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import Cancels, Registration
from qirsh.gateways.stripe.account import VERSION
from qirsh.gateways.stripe.forms import LOCALES, flattened, session_form
from qirsh.methods import METHODS
from qirsh.money import Money

FOREIGN = session_of(id="cs_test_foreign", metadata={"draft_id": "order-17"}, url=None)


async def test_a_session_is_asked_for_with_all_that_finds_it_again() -> None:
    """The exact request: our id in the session and in its payment, the exact amount, the row's own expiry."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", SESSIONS] = 200, session_of()
        draft = draft_of(quantity=2, product_name="قميص", locale="en-US", payer=payer(email="a@example.com"))
        found = await gateway.register(draft, key=KEY)
        await gateway.register(draft, key=KEY)
    assert found == Registration(SESSION_ID, RedirectUrl(PAGE_URL, "redirect"))
    first, second = fake.asked
    assert first.body == second.body
    assert (first.headers["authorization"], first.headers["stripe-version"]) == (f"Bearer {SECRET_KEY}", VERSION)
    assert (first.headers["content-type"], first.key) == ("application/x-www-form-urlencoded", KEY)
    back = f"https://pay.example/api/payments/return/stripe/{DRAFT_ID}"
    assert first.form == {
        "mode": "payment",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "1000",
        "line_items[0][price_data][product_data][name]": "2 × قميص",
        "line_items[0][quantity]": "1",
        "client_reference_id": str(DRAFT_ID),
        "metadata[draft_id]": str(DRAFT_ID),
        "payment_intent_data[metadata][draft_id]": str(DRAFT_ID),
        "success_url": back,
        "cancel_url": f"{back}?cancelled=1",
        "expires_at": str(int((NOW + timedelta(hours=1)).timestamp())),
        "locale": "en",
        "customer_email": "a@example.com",
    }


@pytest.mark.parametrize(
    ("locale", "sent"),
    [
        ("ar", "auto"),
        ("ar-EG", "auto"),
        (None, "auto"),
        ("pt-BR", "pt-BR"),
        ("pt-PT", "pt"),
        ("fr", "fr"),
        ("x", "auto"),
    ],
)
def test_a_language_that_stripes_page_does_not_speak_is_left_to_the_browser(locale: str | None, sent: str) -> None:
    """Stripe refuses a locale that it does not know, and Arabic is one."""
    assert session_form(draft_of(locale=locale), "https://pay.example")["locale"] == sent
    assert "ar" not in LOCALES


def test_nothing_is_sent_that_the_pinned_version_refuses() -> None:
    """`payment_method_types` ends every session since 2026-09-30; an e-mail that nobody gave is no parameter."""
    form = session_form(draft_of(), "https://pay.example")
    assert not [name for name in form if "payment_method_types" in name]
    assert "customer_email" not in form
    assert all(form.values())


def test_each_method_lives_as_long_as_a_session_may() -> None:
    """Stripe takes an expiry of 30 minutes to 24 hours."""
    for method in gateway_of().profile.methods:
        assert timedelta(minutes=30) < METHODS[method].lifetime <= timedelta(hours=24)


def test_a_long_name_is_cut() -> None:
    """Stripe would refuse the whole session for it."""
    name = session_form(draft_of(product_name="x" * 999), "")["line_items[0][price_data][product_data][name]"]
    assert name == "x" * 250


def test_nested_parameters_are_written_as_stripe_reads_them() -> None:
    """Lists by index, objects by name, in the order in which they stand."""
    assert list(flattened({"b": [{"c": 1, "d": ["x", "y"]}], "a": {"e": {"f": "g"}}}).items()) == [
        ("b[0][c]", "1"),
        ("b[0][d][0]", "x"),
        ("b[0][d][1]", "y"),
        ("a[e][f]", "g"),
    ]


@pytest.mark.parametrize(
    "url", [None, "", "http://checkout.stripe.com/x", "javascript:alert(1)", "https://", "https://[", "https://a/\n"]
)
async def test_a_page_that_no_payer_should_see_is_not_handed_out(url: str | None) -> None:
    """Https only, or in development the origin that we talk to."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", SESSIONS] = 200, session_of(url=url)
        with pytest.raises(GatewayProtocolError):
            await gateway.register(draft_of(), key=KEY)


@pytest.mark.parametrize("body", [{}, {"id": "?"}, {"id": "../refunds"}, [], "x", b"<html>"])
async def test_a_session_that_cannot_be_read_leaves_a_doubt(body: Any) -> None:
    """It may be there."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", SESSIONS] = 200, body
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(draft_of(), key=KEY)


async def test_in_doubt_stripe_is_asked_before_anything_is_sent() -> None:
    """A session that is there is handed out; others' sessions on the same account are not looked at."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed(FOREIGN, {"id": "cs_test_old"}, session_of())
        found = await gateway.register(draft_of(in_doubt=True), key=KEY)
    assert found.transaction_reference_id == SESSION_ID
    (asked,) = fake.asked
    assert asked.query["created[gte]"] == str(int((NOW - timedelta(minutes=5)).timestamp()))
    assert asked.query["limit"] == "100"


async def test_in_doubt_without_a_session_the_same_key_is_sent_again() -> None:
    """If the lost call arrives after all, Stripe answers both as one."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed(FOREIGN)
        fake.answers["POST", SESSIONS] = 200, session_of()
        await gateway.register(draft_of(in_doubt=True), key=KEY)
    assert [asked.key for asked in fake.posts()] == [KEY]


@pytest.mark.parametrize("kept", [(500, error_of("api_error")), (400, error_of("idempotency_error"))])
async def test_a_key_that_goes_on_failing_is_followed_by_a_second_one(kept: Answer) -> None:
    """Stripe keeps its own error for a day; with no session there, its page was never handed out."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed()
        fake.answers["POST", SESSIONS] = lambda asked: kept if asked.key == KEY else (200, session_of())
        found = await gateway.register(draft_of(in_doubt=True), key=KEY)
    assert found.transaction_reference_id == SESSION_ID
    assert [asked.key for asked in fake.posts()] == [KEY, f"{KEY}-2"]
    assert fake.posts()[0].body == fake.posts()[1].body


async def test_a_session_that_appears_behind_a_kept_error_is_handed_out() -> None:
    """The error came after the session was made, and the list showed it a moment late."""
    lists = iter([listed(), listed(session_of())])
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = lambda _: (200, next(lists))
        fake.answers["POST", SESSIONS] = 500, error_of("api_error")
        found = await gateway.register(draft_of(in_doubt=True), key=KEY)
    assert found.transaction_reference_id == SESSION_ID
    assert [asked.key for asked in fake.posts()] == [KEY]


@pytest.mark.parametrize(
    ("draft", "answer"),
    [
        (draft_of(), (500, error_of("api_error"))),
        (draft_of(in_doubt=True), (409, error_of("idempotency_error", code="idempotency_key_in_use"))),
        (draft_of(in_doubt=True), (424, error_of("api_error"))),
        (draft_of(in_doubt=True), (502, b"<html>")),
        (draft_of(in_doubt=True), (503, {"detail": "down"})),
    ],
)
async def test_no_second_key_is_used_where_the_first_may_still_act(draft: PaymentDraft, answer: Answer) -> None:
    """A first call, one that is still running, and what a proxy says tell nothing about what is kept."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed()
        fake.answers["POST", SESSIONS] = answer
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(draft, key=KEY)
    assert [asked.key for asked in fake.posts()] == [KEY]


async def test_a_session_that_has_moved_on_is_looked_up_and_not_handed_out() -> None:
    """Somebody paid it, or its time is over: a new one could be paid a second time."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed(session_of(status="complete", url=None))
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(draft_of(in_doubt=True), key=KEY)
    assert fake.posts() == []


async def test_a_list_is_read_page_by_page_and_a_list_without_end_proves_nothing() -> None:
    """What lies behind the last page that we read may be there all the same."""

    def pages(ours: int) -> Sequence[dict[str, Any]]:
        return [listed(session_of() if at == ours else {"id": f"cs_{at}"}, has_more=True) for at in range(20)]

    async with stripe_and_gateway() as (fake, gateway):
        shown = iter(pages(3))
        fake.answers["GET", SESSIONS] = lambda _: (200, next(shown))
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(draft_of(in_doubt=True, transaction_reference_id=None))
        assert [asked.query.get("starting_after") for asked in fake.asked][:3] == [None, "cs_0", "cs_1"]
        assert len(fake.asked) == 10
    assert fake.posts() == []


async def test_stripes_refusals_are_told_apart() -> None:
    """Whose turn it is: the shop's, the operator's, or nobody's yet."""
    cases: list[tuple[Answer, type[Exception]]] = [
        ((400, error_of(code="parameter_missing")), GatewayRejected),
        ((402, error_of("card_error", code="card_declined")), GatewayRejected),
        ((401, error_of()), GatewayMisconfigured),
        ((403, error_of()), GatewayMisconfigured),
        ((409, error_of()), GatewayOutcomeUnknown),
        ((400, error_of("idempotency_error")), GatewayOutcomeUnknown),
        ((424, error_of("api_error")), GatewayOutcomeUnknown),
        ((429, error_of()), GatewayUnavailable),
        ((400, error_of(code="rate_limit")), GatewayUnavailable),
        ((500, error_of("api_error")), GatewayOutcomeUnknown),
        ((502, b"<html>"), GatewayOutcomeUnknown),
    ]
    for answer, raised in cases:
        async with stripe_and_gateway() as (fake, gateway):
            fake.answers["POST", SESSIONS] = answer
            with pytest.raises(raised) as caught:
                await gateway.register(draft_of(), key=KEY)
            assert "do_not_show" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("error", "code", "reason", "words"),
    [
        (error_of(code="amount_too_small"), "amount_too_small", "processing_error", "so small an amount"),
        (error_of(code="amount_too_large"), "amount_too_large", "limit_exceeded", "so large an amount"),
        (error_of(code="parameter_unknown"), "parameter_unknown", "processing_error", "HTTP 400"),
        (error_of(), "invalid_request_error", "processing_error", "HTTP 400"),
        (error_of(code="Not A Word'"), "invalid_request_error", "processing_error", "HTTP 400"),
        ({"error": "x"}, "400", "unknown", "HTTP 400"),
        (b"no json", "400", "unknown", "HTTP 400"),
    ],
)
async def test_a_refusal_carries_stripes_own_code(error: Any, code: str, reason: str, words: str) -> None:
    """For the record; the payer hears ours."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["POST", SESSIONS] = 400, error
        with pytest.raises(GatewayRejected) as caught:
            await gateway.register(draft_of(Money(10, "USD")), key=KEY)
    assert (caught.value.psp_code, caught.value.reason) == (code, reason)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["http://api.stripe.com", "ftp://x", "api.stripe.com", "https://u:p@x", "https://["]
)
def test_the_secret_key_travels_over_https(base_url: str) -> None:
    """Plain http is for `qirsh dev`, which reaches the sandbox."""
    with pytest.raises(GatewayMisconfigured, match=r"stripe\.base_url"):
        gateway_of(base_url=base_url, dev=False)
    gateway_of(base_url="https://api.stripe.com", dev=False)
    gateway_of(base_url="http://127.0.0.1:8001", dev=True)


async def test_an_open_session_is_expired_and_one_that_is_over_is_left_alone() -> None:
    """So that a sibling of a paid order cannot be paid as well; look-ups tell what became of it."""
    async with stripe_and_gateway() as (fake, gateway):
        assert isinstance(gateway, Cancels)
        path = f"{SESSIONS}/{SESSION_ID}/expire"
        fake.answers["GET", SESSIONS] = 200, listed(session_of())
        for answer in (
            (200, session_of(status="expired")),
            (400, error_of()),
            (404, error_of(code="resource_missing")),
        ):
            fake.answers["POST", path] = answer
            await gateway.cancel(draft_of(transaction_reference_id=SESSION_ID))
            await gateway.cancel(draft_of(in_doubt=True))
        assert [asked.path for asked in fake.posts()] == [path] * 6
        fake.answers["POST", path] = 500, error_of("api_error")
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.cancel(draft_of(transaction_reference_id=SESSION_ID))


async def test_nothing_is_cancelled_where_nothing_is_there() -> None:
    """A draft that was never registered."""
    async with stripe_and_gateway() as (fake, gateway):
        fake.answers["GET", SESSIONS] = 200, listed(FOREIGN)
        await gateway.cancel(draft_of())
    assert fake.posts() == []
