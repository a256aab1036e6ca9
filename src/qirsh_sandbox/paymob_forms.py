"""Reads Paymob's request bodies as its Django REST framework does: every bad field is named in one 400."""

import re
from collections.abc import Collection
from typing import Any, Final

import msgspec
from aiohttp import web

from .psp import Refused

BILLING_FIELDS: Final = (  # all of them are mandatory; those that do not matter may be the literal "NA"
    "apartment",
    "email",
    "floor",
    "first_name",
    "street",
    "building",
    "phone_number",
    "shipping_method",
    "postal_code",
    "city",
    "country",
    "last_name",
    "state",
)
_REQUIRED: Final = "This field is required."
_DIGITS: Final = re.compile(r"[0-9]{1,12}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_MAX_TEXT: Final = 255
_MAX_NAME: Final = 50


class Form:
    """One request body. Read the fields, then `check`: until then a bad field reads as an empty value."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.errors: dict[str, Any] = {}

    def integer(self, name: str, *, default: int | None = None, minimum: int = 1) -> int:
        """Read an integer: a JSON number or a string of digits, both of which Paymob takes."""
        value = self.fields.get(name)
        if value is None:
            if default is None:
                self.errors[name] = [_REQUIRED]
            return default or 0
        text = str(value)
        if isinstance(value, bool | float) or not _DIGITS.fullmatch(text):
            self.errors[name] = ["A valid integer is required."]
            return 0
        if int(text) < minimum:
            self.errors[name] = [f"Ensure this value is greater than or equal to {minimum}."]
        return int(text)

    def text(self, name: str, *, required: bool = True, longest: int = _MAX_TEXT) -> str:
        """Read a string; an integer is taken for its digits."""
        value = self.fields.get(name)
        if value is None:
            if required:
                self.errors[name] = [_REQUIRED]
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.errors[name] = ["Not a valid string."]
            return ""
        if required and not str(value).strip():
            self.errors[name] = ["This field may not be blank."]
        if len(str(value)) > longest:
            self.errors[name] = [f"Ensure this field has no more than {longest} characters."]
        return str(value)

    def flag(self, name: str) -> bool:
        """Read a boolean: true, false, or either as a string. Absent is false."""
        value = self.fields.get(name, False)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return value.lower() == "true"
        self.errors[name] = ["Must be a valid boolean."]
        return False

    def entries(self, name: str) -> list[Any]:
        """Read a list. Absent is empty."""
        value = self.fields.get(name, [])
        if isinstance(value, list):
            return value
        self.errors[name] = ['Expected a list of items but got type "str".']
        return []

    def mapping(self, name: str) -> dict[str, Any]:
        """Read an object."""
        value = self.fields.get(name)
        if isinstance(value, dict):
            return value
        self.errors[name] = [_REQUIRED] if value is None else ["Invalid data. Expected a dictionary."]
        return {}

    def billing_data(self, *, required: Collection[str] = BILLING_FIELDS) -> dict[str, str]:
        """Read the payer's data, all thirteen fields of it; one that is not required reads as "NA" when absent."""
        form = Form(self.mapping("billing_data"))
        if "billing_data" in self.errors:
            return {}
        billing = {name: form.text(name, required=name in required) or "NA" for name in BILLING_FIELDS}
        if "email" not in form.errors and not _EMAIL.fullmatch(billing["email"]):
            form.errors["email"] = ["Enter a valid email address."]
        for name in ("first_name", "last_name"):
            if len(billing[name]) > _MAX_NAME:
                form.errors[name] = [f"Ensure this field has no more than {_MAX_NAME} characters."]
        if form.errors:
            self.errors["billing_data"] = form.errors
        return billing

    def check(self) -> None:
        """Refuse the request when a field was bad.

        Raises:
            Refused: 400 with every bad field.
        """
        if self.errors:
            raise Refused(400, self.errors)


async def read_form(request: web.Request) -> Form:
    """Read a JSON body.

    Raises:
        Refused: it is not JSON, or not an object.
    """
    if request.content_type != "application/json":
        raise Refused(415, {"detail": f'Unsupported media type "{request.content_type}" in request.'})
    try:
        return Form(msgspec.json.decode(await request.read(), type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise Refused(400, {"detail": f"JSON parse error - {error}"}) from None
