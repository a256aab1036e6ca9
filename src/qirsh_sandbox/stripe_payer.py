"""What the payer does at Stripe when a test asks, what the banks decide, and the ledger of what came of it.

`review` pays in a slow way whose money comes later; `release` and `deny` end it, or else the refunds that wait;
`reverse` is a dispute.
"""

from collections.abc import Sequence
from typing import Final

from .psp import Act, CannotActError, LedgerRow, PayerCommand, Refused, State, UnknownReferenceError, folded
from .stripe_book import Book
from .stripe_forms import RefundRequest
from .stripe_money import ledger_amount, step, wire_amount
from .stripe_records import Charge, Session, Way

WAYS: Final[dict[Act, Way]] = {
    "pay": Way(),
    "decline": Way(last4="0002", decline="generic_decline"),
    "review": Way(slow=True),
}
"""What each act of the payer's is a try with."""


def ledger(book: Book) -> list[LedgerRow]:
    """Return one row per merchant reference; a session without one has a row of its own."""
    cases: dict[tuple[str | None, str], list[Session]] = {}
    for session in book.all_sessions():
        reference = session.reference
        name = (None, session.id) if reference is None else (folded(reference), "")
        cases.setdefault(name, []).append(session)
    return [_row(book, reference, sessions) for (reference, _), sessions in cases.items()]


def act(book: Book, command: PayerCommand) -> None:
    """Do something with the newest session under this reference.

    Raises:
        UnknownReferenceError: there is no such session.
        CannotActError: not with this session in its present state.
    """
    session = book.session(_session(book, command).id)
    charges = [charge for charge in book.charges_of(session) if charge.status == "succeeded"]
    try:
        match command.act:
            case "release" | "deny":
                _decide(book, session, charges, succeeded=command.act == "release")
            case "refund":
                _refund(book, charges, command.amount_minor)
            case "reverse":
                book.dispute(_undisputed(charges))
            case "expire":
                book.expire(session)
            case "cancel":
                _refuse_unless_open(session)
            case way:
                book.pay(session.id, WAYS[way])
    except Refused as refusal:
        raise CannotActError(refusal.detail) from refusal


def _session(book: Book, command: PayerCommand) -> Session:
    reference, wanted = command.merchant_reference, command.transaction_reference_id
    sessions = book.sessions.children(folded(reference)) if reference else []
    if wanted is not None:
        sessions = [session for session in sessions if session.id == wanted]
    elif folded(reference) != reference:
        sessions = [session for session in sessions if session.reference == reference]
    if not sessions:
        raise UnknownReferenceError(reference)
    return sessions[-1]


def _decide(book: Book, session: Session, charges: Sequence[Charge], *, succeeded: bool) -> None:
    if session.status == "complete" and not session.paid:
        book.end_slow_payment(session, succeeded=succeeded)
    elif not sum(book.end_refunds(charge, succeeded=succeeded) for charge in charges):
        raise CannotActError("nothing waits: neither a slow payment nor a refund")


def _refund(book: Book, charges: Sequence[Charge], amount_minor: int | None) -> None:
    """Refund the payment, all of what is left unless told."""
    charge = next((charge for charge in charges if charge.left), None)
    if charge is None:
        raise CannotActError("there is no payment to refund")
    amount = None if amount_minor is None else wire_amount(amount_minor, charge.currency)
    if amount is not None and (amount < 1 or amount % step(charge.currency)):
        raise CannotActError(f"amount_minor must be a multiple of {step(charge.currency)}, and more than nothing")
    book.refund(RefundRequest(None, charge.id, amount, None, {}))


def _undisputed(charges: Sequence[Charge]) -> Charge:
    charge = next((charge for charge in charges if not charge.disputed), None)
    if charge is None:
        raise CannotActError("there is no payment to dispute")
    return charge


def _refuse_unless_open(session: Session) -> None:
    if session.status != "open":
        raise CannotActError(f"the session is {session.status}")


def _row(book: Book, reference: str | None, sessions: Sequence[Session]) -> LedgerRow:
    charges = [one for session in sessions for one in book.charges_of(session) if one.status == "succeeded"]
    newest = sessions[-1]
    paid, refunded = sum(charge.amount for charge in charges), sum(charge.refunded for charge in charges)
    return LedgerRow(
        psp="stripe",
        merchant_reference=reference,
        transaction_reference_id=newest.id,
        amount_minor=ledger_amount(newest.amount, newest.currency),
        currency=newest.currency.upper(),
        state=_state(sessions, paid, refunded),
        registered=len(sessions),
        paid_minor=ledger_amount(paid, newest.currency),
        refunded_minor=ledger_amount(refunded, newest.currency),
    )


def _state(sessions: Sequence[Session], paid: int, refunded: int) -> State:
    if paid:
        if refunded:
            return "refunded" if refunded == paid else "partially_refunded"
        return "paid"
    if any(session.status == "open" for session in sessions):
        return "open"
    return "expired" if all(session.status == "expired" for session in sessions) else "failed"
