"""Payment actions: one tagged union, the same on the wire, in the database and on the page."""

import json
import re
from typing import get_args

import msgspec
import pytest
from unit_support import SOURCE

from qirsh.actions import (
    MobilePrompt,
    OtpToken,
    PaymentAction,
    QrCode,
    RedirectUrl,
    ReferenceCode,
    data_of,
    tag_of,
)
from qirsh.api.answers import ActionTag

ACTIONS: list[PaymentAction] = [
    RedirectUrl("https://psp.example/pay?token=1", "redirect"),
    RedirectUrl("https://psp.example/frame", "iframe"),
    QrCode("data:image/png;base64,AAAA", "0002010102"),
    QrCode("data:image/png;base64,AAAA"),
    ReferenceCode("965 842", "Fawry", "300.00"),
    OtpToken("token-1", 6),
    MobilePrompt("010*****678", "Vodafone Cash \u0641\u0648\u062f\u0627\u0641\u0648\u0646"),
]

# The contract's table: what the payer's page is told, and what it finds in actionData. "?": only when the PSP gives it.
CONTRACT = {
    "redirect_url": {"url", "display"},
    "qr_code": {"payload?", "image"},
    "reference_code": {"code", "biller", "amount"},
    "mobile_prompt": {"phone", "wallet"},
    "otp_token": {"token", "digits"},
}

MEMBERS: tuple[type[msgspec.Struct], ...] = get_args(PaymentAction)

every_action = pytest.mark.parametrize("action", ACTIONS, ids=repr)


def test_the_union_is_the_contracts_table() -> None:
    """Names and fields are promises to pages that we do not deploy: none may come, go or change unnoticed."""
    found = {
        str(member.__struct_config__.tag): {
            field.encode_name if field.required else f"{field.encode_name}?" for field in msgspec.structs.fields(member)
        }
        for member in MEMBERS
    }
    assert found == CONTRACT


def test_every_member_is_tried_here() -> None:
    """A new action must be added to these tests too."""
    assert {type(action) for action in ACTIONS} == set(MEMBERS)


@every_action
def test_an_action_survives_json_by_its_tag(action: PaymentAction) -> None:
    """The row keeps it as jsonb; what comes out must be the very action that went in."""
    text = msgspec.json.encode(action)
    assert msgspec.json.decode(text, type=PaymentAction) == action
    assert json.loads(text)["paymentAction"] == tag_of(action)


@every_action
def test_the_wire_has_the_tag_beside_the_data(action: PaymentAction) -> None:
    """`paymentAction` and `actionData` are two members of the answer: together they are the whole action."""
    tag, data = tag_of(action), data_of(action)
    assert "paymentAction" not in data
    assert data.keys() <= {name.rstrip("?") for name in CONTRACT[tag]}
    assert data.keys() >= {name for name in CONTRACT[tag] if not name.endswith("?")}
    assert msgspec.convert({"paymentAction": tag, **data}, PaymentAction) == action


def test_what_the_psp_does_not_give_is_left_out() -> None:
    """A page tests for presence; a null payload would be drawn as text."""
    assert "payload" not in data_of(QrCode("data:image/png;base64,AAAA"))


@every_action
def test_an_action_cannot_be_changed(action: PaymentAction) -> None:
    """`apply` hands the same object on; a change in one place would be a change in the row."""
    with pytest.raises(AttributeError):
        setattr(action, msgspec.structs.fields(action)[0].name, "other")


@pytest.mark.parametrize(
    "text",
    [
        '{"paymentAction": "fly_to_cairo", "url": "https://psp.example"}',
        '{"url": "https://psp.example", "display": "redirect"}',
        '{"paymentAction": "redirect_url", "url": "https://psp.example", "display": "popup"}',
        '{"paymentAction": "redirect_url", "display": "redirect"}',
        '{"paymentAction": "otp_token", "token": "1", "digits": "6"}',
    ],
)
def test_what_is_no_action_is_not_read_as_one(text: str) -> None:
    """A row that an older or newer release wrote must fail loudly, never show the payer another face."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=PaymentAction)


def test_every_page_of_ours_knows_every_action() -> None:
    """The page is another language, so no type checker tells when the union grows: an unknown action is a dead end."""
    pages = {
        str(file.relative_to(SOURCE)): match[1]
        for file in SOURCE.rglob("*.js")
        if (
            match := re.search(
                r"const ACTIONS = (?:Object\.freeze\()?\{(.*?)\n?\}\)?;", file.read_text("utf-8"), re.DOTALL
            )
        )
    }
    assert "qirsh/checkout/element/actions.js" in pages
    for page, body in pages.items():
        known = set(re.findall(r"(?:^|,|\{)\s*([a-z]+(?:_[a-z]+)*)\s*:", body, re.MULTILINE))
        assert known >= CONTRACT.keys(), page


def test_the_answers_know_every_action() -> None:
    """What OpenAPI says a page may be told to do is what it may be told to do."""
    assert set(get_args(ActionTag)) == {tag_of(action) for action in ACTIONS} == set(CONTRACT)
