"""What Fawry is asked to register, and what each answer leaves: a lost one must end as one order that can be paid."""

from typing import Any

import pytest
from unit_fawry import (
    CANCEL,
    CHARGE,
    DRAFT_ID,
    INIT,
    KEY,
    MERCHANT,
    NUMBER,
    QR,
    STATUS,
    WALLET,
    FakeFawry,
    charged,
    draft_of,
    fawry,
    order,
)

from qirsh.actions import MobilePrompt, QrCode, RedirectUrl, ReferenceCode
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.fawry.signing import charge_signature, init_signature
from qirsh.methods import Method

FIRST, SECOND, THIRD = str(DRAFT_ID), f"{DRAFT_ID}~2", f"{DRAFT_ID}~3"
PAGE = "https://atfawry.fawrystaging.com/atfawry/plugin?payment-id=kCk0R85FuTY=&locale=en"
PROMPTS = [Method.MOBILE_WALLET, Method.VODAFONE_CASH]


def doubted(method: Method, **changes: Any) -> Any:
    """A draft whose registration may have reached Fawry."""
    return draft_of(method, in_doubt=True, **changes)


async def test_a_reference_is_asked_for_with_what_fawry_must_know() -> None:
    """The sum to the piastre, our id, the end of the draft in milliseconds, and where to tell of it."""
    async with fawry() as (fake, gateway):
        fake.answers[CHARGE] = [(200, charged())]
        registered = await gateway.register(draft_of(quantity=5, locale="ar"), key="k")
    body = fake.asked[0].json
    assert registered.action == ReferenceCode(NUMBER, "Fawry", "580.55")
    assert registered.transaction_reference_id == NUMBER
    assert body == {
        "merchantCode": MERCHANT,
        "merchantRefNum": FIRST,
        "customerMobile": "01012345010",
        "language": "ar-eg",
        "paymentExpiry": 1748952000000,
        "chargeItems": [{"itemId": "tshirt", "description": "T-shirt", "price": "116.11", "quantity": 5}],
        "orderWebHookUrl": "https://pay.example/api/payments/webhook-handler/fawry",
        "paymentMethod": "PAYATFAWRY",
        "amount": "580.55",
        "currencyCode": "EGP",
        "description": "T-shirt",
        "signature": charge_signature(body, KEY),
    }


async def test_the_same_row_sends_the_same_bytes() -> None:
    """A repeat must be the same call."""
    async with fawry() as (fake, gateway):
        fake.answers[CHARGE] = [(200, charged())]
        for _ in range(2):
            await gateway.register(draft_of(), key="k")
    assert fake.asked[0] == fake.asked[1]


@pytest.mark.parametrize("method", PROMPTS)
async def test_a_prompt_names_the_phone_it_asks(method: Method) -> None:
    """And the number is signed; the path is the one that is configured."""
    async with fawry(wallet_charge_path=CHARGE) as (fake, gateway):
        fake.answers[CHARGE] = [(200, charged(walletQr=None))]
        registered = await gateway.register(draft_of(method), key="k")
    body = fake.asked[0].json
    assert (body["paymentMethod"], body["debitMobileWalletNo"]) == ("MWALLET", "01012345010")
    assert body["signature"] == charge_signature(body, KEY)
    assert isinstance(registered.action, MobilePrompt)
    assert registered.action.phone == "0101****010"


async def test_a_qr_code_names_no_phone() -> None:
    """With a number Fawry would ask on the phone and might draw no code."""
    async with fawry() as (fake, gateway):
        fake.answers[WALLET] = [(200, charged(walletQr=QR))]
        registered = await gateway.register(draft_of(Method.WALLET_QR), key="k")
    assert "debitMobileWalletNo" not in fake.asked[0].json
    assert registered.action == QrCode(image=QR)


@pytest.mark.parametrize("answer", [PAGE.encode(), PAGE, {"url": PAGE}, {"statusCode": 200, "redirectUrl": PAGE}])
async def test_a_page_is_read_in_each_form_that_was_seen(answer: object) -> None:
    """Plain text in captures, JSON in one client's test."""
    async with fawry() as (fake, gateway):
        fake.answers[INIT] = [(200, answer)]
        registered = await gateway.register(draft_of(Method.CARD), key="k")
    body = fake.asked[0].json
    assert registered.action == RedirectUrl(PAGE, "redirect")
    assert registered.transaction_reference_id == FIRST, "Fawry gives no number before it is paid"
    assert body["returnUrl"] == f"https://pay.example/api/payments/return/fawry/{FIRST}"
    assert (body["paymentMethod"], body["signature"]) == ("CARD", init_signature(body, KEY))


