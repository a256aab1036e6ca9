"""`qirsh journal verify`: every draft follows from its journal, and one that does not is named."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from flow_books import REQUESTS, begun, command, from_a_server_ahead, lines_about, quiet_system
from test_constraints import DELIVERY, awaiting, folding, paid, row_of

from qirsh.money import Money
from qirsh.reviews import Reviews
from world import World


@pytest.fixture
async def quiet(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A system of the test's own, without a worker and without webhooks."""
    async with quiet_system(tmp_path, database_url) as world:
        yield world


async def test_what_payments_went_through_follows_from_the_journal(quiet: World) -> None:
    """All PSPs; paid, given back, waiting, refused and in doubt."""
    paid = [await begun(quiet, psp) for psp in REQUESTS]
    for draft_id in paid:
        await quiet.act(draft_id, "pay")
    declined = await begun(quiet, "paypal")
    await quiet.act(declined, "decline")
    assert (await command(quiet, "reconcile"))[0] == 0
    for draft_id in paid[:2]:
        await quiet.act(draft_id, "refund")
    await quiet.fault("register", "error", status=422)
    assert (await quiet.initiate()).status_code == 402
    await quiet.fault("register", "reset", path="orders", times=2)
    assert (await quiet.initiate()).status_code == 202
    await command(quiet, "reconcile", "--since", "2000-01-01")

    code, text = await command(quiet, "journal", "verify")

    assert (code, text.strip()) == (0, "nothing differs"), text


async def test_clocks_that_differ_between_servers_do_not_order_the_journal(quiet: World) -> None:
    """Ids are made by clocks: a registration by a server that is an hour ahead still came before its payment."""
    draft_id = await begun(quiet, "paymob")
    await from_a_server_ahead(quiet, uuid.UUID(draft_id), "registered")
    await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0
    assert await quiet.state(draft_id) == "completed"

    code, text = await command(quiet, "journal", "verify")

    assert (code, text.strip()) == (0, "nothing differs"), text
    assert [entry["event"]["kind"] for entry in (await quiet.payment(draft_id))["journal"]] == ["registered", "paid"]


async def test_what_is_flagged_after_a_decision_of_a_server_ahead_can_be_decided(database_url: str) -> None:
    """By that server's clock the decision is the newer, and nothing would wait for one: the flag would never go."""
    async with folding(database_url) as (fold, store):
        draft, reviews = await awaiting(fold, store, "order-1"), Reviews(store, fold)
        short = msgspec.structs.replace(paid(draft, "event-1"), amount=Money(1, "EGP"))
        await fold.deliver(short, DELIVERY)
        assert not (await reviews.decide(draft.id, "dismiss", "")).draft.needs_review
        await from_a_server_ahead(store.pool, draft.id, "paid")
        await fold.deliver(msgspec.structs.replace(short, event_id="event-2"), DELIVERY)
        assert (await row_of(store, draft)).draft.needs_review

        assert not (await reviews.decide(draft.id, "dismiss", "")).draft.needs_review


async def test_what_was_written_before_the_journal_had_an_order_comes_first(quiet: World) -> None:
    """A shop that upgrades in the middle of a payment: its older entries are ordered by their ids, as ever."""
    draft_id = await begun(quiet, "paymob")
    await quiet.fetchval("UPDATE payment_events SET draft_version = NULL WHERE draft_id = $1", uuid.UUID(draft_id))
    await from_a_server_ahead(quiet, uuid.UUID(draft_id), "registered")
    await quiet.act(draft_id, "pay")
    assert (await command(quiet, "reconcile"))[0] == 0

    code, text = await command(quiet, "journal", "verify")

    assert (code, text.strip()) == (0, "nothing differs"), text


async def test_a_row_that_somebody_wrote_into_is_named(quiet: World) -> None:
    """Completed by hand, or by a bug: the journal has no payment that says so."""
    honest, written = await begun(quiet, "paymob"), await begun(quiet, "paymob")
    await quiet.fetchval(
        "UPDATE payment_drafts SET state = 'completed', payment_reference = '1' WHERE id = $1", uuid.UUID(written)
    )

    code, text = await command(quiet, "journal", "verify")

    assert code == 1
    assert lines_about(text, written) == [["state", "completed → awaiting_user_action"], ["payment_reference", "1 → –"]]
    assert lines_about(text, honest) == []


async def test_an_entry_that_somebody_edited_is_named(quiet: World) -> None:
    """Nobody may make the journal fit a row: an entry is what a gateway could have said, and leads to the next."""
    broken, edited = await begun(quiet, "paymob"), await begun(quiet, "paymob")
    change = "UPDATE payment_events SET event = event || $2::text::jsonb WHERE draft_id = $1"
    await quiet.fetchval(change, uuid.UUID(broken), '{"kind": "paid"}')
    await quiet.fetchval(change, uuid.UUID(edited), '{"gateway": "fawry"}')

    code, text = await command(quiet, "journal", "verify")

    assert code == 1
    assert lines_about(text, broken) == [["journal", "awaiting_user_action → cannot be read"]]
    assert ["journal 1: state", "awaiting_user_action → pending"] in lines_about(text, edited)


async def test_more_drafts_than_a_page_are_all_verified(quiet: World) -> None:
    """The page's end must not be the journal's."""
    drafts = [await begun(quiet, "fawry") for _ in range(203)]
    await quiet.fetchval(
        "UPDATE payment_drafts SET reason = 'unknown' WHERE id = ANY ($1)",
        [uuid.UUID(drafts[0]), uuid.UUID(drafts[-1])],
    )

    code, text = await command(quiet, "journal", "verify")

    assert code == 1
    assert text.count("unknown → –") == 2
    assert lines_about(text, drafts[0]) == lines_about(text, drafts[-1]) == [["reason", "unknown → –"]]
