"""InitiatePaymentRequest: what a shop's page may ask, read without floats and with every bad field named at once."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from qirsh.draft import DraftRequest, Payer
from qirsh.errors import FieldError, InvalidRequest, MethodNotSupported, UnsupportedContentType
from qirsh.methods import METHODS, Method
from qirsh.money import EXPONENTS, InvalidAmountError, Money, major_units

MAX_FIELD_ERRORS: Final = 50
"""More unknown fields than this teach nobody anything."""
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_CLEAN: Final = r"\A(?=.*\S)[^\x00-\x1f\x7f-\x9f]*\Z"  # not blank, no control characters; PostgreSQL takes no NUL
_EGYPTIAN_MOBILE: Final = re.compile(r"(?:\+20|0020|0)(1[0125][0-9]{8})\Z")

_Fields = TypeVar("_Fields", bound=msgspec.Struct)

Key = Annotated[str, Meta(min_length=16, max_length=200, pattern=r"\A[\x21-\x7e]*\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=_CLEAN)]
OrderReference = Annotated[str, Meta(min_length=1, max_length=200, pattern=_CLEAN)]
Email = Annotated[str, Meta(max_length=254, pattern=r"\A[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+\Z")]
Phone = Annotated[str, Meta(max_length=20, description="an Egyptian mobile: 01012345678")]
Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z", description="ISO 4217")]
Locale = Annotated[str, Meta(pattern=r"\A[a-z]{2}(-[A-Z]{2})?\Z")]


# Browsers read a backslash as a slash and drop control characters, so what we parse would not be where they go.
_PLAIN: Final = re.compile(r"[!-\[\]-~]*\Z")

WANTED: Final = MappingProxyType(
    {
        "product_id": "must be text of 1 to 100 characters, an id of the catalogue",
        "payment_method": "must be text: card, vodafone_cash, …",
        "idempotency_key": "must be text of 16 to 200 visible ASCII characters, made by the page",
        "currency": "must be an ISO 4217 code in capitals: EGP",
        "quantity": "must be a whole number from 1 to 10000",
        "order_reference": "must be text of 1 to 200 characters",
        "return_url": "must be text of at most 2000 characters, an address on one of the shop_origins",
        "locale": "must be a language, with or without a country: ar, en-US",
        "name": "must be text of 1 to 100 characters",
        "email": "must be an e-mail address",
        "phone": "must be text: an Egyptian mobile number, 01012345678",
    }
)
"""What each field must be, in words for whoever mends the page: a decoder's complaint shows patterns."""


class PayerFields(msgspec.Struct, forbid_unknown_fields=True):
    """`payer` on the wire."""

    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None


class InitiatePaymentRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /api/payments/initiate. `null` means the same as leaving a field out."""

    product_id: Name
    product_amount: Annotated[
        msgspec.Raw,
        Meta(description='major units, text or number: "300.00"', extra_json_schema={"type": ["string", "number"]}),
    ]
    payment_method: Annotated[str, Meta(max_length=50)]
    idempotency_key: Key | None = None
    currency: Currency | None = None
    quantity: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    order_reference: OrderReference | None = None
    payer: PayerFields | None = None
    return_url: Annotated[str, Meta(max_length=2000)] | None = None
    locale: Locale | None = None


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A valid request: what the draft keeps, the key, and the fingerprint that tells one request from another."""

    request: DraftRequest
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class ReturnRules:
    """Where a payer may be sent back to: the shop's origins, over https; in dev also this machine over http."""

    origins: Collection[str]
    dev: bool = False


