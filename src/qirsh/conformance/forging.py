"""Forged deliveries: where a signature's own characters stand, and every one-byte change of a delivery."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from qirsh.gateways.base import Delivery, SignaturePlace

SHORTEST: Final = 32
"""No signature that is worth the name is shorter, in hexadecimal or base64."""

_RUN: Final = re.compile(rf"[0-9A-Za-z+/_-]{{{SHORTEST},}}={{0,2}}")


class Span(NamedTuple):
    """Where one signature stands in the text of its place; there may be more, while a secret is rolled."""

    start: int
    end: int


def signature_text(delivery: Delivery, place: SignaturePlace) -> str:
    """The whole text in which the signature stands; empty where it is missing."""
    match place.kind:
        case "query":
            return delivery.query.get(place.name, "")
        case "header":
            return delivery.headers.get(place.name, "")
        case "body":
            found = _in_body(delivery.body, place.name)
            return found[1].decode() if found else ""


def with_signature_text(delivery: Delivery, place: SignaturePlace, text: str | None) -> Delivery:
    """The delivery with another text there; without its place where `text` is None."""
    match place.kind:
        case "query":
            return replace(delivery, query=_with(delivery.query, place.name, text))
        case "header":
            return replace(delivery, headers=_with(delivery.headers, place.name, text))
        case "body":
            return replace(delivery, body=_body_with(delivery.body, place.name, text))


def spans(text: str) -> list[Span]:
    """Every part of a text that could be a signature."""
    return [Span(*found.span()) for found in _RUN.finditer(text)]


def without(text: str, keep: Span | None) -> str:
    """The text with zeros for every signature but one."""
    for span in spans(text):
        if span != keep:
            text = text[: span.start] + "0" * (span.end - span.start) + text[span.end :]
    return text


def flips(text: str, span: Span) -> Iterator[str]:
    """The text with one bit of each character of a signature changed, where that makes another signature.

    The last character of base64 has bits that say nothing: two texts, one signature.
    """
    for place in range(span.start, span.end):
        flipped = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        if _decoded(flipped[span.start : span.end]) != _decoded(text[span.start : span.end]):
            yield flipped


def flipped_bodies(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The body with one bit of each byte changed, and which byte it was."""
    for place in range(len(body)):
        yield place, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _with(fields: Mapping[str, str], name: str, text: str | None) -> Mapping[str, str]:
    others = {one: value for one, value in fields.items() if one != name}
    return others if text is None else {**others, name: text}


def _body_with(body: bytes, name: str, text: str | None) -> bytes:
    found = _in_body(body, name)
    if found is None:
        return body
    start, old = found
    if text is None:
        return body.replace(f'"{name}"'.encode(), b'"nothing"')
    return body[:start] + text.encode() + body[start + len(old) :]


def _in_body(body: bytes, name: str) -> tuple[int, bytes] | None:
    found = re.search(rb'"%b"\s*:\s*"([^"]*)"' % re.escape(name.encode()), body)
    return (found.start(1), found[1]) if found else None


def _decoded(text: str) -> object:
    """What a signature's characters stand for, so that two spellings of one are told from two."""
    if re.fullmatch(r"[0-9a-fA-F]+", text):
        return text
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return text
