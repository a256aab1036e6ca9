"""Paymob (Accept, Egypt): cards, mobile wallets and kiosk bills, in piastres.

https://developers.paymob.com/egypt: accept flow, Intention API, transaction webhooks, HMAC.

Paymob honours no idempotency key. What keeps a registration single is that it refuses a merchant_order_id it has seen
(in an intention, a special_reference): our draft id. So a repeat finds the order of the first try instead of making
another. Both flows end in the same orders, transactions and callbacks; only how an order is opened differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from qirsh.actions import PaymentAction, RedirectUrl, ReferenceCode
from qirsh.draft import GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayError,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import (
    Delivery,
    Hint,
    Lookup,
    Profile,
    RefundOrder,
    Registration,
    SignaturePlace,
    Standing,
    Surroundings,
    deadline,
)
from qirsh.gateways.paymob.account import Account, Order
from qirsh.gateways.paymob.bodies import refund_body
from qirsh.gateways.paymob.callbacks import hint_of, returned, verified
from qirsh.gateways.paymob.credentials import Credentials
from qirsh.gateways.paymob.refunds import answered, explained
from qirsh.gateways.paymob.transactions import NAME, Transaction, read_transaction, told
from qirsh.methods import Method

CURRENCIES: Final = frozenset({"EGP"})
OWNER_SECONDS: Final = 3.0
"""How long a webhook waits to learn our user id before its payment is treated as a hint."""


BILLERS: Final = "Aman, Masary"
"""Where a kiosk bill of Paymob's is paid, as the payer reads it over the counter."""


