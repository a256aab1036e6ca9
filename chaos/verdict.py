"""The promises, each a pure check of what is known after a run. What the PSPs' books say is the truth."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

from chaos.evidence import Draft, Evidence
from chaos.psps import LedgerRow
from chaos.shop import Sale

PAID: Final = frozenset({"completed", "partially_refunded", "refunded"})
CONTRACT: Final = frozenset({0, 201, 202, 402, 409, 503})
"""What a page may be answered whose request is valid; 0: no answer at all, as its server died."""
REFUND_CONTRACT: Final = frozenset({0, 202, 409, 503})
COMPLETED: Final = "payment.completed"
RECOVERS: Final = "what was paid is known before the books are compared"
"""Judged after each round, or after the last; told by the run itself."""
WITH_CAUSE: Final = frozenset({"amount_mismatch", "order_paid_twice"})
"""Reviews that follow from what chaos does to any draft."""
TELL_NO_SUM: Final = frozenset({"fawry"})
"""PSPs that never say how much their dashboard gave back: the draft must be up for review then; no more is possible."""


class Violation(NamedTuple):
    """A promise that was not kept, and about what."""

    promise: str
    about: str
    """A draft's id, or an idempotency key."""
    sentence: str


_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Found = Iterator[tuple[str, str]]
Check = Callable[[Evidence], Found]


def violations(evidence: Evidence) -> list[Violation]:
    """Every promise that was not kept."""
    return [Violation(name, *found) for name, check in PROMISES.items() for found in check(evidence)]


def _payments_are_completed_drafts(evidence: Evidence) -> Found:
    """Money at a PSP is a paid draft of that PSP, with that amount."""
    drafts = {draft.id: draft for draft in evidence.drafts}
    for row in evidence.ledger:
        if not row.paid_minor:
            continue
        draft = drafts.get(row.merchant_reference or "")
        if draft is None or draft.state not in PAID:
            yield (
                f"{row.merchant_reference}",
                f"{row.psp} took {row.paid_minor} and the draft is {draft and draft.state}",
            )
        elif (draft.gateway, draft.amount_minor, draft.currency) != (row.psp, row.paid_minor, row.currency):
            theirs, ours = f"{row.psp} {row.paid_minor} {row.currency}", f"{draft.gateway} {draft.amount_minor}"
            yield draft.id, f"the books say {theirs}, the draft says {ours} {draft.currency}"
        elif draft.told_minor != draft.amount_minor:
            yield draft.id, f"it costs {draft.amount_minor}, and news of {draft.told_minor} completed it"


def _completed_drafts_are_payments(evidence: Evidence) -> Found:
    """A paid draft is money at its PSP."""
    paid = {(row.psp, row.merchant_reference) for row in evidence.ledger if row.paid_minor}
    for draft in evidence.drafts:
        if draft.state in PAID and (draft.gateway, draft.id) not in paid:
            yield draft.id, f"it is {draft.state}, and {draft.gateway} took nothing"


def _one_registration_a_key(evidence: Evidence) -> Found:
    """A key has one draft and one reference that a payer can pay, over all PSPs, and one answer."""
    registered: Counter[str] = Counter()
    for row in evidence.ledger:
        registered[row.merchant_reference or "no reference"] += row.registered
    known = {draft.id: draft.idempotency_key for draft in evidence.drafts}
    for reference, count in registered.items():
        if reference not in known:
            yield reference, "a PSP knows it, and we do not"
        elif count > 1:
            yield reference, f"it is registered {count} times"
    for key, count in Counter(known.values()).items():
        if count > 1:
            yield key, f"it has {count} drafts"
    for sale in evidence.sales:
        if sale.draft_ids - {one for one, key in known.items() if key == sale.purchase.key}:
            yield sale.purchase.key, f"its pages heard of {sorted(sale.draft_ids)}"
        if len(sale.answers) > 1:
            yield sale.purchase.key, f"its pages were answered {len(sale.answers)} different things"


def _one_fulfilment_a_completion(evidence: Evidence) -> Found:
    """A paid draft is announced as completed by one row, and the shop took it; nothing else is announced."""
    rows = defaultdict(list)
    for one in evidence.fulfilments:
        rows[one.draft_id].append(one)
    heard: Mapping[str, list[int]] = _positions(evidence)
    for draft in evidence.drafts:
        completions = [one for one in rows[draft.id] if one.kind == COMPLETED]
        if len(completions) != (draft.state in PAID):
            yield draft.id, f"it is {draft.state}, and has {len(completions)} completions to announce"
        for one in rows[draft.id]:
            if one.state != "delivered" or not heard.get(_name(one.id)):
                yield draft.id, f"{one.kind} is {one.state}; the shop took it {len(heard.get(_name(one.id), ()))} times"
        first = min((at for one in completions for at in heard.get(_name(one.id), ())), default=None)
        others = [at for one in rows[draft.id] if one.kind != COMPLETED for at in heard.get(_name(one.id), ())]
        if first is not None and others and min(others) < first:
            yield draft.id, "the shop took news of a refund before it had taken that of the payment"
    known = {_name(one.id): one for one in evidence.fulfilments}
    for told in evidence.heard:
        row = known.get(told.id)
        if not told.authentic:
            yield f"{told.data.get('paymentDraftId')}", "an announcement was not signed as it should be"
        if row is None or (row.draft_id, row.kind) != (told.data["paymentDraftId"], told.type):
            yield f"{told.data['paymentDraftId']}", f"the shop was told {told.type} as {told.id}, which is no row of it"