@pytest.mark.parametrize(
    "answer",
    [
        *(b"<html>", b"", "javascript:alert(1)", "ftp://x/y", "https://", "https://x y", "https://x/\n", {}, [1]),
        f"https://x/{'y' * 2000}",
    ],
)
async def test_a_page_that_is_none_is_not_handed_out(answer: object) -> None:
    """Something was registered, perhaps, and a payer must not be sent there."""
    async with fawry() as (fake, gateway):
        fake.answers[INIT] = [(200, answer)]
        with pytest.raises(GatewayProtocolError):
            await gateway.register(draft_of(Method.CARD), key="k")


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        ((200, {"statusCode": 9946}), GatewayMisconfigured, None),
        ((200, {"statusCode": "9901"}), GatewayMisconfigured, None),
        ((400, {"statusCode": 9946}), GatewayMisconfigured, None),
        ((401, {}), GatewayMisconfigured, None),
        ((200, {"statusCode": 21010}), GatewayRejected, "21010"),
        ((200, {"statusCode": 12345}), GatewayRejected, "12345"),
        ((422, {"statusCode": 21004}), GatewayRejected, "21004"),
        ((422, {}), GatewayRejected, "422"),
        ((200, {"statusCode": 500}), GatewayOutcomeUnknown, None),
        ((200, {"referenceNumber": NUMBER}), GatewayProtocolError, None),
        ((200, {"statusCode": 200}), GatewayProtocolError, None),
        ((200, b"<html>"), GatewayProtocolError, None),
        ((200, [1]), GatewayProtocolError, None),
        ((502, b"<html>"), GatewayOutcomeUnknown, None),
        ((429, {}), GatewayUnavailable, None),
    ],
)
async def test_only_an_explicit_success_registers(
    answer: tuple[int, Any], error: type[GatewayError], code: str | None
) -> None:
    """Business errors come with HTTP 200; what cannot be read may have registered something."""
    async with fawry() as (fake, gateway):
        fake.answers[CHARGE] = [answer]
        with pytest.raises(error) as raised:
            await gateway.register(draft_of(), key="k")
    assert type(raised.value) is error
    if isinstance(raised.value, GatewayRejected):
        assert raised.value.psp_code == code
    assert KEY not in repr(raised.value)


@pytest.mark.parametrize("qr", [None, "", "https://x/qr.png", "iVBORw0KGgo="])
async def test_a_qr_code_without_its_picture_was_lost(qr: str | None) -> None:
    """It is registered, so nothing else may be concluded."""
    async with fawry() as (fake, gateway):
        fake.answers[WALLET] = [(200, charged(walletQr=qr))]
        with pytest.raises(GatewayProtocolError):
            await gateway.register(draft_of(Method.WALLET_QR), key="k")


