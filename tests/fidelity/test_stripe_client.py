"""Stripe's own client for Python, with nothing changed but the address, pays and refunds at the fake Stripe.

https://github.com/stripe/stripe-python. It needs no file beside the checkout.
"""

import json
import time
import uuid
from collections.abc import Iterator

import pytest
import stripe
from stripe.params.checkout import SessionCreateParams

from judged import Judged, Told
from qirsh_sandbox import StripeConfig

ACCOUNT = StripeConfig()


@pytest.fixture
def client(sandbox: Judged) -> Iterator[stripe.StripeClient]:
    """The client, which repeats nothing by itself."""
    http = stripe.RequestsClient()
    yield stripe.StripeClient(
        ACCOUNT.secret_key, base_addresses={"api": sandbox.url}, max_network_retries=0, http_client=http
    )
    http.close()  # type: ignore[no-untyped-call]  # stripe's own has no types here


def test_stripes_client_creates_pays_and_reads_a_session(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """The client reads sessions, payments and charges into its own types, those that it expands too."""
    session = client.v1.checkout.sessions.create(a_session(reference))
    assert isinstance(session, stripe.checkout.Session)
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert (session.amount_total, session.currency, session.ui_mode) == (12345, "egp", "hosted_page")
    assert session.url is not None
    assert session.url.startswith(f"{sandbox.url}/c/pay/cs_")

    sandbox.act(reference, "pay")
    expand = ["payment_intent.latest_charge", "line_items"]
    paid = client.v1.checkout.sessions.retrieve(session.id, {"expand": expand})
    payment = paid.payment_intent
    assert (paid.status, paid.payment_status, paid.url) == ("complete", "paid", None)
    assert isinstance(payment, stripe.PaymentIntent)
    assert (payment.status, payment.amount_received, payment.metadata["draft_id"]) == ("succeeded", 12345, reference)
    charge = payment.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (charge.paid, charge.captured, charge.payment_intent) == (True, True, payment.id)
    assert paid.line_items is not None
    assert [(item.description, item.quantity) for item in paid.line_items] == [("قميص", 1)]

    assert client.v1.payment_intents.retrieve(payment.id).status == "succeeded"
    assert client.v1.charges.retrieve(charge.id).amount_refunded == 0
    since = client.v1.checkout.sessions.list({"created": {"gte": session.created}, "limit": 1})
    assert session.id in [one.id for one in since.auto_paging_iter()]


def test_stripes_client_refunds_in_parts_and_reads_the_refunds(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """Refunds have an operation, a list and types of their own, and both forms: a part, and all that is left."""
    payment = paid(client, sandbox, reference)
    part = client.v1.refunds.create(
        {"payment_intent": payment, "amount": 45, "reason": "requested_by_customer", "metadata": {"why": "مقاس"}}
    )
    assert isinstance(part, stripe.Refund)
    assert part.metadata is not None
    assert (part.status, part.amount, part.metadata["why"]) == ("succeeded", 45, "مقاس")
    rest = client.v1.refunds.create({"payment_intent": payment})
    assert rest.amount == 12300

    assert client.v1.refunds.retrieve(part.id) == part
    listed = client.v1.refunds.list({"payment_intent": payment, "limit": 1})
    assert [one.id for one in listed.auto_paging_iter()] == [rest.id, part.id], "newest first, over two pages"
    (charge,) = client.v1.charges.list({"payment_intent": payment, "expand": ["data.refunds"]})
    assert (charge.refunded, charge.amount_refunded) == (True, 12345)
    assert charge.refunds is not None
    assert {one.id for one in charge.refunds} == {part.id, rest.id}


def test_stripes_client_expires_a_session_and_reads_a_dispute(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """Ends that no payer chooses: ours, and his bank's."""
    left = client.v1.checkout.sessions.create(a_session(str(uuid.uuid4())))
    expired = client.v1.checkout.sessions.expire(left.id)
    assert (expired.status, expired.url) == ("expired", None)

    payment = paid(client, sandbox, reference)
    sandbox.act(reference, "reverse")
    (dispute,) = client.v1.disputes.list({"payment_intent": payment})
    assert isinstance(dispute, stripe.Dispute)
    assert (dispute.status, dispute.amount, dispute.payment_intent) == ("needs_response", 12345, payment)


def test_stripes_client_reads_refusals_as_its_own_errors(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """An error that only our own reader understands would not be Stripe's."""
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.checkout.sessions.retrieve("cs_test_nothing")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.request_id is not None
    with pytest.raises(stripe.InvalidRequestError) as unpriced:
        client.v1.checkout.sessions.create({**a_session(reference), "line_items": [{"quantity": 1}]})
    assert (unpriced.value.http_status, unpriced.value.code) == (400, "parameter_missing")
    old = {**a_session(reference), "payment_method_types": ["card"]}
    with pytest.raises(stripe.InvalidRequestError) as methods:
        client.v1.checkout.sessions.create(old)  # type: ignore[arg-type]  # the client knows no such parameter either
    assert methods.value.code == "payment_method_types_no_longer_supported", "refused since 2026-09-30.endive"

    payment = paid(client, sandbox, reference)
    with pytest.raises(stripe.InvalidRequestError) as much:
        client.v1.refunds.create({"payment_intent": payment, "amount": 12346})
    assert much.value.param == "amount"
    client.v1.refunds.create({"payment_intent": payment})
    with pytest.raises(stripe.InvalidRequestError) as nothing_left:
        client.v1.refunds.create({"payment_intent": payment})
    assert nothing_left.value.code == "charge_already_refunded"

    http = stripe.RequestsClient()
    with pytest.raises(stripe.AuthenticationError) as stranger:
        stripe.StripeClient(
            "sk_test_wrong", base_addresses={"api": sandbox.url}, max_network_retries=0, http_client=http
        ).v1.refunds.list()
    http.close()  # type: ignore[no-untyped-call]  # as above
    assert stranger.value.http_status == 401


def test_stripes_client_repeats_under_one_key_and_is_refused_under_a_foreign_one(
    client: stripe.StripeClient, reference: str
) -> None:
    """What makes a lost answer harmless: the same key and body make one session, another body none."""
    once: stripe.RequestOptions = {"idempotency_key": f"register:{reference}"}
    first = client.v1.checkout.sessions.create(a_session(reference), once)
    again = client.v1.checkout.sessions.create(a_session(reference), once)
    assert (again.id, again.url) == (first.id, first.url)
    with pytest.raises(stripe.IdempotencyError) as other:
        client.v1.checkout.sessions.create({**a_session(reference), "locale": "en"}, once)
    assert other.value.http_status == 400


def test_stripes_client_verifies_and_reads_every_webhook_of_a_payment(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """The bytes carry Arabic as it is, and the signature is made of bytes."""
    session = client.v1.checkout.sessions.create(
        {**a_session(reference), "metadata": {"draft_id": reference, "buyer": "سارة"}}
    )
    sandbox.act(reference, "pay")
    webhook = sandbox.receiver.take("stripe", session.id)
    assert "سارة".encode() in webhook.raw, "a body in ASCII would prove nothing about bytes"

    event = constructed(webhook)
    assert (event.type, event.object) == ("checkout.session.completed", "event")
    assert event.api_version == "2026-10-28.endive"
    told = event.data.object
    assert isinstance(told, stripe.checkout.Session)
    assert told.metadata is not None
    assert (told.id, told.payment_status, told.metadata["buyer"]) == (session.id, "paid", "سارة")
    assert client.v1.events.retrieve(event.id).data.object == told

    refund = client.v1.refunds.create({"payment_intent": str(told.payment_intent)})
    assert refund.charge is not None
    charge_id = str(refund.charge)
    events = [constructed(sandbox.receiver.take("stripe", charge_id)) for _ in range(2)]
    assert sorted(one.type for one in events) == ["charge.refunded", "refund.created"]
    assert {type(one.data.object) for one in events} == {stripe.Charge, stripe.Refund}


def test_stripes_client_refuses_a_webhook_that_was_changed_on_its_way(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """A verifier that takes all would have passed the test above."""
    session = client.v1.checkout.sessions.create(a_session(reference))
    sandbox.act(reference, "pay")
    webhook = sandbox.receiver.take("stripe", session.id)
    assert constructed(webhook).id

    changed = [
        webhook._replace(raw=webhook.raw.replace(b"12345", b"12346")),
        webhook._replace(raw=json.dumps(webhook.body).encode()),
        webhook._replace(headers={"stripe-signature": f"t={int(time.time())},v1={'0' * 64}"}),
        webhook._replace(headers={"stripe-signature": webhook.headers["stripe-signature"].replace("t=", "t=9")}),
    ]
    for one in changed:
        with pytest.raises(stripe.SignatureVerificationError):
            constructed(one)
    with pytest.raises(stripe.SignatureVerificationError):
        constructed(webhook, "whsec_of_another_endpoint")


def test_stripes_client_refuses_the_webhook_that_the_sandbox_signs_wrongly(
    client: stripe.StripeClient, sandbox: Judged, reference: str
) -> None:
    """The fault that lets tests see a bad signature must look bad to Stripe's own verifier too."""
    session = client.v1.checkout.sessions.create(a_session(reference))
    sandbox.fault("stripe", "webhook", "corrupt_signature", reference)
    sandbox.act(reference, "pay")
    webhook = sandbox.receiver.take("stripe", session.id)
    with pytest.raises(stripe.SignatureVerificationError):
        constructed(webhook)


def a_session(reference: str) -> SessionCreateParams:
    """A session for one shirt of 123.45 EGP, with Arabic in it."""
    data: SessionCreateParams = {
        "mode": "payment",
        "client_reference_id": reference,
        "metadata": {"draft_id": reference},
        "payment_intent_data": {"metadata": {"draft_id": reference}},
        "success_url": "https://shop.example/ok?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cancel",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {"currency": "egp", "unit_amount": 12345, "product_data": {"name": "قميص"}},
            }
        ],
    }
    return data


def paid(client: stripe.StripeClient, sandbox: Judged, reference: str) -> str:
    """The id of a payment of 123.45 EGP."""
    session = client.v1.checkout.sessions.create(a_session(reference))
    sandbox.act(reference, "pay")
    return str(client.v1.checkout.sessions.retrieve(session.id).payment_intent)


def constructed(webhook: Told, secret: str = ACCOUNT.webhook_secrets[0]) -> stripe.Event:
    """The webhook as Stripe's own verifier and reader see it."""
    event: stripe.Event = stripe.Webhook.construct_event(webhook.raw, webhook.headers["stripe-signature"], secret)
    return event