def _name(fulfilment_id: str) -> str:
    """The webhook-id of an announcement."""
    return f"msg_{fulfilment_id.replace('-', '')}"


def _positions(evidence: Evidence) -> Mapping[str, list[int]]:
    """When, in the order of arrival, the shop took each announcement."""
    found = defaultdict(list)
    for position, told in enumerate(evidence.heard):
        if told.taken:
            found[told.id].append(position)
    return found


def _orders_are_paid_once(evidence: Evidence) -> Found:
    """Of the paid drafts of one order, one is announced as its payment, and the others as duplicates of that one."""
    completions = {one.draft_id: one for one in evidence.fulfilments if one.kind == COMPLETED}
    orders = defaultdict(list)
    for draft in evidence.drafts:
        if draft.order_reference is not None and draft.state in PAID:
            orders[draft.order_reference].append(draft)
    for order, drafts in orders.items():
        firsts = [one for one in drafts if one.id in completions and completions[one.id].duplicate_of is None]
        # What was given back whole pays for nothing any more; where that failed afterwards, somebody is to look.
        paying = [one for one in firsts if one.state != "refunded" and (one.review_reasons or not one.needs_review)]
        if not firsts or len(paying) > 1:
            yield order, f"{len(firsts)} of its {len(drafts)} payments are announced as the first"
        heard = {told.data["paymentDraftId"]: told.data for told in evidence.heard if told.type == COMPLETED}
        for draft in drafts:
            if draft in firsts:
                continue
            if not draft.needs_review:
                yield draft.id, f"it pays {order} a second time, and nobody is told to look"
            named = heard.get(draft.id, {}).get("duplicate_of")
            if named not in {one.id for one in firsts} or completions[draft.id].duplicate_of != named:
                yield draft.id, f"it pays {order} a second time, and is announced as a duplicate of {named}"


def _refunds_agree(evidence: Evidence) -> Found:
    """What went back is the same in the books, in the row, and in what was asked for, to the piastre."""
    books = {row.merchant_reference: row for row in evidence.ledger if row.paid_minor}
    by_draft = defaultdict(list)
    for refund in evidence.refunds:
        by_draft[refund.draft_id].append(refund)
    sales = _by_draft(evidence)
    for draft in evidence.drafts:
        row, sale = books.get(draft.id), sales.get(draft.id)
        refunded = row.refunded_minor if row else 0
        elsewhere = sale.given_back_by_dashboard_minor if sale else 0
        unmeasured = elsewhere if row and row.psp in TELL_NO_SUM and draft.needs_review else 0
        if refunded not in {draft.refunded_minor, draft.refunded_minor + unmeasured}:
            yield draft.id, f"the books gave back {refunded}, the draft says {draft.refunded_minor}"
        done = sum(one.amount_minor for one in by_draft[draft.id] if one.state == "succeeded")
        unsure = sum(one.amount_minor for one in by_draft[draft.id] if one.state == "review")
        if not done + elsewhere <= refunded <= done + elsewhere + unsure:
            yield draft.id, f"the books gave back {refunded}, we {done} (perhaps {unsure} more), others {elsewhere}"
    for sale in evidence.sales:
        for asked in sale.refunds:
            if len(asked.refund_ids) > 1:
                yield f"{sale.draft_id}", f"one key asked for the refunds {sorted(asked.refund_ids)}"
            if asked.status not in REFUND_CONTRACT:
                yield f"{sale.draft_id}", f"asking for a refund was answered {asked.status}"


def _the_shop_knows_what_went_back(evidence: Evidence) -> Found:
    """The last announcement of a draft that the shop took says what was given back in all."""
    last = {told.data["paymentDraftId"]: told.data for told in evidence.heard if told.taken}
    for draft in evidence.drafts:
        told = last.get(draft.id)
        if told is not None and _minor(told["refunded"]) != draft.refunded_minor:
            yield draft.id, f"the shop heard last that {told['refunded']} went back; it is {draft.refunded_minor}"


def _minor(major: str) -> int:
    """Major units, as they are written for a currency, in its minor ones."""
    return int(major.replace(".", ""))


