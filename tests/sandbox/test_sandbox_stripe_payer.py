"""What payers and banks do at the fake Stripe, by its page and by command, and what its webhooks say of it."""

from pathlib import Path

import pytest
from sandbox_stripe_bench import REFUNDS, SESSIONS, STRIPE, error_of, stripe_shop


async def test_a_declined_card_leaves_the_session_open(tmp_path: Path) -> None:
    """The payer may try another on the same page; the payment is the same."""
    async with stripe_shop(tmp_path) as shop:
        page = (await shop.create()).body["url"]
        declined = await shop.press(page, "pay", "4000 0000 0000 9995")
        assert (declined.status, "declined" in declined.body) == (402, True)
        (event,) = await shop.told("payment_intent.payment_failed")
        problem = event.object["last_payment_error"]
        assert (problem["type"], problem["code"], problem["decline_code"]) == (
            *("card_error", "card_declined"),
            "insufficient_funds",
        )
        assert event.object["metadata"] == {"draft_id": "draft-1"}
        assert (await shop.press(page, "pay")).status == 303
        _, completed = await shop.told("payment_intent.payment_failed", "checkout.session.completed")
        assert completed.object["payment_intent"] == event.object["id"]
        assert [row["paid_minor"] for row in await shop.ledger()] == [1000]
        assert (await shop.press(page, "pay")).status == 409


@pytest.mark.parametrize("wallet", ["apple_pay", "google_pay"])
async def test_a_wallet_carries_a_card(tmp_path: Path, wallet: str) -> None:
    """As at Stripe, where both come through the card."""
    async with stripe_shop(tmp_path) as shop:
        session = (await shop.create()).body
        await shop.press(session["url"], wallet)
        expanded = {"expand[]": "payment_intent.latest_charge"}
        shown = (await shop.show(f"{SESSIONS}/{session['id']}", **expanded)).body
        assert shown["payment_intent"]["latest_charge"]["payment_method_details"]["card"]["wallet"]["type"] == wallet


@pytest.mark.parametrize(("act", "event"), [("release", "async_payment_succeeded"), ("deny", "async_payment_failed")])
@pytest.mark.parametrize("way", ["page", "command"])
async def test_a_slow_payment_ends_later(tmp_path: Path, act: str, event: str, way: str) -> None:
    """The session is complete at once and nothing is paid."""
    async with stripe_shop(tmp_path) as shop:
        page = (await shop.create()).body["url"]
        if way == "page":
            await shop.press(page, "later")
            assert "on its way" in (await shop.call("GET", page)).body
        else:
            assert (await shop.act("review")).status == 200
        (completed,) = await shop.told("checkout.session.completed")
        assert (completed.object["status"], completed.object["payment_status"]) == ("complete", "unpaid")
        assert [row["state"] for row in await shop.ledger()] != ["paid"]

        if way == "page":
            await shop.press(page, "succeed" if act == "release" else "fail")
        else:
            assert (await shop.act(act)).status == 200

        _, told = await shop.told("checkout.session.completed", f"checkout.session.{event}")
        assert told.object["payment_status"] == ("paid" if act == "release" else "unpaid")
        assert [row["state"] for row in await shop.ledger()] == ["paid" if act == "release" else "failed"]
        assert (await shop.act(act)).status == 409


@pytest.mark.parametrize("way", ["page", "call", "command", "clock"])
async def test_a_session_expires(tmp_path: Path, way: str) -> None:
    """By its payer's button, by the merchant, by command, or by the clock; it is told once."""
    async with stripe_shop(tmp_path) as shop:
        session = (await shop.create()).body
        path = f"{SESSIONS}/{session['id']}"
        match way:
            case "page":
                await shop.press(session["url"], "expire")
            case "call":
                expired = await shop.send(f"{path}/expire", {}, "key-9")
                assert expired.body["status"] == "expired"
            case "command":
                assert (await shop.act("expire")).status == 200
            case "clock":
                await shop.advance(86_401)
        shown = (await shop.show(path)).body
        assert (shown["status"], shown["url"]) == ("expired", None)
        (event,) = await shop.told("checkout.session.expired")
        assert event.body["request"]["idempotency_key"] == ("key-9" if way == "call" else None)
        assert [row["state"] for row in await shop.ledger()] == ["expired"]
        assert (await shop.press(session["url"], "pay")).status == 404
        assert (await shop.act("pay")).status == 409
        assert error_of(await shop.send(f"{path}/expire", {}))[0] == 400
        assert len(shop.events) == 1


