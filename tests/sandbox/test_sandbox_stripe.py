"""The fake Stripe's data plane: forms, keys, refusals, lists, and the way from the first call to the money."""

import asyncio
import base64
from pathlib import Path

import pytest
from sandbox_stripe_bench import (
    CURRENCY,
    REFUNDS,
    SESSIONS,
    STRIPE,
    UNIT_AMOUNT,
    error_of,
    session_form,
    stripe_shop,
)

TYPES = "payment_method_types"
REFERENCE = "client_reference_id"


async def test_a_payment_goes_from_form_to_signed_event(tmp_path: Path) -> None:
    """The whole flow as a shop and its payer live it."""
    async with stripe_shop(tmp_path) as shop:
        created = await shop.create(key="key-1", expires_at="")
        session = created.body
        assert (created.status, session["status"], session["payment_status"]) == (200, "open", "unpaid")
        assert (session["amount_total"], session["currency"], session["payment_intent"]) == (1000, "usd", None)
        assert session["metadata"] == {"draft_id": "draft-1"}
        assert session["expires_at"] - session["created"] == 86_400
        assert created.headers["request-id"].startswith("req_")
        assert (created.headers["stripe-version"], created.headers["idempotency-key"]) == ("2026-10-28.endive", "key-1")
        page = await shop.call("GET", session["url"])
        assert "SANDBOX — no real money" in page.body
        assert "USD 10.00" in page.body

        back = await shop.press(session["url"], "pay")

        assert (back.status, back.headers["Location"]) == (303, f"https://shop.example/ok?sid={session['id']}")
        (event,) = await shop.told("checkout.session.completed")
        assert event.is_signed_by(STRIPE.webhook_secrets[0])
        assert (event.body["object"], event.body["api_version"]) == ("event", "2026-10-28.endive")
        assert event.body["request"] == {"id": None, "idempotency_key": None}
        assert (event.object["id"], event.object["payment_status"], event.object["url"]) == (
            session["id"],
            "paid",
            None,
        )
        payment = (await shop.show(f"/v1/payment_intents/{event.object['payment_intent']}")).body
        assert (payment["status"], payment["amount_received"]) == ("succeeded", 1000)
        assert payment["metadata"] == {"draft_id": "draft-1"}
        assert await shop.ledger() == [
            {
                "psp": "stripe",
                "merchant_reference": "draft-1",
                "transaction_reference_id": session["id"],
                "amount_minor": 1000,
                "currency": "USD",
                "state": "paid",
                "registered": 1,
                "paid_minor": 1000,
                "refunded_minor": 0,
            }
        ]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"nonsense": "1"}, (400, "parameter_unknown", "nonsense")),
        ({"line_items[0][size]": "1"}, (400, "parameter_unknown", "line_items[0][size]")),
        ({"line_items[0][quantity]": ""}, (400, "parameter_missing", "line_items[0][quantity]")),
        ({"mode": ""}, (400, "parameter_missing", "mode")),
        ({"success_url": ""}, (400, "parameter_missing", "success_url")),
        ({"success_url": "nowhere"}, (400, "url_invalid", "success_url")),
        ({"unit_amount": "10.5"}, (400, "parameter_invalid_integer", UNIT_AMOUNT)),
        ({"unit_amount": "5124", "money": "kwd"}, (400, "parameter_invalid_integer", UNIT_AMOUNT)),
        ({"money": "xyz"}, (400, None, CURRENCY)),
        ({"unit_amount": "49"}, (400, "amount_too_small", None)),
        ({"locale": "ar"}, (400, None, "locale")),
        ({"expires_at": "1"}, (400, None, "expires_at")),
        ({f"{TYPES}[0]": "card"}, (400, f"{TYPES}_no_longer_supported", TYPES)),
        ({f"{REFERENCE}[a]": "x", REFERENCE: ""}, (400, "parameter_invalid_string", REFERENCE)),
        ({"unit_amount": "100000000"}, (400, "amount_too_large", None)),
        ({"line_items[0][quantity]": "0"}, (400, "parameter_invalid_integer", "line_items[0][quantity]")),
        ({"metadata[draft_id]": "x" * 501}, (400, None, "metadata")),
        ({"line_items[0]" + "[a]" * 9: "x"}, (400, "parameter_unknown", "line_items[0]" + "[a]" * 9)),
        ({"metadata": "x"}, (400, "parameter_unknown", "metadata[draft_id]")),
        ({"line_items[0][price]": "price_1"}, (400, "resource_missing", "line_items[0][price]")),
    ],
)  # fmt: skip
async def test_a_bad_parameter_is_refused_by_its_name(
    tmp_path: Path, changes: dict[str, str], refusal: tuple[int, str | None, str | None]
) -> None:
    """A shop that sends nonsense must learn it here and not at Stripe; and nothing was made."""
    async with stripe_shop(tmp_path) as shop:
        form = {**changes, **session_form()} if "metadata" in changes else session_form(**changes)
        assert error_of(await shop.send(SESSIONS, form, "key-1")) == refusal
        assert await shop.ledger() == []
        # What the parameters alone refuse was never begun, so the key is free.
        assert (await shop.create(key="key-1")).status == 200


async def test_an_older_version_takes_the_old_parameter(tmp_path: Path) -> None:
    """The pinned version decides, as at Stripe."""
    async with stripe_shop(tmp_path) as shop:
        form = session_form(**{"payment_method_types[0]": "card"})
        answer = await shop.send(SESSIONS, form, Stripe_Version="2025-01-27.acacia")
        assert (answer.status, answer.headers["stripe-version"]) == (200, "2025-01-27.acacia")


