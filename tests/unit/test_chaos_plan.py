"""What a seed decides: the same story each time, and every kind of payer, way to pay and trouble in it."""

from random import Random
from typing import Final

from chaos.faults import EXCLUSIVE, KINDS
from chaos.plan import WAYS, GivenBack, Payer, purchases
from chaos.rounds import MIX, Wish, planned
from qirsh.gateways.registry import GATEWAYS
from qirsh.methods import Method
from qirsh.money import Money
from qirsh.routing import ROUTES

KINDS_THERE_ARE: Final = sorted(KINDS)


def test_a_seed_tells_the_same_story_again() -> None:
    """Else the seed of a run that found something is worth nothing."""
    assert purchases(Random(7), 200) == purchases(Random(7), 200)
    assert purchases(Random(7), 200) != purchases(Random(8), 200)
    wish = Wish(KINDS_THERE_ARE, 1_000, mixes=5)
    assert planned(Random(7), wish, KINDS_THERE_ARE) == planned(Random(7), wish, KINDS_THERE_ARE)


def test_a_story_has_everybody_in_it() -> None:
    """A payer who never comes is one whose payments nobody has tried."""
    story = purchases(Random(1), 2_000)
    assert len({one.key for one in story}) == len(story)
    assert {one.way for one in story} == set(WAYS)
    assert {one.payer for one in story} == set(Payer)
    assert {one.given_back for one in story} == set(GivenBack)
    assert {one.pages for one in story} == {1, 2, 3}
    orders = [one.order for one in story if one.order is not None]
    assert len(orders) > len(set(orders)), "no order is paid by two tabs"


def test_the_ways_to_pay_are_all_methods_and_all_gateways() -> None:
    """A method that is added is one that must be troubled too."""
    assert {way.method for way in WAYS} == set(Method)
    routed = {ROUTES[Method(way.method)].get(way.currency, ROUTES[Method(way.method)].get("*", ())) for way in WAYS}
    assert {name for names in routed for name in names} == GATEWAYS.keys()


def test_every_request_asks_for_the_price_of_its_currency() -> None:
    """A price that no currency can write would be refused, and the run would try nothing."""
    for one in purchases(Random(1), 200):
        body = one.body
        assert Money.parse(body["product_amount"], body["currency"]).amount_minor > 0


def test_each_kind_comes_alone_and_mixes_do_not_undo_themselves() -> None:
    """Ten thousand payments are shared out, and none is lost on the way."""
    plan = planned(Random(3), Wish(KINDS_THERE_ARE, 10_000, mixes=15), KINDS_THERE_ARE)
    assert list(plan.alone) == KINDS_THERE_ARE
    assert 10_000 <= len(plan.alone) * plan.per_kind + len(plan.mixes) * plan.per_mix < 10_100
    for mix in plan.mixes:
        assert 1 <= len(mix) <= MIX[1]
        assert all(len(set(mix) & exclusive) <= 1 for exclusive in EXCLUSIVE)
    assert len({tuple(mix) for mix in plan.mixes}) > 1


def test_one_kind_alone_has_all_the_payments() -> None:
    """So that somebody who looks for one thing finds it soon."""
    plan = planned(Random(3), Wish(["psp_hangs"], 100, mixes=1), ["psp_hangs"])
    assert (list(plan.alone), plan.per_kind, plan.mixes) == (["psp_hangs"], 100, ())