class Paymob:
    """One Paymob merchant account, in either of its flows."""

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Serve the methods whose integration ids are configured."""
        self._account = Account(credentials, surroundings)
        self._base_url = credentials.base_url.rstrip("/")
        self._iframe_id = credentials.iframe_id
        self._public_key = credentials.public_key or ""
        self._hmac_secret = credentials.hmac_secret.get_secret_value()
        self._profile = Profile(
            name=NAME,
            methods=frozenset(self._account.integrations),
            currencies=CURRENCIES,
            signature_place=SignaturePlace("query", "hmac"),
            found_by="merchant_reference",
            partial_refunds=True,
            unrefundable=frozenset({Method.KIOSK}),
            shows_refunds=True,
        )

    @property
    def profile(self) -> Profile:
        """EGP only; a delivery is signed by the query parameter `hmac`."""
        return self._profile

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:  # noqa: ARG002  Paymob takes no key
        """Open the order, then hand out the card page, the wallet's page or the bill's number.

        https://developers.paymob.com/egypt: "Card payments", "Mobile wallets", "Kiosk payments", "Create intention".
        """
        order = await self._order(draft)
        transaction, card = order.transaction, draft.request.method is Method.CARD
        with _order_stands():
            if transaction is not None and (transaction.paid or (transaction.pending and not card)):
                return self._begun(draft, order.id, transaction)  # never a second pay while one is pending
            if card:
                return Registration(order.id, await self._card_page(draft, order))
            payment_token = order.payment_token or await self._account.payment_key(draft, order.id)
            return self._begun(draft, order.id, await self._account.pay(draft, payment_token))

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:  # noqa: ARG002  as register
        """Give money back, never by a void: https://developers.paymob.com/egypt "Refund".

        Sent twice it gives back twice, so after a doubt the total is looked up and compared.

        Raises:
            GatewayRejected: Paymob did not take it; the message says what to do.
        """
        body = refund_body(order)
        try:
            answer = await self._account.refund(body)
        except GatewayRejected as error:
            raise explained(error) from None
        return answered(read_transaction(answer), order)

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask the newest transaction of the order, and the one we know was paid.

        https://developers.paymob.com/egypt: "Retrieve Transaction" inquiry and transaction APIs.
        """
        transactions = await self._transactions(draft)
        if not transactions:
            known = draft.transaction_reference_id or await self._listed(draft)
            return Lookup(Standing.OPEN if known else Standing.UNKNOWN)
        events = [event for transaction in transactions for event in told(transaction)]
        if any(transaction.has_parent_transaction and transaction.pending for transaction in transactions):
            return Lookup(Standing.IN_PROGRESS, events)  # a refund that is not done: the total does not show it yet
        ended = any(event.kind in {Kind.PAID, Kind.FAILED} for event in events)
        return Lookup(Standing.CLOSED if ended else Standing.OPEN, events)

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent | Hint]:
        """Read a processed callback: https://developers.paymob.com/egypt "Transaction webhooks", "HMAC".

        A payment that its signature covers is a fact once its integration and its owner are ours.
        """
        transaction = verified(delivery, self._hmac_secret)
        if transaction is None:
            return ()
        if transaction.is_fact and await self._is_ours(transaction):
            return tuple(told(transaction))
        return (hint_of(transaction, delivery.body),)

    def read_return(self, query: Mapping[str, str]) -> Hint | None:
        """Read the browser's redirect, signed over the same twenty fields."""
        return returned(query, self._hmac_secret)

    async def aclose(self) -> None:
        """Close the connections to Paymob."""
        await self._account.aclose()

    async def _order(self, draft: PaymentDraft) -> Order:
        """The order of this draft: the one of an earlier try with its newest transaction, else a new one."""
        references: tuple[str, ...] = _references(draft)
        if draft.in_doubt and (found := await self._found_order(draft)):
            if self._can_show(draft, found):
                return found
            references = references[1:]
        for reference in references:
            try:
                return await self._account.open_order(draft, reference)
            except (GatewayRejected, GatewayOutcomeUnknown) as error:
                if not _is_duplicate(error):
                    raise
            with _order_stands():
                if (found := await self._found_order(draft)) and self._can_show(draft, found):
                    return found
        raise GatewayOutcomeUnknown("Paymob has the order, and neither shows it nor lets it be paid.")

    async def _found_order(self, draft: PaymentDraft) -> Order | None:
        """An order somebody tried to pay is named by its transaction; an untried one only by the list of orders."""
        transactions = await self._transactions(draft)
        if transactions:
            return Order(str(transactions[-1].order.id), transactions[-1])
        order_id = await self._listed(draft)
        return Order(order_id) if order_id else None

    async def _listed(self, draft: PaymentDraft) -> str | None:
        return await self._account.listed_order(_references(draft), draft.created_at)

    def _can_show(self, draft: PaymentDraft, found: Order) -> bool:
        """Whether a payer can be sent to an order whose opening was answered to nobody.

        Every order takes further payment keys, so a wallet, a kiosk and the iframe can go on with it. An intention's
        own card page cannot: the lost answer had its client_secret. No payer can reach that order either, so without
        an iframe a second intention is the only one that can be paid. An order that somebody did try is never left.
        """
        return draft.request.method is not Method.CARD or self._iframe_id is not None or found.transaction is not None

    async def _transactions(self, draft: PaymentDraft) -> list[Transaction]:
        """What Paymob shows of a draft, oldest first. The inquiry knows only the newest, maybe a refund's child."""
        keys = (
            [{"order_id": draft.transaction_reference_id}]
            if draft.transaction_reference_id
            else [{"merchant_order_id": reference} for reference in _references(draft)]
        )
        newest = [transaction for key in keys if (transaction := await self._account.inquiry(key))]
        known = {str(transaction.parent_transaction) for transaction in newest if transaction.parent_transaction}
        known |= {one for one in (draft.payment_reference, draft.hinted_payment_reference) if one is not None}
        known -= {str(transaction.id) for transaction in newest}
        asked = [transaction for one in known if (transaction := await self._account.transaction(one))]
        ours = [transaction for transaction in (*newest, *asked) if _is_of(draft, transaction)]
        return sorted(ours, key=lambda transaction: transaction.id)

    async def _card_page(self, draft: PaymentDraft, order: Order) -> RedirectUrl:
        """The checkout of an intention where we hold its secret, else the iframe."""
        if order.client_secret:
            query = urlencode({"publicKey": self._public_key, "clientSecret": order.client_secret})
            return RedirectUrl(f"{self._base_url}/unifiedcheckout/?{query}", "redirect")
        if self._iframe_id is None:
            raise GatewayOutcomeUnknown("Paymob knows a try of this order, which we never handed out.")
        payment_token = await self._account.payment_key(draft, order.id)
        path = f"/api/acceptance/iframes/{self._iframe_id}?payment_token={quote(payment_token)}"
        return RedirectUrl(self._base_url + path, "iframe")

    def _begun(self, draft: PaymentDraft, order_id: str, transaction: Transaction) -> Registration:
        """What the payer of a begun wallet or kiosk payment must do; a second pay is never sent."""
        if transaction.paid:
            raise GatewayOutcomeUnknown("Paymob has a payment for this order: it will be looked up.")
        if not transaction.pending:
            raise GatewayRejected(
                "Paymob refused the payment: offer another payment method.",
                reason=transaction.decline,
                psp_code=str(transaction.details.get("txn_response_code", "")),
            )
        kiosk = draft.request.method is Method.KIOSK
        return Registration(order_id, _bill(draft, transaction) if kiosk else self._wallet_page(transaction))

    def _wallet_page(self, transaction: Transaction) -> PaymentAction:
        """The wallet page asks for MPIN and OTP, so the payer is sent there."""
        url = transaction.redirect_url or transaction.details.get("redirect_url")
        schemes = {"https", urlsplit(self._base_url).scheme}
        if not isinstance(url, str) or urlsplit(url).scheme not in schemes:
            raise GatewayProtocolError("Paymob's wallet page could not be read.")
        return RedirectUrl(url, "redirect")

    async def _is_ours(self, transaction: Transaction) -> bool:
        """Whether the signed account fields are this account's; an owner not known in time makes no fact."""
        if transaction.integration_id not in self._account.integrations.values():
            return False
        try:
            with deadline(OWNER_SECONDS):
                owner = await self._account.owner()
        except GatewayError:
            return False
        return owner is not None and transaction.owner == owner


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


def _is_of(draft: PaymentDraft, transaction: Transaction) -> bool:
    """Whether a transaction is about this draft's order: what was asked for by a hinted id may be anybody's."""
    if draft.transaction_reference_id is not None:
        return str(transaction.order.id) == draft.transaction_reference_id
    return transaction.order.merchant_order_id in _references(draft)


def _bill(draft: PaymentDraft, transaction: Transaction) -> PaymentAction:
    """The number to quote; the transaction waits for days, and nothing but its success completes the draft."""
    if transaction.bill_reference is None:
        raise GatewayProtocolError("Paymob's bill reference could not be read.")
    return ReferenceCode(code=transaction.bill_reference, biller=BILLERS, amount=draft.amount.major)


def _is_duplicate(error: GatewayError) -> bool:
    """Orders: seen as 422 and as 500. Intentions: nobody has published it. What counts is the word, wherever it is."""
    return error.answer is not None and b"duplicate" in msgspec.json.encode(error.answer.body).lower()
