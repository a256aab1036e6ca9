"""The people behind a shop: they decide what only a person can find out, by looking at the PSPs' dashboards."""

from typing import Any, Final

from chaos.evidence import Evidence
from chaos.system import OPERATOR, System
from chaos.verdict import TELL_NO_SUM

NOTE: Final = "the dashboard says so"


async def decide(system: System, evidence: Evidence) -> int:
    """Decide what PSPs do not tell: refunds that nobody can find out about, and sums that were never told; how many."""
    books = {row.merchant_reference: row for row in evidence.ledger}
    done: dict[str, int] = {}
    for refund in evidence.refunds:
        if refund.state == "succeeded":
            done[refund.draft_id] = done.get(refund.draft_id, 0) + refund.amount_minor
    elsewhere = {sale.draft_id: sale.given_back_by_dashboard_minor for sale in evidence.sales}
    decided = 0
    for refund in evidence.refunds:
        if refund.state == "review":
            known = done.get(refund.draft_id, 0) + elsewhere.get(refund.draft_id, 0)
            went = books[refund.draft_id].refunded_minor - known == refund.amount_minor
            await _post(system, f"{refund.draft_id}/refunds/{refund.id}/review", _resolution(accepted=went))
            decided += 1
    for draft in evidence.drafts:
        if draft.needs_review and draft.gateway in TELL_NO_SUM and elsewhere.get(draft.id):
            await _post(system, f"{draft.id}/review", _resolution(accepted=False))
            decided += 1
    return decided


def _resolution(*, accepted: bool) -> dict[str, str]:
    return {"resolution": "accept" if accepted else "dismiss", "note": NOTE}


async def _post(system: System, path: str, body: Any) -> None:  # noqa: ANN401  whatever JSON it is
    url = f"{system.server_urls[0]}/api/payments/{path}"
    async with system.session.post(url, json=body, headers=OPERATOR) as response:
        if not response.ok:
            raise RuntimeError(f"{path} was answered {response.status}: {await response.text()}")
