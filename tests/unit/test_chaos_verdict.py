"""Each promise that `make chaos` judges is broken here on purpose: a check that cannot fail promises nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec
import pytest

from chaos.evidence import Draft, Evidence, Fulfilment, Refund
from chaos.listener import Heard
from chaos.plan import Purchase, purchases
from chaos.psps import LedgerRow
from chaos.shop import Asked, Sale
from chaos.verdict import COMPLETED, PROMISES, violations

PAID: Final = "draft-paid"
AGAIN: Final = "draft-paid-again"
BACK: Final = "draft-given-back"
CASH: Final = "draft-by-fawry"
ENDED: Final = "draft-ended"
ORDER: Final = "order-1"

Plant = Callable[[Evidence], Evidence]


def test_a_run_that_went_well_breaks_no_promise() -> None:
    """Else every plant below would be found for another reason."""
    assert violations(well()) == []


def row(evidence: Evidence, table: str, which: str, **changes: Any) -> Evidence:
    """The same with some columns of the rows of one draft changed."""
    rows = [
        msgspec.structs.replace(one, **changes) if which == _owner(one) else one for one in getattr(evidence, table)
    ]
    return msgspec.structs.replace(evidence, **{table: rows})


def without(evidence: Evidence, table: str, which: str) -> Evidence:
    """The same without the rows of one draft."""
    return msgspec.structs.replace(
        evidence, **{table: [one for one in getattr(evidence, table) if _owner(one) != which]}
    )


def more(evidence: Evidence, table: str, *rows: object) -> Evidence:
    """The same with some more rows."""
    return msgspec.structs.replace(evidence, **{table: [*getattr(evidence, table), *rows]})


def sale(evidence: Evidence, which: str, change: Callable[[Sale], object]) -> Evidence:
    """The same with something else in the notes of one sale."""
    for one in evidence.sales:
        if which in one.draft_ids:
            change(one)
    return evidence


PLANTS: Final[Sequence[tuple[str, str, Plant]]] = [
    ("every PSP payment", PAID, lambda e: row(e, "drafts", PAID, state="failed")),
    ("every PSP payment", PAID, lambda e: without(e, "drafts", PAID)),
    ("every PSP payment", PAID, lambda e: row(e, "ledger", PAID, paid_minor=60_000)),
    ("every PSP payment", PAID, lambda e: row(e, "ledger", PAID, paid_minor=30_001)),
    ("every PSP payment", PAID, lambda e: row(e, "ledger", PAID, currency="USD")),
    ("every PSP payment", PAID, lambda e: row(e, "drafts", PAID, gateway="fawry")),
    ("every PSP payment", PAID, lambda e: row(e, "drafts", PAID, told_minor=30_001)),
    ("no completed draft without", ENDED, lambda e: row(e, "drafts", ENDED, state="completed")),
    ("no completed draft without", PAID, lambda e: row(e, "ledger", PAID, paid_minor=0)),
    ("no completed draft without", PAID, lambda e: without(e, "ledger", PAID)),
    ("one payable registration", PAID, lambda e: row(e, "ledger", PAID, registered=2)),
    ("one payable registration", PAID, lambda e: more(e, "ledger", books(PAID, psp="fawry", state="open"))),
    ("one payable registration", "nobody", lambda e: more(e, "ledger", books("nobody", state="open"))),
    ("one payable registration", "key-2", lambda e: row(e, "drafts", PAID, idempotency_key="key-2")),
    ("one payable registration", "key-0", lambda e: sale(e, PAID, lambda s: s.draft_ids.add(BACK))),
    ("one payable registration", "key-0", lambda e: sale(e, PAID, lambda s: s.answers.add(b"{}"))),
    ("one fulfilment", PAID, lambda e: without(e, "fulfilments", PAID)),
    ("one fulfilment", PAID, lambda e: more(e, "fulfilments", announced(PAID, "f-0-again"))),
    ("one fulfilment", ENDED, lambda e: more(e, "fulfilments", announced(ENDED, "f-ended"))),
    ("one fulfilment", PAID, lambda e: row(e, "fulfilments", PAID, state="due")),
    ("one fulfilment", PAID, lambda e: row(e, "fulfilments", PAID, state="dead")),
    ("one fulfilment", PAID, lambda e: without(e, "heard", PAID)),
    ("one fulfilment", PAID, lambda e: row(e, "heard", PAID, taken=False)),
    ("one fulfilment", PAID, lambda e: row(e, "heard", PAID, authentic=False)),
    ("one fulfilment", PAID, lambda e: more(e, "heard", told("f-unknown", PAID))),
    ("one fulfilment", PAID, lambda e: more(e, "heard", told("f-back", PAID))),
    ("one fulfilment", BACK, lambda e: msgspec.structs.replace(e, heard=list(reversed(e.heard)))),
    ("an order is announced", ORDER, lambda e: row(e, "fulfilments", AGAIN, duplicate_of=None)),
    ("an order is announced", ORDER, lambda e: row(e, "fulfilments", PAID, duplicate_of=AGAIN)),
    ("an order is announced", AGAIN, lambda e: row(e, "drafts", AGAIN, needs_review=False)),
    ("an order is announced", AGAIN, lambda e: row(e, "fulfilments", AGAIN, duplicate_of=BACK)),
    ("an order is announced", AGAIN, lambda e: row(e, "heard", AGAIN, data={"paymentDraftId": AGAIN, "refunded": "0"})),
    ("refunds agree", BACK, lambda e: row(e, "drafts", BACK, refunded_minor=9_999)),
    ("refunds agree", BACK, lambda e: row(e, "ledger", BACK, refunded_minor=20_000)),
    (
        "refunds agree",
        BACK,
        lambda e: row(row(e, "ledger", BACK, refunded_minor=20_000), "drafts", BACK, refunded_minor=20_000),
    ),
    ("refunds agree", BACK, lambda e: row(e, "refunds", BACK, state="failed")),
    ("refunds agree", CASH, lambda e: row(e, "drafts", CASH, needs_review=False)),
    ("refunds agree", CASH, lambda e: row(e, "ledger", CASH, refunded_minor=1_001)),
    ("refunds agree", BACK, lambda e: sale(e, BACK, lambda s: s.refunds.append(asked("r-1", "r-2")))),
    ("refunds agree", BACK, lambda e: sale(e, BACK, lambda s: s.refunds.append(asked(status=500)))),
    ("the shop knows", BACK, lambda e: row(e, "heard", BACK, data={"paymentDraftId": BACK, "refunded": "0.00"})),
    ("no draft stuck", ENDED, lambda e: row(e, "drafts", ENDED, state="pending")),
    ("no draft stuck", ENDED, lambda e: row(e, "drafts", ENDED, state="awaiting_user_action")),
    ("no draft stuck", ENDED, lambda e: row(e, "drafts", ENDED, overdue=True)),
    ("no draft stuck", PAID, lambda e: row(e, "drafts", PAID, capture_due=True)),
    ("no draft stuck", ENDED, lambda e: row(e, "drafts", ENDED, claimed=True)),
    ("no draft stuck", BACK, lambda e: row(e, "refunds", BACK, state="sent")),
    ("no draft stuck", "paymob 77", lambda e: msgspec.structs.replace(e, waiting=["paymob 77"])),
    ("whoever agreed", ENDED, lambda e: sale(e, ENDED, lambda s: setattr(s, "agreed_in_time", True))),
    ("pages hear", "key-0", lambda e: sale(e, PAID, lambda s: s.statuses.update([500]))),
    ("pages hear", "key-0", lambda e: sale(e, PAID, lambda s: s.statuses.update([402]))),
    ("nobody is called", PAID, lambda e: row(e, "drafts", PAID, needs_review=True)),
    ("nobody is called", PAID, lambda e: row(e, "drafts", PAID, review_reasons=["second_reference"])),
    ("nobody is called", CASH, lambda e: sale(e, CASH, lambda s: setattr(s, "given_back_by_dashboard_minor", 0))),
    ("the journal rebuilds", "reconcile", lambda e: msgspec.structs.replace(e, said={"reconcile": "1 differs"})),
]


@pytest.mark.parametrize(("promise", "about", "plant"), PLANTS, ids=[f"{one[0]}-{n}" for n, one in enumerate(PLANTS)])
def test_a_broken_promise_is_told(promise: str, about: str, plant: Plant) -> None:
    """By its name, with what it is about."""
    found = {(one.promise, one.about) for one in violations(plant(well()))}
    assert any(name.startswith(promise) and about == which for name, which in found), found


def test_every_promise_is_broken_by_some_plant() -> None:
    """A promise that is added without one may be a check that never fails."""
    unbroken = [name for name in PROMISES if not any(name.startswith(promise) for promise, _, _ in PLANTS)]
    assert not unbroken


def well() -> Evidence:
    """A run in which all went well: paid, paid twice for one order, given back, by Fawry's dashboard, ended, open."""
    return Evidence(
        sales=[
            sold(0, PAID),
            sold(1, AGAIN),
            sold(2, BACK),
            _by_dashboard(sold(3, CASH)),
            sold(4, ENDED),
        ],
        ledger=[
            *(books(PAID), books(AGAIN), books(BACK, refunded_minor=10_000)),
            books(CASH, psp="fawry", refunded_minor=1_000),
            books(ENDED, state="expired", paid_minor=0),
        ],
        drafts=[
            draft(0, PAID, order_reference=ORDER),
            draft(1, AGAIN, order_reference=ORDER, needs_review=True, review_reasons=["order_paid_twice"]),
            draft(2, BACK, state="partially_refunded", refunded_minor=10_000),
            draft(3, CASH, gateway="fawry", needs_review=True, review_reasons=["refunded_unknown_amount"]),
            draft(4, ENDED, state="failed"),
        ],
        fulfilments=[
            announced(PAID, "f-0"),
            announced(AGAIN, "f-1", duplicate_of=PAID),
            announced(BACK, "f-2"),
            announced(BACK, "f-back", kind="payment.refunded"),
            announced(CASH, "f-3"),
        ],
        refunds=[
            Refund(id="r-1", draft_id=BACK, idempotency_key="refund-1", state="succeeded", amount_minor=10_000),
        ],
        heard=[
            *(told("f-0", PAID), told("f-1", AGAIN, duplicate_of=PAID), told("f-2", BACK), told("f-3", CASH)),
            told("f-back", BACK, kind="payment.refunded", refunded="100.00"),
        ],
        said={"journal verify": "", "reconcile --dry-run": ""},
    )


