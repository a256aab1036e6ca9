"""Reads what a merchant asks of the fake Fawry, refuses what Fawry would, and checks every signature."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from . import fawry_signing
from .fawry_config import FawryConfig
from .fawry_shapes import failed
from .psp import Refused

Recipe = Callable[[Mapping[str, Any], str], str]

_WORDING: Final = {"PaymentStatusResponse": "Wrong Signature"}
_exact: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_DEFAULT_SECONDS: Final = 48 * 3600  # a merchant's own setting at Fawry; this one is the sandbox's


class Form:
    """One request, signed by the merchant. `kind` is what Fawry calls its answer."""

    def __init__(self, fields: dict[str, Any], kind: str) -> None:
        self.fields = fields
        self._kind = kind

    def check(self, config: FawryConfig, recipe: Recipe, merchant: str = "merchantCode") -> None:
        """Refuse another merchant's request, and one that is not signed.

        Raises:
            Refused: 9901 or 9946, with HTTP 200 as at Fawry.
        """
        if not fawry_signing.same(self.fields.get(merchant), config.merchant_code):
            raise self.refused(9901, "INVALID_MERCHANT_CODE")
        try:
            expected = recipe(self.fields, config.security_key)
        except (InvalidOperation, KeyError, TypeError, AttributeError):
            raise self.refused(21004, "INVALID_AMOUNT") from None
        if not fawry_signing.same(self.fields.get("signature"), expected):
            raise self.refused(9946, _WORDING.get(self._kind, "INVALID_SIGNATURE"))

    def refused(self, code: int, description: str) -> Refused:
        """Return a business error, which comes with HTTP 200."""
        return Refused(200, failed(self._kind, code, description))

    def text(self, name: str) -> str:
        """Read a text that must be there.

        Raises:
            Refused: it is not.
        """
        value = self.fields.get(name)
        if not isinstance(value, str) or not value:
            raise Refused(400, failed(self._kind, 400, f"{name} element is mandatory"))
        return value

    def optional(self, name: str) -> str:
        """Read a text; empty when it is not there."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def minor(self, name: str) -> int:
        """Read an amount, a number or a text, as piastres.

        Raises:
            Refused: it is none, or has less than piastres.
        """
        return self.piastres(self.fields.get(name))

    def piastres(self, value: object) -> int:
        """Return an amount as piastres.

        Raises:
            Refused: it is none, or has less than piastres.
        """
        try:
            minor = Decimal(str(value)).scaleb(2)
        except InvalidOperation:
            raise self.refused(21004, "INVALID_AMOUNT") from None
        if not minor.is_finite() or minor != int(minor) or not 0 < minor < Decimal(10**15):
            raise self.refused(21004, "INVALID_AMOUNT")
        return int(minor)

    def items(self) -> tuple[list[dict[str, Any]], int]:
        """Read the items, and what they cost together in piastres.

        Raises:
            Refused: there are none, or one has no price or quantity.
        """
        given, items, total = self.fields.get("chargeItems"), [], 0
        if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
            raise Refused(400, failed(self._kind, 400, "chargeItems element is mandatory"))
        for item in given:
            quantity = str(item.get("quantity", ""))
            if not (quantity.isascii() and quantity.isdecimal()) or not int(quantity):
                raise self.refused(21004, "INVALID_AMOUNT")
            total += self.piastres(item.get("price")) * int(quantity)
            items.append(
                {
                    "itemId": str(item.get("itemId", "")),
                    "description": str(item.get("description", "")),
                    "price": str(item["price"]),
                    "quantity": int(quantity),
                }
            )
        return items, total

    def expiry(self, now: float) -> float:
        """Read when the order ends, in epoch milliseconds on the wire."""
        given = str(self.fields.get("paymentExpiry") or "")
        if not (given.isascii() and given.isdecimal()):
            return now + _DEFAULT_SECONDS
        return int(given) / 1000

    def customer(self) -> dict[str, str]:
        """Read who pays, under the names that notifications have."""
        names = {
            "customerName": "customerName",
            "customerMobile": "customerMobile",
            "customerEmail": "customerMail",
            "customerProfileId": "customerMerchantId",
        }
        return {told: self.optional(asked) for asked, told in names.items() if self.optional(asked)}


async def read_form(request: web.Request, kind: str) -> Form:
    """Read a JSON body; its numbers stay exact.

    Raises:
        Refused: it is no JSON object.
    """
    try:
        fields = _exact.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, failed(kind, 400, "the body is no JSON object")) from None
    return Form(fields, kind)


def read_query(request: web.Request, kind: str) -> Form:
    """Read a query, percent-encoded or raw: a `+` in it is a plus."""
    pairs = (pair.partition("=") for pair in request.rel_url.raw_query_string.split("&"))
    return Form({unquote(name): unquote(value) for name, _, value in pairs}, kind)
