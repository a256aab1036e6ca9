"""Paymob (Accept, Egypt): cards in an iframe and mobile wallets, in piastres.

https://developers.paymob.com/egypt: accept flow, transaction webhooks, HMAC.

Paymob honours no idempotency key. What keeps a registration single is that it refuses a merchant_order_id it has seen:
our draft id. So a repeat finds the order of the first try instead of making another.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from qirsh.actions import RedirectUrl
from qirsh.draft import GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayError,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
    WebhookMalformed,
    WebhookNotAuthentic,
)
from qirsh.gateways.base import Delivery, Hint, Lookup, Profile, Registration, SignaturePlace, Standing, deadline
from qirsh.gateways.paymob.account import Account, Credentials
from qirsh.gateways.paymob.transactions import (
    NAME,
    Callback,
    Transaction,
    as_draft_id,
    is_signed,
    read_transaction,
    signed_texts,
    signed_texts_of_query,
    told,
)
from qirsh.methods import Method

CURRENCIES: Final = frozenset({"EGP"})
OWNER_SECONDS: Final = 3.0
"""How long a webhook waits to learn our user id before its payment is treated as a hint."""


class Paymob:
    """The accept flow of one Paymob merchant account."""

    def __init__(self, credentials: Credentials) -> None:
        """Serve the methods whose integration ids are configured."""
        self._account = Account(credentials)
        self._base_url = credentials.base_url.rstrip("/")
        self._iframe_id = credentials.iframe_id
        self._hmac_secret = credentials.hmac_secret.get_secret_value()

    @property
    def profile(self) -> Profile:
        """EGP only; a delivery is signed by the query parameter `hmac`."""
        return Profile(
            name=NAME,
            methods=frozenset(self._account.integrations),
            currencies=CURRENCIES,
            signature_place=SignaturePlace("query", "hmac"),
            found_by="merchant_reference",
        )

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  Paymob takes no key
        """Make the order and its payment key, then hand out the iframe's address or the wallet's page.

        https://developers.paymob.com/egypt: "Card payments", "Mobile wallets" of the accept flow.
        """
        order_id, transaction = await self._order(draft)
        card = draft.request.method is Method.CARD
        if transaction is not None and transaction.paid:
            raise GatewayOutcomeUnknown("Paymob has a payment for this order: it will be looked up.")
        if transaction is not None and transaction.pending and not card:
            return self._wallet_page(order_id, transaction)  # never a second pay while one is pending
        with _order_stands():
            payment_token = await self._account.payment_key(draft, order_id)
            if card:
                path = f"/api/acceptance/iframes/{self._iframe_id}?payment_token={quote(payment_token)}"
                return Registration(order_id, RedirectUrl(self._base_url + path, "iframe"))
            return self._wallet_page(order_id, await self._account.pay_wallet(draft, payment_token))

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask the newest transaction of the order, and the one we know was paid.

        https://developers.paymob.com/egypt: "Retrieve Transaction" inquiry and transaction APIs.
        """
        transactions = await self._transactions(draft)
        if not transactions:
            known = draft.transaction_reference_id or await self._account.listed_order(_references(draft))
            return Lookup(Standing.OPEN if known else Standing.UNKNOWN)
        events = [event for transaction in transactions for event in told(transaction)]
        ended = any(event.kind in {Kind.PAID, Kind.FAILED} for event in events)
        return Lookup(Standing.CLOSED if ended else Standing.OPEN, events)

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Read a processed callback: https://developers.paymob.com/egypt "Transaction webhooks", "HMAC".

        Twenty fields are signed, without separators, so one signature fits several splits of the same characters.
        What a split could move is pinned down behind it: the types, the date's shape, our integration, our user id.
        """
        signature = delivery.query.get("hmac", "")
        if not signature:
            raise WebhookNotAuthentic
        try:
            callback = msgspec.json.decode(delivery.body, type=Callback)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WebhookMalformed from error
        if not is_signed(signed_texts(callback), self._hmac_secret, signature):
            raise WebhookNotAuthentic
        if callback.type != "TRANSACTION":
            return ()
        transaction = read_transaction(callback.obj)
        if transaction is None:
            raise WebhookNotAuthentic
        if transaction.is_fact and await self._is_ours(transaction):
            return tuple(told(transaction))
        return (
            _hint(
                hashlib.sha256(delivery.body).hexdigest(),
                transaction.order.merchant_order_id,
                str(transaction.order.id),
            ),
        )

    def read_return(self, query: Mapping[str, str]) -> Hint | None:
        """Read the browser's redirect, signed over the same twenty fields."""
        signature = query.get("hmac", "")
        if not signature or not is_signed(signed_texts_of_query(query), self._hmac_secret, signature):
            return None
        return _hint(signature, query.get("merchant_order_id"), query.get("order"))

    async def aclose(self) -> None:
        """Close the connections to Paymob."""
        await self._account.aclose()

    async def _order(self, draft: PaymentDraft) -> tuple[str, Transaction | None]:
        """The order of this draft and, when it was tried before, its newest transaction."""
        if draft.in_doubt and (found := await self._found_order(draft)):
            return found
        for reference in _references(draft):
            try:
                return await self._account.create_order(draft, reference), None
            except (GatewayRejected, GatewayOutcomeUnknown) as error:
                if not _is_duplicate(error):
                    raise
            with _order_stands():
                if found := await self._found_order(draft):
                    return found
        raise GatewayOutcomeUnknown("Paymob says it has the order and does not show it.")

    async def _found_order(self, draft: PaymentDraft) -> tuple[str, Transaction | None] | None:
        """An order somebody tried to pay is named by its transaction; an untried one only by the list of orders."""
        transactions = await self._transactions(draft)
        if transactions:
            return str(transactions[-1].order.id), transactions[-1]
        order_id = await self._account.listed_order(_references(draft))
        return (order_id, None) if order_id else None

    async def _transactions(self, draft: PaymentDraft) -> list[Transaction]:
        """What Paymob shows of a draft, oldest first. The inquiry knows only the newest, maybe a refund's child."""
        keys = (
            [{"order_id": draft.transaction_reference_id}]
            if draft.transaction_reference_id
            else [{"merchant_order_id": reference} for reference in _references(draft)]
        )
        newest = [transaction for key in keys if (transaction := await self._account.inquiry(key))]
        known = {str(transaction.parent_transaction) for transaction in newest if transaction.parent_transaction}
        known |= {draft.payment_reference} if draft.payment_reference else set()
        known -= {str(transaction.id) for transaction in newest}
        asked = [transaction for one in known if (transaction := await self._account.transaction(one))]
        return sorted([*newest, *asked], key=lambda transaction: transaction.id)

    def _wallet_page(self, order_id: str, transaction: Transaction) -> Registration:
        """The wallet page asks for MPIN and OTP, so the payer is sent there; a second pay is never sent."""
        url = transaction.redirect_url or transaction.data.get("redirect_url")
        if not transaction.pending:
            raise GatewayRejected(
                "Paymob refused the wallet: offer another payment method.",
                reason=transaction.decline,
                psp_code=str(transaction.data.get("txn_response_code", "")),
            )
        schemes = {"https", urlsplit(self._base_url).scheme}
        if not isinstance(url, str) or urlsplit(url).scheme not in schemes:
            raise GatewayProtocolError("Paymob's wallet page could not be read.")
        return Registration(order_id, RedirectUrl(url, "redirect"))

    async def _is_ours(self, transaction: Transaction) -> bool:
        """Whether the signed account fields are this account's; an owner not known in time makes no fact."""
        if transaction.integration_id not in self._account.integrations.values():
            return False
        try:
            with deadline(OWNER_SECONDS):
                return transaction.owner == await self._account.owner()
        except GatewayError:
            return False


@contextmanager
def _order_stands() -> Iterator[None]:
    """Once Paymob has the order, "nothing was sent" would be untrue, and another gateway must not be tried."""
    try:
        yield
    except GatewayUnavailable as error:
        raise GatewayOutcomeUnknown("Paymob has the order and did not answer what came next.") from error


def _references(draft: PaymentDraft) -> tuple[str, str]:
    """Our draft id, and the one retry for an order that Paymob has but will not show: its key is then the only one."""
    return str(draft.id), f"{draft.id}~2"


def _is_duplicate(error: GatewayError) -> bool:
    """Seen as 422 and as 500: what counts is the word."""
    body = error.answer.body if error.answer else None
    return isinstance(body, dict) and str(body.get("message", "")).lower() == "duplicate"


def _hint(event_id: str, merchant_order_id: str | None, order_id: str | None) -> Hint:
    return Hint(
        gateway=NAME,
        event_id=event_id,
        draft_id=as_draft_id(merchant_order_id),
        transaction_reference_id=order_id,
    )
