"""The fake Stripe's objects fit Stripe's own OpenAPI file, in every state that they can have."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from sandbox_stripe_bench import REFUNDS, SESSIONS, StripeShop, stripe_shop

SHARED = Path(__file__).resolve().parents[3] / "shared"
SPEC = SHARED / "openapi" / "stripe" / "spec3_2023-09-12.json"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="Stripe's OpenAPI file is not here: put `shared` beside")


@cache
def registry() -> Registry[Any]:
    """Stripe's schemas, in the dialect that can be checked."""
    schemas = json.loads(SPEC.read_text("utf-8"))["components"]["schemas"]
    document = {"components": {"schemas": {name: modern(schema) for name, schema in schemas.items()}}}
    schema_file: Resource[Any] = DRAFT202012.create_resource(document)
    found: Registry[Any] = Registry().with_resource("urn:stripe", schema_file)
    return found


def modern(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema says it: `nullable` is a type."""
    if isinstance(schema, list):
        return [modern(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {name: modern(one) for name, one in schema.items() if name != "nullable"}
    if isinstance(inner.get("$ref"), str):
        inner["$ref"] = inner["$ref"].replace("#/", "urn:stripe#/")
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("nullable") is True else inner


def fits(schema: str, shape: Mapping[str, Any]) -> None:
    """Fail with every place where an object does not fit."""
    validator = Draft202012Validator({"$ref": f"urn:stripe#/components/schemas/{schema}"}, registry=registry())
    assert [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(shape)] == []


async def test_every_object_in_every_state_fits(tmp_path: Path) -> None:
    """What a client of Stripe's parses, it must be able to parse here."""
    async with stripe_shop(tmp_path) as shop:
        await _through_everything(shop)
        for schema, path in (
            ("checkout.session", SESSIONS),
            ("payment_intent", "/v1/payment_intents"),
            ("charge", "/v1/charges"),
            ("refund", REFUNDS),
            ("dispute", "/v1/disputes"),
            ("event", "/v1/events"),
        ):
            listed = (await shop.show(path, limit="100")).body["data"]
            assert listed, path
            for shape in listed:
                fits(schema, shape)
                alone = (await shop.show(f"{path}/{shape['id']}")).body
                assert alone == shape
        deep = {"expand[0]": "data.line_items", "expand[1]": "data.payment_intent.latest_charge"}
        for shape in (await shop.show(SESSIONS, limit="100", **deep)).body["data"]:
            if isinstance(shape["payment_intent"], dict):
                fits("payment_intent", shape["payment_intent"])
            for item in shape["line_items"]["data"]:
                fits("item", item)


async def test_refusals_fit(tmp_path: Path) -> None:
    """Clients choose the exception by them."""
    async with stripe_shop(tmp_path) as shop:
        for answer in (
            await shop.send(SESSIONS, {}),
            await shop.send(REFUNDS, {"payment_intent": "pi_x"}),
            await shop.call("GET", SESSIONS),
            await shop.show(f"{SESSIONS}/cs_x"),
        ):
            assert 400 <= answer.status < 500
            fits("error", answer.body)


async def _through_everything(shop: StripeShop) -> None:
    """Make one of everything."""
    await shop.create("open", customer_email="a@example.com", locale="fr")
    await shop.create("expired")
    await shop.act("expire", "expired")
    for reference, act in (("declined", "decline"), ("slow", "review"), ("failed", "review"), ("disputed", "pay")):
        await shop.create(reference)
        assert (await shop.act(act, reference)).status == 200
    await shop.act("deny", "failed")
    await shop.act("reverse", "disputed")
    waiting = (await shop.paid("waiting", "4000000000007726"))["payment_intent"]["id"]
    await shop.send(REFUNDS, {"payment_intent": waiting, "amount": "100", "reason": "duplicate"})
    failing = (await shop.paid("failing", "4000000000005126"))["payment_intent"]["id"]
    await shop.send(REFUNDS, {"payment_intent": failing})
    await shop.act("deny", "failing")
    page = (await shop.create("wallet")).body["url"]
    await shop.press(page, "apple_pay")
    await shop.act("refund", "wallet", amount_minor=250)
