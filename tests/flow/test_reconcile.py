"""`qirsh reconcile` and its endpoint: the PSPs' books are asked, due or not, and ours follow them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import pytest
from flow_books import REQUESTS, begun, command, emptied, lines_about

from conftest import NewDatabase
from world import OPERATOR_KEY, TLS, World, problem_of, system

KEYED: Final = {"authorization": f"Bearer {OPERATOR_KEY}"}
SINCE: Final = ("--since", "2000-01-01")
NOTHING: Final = (0, "nothing differs\n")


@pytest.fixture(scope="module")
def quiet_world(scratch: Path, new_database: NewDatabase) -> Iterator[World]:
    """A system without a worker. It does nothing by itself, so that one test after another may have it."""
    with system(scratch / "reconciled", asyncio.run(new_database()), works=False) as world:
        yield world


@pytest.fixture
async def quiet(quiet_world: World) -> AsyncIterator[World]:
    """That system, empty and without webhooks."""
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        world = replace(quiet_world, client=client)
        await emptied(world)
        yield world


async def reconcile(world: World, draft_id: str, headers: dict[str, str] = KEYED) -> httpx.Response:
    """Ask for one draft, as the operator does."""
    return await world.client.post(f"{world.api}/api/payments/{draft_id}/reconcile", headers=headers)


async def test_payments_that_nobody_told_of_are_found_at_every_psp(quiet: World) -> None:
    """The promise of the command: whatever webhooks and workers missed, afterwards the books agree."""
    drafts = {psp: await begun(quiet, psp) for psp in REQUESTS}
    unpaid = await begun(quiet, "paymob")
    for draft_id in drafts.values():
        await quiet.act(draft_id, "pay")

    code, text = await command(quiet, "reconcile")

    assert code == 0, text
    for psp, draft_id in drafts.items():
        assert [psp, "state", "awaiting_user_action → completed", "folded in"] in lines_about(text, draft_id)
        ledger = await quiet.ledger(draft_id)
        assert ledger is not None
        assert (await quiet.state(draft_id), ledger["paid_minor"]) == ("completed", ledger["amount_minor"])
        assert await _fulfilments(quiet, draft_id) == 1
    assert lines_about(text, unpaid) == []
    assert await command(quiet, "reconcile") == NOTHING


async def test_a_dry_run_tells_and_changes_nothing(quiet: World) -> None:
    """An operator looks before he leaps; a script sees by the code that there is something to do."""
    drafts = [await begun(quiet, psp) for psp in REQUESTS]
    for draft_id in drafts:
        await quiet.act(draft_id, "pay")
    before = [await quiet.payment(draft_id) for draft_id in drafts]

    code, text = await command(quiet, "reconcile", "--dry-run")

    assert code == 1
    for draft_id in drafts:
        assert lines_about(text, draft_id), text
    assert "would be folded in" in text
    assert "folded in" not in text.replace("would be folded in", "")
    assert [await quiet.payment(draft_id) for draft_id in drafts] == before
    assert (await command(quiet, "reconcile"))[0] == 0


async def test_late_money_of_an_expired_draft_is_found(quiet: World) -> None:
    """The draft was given up, the reference was not: the payer's money is never forgotten."""
    late, forgotten = await begun(quiet, "paymob"), await begun(quiet, "paymob")
    for draft_id in (late, forgotten):
        await quiet.act(draft_id, "pay")
        await _update(quiet, draft_id, "state = 'failed', reason = 'expired'")
    await _update(quiet, forgotten, "created_at = now() - interval '9 days', expires_at = now() - interval '8 days'")

    code, text = await command(quiet, "reconcile")

    assert code == 0, text
    assert ["paymob", "state", "failed → completed", "folded in"] in lines_about(text, late)
    assert lines_about(text, forgotten) == []


async def test_refunds_of_the_dashboards_are_found_where_they_are_asked_for(quiet: World) -> None:
    """What is paid is asked about only where the operator says since when: there may be millions."""
    drafts = {psp: await begun(quiet, psp) for psp in REQUESTS}
    for draft_id in drafts.values():
        await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    for draft_id in drafts.values():
        await quiet.act(draft_id, "refund")

    assert await command(quiet, "reconcile") == NOTHING
    assert await command(quiet, "reconcile", "--since", "2999-12-31T00:00:00Z") == NOTHING
    code, text = await command(quiet, "reconcile", *SINCE)

    assert code == 0, text
    for psp, draft_id in drafts.items():
        assert [psp, "state", "completed → refunded", "folded in"] in lines_about(text, draft_id)
    assert await command(quiet, "reconcile", *SINCE) == NOTHING