def read_initiate(body: bytes, header_keys: Sequence[str], rules: ReturnRules) -> ReadRequest:
    """Read and check the whole request.

    Raises:
        InvalidRequest: `errors` names every bad field.
        MethodNotSupported: all else is well, and no payment method has this name.
    """
    errors: list[FieldError] = []
    fields, payer = _read_at_once(body) or _read_one_by_one(body, errors)
    key = read_key(fields.get("idempotency_key"), header_keys, errors)
    amount = _amount(fields.get("product_amount"), fields.get("currency"), errors)
    method = _METHODS.get(fields.get("payment_method", ""))
    if fields.get("currency", "EGP") not in EXPONENTS:
        errors.append(FieldError("#/currency", "is not an ISO 4217 currency"))
    phone = _phone(payer.get("phone"), errors)
    asked_for = any(error.pointer == "#/payer/phone" for error in errors)
    if method is not None and METHODS[method].needs_phone and phone is None and not asked_for:
        errors.append(FieldError("#/payer/phone", f"{method} needs the phone number of the wallet: 01012345678"))
    if (return_url := fields.get("return_url")) is not None and (wrong := _wrong_return_url(return_url, rules)):
        errors.append(FieldError("#/return_url", wrong))
    if method is None and "payment_method" in fields:
        if not errors:
            raise MethodNotSupported("No payment method has this name: GET /api/payments/methods lists what there is.")
        errors.append(FieldError("#/payment_method", "no payment method has this name"))
    if errors:
        raise InvalidRequest(errors=errors[:MAX_FIELD_ERRORS])
    assert method is not None
    request = DraftRequest(
        product_id=fields["product_id"],
        amount=amount,
        method=method,
        currency=fields.get("currency"),
        quantity=fields.get("quantity", 1),
        order_reference=fields.get("order_reference"),
        payer=Payer(payer.get("name"), payer.get("email"), phone),
        return_url=return_url,
        locale=fields.get("locale"),
    )
    return ReadRequest(request, key, hashlib.sha256(msgspec.json.encode(request)).digest())


def read_key(field: str | None, headers: Sequence[str], errors: list[FieldError]) -> str:
    """The idempotency key, from the field or the header; the header may be quoted (RFC 8941) or bare."""
    pointer = "#/idempotency_key"
    header = headers[0] if headers else None
    if len(set(headers)) > 1:
        errors.append(FieldError(pointer, "the Idempotency-Key header is there more than once, and differs"))
    elif header is not None:
        quoted = len(header) > 1 and header[0] == header[-1] == '"'
        try:
            header = msgspec.convert(header[1:-1] if quoted else header, Key)
        except msgspec.ValidationError:
            errors.append(FieldError(pointer, f"the Idempotency-Key header {WANTED['idempotency_key']}"))
        else:
            if field is not None and field != header:
                errors.append(FieldError(pointer, "differs from the Idempotency-Key header: send one of them"))
    elif field is None and not any(error.pointer == pointer for error in errors):
        errors.append(FieldError(pointer, "is required: 16 to 200 visible ASCII characters, made by the page"))
    return header or field or ""


def read_fields(content_type: str, body: bytes, kind: type[_Fields]) -> _Fields:
    """A small body, read at once: the first thing that is wrong with it is named.

    Raises:
        UnsupportedContentType: it is not sent as JSON.
        InvalidRequest: it is no JSON, or not these fields.
    """
    if content_type != "application/json":
        raise UnsupportedContentType
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not JSON that can be read.") from None


def pointed(name: str) -> str:
    """A field's name inside a JSON pointer (RFC 6901), no longer than anybody reads."""
    return name[:100].replace("~", "~0").replace("/", "~1")


_METHODS: Final[Mapping[str, Method]] = MappingProxyType({method.value: method for method in Method})
_WHOLE: Final = msgspec.json.Decoder(InitiatePaymentRequest)
_OUTER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _decoders(struct: type[msgspec.Struct]) -> Mapping[str, tuple[bool, msgspec.json.Decoder[Any]]]:
    """For each field whether it is required, and its own decoder: one that reads all would stop at the first error."""
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.encode_name: (
            field.required,
            msgspec.json.Decoder(
                msgspec.Raw if field.encode_name in {"product_amount", "payer"} else hints[field.name]
            ),
        )
        for field in msgspec.structs.fields(struct)
    }


