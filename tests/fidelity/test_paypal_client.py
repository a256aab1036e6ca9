"""PayPal's own client for Python, with nothing changed but the address, pays and refunds at the fake PayPal.

https://github.com/paypal/PayPal-Python-Server-SDK. It needs no file beside the checkout.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.exceptions.o_auth_provider_exception import OAuthProviderException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.captured_payment import CapturedPayment
from paypalserversdk.models.money import Money
from paypalserversdk.models.order import Order
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.payment_source import PaymentSource
from paypalserversdk.models.paypal_wallet import PaypalWallet
from paypalserversdk.models.paypal_wallet_experience_context import PaypalWalletExperienceContext
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.refund import Refund
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from judged import Judged
from qirsh_sandbox import PaypalConfig

ACCOUNT = PaypalConfig()


@pytest.fixture
def paypal(sandbox: Judged) -> Iterator[Any]:
    """The client, logged in with the sandbox's credentials at its first call."""
    credentials = ClientCredentialsAuthCredentials(ACCOUNT.client_id, ACCOUNT.client_secret)
    config = Configuration(client_credentials_auth_credentials=credentials)
    config.environments = {Environment.SANDBOX: {Server.DEFAULT: sandbox.url}}
    yield PaypalServersdkClient(config=config)
    config.http_client.session.close()


def test_paypals_client_creates_captures_and_reads_an_order(paypal: Any, sandbox: Judged, reference: str) -> None:
    """The client reads every answer into its own types, and it sends a capture without a body."""
    created = paypal.orders.create_order({"body": an_order(reference), "paypal_request_id": reference})
    assert (created.status_code, type(created.body)) == (200, Order)
    assert created.body.status == "PAYER_ACTION_REQUIRED"
    assert link_of(created.body, "payer-action").startswith(f"{sandbox.url}/checkoutnow?token=")

    sandbox.act(reference, "pay")
    captured = paypal.orders.capture_order({"id": created.body.id, "paypal_request_id": f"c:{reference}"})
    repeated = paypal.orders.capture_order({"id": created.body.id, "paypal_request_id": f"c:{reference}"})
    assert (captured.status_code, repeated.status_code) == (201, 200)
    (capture,) = captured.body.purchase_units[0].payments.captures
    assert repeated.body.purchase_units[0].payments.captures[0].id == capture.id
    assert (capture.status, capture.amount.value, capture.custom_id) == ("COMPLETED", "10.00", reference)

    order = paypal.orders.get_order({"id": created.body.id}).body
    assert (type(order), order.status, order.intent) == (Order, "COMPLETED", "CAPTURE")
    assert order.purchase_units[0].description == "قميص"
    found = paypal.payments.get_captured_payment({"capture_id": capture.id}).body
    assert (type(found), found.id, found.status) == (CapturedPayment, capture.id, "COMPLETED")
    assert found.supplementary_data.related_ids.order_id == order.id


def test_paypals_client_refunds_in_parts_and_reads_the_refund(paypal: Any, sandbox: Judged, reference: str) -> None:
    """Refunds have an operation and types of their own, and two forms: a part, and all that is left."""
    capture_id = paid(paypal, sandbox, reference)
    part = RefundRequest(amount=Money("USD", "2.50"), note_to_payer="آسفون")
    options = {"capture_id": capture_id, "prefer": "return=representation"}
    refund = paypal.payments.refund_captured_payment({**options, "body": part, "paypal_request_id": reference})
    assert (refund.status_code, type(refund.body), refund.body.status) == (201, Refund, "COMPLETED")
    assert paypal.payments.get_captured_payment({"capture_id": capture_id}).body.status == "PARTIALLY_REFUNDED"

    rest = paypal.payments.refund_captured_payment({**options, "paypal_request_id": f"rest:{reference}"}).body
    assert (rest.amount.value, rest.seller_payable_breakdown.total_refunded_amount.value) == ("7.50", "10.00")
    found = paypal.payments.get_refund({"refund_id": refund.body.id}).body
    assert (type(found), found.amount.value, found.note_to_payer) == (Refund, "2.50", "آسفون")
    assert paypal.payments.get_captured_payment({"capture_id": capture_id}).body.status == "REFUNDED"