async def test_refunds_under_way_are_sent_and_settled(quiet: World) -> None:
    """Their answers are lost on the way; the PSP's key or its books tell, and the money goes back once."""
    psps = ("paymob", "paypal", "stripe")
    drafts = {psp: await begun(quiet, psp) for psp in psps}
    for draft_id in drafts.values():
        await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    for psp, draft_id in drafts.items():
        headers = {**KEYED, "idempotency-key": str(uuid.uuid4())}
        asked = await quiet.client.post(f"{quiet.api}/api/payments/{draft_id}/refunds", json={}, headers=headers)
        assert asked.status_code == 202
        await quiet.fault("refund", "reset_after_accept", psp=psp)
    assert (await command(quiet, "reconcile", "--dry-run"))[0] == 1

    code, text = await command(quiet, "reconcile")

    assert code == 0, text
    for draft_id in drafts.values():
        (refund,) = (await quiet.payment(draft_id))["refunds"]
        assert refund["status"] == "succeeded"
        ledger = await quiet.ledger(draft_id)
        assert ledger is not None
        assert ledger["refunded_minor"] == ledger["paid_minor"]
        assert await quiet.state(draft_id) == "refunded"


async def test_a_registration_in_doubt_is_finished(quiet: World) -> None:
    """The PSP has the order and we have no answer: asked, it is found, and not registered twice."""
    await quiet.fault("register", "reset_after_accept", path="orders")
    draft_id = (await quiet.initiate()).json()["paymentDraftId"]
    assert await quiet.state(draft_id) == "pending"
    code, text = await command(quiet, "reconcile", "--dry-run")
    assert (code, "in doubt" in text) == (1, True), text

    code, text = await command(quiet, "reconcile")

    assert code == 0, text
    assert await quiet.state(draft_id) == "awaiting_user_action"
    ledger = await quiet.ledger(draft_id)
    assert ledger is not None
    assert ledger["registered"] == 1


async def test_a_psp_that_does_not_answer_is_told_and_the_others_are_settled(quiet: World) -> None:
    """Zero would say that the books agree; nobody knows."""
    deaf, told = await begun(quiet, "paymob"), await begun(quiet, "stripe")
    await quiet.act(told, "pay")
    await quiet.fault("lookup", "error", times=99)

    code, text = await command(quiet, "reconcile")

    assert code == 1
    (row,) = lines_about(text, deaf)
    assert row == ["paymob", "answer", "awaiting_user_action → gateway_unavailable", "asked again later"]
    assert await quiet.state(told) == "completed"
    await quiet.heal()
    assert (await command(quiet, "reconcile"))[0] == 0


async def test_a_payment_that_the_psp_does_not_know_is_for_a_person(quiet: World) -> None:
    """Nothing may be folded then, and nobody may say that the books agree."""
    draft_id = await begun(quiet, "paymob")
    await _update(quiet, draft_id, "state = 'completed', payment_reference = '1'")

    for _ in range(2):
        code, text = await command(quiet, "reconcile", *SINCE)
        assert code == 1
        assert ["paymob", "state", "completed → open", "a person must decide"] in lines_about(text, draft_id)
    assert await quiet.state(draft_id) == "completed"


async def test_a_refund_that_the_psp_does_not_show_is_for_a_person(quiet: World) -> None:
    """Less was given back than we say: lowering it unasked might give it back twice."""
    draft_id = await begun(quiet, "stripe")
    await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    await quiet.act(draft_id, "refund", amount_minor=300)
    assert (await command(quiet, "reconcile", *SINCE))[0] == 0
    await _update(quiet, draft_id, "refunded_minor = 500")

    code, text = await command(quiet, "reconcile", *SINCE)

    assert code == 1
    assert ["stripe", "refunded_minor", "500 → 300", "a person must decide"] in lines_about(text, draft_id)


@pytest.mark.parametrize("psp", REQUESTS)
async def test_a_refund_of_which_the_psp_shows_nothing_at_all_is_for_a_person(quiet: World, psp: str) -> None:
    """Its books have the payment and no refund, so they say zero: the payer who was told otherwise waits for money."""
    draft_id = await begun(quiet, psp)
    await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    assert await command(quiet, "reconcile", *SINCE) == NOTHING
    await _update(quiet, draft_id, "state = 'partially_refunded', refunded_minor = 500")

    for _ in range(2):
        code, text = await command(quiet, "reconcile", *SINCE)
        assert code == 1
        assert lines_about(text, draft_id) == [[psp, "refunded_minor", "500 → 0", "a person must decide"]]


