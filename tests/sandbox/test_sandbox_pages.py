"""The sandbox's pages: their frame, their two languages, and every button that the control plane has an act for."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from sandbox_bench import PAYMOB, Bench, bench, query_of, until
from sandbox_fawry_bench import fawry_shop
from sandbox_paypal_bench import paypal_shop
from sandbox_stripe_bench import stripe_shop

KIOSK = "/__sandbox/paymob"
FAWRY = "/__sandbox/fawry"


async def _bill(shop: Bench, reference: str = "draft-1") -> str:
    """Register a kiosk bill; return its number."""
    order = (await shop.order(reference)).body["id"]
    key = (await shop.key(order, integration_id=PAYMOB.kiosk_integration_id)).body["token"]
    source = {"identifier": "AGGREGATOR", "subtype": "AGGREGATOR"}
    answer = await shop.post("/api/acceptance/payments/pay", {"source": source, "payment_token": key})
    return f"{answer.body['data']['bill_reference']}"


def _buttons(page: str) -> list[str]:
    """Return what the buttons of a page do, from the top."""
    return re.findall(r'<button[^>]* value="(\w+)"', page)


@pytest.mark.parametrize(("act", "word"), [("decline", "DECLINED"), ("cancel", "CANCELLED")])
async def test_a_card_is_declined_or_given_up_as_by_the_control_plane(tmp_path: Path, act: str, word: str) -> None:
    """Told by a signed callback and by the browser, and the order stays payable."""
    async with bench(tmp_path) as shop:
        page = await shop.card_page()
        assert _buttons((await shop.call("GET", page)).body) == ["pay", "cancel", "decline", "expire"]
        back = await shop.call("POST", page, data={"action": act})
        assert (back.status, query_of(back)["txn_response_code"]) == (303, word)
        await shop.act(act)
        pressed, commanded = await shop.callbacks(2)
        assert pressed.is_authentic
        for name in ("success", "pending", "source_data"):
            assert pressed.obj[name] == commanded.obj[name]
        assert pressed.obj["data"]["txn_response_code"] == commanded.obj["data"]["txn_response_code"] == word
        assert (await shop.ledger())[0]["state"] == "open"


async def test_a_cards_time_ends_without_a_word(tmp_path: Path) -> None:
    """Paymob tells nobody when a payment key is over; the page says so."""
    async with bench(tmp_path) as shop:
        page = await shop.card_page()
        over = await shop.call("POST", page, data={"action": "expire"})
        assert (over.status, "Paymob tells nobody" in over.body) == (200, True)
        assert (await shop.call("GET", page)).status == 401
        assert (await shop.ledger())[0]["state"] == "expired"
        assert await shop.deliveries() == []


async def test_a_wallet_declines_and_expires(tmp_path: Path) -> None:
    """The two buttons beside confirming and cancelling."""
    async with bench(tmp_path) as shop:
        page = (await shop.wallet())["redirect_url"]
        assert _buttons((await shop.call("GET", page)).body) == ["pay", "cancel", "decline", "expire"]
        assert query_of(await shop.call("POST", page, data={"action": "decline"}))["success"] == "false"
        (declined,) = await shop.callbacks(1)
        assert (declined.is_authentic, declined.obj["data"]["txn_response_code"]) == (True, "6051")

        other = (await shop.wallet("draft-2"))["redirect_url"]
        assert (await shop.call("POST", other, data={"action": "expire"})).status == 200
        assert (await shop.call("GET", other)).status == 401
        assert [row["state"] for row in await shop.ledger()] == ["open", "expired"]
        assert len(await shop.deliveries()) == 1


async def test_a_kiosk_bill_has_a_till(tmp_path: Path) -> None:
    """Which shows what it is for, takes the money, lets the time run out, and says what it cannot do."""
    async with bench(tmp_path) as shop:
        assert "Nothing waits" in (await shop.call("GET", KIOSK)).body
        paid, late = await _bill(shop), await _bill(shop, "draft-2")
        listed = (await shop.call("GET", KIOSK)).body
        assert re.findall(r"<h2>([0-9]+)</h2>", listed) == [late, paid]
        assert all(said in listed for said in ("draft-1", "draft-2", "EGP 300.00", "lets nobody decline or cancel it"))
        assert _buttons(listed) == ["pay", "expire"] * 2

        for number, act in ((paid, "pay"), (late, "expire")):
            forbidden = await shop.call("POST", KIOSK, data={"number": number, "action": "cancel"})
            assert (forbidden.status, "cannot be declined or cancelled" in forbidden.body) == (409, True)
            done = await shop.call("POST", KIOSK, data={"number": number, "action": act})
            assert (done.status, done.headers["Location"]) == (303, f"{KIOSK}?number={number}")
            assert (await shop.call("POST", KIOSK, data={"number": number, "action": act})).status == 409
        callbacks = await shop.callbacks(2)
        assert sorted((one.obj["success"], one.obj["is_voided"]) for one in callbacks) == [(False, True), (True, False)]
        assert all(one.is_authentic for one in callbacks)
        assert [row["state"] for row in await shop.ledger()] == ["paid", "expired"]
        assert "PAID" in (await shop.call("GET", f"{KIOSK}?number={paid}")).body
        assert "EXPIRED" in (await shop.call("GET", f"{KIOSK}?number={late}")).body

        assert (await shop.call("POST", KIOSK, data={"number": "1", "action": "pay"})).status == 404
        assert (await shop.call("POST", KIOSK, data={"number": paid, "action": "dance"})).status == 400


@pytest.mark.parametrize(("method", "buttons"), [("PAYATFAWRY", "cancel expire"), ("MWALLET", "decline cancel expire")])
async def test_fawrys_till_cancels_and_shows_what_is_bought_and_the_fee(
    tmp_path: Path, method: str, buttons: str
) -> None:
    """A payer who asks for 300 and is asked for 301 must see why."""
    async with fawry_shop(tmp_path) as shop:
        number = (await shop.charge(method)).body["referenceNumber"]
        listed = (await shop.call("GET", FAWRY)).body
        assert _buttons(listed) == ["pay", *buttons.split()]
        assert all(said in listed for said in ("2 × T-shirt", "draft-1", "EGP 300.00"))
        cash = method == "PAYATFAWRY"
        assert all((said in listed) is cash for said in ("Cash cannot be declined", "EGP 1.00", "EGP 301.00", "fee"))
        assert (await shop.call("POST", FAWRY, data={"number": number, "action": "cancel"})).status == 303
        await shop.told("NEW", "CANCELED")
        assert (await shop.ledger())[0]["state"] == "voided"


async def test_paypals_order_expires_on_its_page(tmp_path: Path) -> None:
    """An approved one with PayPal's word, any other silently; and the payer finds the way back."""
    async with paypal_shop(tmp_path) as shop:
        silent, approved = (await shop.create()).body["id"], await shop.approved("draft-2")
        page = f"/checkoutnow?token={silent}"
        assert _buttons((await shop.call("GET", page)).body) == ["approve", "cancel", "decline", "review", "expire"]
        for order in (silent, approved):
            over = await shop.call("POST", f"/checkoutnow?token={order}", data={"action": "expire"})
            assert (over.status, f"https://shop.example/cancel?token={order}" in over.body) == (200, True)
            assert (await shop.call("GET", f"/checkoutnow?token={order}")).status == 404
        (reversal, _) = await shop.told("CHECKOUT.PAYMENT-APPROVAL.REVERSED", "CHECKOUT.ORDER.APPROVED")
        assert await shop.is_authentic(reversal)
        assert [row["state"] for row in await shop.ledger()] == ["expired", "expired"]


