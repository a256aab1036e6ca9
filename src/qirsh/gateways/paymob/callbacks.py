"""Paymob's callbacks: the processed one, a webhook, and the browser's redirect, which carries the same signature.

https://developers.paymob.com/egypt: "Transaction webhooks", "HMAC calculation".
"""

import hashlib
from collections.abc import Mapping

import msgspec

from qirsh.errors import WebhookMalformed, WebhookNotAuthentic
from qirsh.gateways.base import Delivery, Hint
from qirsh.gateways.paymob.transactions import (
    NAME,
    Callback,
    Transaction,
    is_canonical,
    is_signed,
    read_transaction,
    signed_texts,
    signed_texts_of_query,
)
from qirsh.gateways.references import draft_id_of


def verified(delivery: Delivery, secret: str) -> Transaction | None:
    """The transaction of a processed callback that Paymob signed; None for a callback about something else.

    Twenty fields are signed, without separators, so one signature fits several splits of the same characters.
    What a split could move is pinned down behind it: here the types and the date's shape, by the caller the account.

    Raises:
        WebhookNotAuthentic: the signature is missing, empty or wrong.
        WebhookMalformed: the body cannot be parsed.
    """
    signature = delivery.query.get("hmac", "")
    if not signature:
        raise WebhookNotAuthentic
    try:
        callback = msgspec.json.decode(delivery.body, type=Callback)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookMalformed from error
    if not is_signed(signed_texts(callback), secret, signature):
        raise WebhookNotAuthentic
    if callback.type != "TRANSACTION":
        return None
    transaction = read_transaction(callback.obj) if is_canonical(callback.obj) else None
    if transaction is None:
        raise WebhookNotAuthentic
    return transaction


def hint_of(transaction: Transaction, body: bytes) -> Hint:
    """What a callback says that its signature does not cover, or that is about another account's transaction."""
    return Hint(
        gateway=NAME,
        event_id=hashlib.sha256(body).hexdigest(),
        draft_id=draft_id_of(transaction.order.merchant_order_id),
        transaction_reference_id=str(transaction.order.id),
        payment_reference=str(transaction.id) if transaction.paid else None,
    )


def returned(query: Mapping[str, str], secret: str) -> Hint | None:
    """Which draft the browser came back from; None when the query is not signed by Paymob."""
    signature = query.get("hmac", "")
    if not signature or not is_signed(signed_texts_of_query(query), secret, signature):
        return None
    return Hint(
        gateway=NAME,
        event_id=hashlib.sha256(signature.encode()).hexdigest(),
        draft_id=draft_id_of(query.get("merchant_order_id")),
        transaction_reference_id=query.get("order"),
        payment_reference=_payment_of(query),
    )


def _payment_of(query: Mapping[str, str]) -> str | None:
    """The payment that a return names. What is signed is joined without anything between it, so an id is digits."""
    name = query.get("id", "")
    return name if query.get("success") == "true" and name.isascii() and name.isdecimal() else None
