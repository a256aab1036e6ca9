"""TextPay's charges as Qirsh's verbs. Every call and its answers are described in the package's docstring."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from qirsh.actions import OtpToken
from qirsh.draft import DeclineCode, GatewayEvent, Kind, PaymentDraft
from qirsh.errors import (
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
    WebhookMalformed,
    WebhookNotAuthentic,
)
from qirsh.gateways.base import (
    Delivery,
    Lookup,
    Profile,
    RefundOrder,
    Registration,
    SignaturePlace,
    Standing,
    Surroundings,
)
from qirsh.gateways.http import Effect, PspClient
from qirsh.methods import Method
from qirsh_textpay.charges import DECLINES, ENDS, NAME, Charge, Charges, Event, standing, told

CHARGES: Final = "/textpay/v1/charges"
SIGNATURE_HEADER: Final = "textpay-signature"
SIGNED_WITHIN: Final = timedelta(minutes=5)
"""Before or after a delivery comes. Each attempt is signed anew, so what is older was recorded by somebody."""
REMEMBERED_FOR: Final = timedelta(hours=24)
"""How long TextPay honours an Idempotency-Key."""
DESCRIPTION_CHARACTERS: Final = 60
"""What fits into the text beside the code."""

PROFILE: Final = Profile(
    name=NAME,
    methods=frozenset({Method.MOBILE_WALLET}),
    currencies=frozenset({"EGP"}),
    signature_place=SignaturePlace("header", SIGNATURE_HEADER),
    found_by="merchant_reference",
    idempotent_for={"register": REMEMBERED_FOR, "refund": REMEMBERED_FOR},
    partial_refunds=True,
    shows_refunds=True,
)

REFUSALS: Final = {"no_wallet": DeclineCode.WALLET_NOT_FOUND, **DECLINES}
"""Why a charge is not made, or a code not taken."""
TOLD: Final = frozenset({"charge.paid", "charge.declined", "charge.ended", "charge.refunded"})
"""The webhooks that say something about money."""

_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_Answer = TypeVar("_Answer", Charge, Charges)


class Credentials(BaseModel):
    """The section [textpay] of the configuration: what TextPay's dashboard shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_key: SecretStr = Field(min_length=1)
    webhook_secret: SecretStr = Field(min_length=1)  # an empty HMAC key would let anyone sign
    live: bool = True
    base_url: str = "https://api.textpay.example"