async def test_stripes_session_expires_on_its_page(tmp_path: Path) -> None:
    """With Stripe's event, and a way back to the shop."""
    async with stripe_shop(tmp_path) as shop:
        page = (await shop.create()).body["url"]
        acts = ["pay", "apple_pay", "google_pay", "cancel", "decline", "expire", "later"]
        assert _buttons((await shop.call("GET", page)).body) == acts
        over = await shop.press(page, "expire")
        assert (over.status, "https://shop.example/cancel" in over.body) == (200, True)
        await shop.told("checkout.session.expired")
        assert (await shop.ledger())[0]["state"] == "expired"


async def test_the_first_page_leads_to_every_payment_that_waits(tmp_path: Path) -> None:
    """And forgets those that do not."""
    async with bench(tmp_path) as shop:
        assert "Nothing waits" in (await shop.call("GET", "/")).body
        card, bill = await shop.card_page(), await _bill(shop, "draft-2")
        wallet = (await shop.wallet("draft-3"))["redirect_url"]
        listed = (await shop.call("GET", "/")).body
        links = [unquote(one.replace("&amp;", "&")) for one in re.findall(r'<a class="button" href="([^"]+)"', listed)]
        waiting = [wallet.removeprefix(shop.base), f"{KIOSK}?number={bill}", card]
        assert [one for one in links if one in waiting] == waiting
        assert {KIOSK, FAWRY} < set(links)
        for path in links:
            assert (await shop.call("GET", path)).status == 200, path
        for reference in ("draft-1", "draft-2", "draft-3"):
            assert reference in listed
            await shop.act("pay", reference)
        assert "Nothing waits" in (await shop.call("GET", "/")).body