async def test_a_refund_is_taken_once_and_told(tmp_path: Path) -> None:
    """A part, then more than is left, then the rest, then nothing."""
    async with stripe_shop(tmp_path) as shop:
        payment = (await shop.paid())["payment_intent"]["id"]
        form = {"payment_intent": payment, "amount": "250", "metadata[refund_id]": "r-1"}
        first = await shop.send(REFUNDS, form, "refund-1")
        assert (first.body["status"], first.body["amount"], first.body["metadata"]) == (
            *("succeeded", 250),
            {"refund_id": "r-1"},
        )
        assert (await shop.send(REFUNDS, form, "refund-1")).body == first.body
        _, created, refunded = await shop.told("checkout.session.completed", "refund.created", "charge.refunded")
        assert created.body["request"]["idempotency_key"] == "refund-1"
        assert (refunded.object["amount_refunded"], refunded.object["refunded"]) == (250, False)
        assert error_of(await shop.send(REFUNDS, {"payment_intent": payment, "amount": "751"})) == (400, None, "amount")
        assert (await shop.send(REFUNDS, {"payment_intent": payment})).body["amount"] == 750
        gone = await shop.send(REFUNDS, {"payment_intent": payment}, "refund-3")
        assert error_of(gone) == (400, "charge_already_refunded", None)
        kept = await shop.send(REFUNDS, {"payment_intent": payment}, "refund-3")
        assert kept.headers["idempotent-replayed"] == "true"
        listed = (await shop.show(REFUNDS, payment_intent=payment)).body["data"]
        assert [one["amount"] for one in listed] == [750, 250]
        assert [row["refunded_minor"] for row in await shop.ledger()] == [1000]


@pytest.mark.parametrize(("act", "status", "left"), [("release", "succeeded", 250), ("deny", "failed", 0)])
async def test_a_refund_may_wait(tmp_path: Path, act: str, status: str, left: int) -> None:
    """Stripe's test card …7726: the refund is pending at first."""
    async with stripe_shop(tmp_path) as shop:
        payment = (await shop.paid(card="4000000000007726"))["payment_intent"]["id"]
        refund = (await shop.send(REFUNDS, {"payment_intent": payment, "amount": "250"})).body
        assert refund["status"] == "pending"
        assert (await shop.act(act)).status == 200
        assert (await shop.show(f"{REFUNDS}/{refund['id']}")).body["status"] == status
        assert [row["refunded_minor"] for row in await shop.ledger()] == [left]
        failed = ["refund.failed"] if act == "deny" else []
        first = ["checkout.session.completed", "refund.created", "charge.refunded"]
        await shop.told(*first, "refund.updated", *failed)


async def test_a_refund_that_was_done_may_fail_later(tmp_path: Path) -> None:
    """Stripe's test card …5126."""
    async with stripe_shop(tmp_path) as shop:
        payment = (await shop.paid(card="4000000000005126"))["payment_intent"]["id"]
        refund = (await shop.send(REFUNDS, {"payment_intent": payment})).body
        assert refund["status"] == "succeeded"
        assert (await shop.act("deny")).status == 200
        shown = (await shop.show(f"{REFUNDS}/{refund['id']}")).body
        assert (shown["status"], "failure_reason" in shown) == ("failed", True)
        assert [row["state"] for row in await shop.ledger()] == ["paid"]