class TextPay:
    """The charges of one TextPay account."""

    def __init__(self, credentials: Credentials, surroundings: Surroundings) -> None:
        """Charge through this account, which is live or a test account.

        Raises:
            GatewayMisconfigured: the address would carry the key in clear.
        """
        self._client = PspClient(credentials.base_url, psp="TextPay", plain_http=surroundings.dev)
        self._api_key = credentials.api_key
        self._webhook_secret = credentials.webhook_secret
        self._live = credentials.live
        self._now = surroundings.now

    @property
    def profile(self) -> Profile:
        """Wallets in EGP; a charge is found by our draft id, and a delivery is signed by a header."""
        return PROFILE

    async def register(self, draft: PaymentDraft, *, key: str) -> Registration:
        """Make a charge, which texts the code: the package's docstring, 1 and 5.

        A draft in doubt needs no other way: the same key gets the first charge again, and no second text.
        """
        charge = await self._moved(
            CHARGES,
            {
                "merchant_reference": str(draft.id),
                "amount": draft.amount.amount_minor,
                "currency": draft.amount.currency,
                "phone": draft.request.payer.phone,
                "description": (draft.request.product_name or "")[:DESCRIPTION_CHARACTERS],
            },
            key,
            draft,
        )
        if charge.status != "awaiting_code":
            raise GatewayOutcomeUnknown("TextPay has the charge and it has moved on: it will be looked up.")
        return Registration(charge.id, OtpToken(charge.otp_token, charge.code_length))

    async def submit_code(self, draft: PaymentDraft, *, token: str, code: str, key: str) -> Sequence[GatewayEvent]:
        """Hand in what the payer typed: the package's docstring, 2.

        A refusal that we do not know is raised again: it is looked into, not believed.
        """
        path = f"{_path_of(draft)}/confirm"
        try:
            return tuple(told(await self._moved(path, {"otp_token": token, "code": code}, key, draft)))
        except GatewayRejected as error:
            word = error.psp_code or ""
            if word in DECLINES:
                return [_refused(draft, Kind.DECLINED, word, DECLINES[word])]
            if (end := word.removeprefix("charge_")) in ENDS:
                return [_refused(draft, Kind.FAILED, end, ENDS[end])]
            raise

    async def lookup(self, draft: PaymentDraft) -> Lookup:
        """Ask for the charge by our draft id: the package's docstring, 3."""
        answer = await self._call("GET", CHARGES, params={"merchant_reference": str(draft.id)})
        found = _read(answer, Charges)
        if found is None:
            raise GatewayUnavailable("TextPay's answer could not be read: try again with the same key.")
        ours = [self._ours(charge, draft) for charge in found.charges]
        if not ours:
            return Lookup(Standing.UNKNOWN)
        return Lookup(standing(ours[-1]), tuple(told(ours[-1])))

    async def refund(self, order: RefundOrder, *, key: str) -> Sequence[GatewayEvent]:
        """Give money back: the package's docstring, 4. The refund's id is its reference, by which look-ups know it."""
        body = {"amount": order.amount_minor, "reference": str(order.id), "reason": order.reason}
        charge = await self._moved(f"{_path_of(order.draft)}/refunds", body, key, order.draft)
        return tuple(event for event in told(charge) if event.refund_id == order.id)

    async def read_webhook(self, delivery: Delivery) -> Sequence[GatewayEvent]:
        """Verify, then read: the package's docstring, 7. The signature covers the whole body, so all of it is fact."""
        self._verify(delivery)
        try:
            event = msgspec.json.decode(delivery.body, type=Event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise WebhookMalformed from None
        if {event.live, event.charge.live} != {self._live}:
            raise WebhookNotAuthentic("The delivery is of TextPay's other environment.")
        return tuple(told(event.charge)) if event.type in TOLD else ()

    async def aclose(self) -> None:
        """Close the connections to TextPay."""
        await self._client.aclose()

    def _verify(self, delivery: Delivery) -> None:
        """Believe nothing of a delivery before this; the header is read as TextPay writes it and in no other way."""
        parts = _SIGNATURE.fullmatch(delivery.headers.get(SIGNATURE_HEADER, ""))
        if parts is None:
            raise WebhookNotAuthentic
        signed_at, signature = parts.groups()
        secret = self._webhook_secret.get_secret_value().encode()
        expected = hmac.new(secret, signed_at.encode() + b"." + delivery.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            raise WebhookNotAuthentic
        received_at = (delivery.received_at or self._now()).timestamp()
        if abs(received_at - int(signed_at)) > SIGNED_WITHIN.total_seconds():
            raise WebhookNotAuthentic("The delivery was signed at another time: check this machine's clock.")

    async def _moved(self, path: str, body: Mapping[str, object], key: str, draft: PaymentDraft) -> Charge:
        """Make TextPay do something, once for one key, and return the charge as it then stands."""
        charge = _read(await self._call("POST", path, json=body, headers={"Idempotency-Key": key}), Charge)
        if charge is None:
            raise GatewayProtocolError("TextPay's charge could not be read.")
        return self._ours(charge, draft)

    async def _call(self, method: str, path: str, **request: Any) -> Any:  # noqa: ANN401  as PspClient's
        """Call with our key; a refusal comes with TextPay's word for it."""
        headers = {**request.pop("headers", {}), "Authorization": f"Bearer {self._api_key.get_secret_value()}"}
        effect = Effect.READS if method == "GET" else Effect.MOVES
        try:
            return await self._client.call(method, path, effect=effect, headers=headers, **request)
        except GatewayRejected as error:
            word = _word_of(error)
            error.psp_code, error.reason = word or error.psp_code, REFUSALS.get(word, DeclineCode.UNKNOWN)
            raise

    def _ours(self, charge: Charge, draft: PaymentDraft) -> Charge:
        """The charge, once it is known to be this draft's, in money that counts here."""
        if charge.live != self._live:
            raise GatewayMisconfigured(f"textpay.live is {str(self._live).lower()}, and the key is not of that kind.")
        if charge.merchant_reference != str(draft.id):
            raise GatewayProtocolError("TextPay answered with another charge.")
        return charge


def _path_of(draft: PaymentDraft) -> str:
    """Where a draft's charge is. Without one nothing can be asked, and nothing was."""
    if draft.transaction_reference_id is None:
        raise GatewayUnavailable("No charge of this draft is known: nothing was sent.")
    return f"{CHARGES}/{draft.transaction_reference_id}"


def _read(answer: object, shape: type[_Answer]) -> _Answer | None:
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError:
        return None


def _refused(draft: PaymentDraft, kind: Kind, word: str, reason: DeclineCode) -> GatewayEvent:
    """What a refusal says, which comes without the charge."""
    return GatewayEvent(
        kind=kind,
        gateway=NAME,
        event_id=f"{draft.transaction_reference_id}:{word}",
        draft_id=draft.id,
        transaction_reference_id=draft.transaction_reference_id,
        reason=reason,
        psp_code=word,
    )


def _word_of(error: GatewayRejected) -> str:
    """TextPay's own code for a refusal; nothing when it is none of TextPay's."""
    body = error.answer.body if error.answer else None
    refusal = body.get("error") if isinstance(body, dict) else None
    word = refusal.get("code") if isinstance(refusal, dict) else None
    return word[:64] if isinstance(word, str) else ""