@pytest.mark.parametrize(
    ("query", "header", "language"),
    [
        ("", "", "en"),
        ("", "ar-EG,ar;q=0.9,en;q=0.8", "ar"),
        ("", "fr,en;q=0.5,ar;q=0.7", "ar"),
        ("", "en-US,en;q=0.9,ar;q=0.8", "en"),
        ("?lang=ar", "en", "ar"),
        ("?lang=en", "ar", "en"),
        ("?lang=fr", "ar;q=high", "ar"),
    ],
)
async def test_pages_speak_arabic_and_english(tmp_path: Path, query: str, header: str, language: str) -> None:
    """As asked for in the address, else as the browser asks; and each page leads to itself in the other language."""
    async with bench(tmp_path) as shop:
        answer = await shop.call("GET", f"{KIOSK}{query}", headers={"Accept-Language": header})
        direction, other = ("rtl", "en") if language == "ar" else ("ltr", "ar")
        assert f'<html lang="{language}" dir="{direction}">' in answer.body
        assert ("الكشك" in answer.body) is (language == "ar")
        assert f'href="{KIOSK}?lang={other}"' in answer.body
        assert "SANDBOX — no real money" in answer.body
        assert "بيئة تجريبية" in answer.body
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert "http" not in answer.body.partition("</style>")[2], "no page asks another host for anything"


async def test_a_refusal_is_said_in_the_payers_language(tmp_path: Path) -> None:
    """In the PSP's own words where the sandbox has none; and no page is a dead end."""
    async with bench(tmp_path) as shop:
        gone = f"/api/acceptance/iframes/{PAYMOB.iframe_id}?payment_token=x&lang="
        assert "Invalid token." in (await shop.call("GET", f"{gone}en")).body
        arabic = await shop.call("GET", f"{gone}ar")
        assert (arabic.status, "رمز الدفع غير صالح" in arabic.body, 'href="/?lang=ar"' in arabic.body) == (
            401,
            True,
            True,
        )
        unknown = (await shop.call("GET", "/c/pay/cs_test_x?lang=ar")).body
        assert "ما قالته جهة الدفع" in unknown
        assert "No such checkout" in unknown


async def test_a_products_name_cannot_be_markup(tmp_path: Path) -> None:
    """What merchants send is shown, and does nothing."""
    async with fawry_shop(tmp_path) as shop:
        evil = "<script>alert(1)</script>"
        await shop.charge(chargeItems=[{"itemId": "x", "description": evil, "price": "300.00", "quantity": 1}])
        for path in ("/", FAWRY):
            page = (await shop.call("GET", path)).body
            assert evil not in page
            assert "&lt;script&gt;" in page
        await until(lambda: len(shop.notifications) == 1)


@pytest.mark.parametrize(
    ("act", "event", "state"),
    [
        ("pay", "charge.paid", "paid"),
        ("decline", "charge.declined", "open"),
        ("cancel", "charge.ended", "failed"),
        ("expire", "charge.ended", "expired"),
    ],
)
async def test_a_texted_payer_has_a_phone(tmp_path: Path, act: str, event: str, state: str) -> None:
    """A PSP from outside uses the same till: the code to read, and a button for each act."""
    async with bench(tmp_path) as shop:
        charge = {"merchant_reference": "draft-1", "amount": 30000, "currency": "EGP", "phone": "01012345678"}
        headers = {"Authorization": "Bearer sandbox_textpay_api_key", "Idempotency-Key": "1"}
        made = await shop.call(
            "POST", "/textpay/v1/charges", json={**charge, "description": "T-shirt"}, headers=headers
        )
        phone = (await shop.call("GET", "/textpay/phone")).body
        (text,) = (await shop.call("GET", "/textpay/texts?merchant_reference=draft-1")).body
        assert all(said in phone for said in (text["code"], "01012345678", "T-shirt", "draft-1"))
        assert _buttons(phone) == ["pay", "decline", "cancel", "expire"]
        assert f"/textpay/phone?number={made.body['id']}" in (await shop.call("GET", "/")).body

        pressed = await shop.call("POST", "/textpay/phone", data={"number": made.body["id"], "action": act})
        assert pressed.status == 303
        (delivery,) = await shop.deliveries()
        assert json.loads(delivery["body"])["type"] == event
        assert (await shop.ledger())[0]["state"] == state