@pytest.mark.parametrize("way", ["card", "command"])
async def test_a_dispute_marks_the_charge(tmp_path: Path, way: str) -> None:
    """Stripe's test card …0259, or the payer's bank at any time; its object carries nothing of the merchant's."""
    async with stripe_shop(tmp_path) as shop:
        payment = (await shop.paid(card="4000000000000259" if way == "card" else "4242424242424242"))["payment_intent"]
        if way == "command":
            assert (await shop.act("reverse")).status == 200
        _, dispute = await shop.told("checkout.session.completed", "charge.dispute.created")
        assert (dispute.object["payment_intent"], dispute.object["metadata"]) == (payment["id"], {})
        assert (await shop.show(f"/v1/charges/{dispute.object['charge']}")).body["disputed"]
        assert error_of(await shop.send(REFUNDS, {"payment_intent": payment["id"]}))[1] == "charge_disputed"
        assert (await shop.act("reverse")).status == 409


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """A test that commands the impossible must hear it."""
    async with stripe_shop(tmp_path) as shop:
        page = (await shop.create()).body["url"]
        for act in ("refund", "release", "deny", "reverse"):
            assert (await shop.act(act)).status == 409
        assert (await shop.act("cancel")).status == 200
        assert (await shop.act("pay", "draft-2")).status == 404
        assert (await shop.press(page, "cancel")).headers["Location"] == "https://shop.example/cancel"
        assert (await shop.press(page, "pay", "1234")).status == 400
        assert (await shop.press(page, "dance")).status == 400
        assert (await shop.call("GET", f"{shop.base}/c/pay/cs_test_x")).status == 404
        assert (await shop.act("pay")).status == 200
        assert (await shop.act("refund", amount_minor=0)).status == 409
        assert (await shop.act("cancel")).status == 409


@pytest.mark.parametrize(
    ("currency", "unit_amount", "minor"),
    [("jpy", "500", 500), ("kwd", "5120", 5120), ("isk", "500", 5), ("mga", "120", 12000)],
)
async def test_the_ledger_counts_as_iso_does(tmp_path: Path, currency: str, unit_amount: str, minor: int) -> None:
    """It judges the server, so it must not count as Stripe does."""
    async with stripe_shop(tmp_path) as shop:
        await shop.paid(money=currency, unit_amount=unit_amount)
        (row,) = await shop.ledger()
        assert (row["amount_minor"], row["paid_minor"], row["currency"]) == (minor, minor, currency.upper())
        assert (await shop.act("refund", amount_minor=minor)).status == 200
        assert [row["refunded_minor"] for row in await shop.ledger()] == [minor]


async def test_every_secret_signs_while_one_is_rolled(tmp_path: Path) -> None:
    """And each attempt is signed anew: a retry hours later must not be too old."""
    async with stripe_shop(tmp_path, secrets=("sandbox_new", "sandbox_old")) as shop:
        shop.answers = [500]
        await shop.create()
        await shop.act("pay")
        (first,) = await shop.told("checkout.session.completed")
        await shop.advance(100)
        _, second = await shop.told("checkout.session.completed", "checkout.session.completed")
        assert first.body == second.body
        assert first.headers["Stripe-Signature"] != second.headers["Stripe-Signature"]
        for event in (first, second):
            assert event.is_signed_by("sandbox_new")
            assert event.is_signed_by("sandbox_old")
            assert not event.is_signed_by(STRIPE.webhook_secrets[0])


async def test_webhooks_are_spoilt_on_demand(tmp_path: Path) -> None:
    """A wrong signature, and a wrong amount that is signed like a right one."""
    async with stripe_shop(tmp_path) as shop:
        await shop.fault("webhook", "corrupt_signature")
        await shop.create()
        await shop.act("pay")
        (event,) = await shop.told("checkout.session.completed")
        assert not event.is_signed_by(STRIPE.webhook_secrets[0])
        await shop.fault("webhook", "wrong_amount")
        await shop.create("draft-2")
        await shop.act("pay", "draft-2")
        _, wrong = await shop.told("checkout.session.completed", "checkout.session.completed")
        assert (wrong.object["amount_total"], wrong.is_signed_by(STRIPE.webhook_secrets[0])) == (1001, True)
        events = (await shop.show("/v1/events", type="checkout.session.completed")).body["data"]
        assert [one["data"]["object"]["amount_total"] for one in events] == [1000, 1000]
        assert (await shop.show(f"/v1/events/{events[0]['id']}")).body == events[0]
