"""The books of the fake Stripe: every rule about which money may move, and the webhook that each step owes.

Each public method is one atomic step: what it changed and the webhooks it owes are on disk together, or not at all.
"""

from typing import Any, Final, Literal

import msgspec

from .deliveries import Sender
from .psp import World, folded
from .store import Table
from .stripe_errors import invalid, missing
from .stripe_events import NOBODY, Cause, Events, fresh_id
from .stripe_forms import RefundRequest, SessionRequest
from .stripe_money import step
from .stripe_records import Charge, Dispute, Payment, Refund, RefundStatus, Session, Way
from .stripe_shapes import charge_shape, dispute_shape, payment_shape, refund_shape, session_shape

_LIFE_SECONDS: Final = 24 * 3600  # documented: of a session that names no other
_SLOW_FAILURE: Final = {
    "type": "invalid_request_error",
    "code": "payment_intent_payment_attempt_failed",
    "message": "The payment failed.",
}


class Book:
    """Sessions, payments, refunds and disputes of one account."""

    def __init__(self, world: World, sender: Sender, *, livemode: bool) -> None:
        self._world = world
        self.livemode = livemode
        store = world.store
        self.sessions = Table(store, "stripe.session", Session)
        self.payments = Table(store, "stripe.payment", Payment)
        self.charges = Table(store, "stripe.charge", Charge)
        self.refunds = Table(store, "stripe.refund", Refund)
        self.disputes = Table(store, "stripe.dispute", Dispute)
        self.events = Events(world, sender, livemode=livemode)

    def create(self, request: SessionRequest, base_url: str) -> Session:
        """Take a new session."""
        now = self._world.clock.now()
        session = Session(
            id=fresh_id("cs_live" if self.livemode else "cs_test", 58),
            created_at=now,
            expires_at=request.expires_at or int(now) + _LIFE_SECONDS,
            amount=request.amount,
            currency=request.currency,
            line=request.line,
            base_url=base_url,
            said=request.said,
            payment_metadata=request.payment_metadata,
            metadata=request.metadata,
        )
        self._put_session(session)
        return session

    def session(self, session_id: str) -> Session:
        """Return a session as it stands now: one whose time is over has expired, and that is told.

        Raises:
            Rejected: 404, there is none.
        """
        session = self.sessions.get(session_id)
        if session is None:
            raise missing("checkout.session", session_id, "session")
        if session.status == "open" and session.expires_at <= self._world.clock.now():
            return self.expire(session)
        return session

    def all_sessions(self) -> list[Session]:
        """Return every session as it stands now, oldest first."""
        return [self.session(session.id) for session in self.sessions.all()]

    def expire(self, session: Session, cause: Cause = NOBODY) -> Session:
        """End an open session.

        Raises:
            Rejected: it is not open.
        """
        self._refuse_unless_open(session, "expired")
        with self._world.store.transaction():
            session = msgspec.structs.replace(session, status="expired")
            self._put_session(session)
            payment = self.payments.get(session.payment_id or "")
            if payment is not None:
                self.payments.put(msgspec.structs.replace(payment, status="canceled"), key=payment.id)
            self._tell_session(session, "expired", cause)
        return session

    def pay(self, session_id: str, way: Way) -> Session:
        """Let the payer try to pay. A refused try leaves the session open.

        Raises:
            Rejected: the session is not open.
        """
        session = self.session(session_id)
        self._refuse_unless_open(session, "paid")
        with self._world.store.transaction():
            payment = self._payment_of(session)
            charge = self._charged(payment, way)
            if way.decline is not None:
                return self._declined(session, payment, charge)
            status: Literal["processing", "succeeded"] = "processing" if way.slow else "succeeded"
            payment = msgspec.structs.replace(payment, status=status, charge_id=charge.id, error=None)
            self.payments.put(payment, key=payment.id, parent=session.id)
            session = msgspec.structs.replace(session, status="complete", paid=not way.slow, payment_id=payment.id)
            self._put_session(session)
            self._tell_session(session, "completed")
            if way.disputed:
                self.dispute(charge)
        return session

    def end_slow_payment(self, session: Session, *, succeeded: bool) -> None:
        """Decide about a payment whose money comes later.

        Raises:
            Rejected: there is none.
        """
        payment = self.payments.get(session.payment_id or "")
        if payment is None or payment.status != "processing":
            raise invalid("No payment of this session is being processed.")
        charge = self.charge(payment.charge_id or "")
        with self._world.store.transaction():
            self._put_charge(msgspec.structs.replace(charge, status="succeeded" if succeeded else "failed"))
            if succeeded:
                payment = msgspec.structs.replace(payment, status="succeeded")
            else:
                payment = msgspec.structs.replace(payment, status="requires_payment_method", error=_SLOW_FAILURE)
            self.payments.put(payment, key=payment.id, parent=session.id)
            session = msgspec.structs.replace(session, paid=succeeded)
            self._put_session(session)
            self._tell_session(session, "async_payment_succeeded" if succeeded else "async_payment_failed")

    def refund(self, request: RefundRequest, cause: Cause = NOBODY) -> Refund:
        """Give a charge back, or a part of it.

        Raises:
            Rejected: there is nothing to give back, or not so much.
        """
        charge = self._to_refund(request)
        amount = charge.left if request.amount is None else request.amount
        if not charge.left:
            raise invalid(f"Charge {charge.id} has already been refunded.", "charge_already_refunded", executed=True)
        if charge.disputed:
            raise invalid(f"Charge {charge.id} has been charged back.", "charge_disputed", executed=True)
        if amount > charge.left or amount % step(charge.currency):
            message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({charge.left})"
            raise invalid(message, None, "amount", executed=True)
        with self._world.store.transaction():
            charge = msgspec.structs.replace(charge, refunded=charge.refunded + amount)
            self._put_charge(charge)
            refund = Refund(
                id=fresh_id("re"),
                charge_id=charge.id,
                payment_id=charge.payment_id,
                amount=amount,
                currency=charge.currency,
                created_at=self._world.clock.now(),
                metadata=request.metadata,
                reason=request.reason,
                status="pending" if charge.way.refunds == "wait" else "succeeded",
            )
            self._put_refund(refund)
            self._tell("refund.created", refund_shape(refund), charge, cause)
            self._tell("charge.refunded", charge_shape(charge, livemode=self.livemode), charge, cause)
        return refund

    def end_refunds(self, charge: Charge, *, succeeded: bool) -> bool:
        """Decide about the refunds of a charge that wait, or that its card lets fail later; whether there was one."""
        undecided = {"pending", "succeeded"} if charge.way.refunds == "fail_later" and not succeeded else {"pending"}
        status: RefundStatus = "succeeded" if succeeded else "failed"
        found = [refund for refund in self.refunds.children(charge.id) if refund.status in undecided]
        with self._world.store.transaction():
            for refund in found:
                ended = msgspec.structs.replace(refund, status=status)
                self._put_refund(ended)
                if not succeeded:
                    charge = msgspec.structs.replace(charge, refunded=charge.refunded - refund.amount)
                    self._put_charge(charge)
                self._tell("refund.updated", refund_shape(ended), charge)
                if not succeeded:
                    self._tell("refund.failed", refund_shape(ended), charge)
        return bool(found)

    def dispute(self, charge: Charge) -> Dispute:
        """Let the payer's bank ask for the money."""
        dispute = Dispute(
            id=fresh_id("du"),
            charge_id=charge.id,
            payment_id=charge.payment_id,
            amount=charge.amount,
            currency=charge.currency,
            created_at=self._world.clock.now(),
        )
        with self._world.store.transaction():
            self._put_charge(msgspec.structs.replace(charge, disputed=True))
            self.disputes.put(dispute, key=dispute.id, parent=charge.id)
            self._tell("charge.dispute.created", dispute_shape(dispute, livemode=self.livemode), charge)
        return dispute

    def charges_of(self, session: Session) -> list[Charge]:
        """Return every try to pay a session, oldest first."""
        return self.charges.children(session.payment_id) if session.payment_id else []

    def charge(self, charge_id: str) -> Charge:
        """Return a charge.

        Raises:
            Rejected: 404, there is none.
        """
        charge = self.charges.get(charge_id)
        if charge is None:
            raise missing("charge", charge_id)
        return charge

    def _payment_of(self, session: Session) -> Payment:
        """Return the payment of a session; there is none before the payer tries."""
        payment = self.payments.get(session.payment_id or "")
        return payment or Payment(
            id=fresh_id("pi"),
            session_id=session.id,
            amount=session.amount,
            currency=session.currency,
            created_at=self._world.clock.now(),
            metadata=session.payment_metadata,
            description=session.said.get("description"),
        )

    def _charged(self, payment: Payment, way: Way) -> Charge:
        charge = Charge(
            id=fresh_id("ch"),
            payment_id=payment.id,
            amount=payment.amount,
            currency=payment.currency,
            created_at=self._world.clock.now(),
            metadata=payment.metadata,  # copied once: they are separate objects
            way=way,
            status="failed" if way.decline else "pending" if way.slow else "succeeded",
        )
        self._put_charge(charge)
        return charge

    def _declined(self, session: Session, payment: Payment, charge: Charge) -> Session:
        decline = charge.way.decline
        error = {
            "type": "card_error",
            "code": decline if decline in {"expired_card", "incorrect_cvc", "processing_error"} else "card_declined",
            "decline_code": decline,
            "message": "Your card was declined.",
            "charge": charge.id,
        }
        payment = msgspec.structs.replace(payment, status="requires_payment_method", error=error, charge_id=charge.id)
        self.payments.put(payment, key=payment.id, parent=session.id)
        session = msgspec.structs.replace(session, payment_id=payment.id)
        self._put_session(session)
        self._tell("payment_intent.payment_failed", payment_shape(payment, livemode=self.livemode), charge)
        return session

    def _to_refund(self, request: RefundRequest) -> Charge:
        if request.charge is not None:
            charge = self.charges.get(request.charge)
            if charge is None:
                raise missing("charge", request.charge, "charge")
        else:
            payment = self.payments.get(request.payment_intent or "")
            if payment is None:
                raise missing("payment_intent", f"{request.payment_intent}", "payment_intent")
            charge = self.charge(payment.charge_id or "")
        if charge.status != "succeeded":
            raise invalid("This PaymentIntent does not have a successful charge to refund.", executed=True)
        return charge

    def _refuse_unless_open(self, session: Session, what: str) -> None:
        if session.status != "open":
            raise invalid(
                f'Only Checkout Sessions with a status in ["open"] can be {what}. '
                f"This Checkout Session has a status of `{session.status}`."
            )

    def _tell_session(self, session: Session, what: str, cause: Cause = NOBODY) -> None:
        shape = session_shape(session, livemode=self.livemode)
        self.events.owe(f"checkout.session.{what}", shape, session.reference, cause)

    def _tell(self, kind: str, shape: dict[str, Any], charge: Charge, cause: Cause = NOBODY) -> None:
        payment = self.payments.get(charge.payment_id)
        session = self.sessions.get(payment.session_id) if payment else None
        self.events.owe(kind, shape, session.reference if session else None, cause)

    def _put_session(self, session: Session) -> None:
        self.sessions.put(session, key=session.id, parent=folded(session.reference or ""))

    def _put_charge(self, charge: Charge) -> None:
        self.charges.put(charge, key=charge.id, parent=charge.payment_id)

    def _put_refund(self, refund: Refund) -> None:
        self.refunds.put(refund, key=refund.id, parent=refund.charge_id)