async def test_a_refund_under_way_is_not_missed_in_the_psps_books(quiet: World) -> None:
    """A PSP may show a refund only when it is done: nobody is called for money that is on its way."""
    draft_id = await begun(quiet, "paymob")
    await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    await _update(quiet, draft_id, "state = 'partially_refunded', refunded_minor = 500")
    headers = {**KEYED, "idempotency-key": str(uuid.uuid4())}
    asked = await quiet.client.post(
        f"{quiet.api}/api/payments/{draft_id}/refunds", json={"amount": "1.00"}, headers=headers
    )
    assert asked.status_code == 202, asked.text

    _, text = await command(quiet, "reconcile", "--dry-run")

    assert [row[1].split()[0] for row in lines_about(text, draft_id)] == ["refund"], text


async def test_an_open_payment_that_the_psp_never_heard_of_is_told_and_asked_again(quiet: World) -> None:
    """The payer holds what nobody can pay. The PSP may come to know it yet, so it stays open; the books differ."""
    draft_id = await begun(quiet, "stripe")
    assert await command(quiet, "reconcile") == NOTHING
    await _update(quiet, draft_id, "transaction_reference_id = 'cs_test_a1unheardof'")

    code, text = await command(quiet, "reconcile")

    assert code == 1
    assert lines_about(text, draft_id) == [["stripe", "state", "awaiting_user_action → unknown", "asked again later"]]
    assert await quiet.state(draft_id) == "awaiting_user_action"


async def test_a_database_of_another_release_is_told(world: World, tmp_path: Path, empty_database_url: str) -> None:
    """A trace would not say what to do."""
    text = world.config.read_text().replace(world.database_url, empty_database_url)
    (config := tmp_path / "qirsh.toml").write_text(text)
    for arguments in (("reconcile",), ("journal", "verify")):
        code, said = await command(_with(world, config), *arguments)
        assert (code, "qirsh migrate" in said) == (1, True), said


async def test_the_operator_has_one_payment_reconciled(world: World) -> None:
    """A customer is on the telephone: the PSP is asked now, and the answer is what it said."""
    await world.fault("webhook", "drop", times=9)
    draft_id = await begun(world, "paymob")
    await world.act(draft_id, "pay")

    answer = await reconcile(world, draft_id)

    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["journal"][-1]["source"]) == ("completed", "lookup")
    assert answer.json() == await world.payment(draft_id)
    again = await reconcile(world, draft_id)
    assert again.json()["journal"] == answer.json()["journal"]


async def test_what_the_payer_approved_is_captured(world: World) -> None:
    """At PayPal an approval is no money: reconciled is only what was taken."""
    await world.fault("webhook", "drop", times=9, psp="paypal")
    draft_id = await begun(world, "paypal")
    await world.act(draft_id, "pay")

    answer = await reconcile(world, draft_id)

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


@pytest.mark.parametrize(
    ("operation", "kind", "status", "code"),
    [("lookup", "error", 503, "gateway_unavailable"), ("capture", "reset", 504, "gateway_outcome_unknown")],
)
async def test_what_the_psp_did_not_say_is_told_as_it_is(
    world: World, operation: str, kind: str, status: int, code: str
) -> None:
    """The operator must know whether nothing was moved, or nobody knows."""
    await world.fault("webhook", "drop", times=9, psp="paypal")
    draft_id = await begun(world, "paypal")
    await world.act(draft_id, "pay")
    await world.fault(operation, kind, times=9, psp="paypal")

    problem_of(await reconcile(world, draft_id), status, code)

    await world.heal()
    assert (await reconcile(world, draft_id)).json()["status"] == "completed"


@pytest.mark.parametrize("draft_id", ["0199f000-0000-7000-8000-000000000000", "none", "%00"])
async def test_a_payment_that_is_not_there_is_not_found(world: World, draft_id: str) -> None:
    """As everywhere."""
    problem_of(await reconcile(world, draft_id), 404, "draft_not_found")


async def test_nobody_else_has_a_payment_reconciled(world: World) -> None:
    """Each costs a call at the PSP."""
    draft_id = await begun(world, "paymob")
    problem_of(await reconcile(world, draft_id, {}), 401, "operator_key_required")


def _with(world: World, config: Path) -> World:
    return World(world.api, world.sandbox, world.database_url, world.shop, config, world.client)


async def _fulfilments(world: World, draft_id: str) -> int:
    return int(await world.fetchval("SELECT count(*) FROM fulfilments WHERE draft_id = $1", uuid.UUID(draft_id)))


async def _update(world: World, draft_id: str, changes: str) -> None:
    """Write into a draft's row behind the server's back."""
    await world.fetchval(f"UPDATE payment_drafts SET {changes} WHERE id = $1", uuid.UUID(draft_id))  # noqa: S608  ours
