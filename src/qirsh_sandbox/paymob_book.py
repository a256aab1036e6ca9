"""The books of the fake Paymob: every rule about which payment may happen, and the callback that each owes.

What goes back of it is in paymob_returns.py.

Each public method is one atomic step: what it changed and the callbacks it owes are on disk together, or not at all.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .config import PaymobConfig
from .deliveries import Sender
from .paymob_records import Intention, Kind, Order, Outcome, PaymentKey, Transaction
from .paymob_shapes import Merchant, claims_shape, transaction_shape
from .paymob_signing import make_token
from .psp import Refused, World, folded
from .store import Table

_ORDER_BASE: Final = 217_000_000  # the size of the ids in Paymob's samples; the two kinds must not look alike
_TRANSACTION_BASE: Final = 192_000_000


class Book:
    """Orders, payment keys, intentions and transactions of one merchant."""

    def __init__(self, config: PaymobConfig, world: World, sender: Sender) -> None:
        self._world = world
        self._sender = sender
        self._integrations: dict[int, Kind] = {
            config.card_integration_id: "card",
            config.wallet_integration_id: "wallet",
            config.kiosk_integration_id: "aggregator",
        }
        store = world.store
        self.orders = Table(store, "paymob.order", Order)
        self.keys = Table(store, "paymob.key", PaymentKey)
        self.intentions = Table(store, "paymob.intention", Intention)
        self.transactions = Table(store, "paymob.transaction", Transaction)
        self.merchant = Merchant(
            profile_id=int(store.fact("paymob.profile_id", f"{100_000 + secrets.randbelow(900_000)}")),
            user_id=int(store.fact("paymob.user_id", f"{100_000 + secrets.randbelow(900_000)}")),
            token_secret=store.fact("paymob.token_secret", secrets.token_hex()),
        )

    def register(self, draft: Order) -> Order:
        """Take a new order under a fresh id. A merchant's own id is taken once, for ever."""
        with self._world.store.transaction():
            reference = draft.merchant_order_id
            if reference is not None and self.order_by_reference(reference) is not None:
                raise Refused(422, {"message": "duplicate"})
            order = msgspec.structs.replace(
                draft, id=self._world.store.next_id("paymob.order_id", _ORDER_BASE), created_at=self._world.clock.now()
            )
            self._put_order(order)
            return order

    def issue_key(self, draft: PaymentKey, *, seconds: int) -> PaymentKey:
        """Give the right to try to pay an order."""
        order = self.orders.get(f"{draft.order_id}")
        if order is None:
            raise Refused(400, {"order_id": [f'Invalid pk "{draft.order_id}" - object does not exist.']})
        if draft.integration_id not in self._integrations:
            raise Refused(400, {"integration_id": [f'Invalid pk "{draft.integration_id}" - object does not exist.']})
        if (draft.amount_cents, draft.currency) != (order.amount_cents, order.currency):
            raise Refused(400, {"amount_cents": ["The amount and currency must be those of the order."]})
        _refuse_if_locked(order, locks=draft.lock_order_when_paid)
        now = self._world.clock.now()
        key = msgspec.structs.replace(draft, created_at=now, expires_at=now + seconds)
        # The nonce keeps two keys of the same second apart: each must expire by itself.
        claims = {**claims_shape(key, self.merchant), "nonce": secrets.token_hex(8)}
        key = msgspec.structs.replace(key, token=make_token(claims, self.merchant.token_secret))
        self.put_key(key)
        return key

    def open_intention(self, draft: Order, keys: Sequence[PaymentKey], *, seconds: int) -> Intention:
        """Take an order and give the right to pay it by each of these keys, in one step."""
        with self._world.store.transaction():
            order, name = self.register(draft), f"pi_test_{secrets.token_hex(16)}"
            extras = {"merchant_order_id": order.merchant_order_id}
            issued = [
                self.issue_key(
                    msgspec.structs.replace(key, order_id=order.id, intention_id=name, extras={**key.extras, **extras}),
                    seconds=seconds,
                )
                for key in keys
            ]
            intention = Intention(
                id=name,
                client_secret=f"egy_csk_test_{secrets.token_hex(16)}",
                order_id=order.id,
                tokens=[key.token for key in issued],
                created_at=order.created_at,
            )
            self.intentions.put(intention, key=intention.client_secret, parent=f"{order.id}")
        return intention

    def keys_of(self, intention: Intention) -> list[PaymentKey]:
        """Return an intention's payment keys, in the order of its methods."""
        return [key for token in intention.tokens if (key := self.keys.get(token))]

    def key_of(self, transaction_id: int) -> PaymentKey | None:
        """Return the key that a transaction, or the parent of a refund or void, was made with."""
        transaction = self.transactions.get(f"{transaction_id}")
        return None if transaction is None else self.keys.get(transaction.payment_token)

    def kind_of(self, integration_id: int) -> Kind | None:
        """Return what an integration takes; None when there is no such integration."""
        return self._integrations.get(integration_id)

    def integration_of(self, kind: Kind) -> int:
        """Return the integration that takes this kind."""
        return next(number for number, each in self._integrations.items() if each == kind)

    def usable(self, token: str, kind: Kind) -> tuple[Order, PaymentKey]:
        """Return the key and its order when a payment of this kind may be tried with it."""
        key = self.keys.get(token)
        if key is None:
            raise Refused(401, {"detail": "Invalid token."})
        if self._integrations.get(key.integration_id) != kind:
            raise Refused(400, {"detail": f"The integration of this payment key does not take {kind} payments."})
        if key.expires_at <= self._world.clock.now():
            raise Refused(401, {"detail": "The payment token has expired."})
        order = self.order(key.order_id)
        _refuse_if_locked(order, locks=key.lock_order_when_paid)
        return order, key

    def begin(self, key: PaymentKey, kind: Kind, *, pan: str, sub_type: str, outcome: Outcome) -> Transaction:
        """Start a payment that waits for its payer. `outcome` has the words for the waiting."""
        now = self._world.clock.now()
        with self._world.store.transaction():
            transaction = Transaction(
                id=self._world.store.next_id("paymob.transaction_id", _TRANSACTION_BASE),
                order_id=key.order_id,
                kind=kind,
                payment_token=key.token,
                integration_id=key.integration_id,
                amount_cents=key.amount_cents,
                currency=key.currency,
                created_at=now,
                updated_at=now,
                pan=pan,
                sub_type=sub_type,
                message=outcome.message,
                txn_response_code=outcome.txn_response_code,
            )
            self.put_transaction(transaction)
        return transaction

    def try_card(self, key: PaymentKey, outcome: Outcome, *, pan: str, sub_type: str) -> Transaction:
        """Start and end a card payment in one step."""
        with self._world.store.transaction():
            return self.settle(self.begin(key, "card", pan=pan, sub_type=sub_type, outcome=outcome), outcome)

    def settle(self, transaction: Transaction, outcome: Outcome) -> Transaction:
        """End a payment that was waiting."""
        if not transaction.pending or transaction.parent_transaction is not None:
            raise Refused(400, {"detail": "This payment has ended already."})
        order, key = self.order(transaction.order_id), self.keys.get(transaction.payment_token)
        locks = key is not None and key.lock_order_when_paid
        _refuse_if_locked(order, locks=locks)
        settled = msgspec.structs.replace(
            transaction, pending=False, updated_at=self._world.clock.now(), **outcome._asdict()
        )
        with self._world.store.transaction():
            if outcome.success:
                paid = order.paid_cents + transaction.amount_cents
                self._put_order(msgspec.structs.replace(order, paid_cents=paid, locked=order.locked or locks))
            self.put_transaction(settled)
            self.owe_callback(settled)
        return settled

    def expire_bill(self, transaction: Transaction) -> None:
        """End a kiosk bill that nobody paid: Paymob marks it voided and leaves its words as they were."""
        with self._world.store.transaction():
            expired = msgspec.structs.replace(
                transaction, pending=False, is_voided=True, updated_at=self._world.clock.now()
            )
            self.put_transaction(expired)
            self.owe_callback(expired)

    def order(self, order_id: int) -> Order:
        """Return an order that a key or a transaction names."""
        order = self.orders.get(f"{order_id}")
        assert order is not None, "keys and transactions are made for orders that exist"
        return order

    def order_by_reference(self, merchant_order_id: str) -> Order | None:
        """Return the order with exactly this reference of the merchant's."""
        family = self.orders.children(folded(merchant_order_id))
        return next((order for order in family if order.merchant_order_id == merchant_order_id), None)

    def shape(self, transaction: Transaction) -> dict[str, Any]:
        """Return a transaction as it goes over the wire."""
        key = self.keys.get(transaction.payment_token)
        return transaction_shape(transaction, self.order(transaction.order_id), key, self.merchant)

    def put_key(self, key: PaymentKey) -> None:
        """Write a payment key."""
        self.keys.put(key, key=key.token, parent=f"{key.order_id}")

    def put_transaction(self, transaction: Transaction) -> None:
        """Write a transaction."""
        self.transactions.put(transaction, key=f"{transaction.id}", parent=f"{transaction.order_id}")

    def owe_callback(self, transaction: Transaction) -> None:
        """Send the callback of a transaction, once what it tells is on disk."""
        reference = self.order(transaction.order_id).merchant_order_id
        body = {
            "type": "TRANSACTION",
            "obj": self.shape(transaction),
            "issuer_bank": None,
            "transaction_processed_callback_responses": "",
        }
        self._world.deliveries.schedule(
            self._sender, None if reference is None else folded(reference), msgspec.json.encode(body)
        )

    def _put_order(self, order: Order) -> None:
        self.orders.put(order, key=f"{order.id}", parent=folded(order.merchant_order_id or ""))


def _refuse_if_locked(order: Order, *, locks: bool) -> None:
    """Refuse to pay an order that is paid, when it or the key says that once is enough."""
    if order.paid_cents and (order.locked or locks):
        raise Refused(400, {"detail": "This order is paid and locked."})
