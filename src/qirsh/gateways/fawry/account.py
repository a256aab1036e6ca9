"""One Fawry merchant account: the calls we make, each with its own signature.

https://developer.fawrystaging.com. A business error comes with HTTP 200 and a `statusCode` of its own.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from qirsh.draft import PaymentDraft
from qirsh.errors import (
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
)
from qirsh.gateways.base import Surroundings
from qirsh.gateways.fawry.bodies import LANGUAGE, WALLETS, charge_body, init_body
from qirsh.gateways.fawry.codes import DEFINITE_FOR_REFUNDS, NOT_FOUND, OUR_KEYS, SUCCESS, refusal_of
from qirsh.gateways.fawry.credentials import Credentials
from qirsh.gateways.fawry.orders import Order
from qirsh.gateways.fawry.signing import (
    cancel_signature,
    charge_signature,
    init_signature,
    is_signed,
    refund_signature,
    status_signature,
)
from qirsh.gateways.http import Effect, PspClient
from qirsh.money import Money

CHARGE: Final = "/ECommerceWeb/Fawry/payments/charge"
INIT: Final = "/fawrypay-api/api/payments/init"
STATUS: Final = "/ECommerceWeb/Fawry/payments/status/v2"
REFUND: Final = "/ECommerceWeb/Fawry/payments/refund"
CANCEL: Final = "/ECommerceWeb/api/orders/cancel-unpaid-order"
LONGEST_URL: Final = 2000

_Shape = TypeVar("_Shape")


class Charge(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a charge: Fawry's number, and for a wallet without a number its QR code as a data URI."""

    status_code: Any = None
    reference_number: str | int | None = None
    wallet_qr: str | None = None