def _nothing_is_stuck(evidence: Evidence) -> Found:
    """Every draft has ended, or somebody will look at it; every refund and every delivery has found its end."""
    books = {row.merchant_reference: row for row in evidence.ledger}
    for draft in evidence.drafts:
        if stuck := _stuck(draft, books.get(draft.id)):
            yield draft.id, stuck
    for refund in evidence.refunds:
        if refund.state in {"requested", "sent"}:
            yield refund.draft_id, f"refund {refund.id} is {refund.state} after days"
    for waiting in evidence.waiting:
        yield waiting, "it was delivered and has found no draft"


def _stuck(draft: Draft, row: LedgerRow | None) -> str | None:
    if draft.state in {"pending", "awaiting_user_action"}:
        return f"it is {draft.state} after days, and the books say {row and row.state}"
    if draft.capture_due and draft.state != "failed":
        return "its capture is due for days"
    if draft.claimed:
        return "somebody still holds its claim"
    return "its time has come, and nobody looks at it" if draft.overdue else None


def _whoever_agreed_has_paid(evidence: Evidence) -> Found:
    """A payer who paid or approved while the draft waited is not forgotten: at PayPal the money is taken as well."""
    drafts = {draft.id: draft for draft in evidence.drafts}
    paid = {row.merchant_reference for row in evidence.ledger if row.paid_minor}
    for sale in evidence.sales:
        draft = drafts.get(sale.draft_id or "")
        if sale.agreed_in_time and draft is not None and draft.id not in paid:
            yield draft.id, f"the payer agreed at {draft.gateway}, no money was taken, and it is {draft.state}"


def _pages_hear_the_contract(evidence: Evidence) -> Found:
    """A valid request is answered with what the contract names, whatever is broken."""
    for sale in evidence.sales:
        for status in sale.statuses.keys() - CONTRACT:
            yield sale.purchase.key, f"a page was answered {status} {HTTPStatus(status).phrase}"
        if sale.answers and sale.statuses[HTTPStatus.PAYMENT_REQUIRED]:
            yield sale.purchase.key, "its pages were told how to pay, and that nobody can"


def _nobody_is_called_without_cause(evidence: Evidence) -> Found:
    """What is up for review has a reason that chaos gave it: who is called for nothing soon looks at nothing."""
    sales = _by_draft(evidence)
    for draft in evidence.drafts:
        sale = sales.get(draft.id)
        elsewhere = sale is not None and sale.given_back_by_dashboard_minor and draft.gateway in TELL_NO_SUM
        sent_back = sale is not None and sale.was_sent_back
        causes = WITH_CAUSE | ({"refunded_unknown_amount"} if elsewhere else frozenset())
        if unfounded := set(draft.review_reasons) - causes:
            yield draft.id, f"somebody is to look at it for {sorted(unfounded)}"
        elif draft.needs_review and not draft.review_reasons and not sent_back:
            yield draft.id, "somebody is to look at it, and its journal does not say why"


def _our_own_commands_find_nothing(evidence: Evidence) -> Found:
    """`qirsh journal verify` rebuilds every row, and `qirsh reconcile --dry-run` finds no difference.

    Where a PSP never tells how much its dashboard gave back, the books say for ever that something was.
    """
    drafts = {draft.id: draft for draft in evidence.drafts}
    untold = {
        sale.draft_id
        for sale in evidence.sales
        if sale.given_back_by_dashboard_minor
        and sale.draft_id in drafts
        and drafts[sale.draft_id].gateway in TELL_NO_SUM
    }
    for command, complaint in evidence.said.items():
        about = {name: line for line in complaint.splitlines() for name in _UUID.findall(line)}
        yield from ((name, f"{command}: {line}") for name, line in about.items() if name not in untold)
        if complaint and not about:
            yield command, complaint


def _by_draft(evidence: Evidence) -> Mapping[str | None, Sale]:
    return {sale.draft_id: sale for sale in evidence.sales}


PROMISES: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "every PSP payment is a completed draft with that amount": _payments_are_completed_drafts,
        "no completed draft without a PSP payment": _completed_drafts_are_payments,
        "one payable registration per idempotency key": _one_registration_a_key,
        "one fulfilment per completed draft, delivered at least once": _one_fulfilment_a_completion,
        "an order is announced as paid by one draft": _orders_are_paid_once,
        "refunds agree to the piastre": _refunds_agree,
        "the shop knows what went back": _the_shop_knows_what_went_back,
        "no draft stuck": _nothing_is_stuck,
        "whoever agreed to pay has paid": _whoever_agreed_has_paid,
        "pages hear what the contract names": _pages_hear_the_contract,
        "nobody is called without cause": _nobody_is_called_without_cause,
        "the journal rebuilds every row, and the books are reconciled": _our_own_commands_find_nothing,
    }
)