def test_paypals_client_reads_refusals_as_its_own_errors(paypal: Any, sandbox: Judged, reference: str) -> None:
    """An error that only our own reader understands would not be PayPal's."""
    order_id = paypal.orders.create_order({"body": an_order(reference), "paypal_request_id": reference}).body.id
    capture = {"id": order_id, "paypal_request_id": f"c:{reference}"}
    assert refused(paypal.orders.capture_order, capture) == (422, "UNPROCESSABLE_ENTITY", "ORDER_NOT_APPROVED")
    sandbox.act(reference, "pay")
    mocked = {**capture, "paypal_mock_response": '{"mock_application_codes": "INSTRUMENT_DECLINED"}'}
    with pytest.raises(ErrorException) as declined:
        paypal.orders.capture_order(mocked)
    assert link_of(declined.value, "redirect").endswith(order_id), "the payer is sent back to choose another way"

    capture_id = paypal.orders.capture_order(capture).body.purchase_units[0].payments.captures[0].id
    again = {"id": order_id, "paypal_request_id": f"again:{reference}"}
    assert refused(paypal.orders.capture_order, again) == (422, "UNPROCESSABLE_ENTITY", "ORDER_ALREADY_CAPTURED")
    much = {"capture_id": capture_id, "body": RefundRequest(amount=Money("USD", "10.01"))}
    assert refused(paypal.payments.refund_captured_payment, much)[1:] == (
        "UNPROCESSABLE_ENTITY",
        "REFUND_AMOUNT_EXCEEDED",
    )
    unknown = (404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID")
    assert refused(paypal.orders.get_order, {"id": "5910681066059742U"}) == unknown
    assert refused(paypal.payments.get_captured_payment, {"capture_id": "5910681066059742U"}) == unknown
    assert refused(paypal.payments.get_refund, {"refund_id": "5910681066059742U"}) == unknown
    nothing = {"body": OrderRequest(intent="CAPTURE", purchase_units=[]), "paypal_request_id": f"0:{reference}"}
    assert refused(paypal.orders.create_order, nothing)[:2] == (400, "INVALID_REQUEST")


def test_paypals_client_is_told_of_wrong_credentials_in_oauths_words(paypal: Any) -> None:
    """The token endpoint refuses in OAuth's shape, for which the client has an error of its own."""
    paypal.oauth_2.fetch_token()
    with pytest.raises(OAuthProviderException) as refusal:
        paypal.o_auth_authorization.request_token({"authorization": "Basic bm9ib2R5Om5vdGhpbmc="})
    assert (refusal.value.response_code, refusal.value.error) == (401, "invalid_client")


def an_order(reference: str) -> Any:
    """An order for a T-shirt in today's form, with Arabic in it."""
    context = PaypalWalletExperienceContext(
        return_url="https://shop.example/return",
        cancel_url="https://shop.example/cancel",
        user_action="PAY_NOW",
        shipping_preference="NO_SHIPPING",
        brand_name="متجر",
        locale="ar-EG",
    )
    amount = AmountWithBreakdown("USD", "10.00")
    return OrderRequest(
        intent="CAPTURE",
        purchase_units=[PurchaseUnitRequest(amount=amount, custom_id=reference, description="قميص")],
        payment_source=PaymentSource(paypal=PaypalWallet(experience_context=context)),
    )


def paid(paypal: Any, sandbox: Judged, reference: str) -> Any:
    """The id of a capture of 10.00 USD."""
    order_id = paypal.orders.create_order({"body": an_order(reference), "paypal_request_id": reference}).body.id
    sandbox.act(reference, "pay")
    order = paypal.orders.capture_order({"id": order_id, "paypal_request_id": f"c:{reference}"}).body
    return order.purchase_units[0].payments.captures[0].id


def refused(operation: Any, options: dict[str, Any]) -> tuple[int, str, str]:
    """The status, name and first issue of the client's error for this call."""
    with pytest.raises(ErrorException) as refusal:
        operation(options)
    assert refusal.value.debug_id
    return refusal.value.response_code, refusal.value.name, refusal.value.details[0].issue


def link_of(holder: Any, rel: str) -> str:
    """The address of one link."""
    return next(str(link.href) for link in holder.links if link.rel == rel)