@pytest.mark.parametrize("method", [Method.FAWRY, *PROMPTS])
@pytest.mark.parametrize("status", ["UNPAID", "NEW"])
async def test_in_doubt_a_waiting_order_is_handed_out_and_not_asked_for_again(method: Method, status: str) -> None:
    """A second prompt could be confirmed as well; a number follows from the order."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order(status))]
        registered = await gateway.register(doubted(method), key="k")
    assert registered.transaction_reference_id == NUMBER
    assert [one.path for one in fake.asked] == [STATUS]


@pytest.mark.parametrize("method", [Method.FAWRY, *PROMPTS, Method.WALLET_QR, Method.CARD])
async def test_in_doubt_what_fawry_never_heard_of_is_registered_under_the_same_reference(method: Method) -> None:
    """Fawry takes a reference once, so an earlier call that is still on its way is refused."""
    async with fawry() as (fake, gateway):
        for path in (CHARGE, WALLET):
            fake.answers[path] = [(200, charged(walletQr=QR))]
        fake.answers[INIT] = [(200, PAGE.encode())]
        await gateway.register(doubted(method), key="k")
    assert fake.asked[-1].json["merchantRefNum"] == FIRST


def script_lost(fake: FakeFawry, method: Method) -> str:
    """A Fawry that waits under the first reference, ends it when asked, and takes another; the path of the second."""
    fake.answers[STATUS] = {FIRST: [(200, order("UNPAID")), (200, order("CANCELED"))]}
    fake.answers[CANCEL] = [(200, {"code": 200, "description": "ok", "reason": ""})]
    fake.answers[WALLET] = [(200, charged(referenceNumber="931215519", walletQr=QR))]
    fake.answers[INIT] = [(200, PAGE.encode())]
    return INIT if method is Method.CARD else WALLET


@pytest.mark.parametrize(("method", "known"), [(Method.WALLET_QR, "931215519"), (Method.CARD, SECOND)])
async def test_a_lost_code_or_page_is_ended_before_another_is_made(method: Method, known: str) -> None:
    """Nobody has the first any more, and never two of them can be paid."""
    async with fawry() as (fake, gateway):
        path = script_lost(fake, method)
        registered = await gateway.register(doubted(method), key="k")
    assert [one.path for one in fake.asked] == [STATUS, CANCEL, STATUS, STATUS, path]
    assert fake.calls(CANCEL)[0].json["orderRefNo"] == NUMBER
    assert fake.asked[-1].json["merchantRefNum"] == SECOND
    assert registered.transaction_reference_id == known


@pytest.mark.parametrize("status", ["UNPAID", "PAID", "EXPIRED", "FAILED"])
@pytest.mark.parametrize("method", [Method.WALLET_QR, Method.CARD])
async def test_nothing_is_made_while_the_first_is_not_ended(method: Method, status: str) -> None:
    """Fawry's status decides, whatever it answered to the cancelling."""
    async with fawry() as (fake, gateway):
        path = script_lost(fake, method)
        fake.answers[STATUS] = {FIRST: [(200, order("UNPAID")), (200, order(status))]}
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(doubted(method), key="k")
    assert not fake.calls(path)


async def test_a_second_code_that_was_lost_is_ended_too() -> None:
    """And what was ended already is not asked to end again."""
    async with fawry() as (fake, gateway):
        script_lost(fake, Method.WALLET_QR)
        second = {"merchantRefNumber": SECOND, "fawryRefNumber": "931215519"}
        fake.answers[STATUS] = {
            FIRST: [(200, order("CANCELED"))],
            SECOND: [(200, order("UNPAID", **second)), (200, order("CANCELED", **second))],
        }
        await gateway.register(doubted(Method.WALLET_QR), key="k")
    assert [one.json["orderRefNo"] for one in fake.calls(CANCEL)] == ["931215519"]
    assert fake.asked[-1].json["merchantRefNum"] == THIRD


async def test_there_is_an_end_to_replacing() -> None:
    """A Fawry that loses every answer is not asked for ever."""
    async with fawry() as (fake, gateway):
        references = [FIRST, *(f"{FIRST}~{number}" for number in range(2, 9))]
        fake.answers[STATUS] = {one: [(200, order("CANCELED", merchantRefNumber=one))] for one in references}
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(doubted(Method.WALLET_QR), key="k")
    assert len(fake.asked) == 5


@pytest.mark.parametrize("method", [Method.FAWRY, *PROMPTS, Method.WALLET_QR])
async def test_in_doubt_a_refusal_we_do_not_know_may_mean_that_the_first_try_arrived(method: Method) -> None:
    """The code for a reference that was used is not published; a failed draft would send the payer to pay twice."""
    async with fawry() as (fake, gateway):
        fake.answers[CHARGE] = fake.answers[WALLET] = [(200, {"statusCode": 12345})]
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(doubted(method), key="k")


async def test_in_doubt_a_page_that_cannot_be_opened_again_is_opened_under_the_next_reference() -> None:
    """Its address was told to nobody but us, so nobody can pay there."""
    async with fawry() as (fake, gateway):
        fake.answers[INIT] = [(200, {"statusCode": 12345}), (200, PAGE.encode())]
        registered = await gateway.register(doubted(Method.CARD), key="k")
    assert registered.transaction_reference_id == SECOND


async def test_in_doubt_a_refusal_we_know_is_one() -> None:
    """It is about the amount, and would be so for the first try."""
    async with fawry() as (fake, gateway):
        fake.answers[CHARGE] = [(200, {"statusCode": 21010})]
        with pytest.raises(GatewayRejected):
            await gateway.register(doubted(Method.FAWRY), key="k")


async def test_a_payment_that_came_meanwhile_is_looked_up() -> None:
    """No action makes sense for it, and no refusal."""
    async with fawry() as (fake, gateway):
        fake.answers[STATUS] = [(200, order("PAID"))]
        with pytest.raises(GatewayOutcomeUnknown):
            await gateway.register(doubted(Method.FAWRY), key="k")