async def test_only_the_secret_key_is_let_in(tmp_path: Path) -> None:
    """As a bearer, or as the user name of Basic."""
    async with stripe_shop(tmp_path) as shop:
        basic = base64.b64encode(f"{STRIPE.secret_key}:".encode()).decode()
        assert (await shop.call("GET", SESSIONS, headers={"Authorization": f"Basic {basic}"})).status == 200
        for header in ({}, {"Authorization": "Bearer sk_test_wrong"}, {"Authorization": "Basic ?"}):
            answer = await shop.call("GET", SESSIONS, headers=header)
            assert (answer.status, answer.body["error"]["type"]) == (401, "invalid_request_error")
        assert (await shop.call("POST", SESSIONS, data=b"")).status == 401


async def test_a_key_stands_for_one_request(tmp_path: Path) -> None:
    """The same again is answered the same, anything else under it is refused, and it is forgotten after a day."""
    async with stripe_shop(tmp_path) as shop:
        first, again = await shop.create(key="key-1"), await shop.create(key="key-1")
        assert again.body == first.body
        assert again.headers["idempotent-replayed"] == "true"
        other = await shop.create("draft-2", key="key-1")
        assert (other.status, other.body["error"]["type"]) == (400, "idempotency_error")
        assert [row["registered"] for row in await shop.ledger()] == [1]
        await shop.advance(86_401)
        assert (await shop.create(key="key-1")).body["id"] != first.body["id"]


async def test_of_two_at_the_same_moment_the_second_is_refused(tmp_path: Path) -> None:
    """409, and only one session."""
    async with stripe_shop(tmp_path) as shop:
        await shop.fault("register", "slow", seconds=0.5)
        answers = await asyncio.gather(shop.create(key="key-1"), shop.create(key="key-1"))
        codes = {answer.status: answer.body.get("error", {}).get("code") for answer in answers}
        assert codes == {200: None, 409: "idempotency_key_in_use"}
        assert len(await shop.ledger()) == 1


async def test_an_error_after_the_work_is_kept_under_the_key(tmp_path: Path) -> None:
    """Stripe's own 5xx is an answer like any other: the repeat fails too, though the session is there."""
    async with stripe_shop(tmp_path) as shop:
        await shop.fault("register", "error_after_accept")
        assert (await shop.create(key="key-1")).status == 500
        again = await shop.create(key="key-1")
        assert (again.status, again.body["error"]["type"]) == (500, "api_error")
        assert [row["registered"] for row in await shop.ledger()] == [1]
        await shop.fault("register", "error")
        assert (await shop.create("draft-2", key="key-2")).status == 500
        assert (await shop.create("draft-2", key="key-2")).status == 200


async def test_lists_come_newest_first_page_by_page(tmp_path: Path) -> None:
    """What a shop in doubt searches."""
    async with stripe_shop(tmp_path) as shop:
        ids = [(await shop.create(f"draft-{number}")).body["id"] for number in range(5)]
        first = (await shop.show(SESSIONS, limit="2")).body
        assert ([one["id"] for one in first["data"]], first["has_more"]) == ([ids[4], ids[3]], True)
        rest = (await shop.show(SESSIONS, limit="3", starting_after=ids[3])).body
        assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[2], ids[1], ids[0]], False)
        before = (await shop.show(SESSIONS, limit="1", ending_before=ids[2])).body
        assert ([one["id"] for one in before["data"]], before["has_more"]) == ([ids[3]], True)
        late = {"created[gte]": str(first["data"][0]["created"] + 60)}
        assert (await shop.show(SESSIONS, **late)).body["data"] == []
        assert error_of(await shop.show(SESSIONS, limit="0")) == (400, "parameter_invalid_integer", "limit")
        assert error_of(await shop.show(SESSIONS, sort="up")) == (400, "parameter_unknown", "sort")
        assert error_of(await shop.show(SESSIONS, starting_after="cs_x")) == (404, "resource_missing", "starting_after")


async def test_objects_are_shown_inside_others_where_they_are_asked_for(tmp_path: Path) -> None:
    """Ids otherwise; what is none cannot be expanded."""
    async with stripe_shop(tmp_path) as shop:
        session = await shop.paid()
        path = f"{SESSIONS}/{session['id']}"
        deep = (await shop.show(path, **{"expand[0]": "payment_intent.latest_charge", "expand[1]": "line_items"})).body
        charge = deep["payment_intent"]["latest_charge"]
        assert (charge["object"], charge["paid"], charge["payment_method_details"]["card"]["last4"]) == (
            *("charge", True),
            "4242",
        )
        assert deep["line_items"]["data"][0]["description"] == "قميص"
        listed = (await shop.show(SESSIONS, **{"expand[]": "data.payment_intent"})).body
        assert listed["data"][0]["payment_intent"]["id"] == deep["payment_intent"]["id"]
        assert error_of(await shop.show(path, **{"expand[]": "colour"})) == (400, None, "expand")
        assert error_of(await shop.show(path, **{"expand[]": "id"})) == (400, None, "expand")
        for name in ("cs_test_none", "cs_test_none/line_items"):
            assert (await shop.show(f"{SESSIONS}/{name}")).status == 404
        for name in ("payment_intents", "charges", "refunds", "disputes", "events"):
            assert error_of(await shop.show(f"/v1/{name}/x_1")) == (404, "resource_missing", "id")


async def test_state_outlives_a_restart(tmp_path: Path) -> None:
    """A `kill -9` of the sandbox loses no answer."""
    async with stripe_shop(tmp_path) as shop:
        first = await shop.create(key="key-1")
        await shop.stop()
        await shop.start()
        assert (await shop.create(key="key-1")).body == first.body
        assert error_of(await shop.send(REFUNDS, {"payment_intent": "pi_x"})) == (
            *(404, "resource_missing"),
            "payment_intent",
        )
