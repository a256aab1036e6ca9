"""Payment actions: what the payer must do next, as one tagged union. The page switches its face by the tag."""

from typing import Literal

import msgspec


class _Action(msgspec.Struct, frozen=True, tag_field="paymentAction", omit_defaults=True):
    """What every action shares: the tag under which pages and the database tell them apart."""


class RedirectUrl(_Action, frozen=True, tag="redirect_url"):
    """Send the payer to the PSP's page, as a full page or inside a frame."""

    url: str
    display: Literal["redirect", "iframe"]


class QrCode(_Action, frozen=True, tag="qr_code"):
    """Show a code to scan: an image as data URI, and the text in it when the PSP gives one."""

    image: str
    payload: str | None = None


class ReferenceCode(_Action, frozen=True, tag="reference_code"):
    """Show a number to quote at a shop or kiosk; `amount` in major units, as the biller asks for it."""

    code: str
    biller: str
    amount: str


class OtpToken(_Action, frozen=True, tag="otp_token"):
    """Ask for the code that was texted to the payer, and post it with `token`."""

    token: str
    digits: int


class MobilePrompt(_Action, frozen=True, tag="mobile_prompt"):
    """Tell the payer to confirm on the phone; `phone` is masked."""

    phone: str
    wallet: str


PaymentAction = RedirectUrl | QrCode | ReferenceCode | OtpToken | MobilePrompt


def tag_of(action: PaymentAction) -> str:
    """The value of `paymentAction` on the wire."""
    return str(action.__struct_config__.tag)


def data_of(action: PaymentAction) -> dict[str, object]:
    """The value of `actionData` on the wire: the fields without the tag."""
    fields: dict[str, object] = msgspec.to_builtins(action)
    del fields["paymentAction"]
    return fields
