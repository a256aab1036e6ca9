"""What is in the tables before a run: drafts that wait for their payer, and the signed webhooks that will pay them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from bench.psp import INTEGRATION, OWNER
from qirsh.store.connection import Connection
from qirsh_sandbox.paymob_records import APPROVED, Order, PaymentKey, Transaction
from qirsh_sandbox.paymob_shapes import Merchant, transaction_shape
from qirsh_sandbox.paymob_signing import callback_hmac

HMAC_SECRET: Final = "hmac-secret-of-the-bench"  # noqa: S105  signs nothing but the bench's own webhooks
AMOUNT_MINOR: Final = 30_000

_INSERT: Final = """
INSERT INTO payment_drafts (id, idempotency_key, fingerprint, request, product_id, method, gateway, order_reference,
  amount_minor, currency, state, transaction_reference_id, payment_reference, action, next_check_at,
  created_at, updated_at, expires_at)
SELECT uuidv7(), gen_random_uuid()::text, sha256(n::text::bytea),
  '{"product_id":"tshirt","amount":"300","method":"card","currency":"EGP","order_reference":"A-1001",
    "payer":{"name":"Mona Hassan","email":"mona@example.com","phone":"01012345678"},
    "return_url":"https://shop.example/thanks","locale":"ar","product_name":"T-shirt"}',
  'tshirt', 'card', 'paymob', 'A-' || n, 30000, 'EGP', $3, n::text, CASE $3 WHEN 'completed' THEN n::text END,
  '{"paymentAction":"redirect_url","url":"https://accept.paymob.com/unifiedcheckout/?publicKey=egy_pk_test&clientSecret=egy_csk",
    "display":"redirect"}',
  CASE $3 WHEN 'completed' THEN NULL ELSE now() + interval '2 minutes' END,
  now(), now(), now() + interval '1 hour'
FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n
"""


async def put_product(database_url: str) -> None:
    """The one product that is sold."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO products VALUES ('tshirt', $1, $2, true, now()) ON CONFLICT DO NOTHING",
            json.dumps({"en": "T-shirt", "ar": "تي شيرت"}),
            json.dumps({"EGP": AMOUNT_MINOR, "USD": 1000}),
        )
    finally:
        await connection.close()


async def add_drafts(
    connection: Connection, first_order: int, count: int, *, state: str = "awaiting_user_action"
) -> list[UUID]:
    """Registered drafts under consecutive order numbers, in their order."""
    await connection.execute(_INSERT, first_order, count, state, timeout=3600)
    orders = [str(number) for number in range(first_order, first_order + min(count, 100_000))]
    rows = await connection.fetch(
        "SELECT id, transaction_reference_id::bigint AS n FROM payment_drafts"
        " WHERE gateway = 'paymob' AND transaction_reference_id = ANY ($1) ORDER BY 2",
        orders,
    )
    return [row["id"] for row in rows]


def write_deliveries(file: Path, first_order: int, count: int) -> None:
    """Signed callbacks that pay these orders, one a line, as load.lua reads them."""
    with file.open("w") as lines:
        lines.writelines(f"{_delivery(order)}\n" for order in range(first_order, first_order + count))


def delivery(order_id: int) -> tuple[str, str]:
    """The path with its signature, and the body, of the callback that pays an order."""
    _, path, _, body = _delivery(order_id).split("\t")
    return path, body


def _delivery(order_id: int) -> str:
    """A payment by card, in the shape and with the signature of the sandbox's Paymob."""
    now = datetime.now(UTC).timestamp()
    billing = {
        "first_name": "Mona",
        "last_name": "Hassan",
        "email": "mona@example.com",
        "phone_number": "+201012345678",
    }
    order = Order(
        id=order_id,
        merchant_order_id=None,
        amount_cents=AMOUNT_MINOR,
        currency="EGP",
        created_at=now,
        base_url="https://accept.paymob.com",
        items=[{"name": "T-shirt", "description": "T-shirt", "amount_cents": AMOUNT_MINOR, "quantity": 1}],
        paid_cents=AMOUNT_MINOR,
    )
    key = PaymentKey(
        token="-",  # noqa: S106  not one
        order_id=order_id,
        integration_id=INTEGRATION,
        amount_cents=AMOUNT_MINOR,
        currency="EGP",
        billing_data=billing,
        lock_order_when_paid=True,
        created_at=now,
        expires_at=now + 3600,
    )
    transaction = Transaction(
        id=order_id + 1,
        order_id=order_id,
        kind="card",
        payment_token="-",  # noqa: S106  not one
        integration_id=INTEGRATION,
        amount_cents=AMOUNT_MINOR,
        currency="EGP",
        created_at=now,
        updated_at=now,
        pan="2346",
        sub_type="MasterCard",
        message=APPROVED.message,
        txn_response_code=APPROVED.txn_response_code,
        acq_response_code=APPROVED.acq_response_code,
        pending=False,
        success=True,
    )
    obj = transaction_shape(transaction, order, key, Merchant(profile_id=164295, user_id=OWNER, token_secret="-"))  # noqa: S106
    path = f"/api/payments/webhook-handler/paymob?hmac={callback_hmac(obj, HMAC_SECRET)}"
    return f"POST\t{path}\tContent-Type: application/json\t{json.dumps({'type': 'TRANSACTION', 'obj': obj})}"