class Account:
    """What we ask of Fawry, one method a call. Errors as `PspClient.call` raises them, refusals with Fawry's code."""

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Talk to Fawry as this merchant.

        Raises:
            GatewayMisconfigured: the address is plain http, which only `qirsh dev` may use.
        """
        self._scheme = urlsplit(credentials.base_url).scheme
        self._merchant_code = credentials.merchant_code
        self._key = credentials.security_key
        self._wallet_path = credentials.wallet_charge_path
        self._encode_query = credentials.encode_query
        self._public_url = surroundings.public_url.rstrip("/")
        self._client = PspClient(credentials.base_url, psp="Fawry", plain_http=surroundings.dev)

    async def charge(self, draft: PaymentDraft, reference: str) -> Charge:
        """Register an order that is paid outside our page, under our reference, which Fawry takes once.

        https://developer.fawrystaging.com: "Create payment by reference number", "Mobile wallet".
        """
        body = charge_body(draft, reference, self._merchant_code, self._public_url)
        body["signature"] = charge_signature(body, self._secret)
        path = self._wallet_path if draft.request.method in WALLETS else CHARGE
        charge = _read(Charge, await self._post(path, body))
        _refuse(charge.status_code)
        return charge

    async def open_page(self, draft: PaymentDraft, reference: str) -> str:
        """Open a hosted checkout under our reference and return its address.

        https://developer.fawrystaging.com, "Hosted checkout". The address comes as plain text; one source shows JSON.
        """
        body = init_body(draft, reference, self._merchant_code, self._public_url)
        body["signature"] = init_signature(body, self._secret)
        url = _page_of(await self._post(INIT, body))
        try:
            parts = urlsplit(url) if url.isascii() and url.isprintable() and " " not in url else None
        except ValueError:
            parts = None
        if parts is None or parts.scheme not in {"https", self._scheme} or not parts.netloc or len(url) > LONGEST_URL:
            raise GatewayProtocolError("Fawry's checkout page could not be read.")
        return url

    async def order(self, reference: str) -> Order | None:
        """The order with this reference of ours; None when Fawry has none.

        https://developer.fawrystaging.com, "Get payment status V2".
        """
        query = {"merchantCode": self._merchant_code, "merchantRefNumber": reference}
        query["signature"] = status_signature(query, self._secret)
        text = urlencode(query) if self._encode_query else "&".join(f"{name}={value}" for name, value in query.items())
        try:
            raw = await self._client.call_raw("GET", f"{STATUS}?{text}", effect=Effect.READS)
            order = msgspec.json.decode(raw, type=Order)
        except GatewayRejected as error:
            code = _code_in(error)
            if code in OUR_KEYS:
                raise refusal_of(code) from None
            if code == NOT_FOUND or _is_fawrys_not_found(error):
                return None
            raise GatewayUnavailable("Fawry refused the look-up: it is asked again later.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise GatewayUnavailable("Fawry's order could not be read: it is asked again later.") from None
        return self._believed(order, reference)

    async def cancel(self, fawry_reference: str) -> None:
        """Ask for the end of an unpaid order. What Fawry answers is not judged: its status tells what came of it.

        https://developer.fawrystaging.com, "Cancel payment".
        """
        body = {"merchantAccount": self._merchant_code, "orderRefNo": fawry_reference, "lang": LANGUAGE}
        body["signature"] = cancel_signature(body, self._secret)
        try:
            answer = await self._client.call("POST", CANCEL, effect=Effect.MOVES, json=body)
        except GatewayRejected as error:
            code = _code_in(error)
        else:
            code = str(answer.get("code", "")) if isinstance(answer, dict) else ""
        if code in OUR_KEYS:
            raise refusal_of(code)

    async def refund(self, fawry_reference: str, amount: Money, reason: str) -> None:
        """Give back this much of a paid order.

        https://developer.fawrystaging.com, "Refund".
        """
        body = {"merchantCode": self._merchant_code, "referenceNumber": fawry_reference, "refundAmount": amount.major}
        if reason:
            body["reason"] = reason
        body["signature"] = refund_signature(body, self._secret)
        try:
            _refuse(_read(_Answer, await self._post(REFUND, body)).status_code)
        except GatewayRejected as error:
            if error.answer is not None or error.psp_code in DEFINITE_FOR_REFUNDS:
                raise
            raise GatewayOutcomeUnknown(f"Fawry was asked for a refund and answered {error.psp_code}.") from None

    async def aclose(self) -> None:
        """Close the connections to Fawry."""
        await self._client.aclose()

    @property
    def _secret(self) -> str:
        return self._key.get_secret_value()

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send what moves something; a refusal that comes with an HTTP status of its own is read for Fawry's code."""
        try:
            return await self._client.call_raw("POST", path, effect=Effect.MOVES, json=body)
        except GatewayRejected as error:
            code = _code_in(error)
            if not code:
                raise
            refusal = refusal_of(code)
            refusal.answer = error.answer
            raise refusal from None

    def _believed(self, order: Order, reference: str) -> Order | None:
        """The order that was asked for, its signature right where it has one."""
        code = _code(order.status_code)
        if code not in {"", SUCCESS}:
            if code in OUR_KEYS:
                raise refusal_of(code)
            if code == NOT_FOUND:
                return None
            raise GatewayUnavailable(f"Fawry refused the look-up ({code}): it is asked again later.")
        if not order.status or not order.reference or str(order.merchant_number) != reference:
            raise GatewayUnavailable("Fawry's order could not be read: it is asked again later.")
        if order.message_signature is not None:
            text = order.signed_text
            if text is None or not is_signed(text, self._secret, order.message_signature):
                raise GatewayUnavailable("Fawry's order is not signed as it should be: it is asked again later.")
        return order


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    status_code: Any = None


class _Page(_Answer, frozen=True, rename="camel"):
    url: str | None = None
    redirect_url: str | None = None


def _refuse(status_code: object) -> None:
    """Only an explicit success is one."""
    code = _code(status_code)
    if not code:
        raise GatewayProtocolError("Fawry's answer could not be read.")
    if code != SUCCESS:
        raise refusal_of(code)


def _page_of(raw: bytes) -> str:
    """The address in an answer: plain text, a JSON string, or in an object."""
    try:
        answer = msgspec.json.decode(raw, type=_Page | str)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode(errors="replace").strip()
    if isinstance(answer, str):
        return answer
    if _code(answer.status_code) not in {"", SUCCESS}:
        _refuse(answer.status_code)
    return answer.url or answer.redirect_url or ""


def _read(shape: type[_Shape], raw: bytes) -> _Shape:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GatewayProtocolError("Fawry's answer could not be read.") from None


def _is_fawrys_not_found(error: GatewayRejected) -> bool:
    """A 404 with an object in it is Fawry's; any other may be a proxy's, and proves nothing."""
    answer = error.answer
    return answer is not None and answer.status == HTTPStatus.NOT_FOUND and isinstance(answer.body, dict)


def _code_in(error: GatewayRejected) -> str:
    """Fawry's own code in the body of a refusal, under either of its names; empty when there is none."""
    body = error.answer.body if error.answer else None
    return _code(body.get("statusCode") or body.get("code")) if isinstance(body, dict) else ""


def _code(value: object) -> str:
    """A code as text: Fawry writes numbers, and some clients show text."""
    return "" if value is None else str(value)[:64]