def draft(number: int, draft_id: str, **fields: Any) -> Draft:
    """A paid draft at Paymob, unless told otherwise."""
    known = {"state": "completed", "gateway": "paymob", "amount_minor": 30_000, "currency": "EGP", **fields}
    known.setdefault("told_minor", known["amount_minor"])
    return Draft(id=draft_id, idempotency_key=f"key-{number}", **known)


def books(draft_id: str, **fields: Any) -> LedgerRow:
    """What Paymob's books say of a paid draft, unless told otherwise."""
    known = {
        "psp": "paymob",
        "amount_minor": 30_000,
        "currency": "EGP",
        "state": "paid",
        "registered": 1,
        "paid_minor": 30_000,
        "refunded_minor": 0,
        **fields,
    }
    return LedgerRow(merchant_reference=draft_id, **known)


def announced(draft_id: str, fulfilment_id: str, **fields: Any) -> Fulfilment:
    """A completion that the shop has taken, unless told otherwise."""
    return Fulfilment(id=fulfilment_id, draft_id=draft_id, **{"kind": COMPLETED, "state": "delivered", **fields})


def told(fulfilment_id: str, draft_id: str, kind: str = COMPLETED, refunded: str = "0.00", **more: str) -> Heard:
    """An announcement as the shop heard it."""
    data = {"paymentDraftId": draft_id, "refunded": refunded, **more}
    return Heard(f"msg_{fulfilment_id.replace('-', '')}", kind, data, taken=True, authentic=True)


def asked(*refund_ids: str, status: int = 202) -> Asked:
    """A refund that an operator asked for."""
    return Asked("refund-key", status, frozenset(refund_ids), 100)


def sold(number: int, draft_id: str) -> Sale:
    """A sale as its page knows it."""
    purchase: Purchase = msgspec.structs.replace(_ANY, key=f"key-{number}")
    body = b'{"paymentDraftId": "%s"}' % draft_id.encode()
    return Sale(purchase, "mixed", {draft_id}, {body}, Counter([201]))


def _by_dashboard(one: Sale) -> Sale:
    one.given_back_by_dashboard_minor = 1_000
    return one


_ANY: Final = purchases(Random(1), 1)[0]


def _owner(one: Any) -> str | None:
    """The draft that a row is about."""
    match one:
        case Draft():
            return one.id
        case LedgerRow():
            return one.merchant_reference
        case Heard():
            return str(one.data["paymentDraftId"])
        case _:
            return str(one.draft_id)