_DECODERS: Final = _decoders(InitiatePaymentRequest)
_PAYER_DECODERS: Final = _decoders(PayerFields)


def _read_at_once(body: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The fields of a body whose fields are all well, and those of its payer; None where any is not."""
    try:
        read = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if bytes(read.product_amount) == b"null":
        return None
    fields = _there(read)
    payer = fields.pop("payer", None)
    return fields, {} if payer is None else _there(payer)


def _there(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}


def _read_one_by_one(body: bytes, errors: list[FieldError]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that could be read, and those of the payer; every other becomes an error."""
    fields = _fields(_object(body), _DECODERS, "#", errors)
    return fields, _payer(fields.pop("payer", None), errors)


def _object(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _OUTER.decode(raw)
    except msgspec.ValidationError:
        raise InvalidRequest("The body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not JSON that can be read.") from None


def _fields(
    raw: Mapping[str, msgspec.Raw],
    decoders: Mapping[str, tuple[bool, msgspec.json.Decoder[Any]]],
    pointer: str,
    errors: list[FieldError],
) -> dict[str, Any]:
    """The fields that could be read, those that are null left out; every other becomes an error."""
    read: dict[str, Any] = {}
    for name, (required, decoder) in decoders.items():
        value = raw.get(name)
        if value is None or bytes(value) == b"null":
            if required:
                errors.append(FieldError(f"{pointer}/{name}", "is required"))
            continue
        try:
            read[name] = decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = WANTED[name] if isinstance(error, msgspec.ValidationError) else "cannot be read"
            errors.append(FieldError(f"{pointer}/{name}", detail))
    errors.extend(
        FieldError(f"{pointer}/{pointed(name)}", "is not a field of this request")
        for name in list(raw.keys() - decoders.keys())[:MAX_FIELD_ERRORS]
    )
    return read


def _payer(raw: msgspec.Raw | None, errors: list[FieldError]) -> dict[str, Any]:
    if raw is None:
        return {}
    try:
        return _fields(_object(raw), _PAYER_DECODERS, "#/payer", errors)
    except InvalidRequest:
        errors.append(FieldError("#/payer", "must be an object of name, email and phone"))
        return {}


def _amount(raw: msgspec.Raw | None, currency: str | None, errors: list[FieldError]) -> str:
    """The amount in canonical major units, read as text: a float would change it."""
    if raw is None:
        return ""
    try:
        written = bytes(raw).decode()
        text = msgspec.json.decode(raw, type=str) if written.startswith('"') else written
        if currency in EXPONENTS:
            value: int | Decimal = Money.parse(text, currency).amount_minor
        else:
            value = major_units(text)
    except (InvalidAmountError, msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = str(error) if isinstance(error, InvalidAmountError) else "cannot be read"
        errors.append(FieldError("#/product_amount", detail))
        return ""
    if not value:
        errors.append(FieldError("#/product_amount", "must be more than zero"))
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


def _phone(phone: str | None, errors: list[FieldError]) -> str | None:
    """The national form, 01xxxxxxxxx. Any operator's prefix: numbers move between operators."""
    if phone is None:
        return None
    match = _EGYPTIAN_MOBILE.match(phone)
    if match is None:
        errors.append(FieldError("#/payer/phone", "must be an Egyptian mobile number: 01012345678"))
        return None
    return f"0{match[1]}"


def _wrong_return_url(url: str, rules: ReturnRules) -> str | None:
    """What is wrong with a return address; None when a payer may be sent there."""
    if not _PLAIN.match(url):
        return "must be a plain https address"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "must be a plain https address"
    if parts.scheme != "https" and not (rules.dev and parts.scheme == "http" and host in LOOPBACK):
        return "must begin with https://"
    if not host or "@" in parts.netloc:
        return "must name a host and no user"
    if f"{parts.scheme}://{parts.netloc}" not in rules.origins:
        return "must be on one of the configured shop_origins"
    return None
