"""The parameters of the fake Stripe's requests: form bodies and queries with nested names.

https://docs.stripe.com/api. Names come raw (`line_items[0][quantity]`) or percent-encoded, lists by index or as `[]`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from .stripe_errors import Rejected, invalid

_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}\Z")
_MAX_FIELDS: Final = 1000
_MAX_DEPTH: Final = 8


def decode(text: str) -> dict[str, Any]:
    """Return the parameters of a form or a query, nested.

    Raises:
        Rejected: too many of them, or a name that cannot be read.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise invalid("Invalid request: the parameters cannot be read.") from None
    root: dict[str, Any] = {}
    for name, value in pairs:
        found = _NAME.match(name)
        if found is None or found[2].count("[") > _MAX_DEPTH:
            raise invalid(f"Invalid parameter name: {name}", "parameter_unknown", name)
        _put(root, [found[1], *_PART.findall(found[2])], value, name)
    return {name: _listed(value) for name, value in root.items()}


def known(form: Mapping[str, Any], names: Iterable[str], inside: str = "") -> None:
    """Refuse a parameter that the call does not have.

    Raises:
        Rejected: `parameter_unknown`.
    """
    for name in form:
        if name not in names:
            param = f"{inside}[{name}]" if inside else name
            raise invalid(f"Received unknown parameter: {param}", "parameter_unknown", param)


def required(form: Mapping[str, Any], name: str, inside: str = "") -> Any:  # noqa: ANN401 - text, or what is nested
    """Return a parameter that must be there.

    Raises:
        Rejected: `parameter_missing`.
    """
    if form.get(name) in {None, ""} if not isinstance(form.get(name), dict | list) else False:
        raise lacking(f"{inside}[{name}]" if inside else name)
    return form[name]


def integer(value: object, param: str) -> int:
    """Return a parameter that is a whole number.

    Raises:
        Rejected: `parameter_invalid_integer`.
    """
    if not isinstance(value, str) or not _INTEGER.match(value):
        raise invalid(f"Invalid integer: {value}", "parameter_invalid_integer", param)
    return int(value)


def mapping(holder: Mapping[str, Any], name: str, names: Iterable[str], inside: str = "") -> dict[str, Any]:
    """Return a parameter that holds others; an empty one when it is absent.

    Raises:
        Rejected: it holds none, or one that is unknown.
    """
    value, param = holder.get(name, {}), f"{inside}[{name}]" if inside else name
    if not isinstance(value, dict):
        raise invalid("Invalid object", None, param)
    known(value, names, param)
    return value


def text(holder: Mapping[str, Any], name: str, inside: str = "", *, longest: int = 5000) -> str | None:
    """Return a parameter that is a text; None when it is absent.

    Raises:
        Rejected: it holds others, or is too long.
    """
    value, param = holder.get(name), f"{inside}[{name}]" if inside else name
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid("Invalid string", "parameter_invalid_string", param)
    if len(value) > longest:
        raise invalid(f"Invalid string: must be at most {longest} characters", "parameter_invalid_string", param)
    return value


def lacking(param: str) -> Rejected:
    """Return the refusal of a call without a parameter that it needs."""
    return invalid(f"Missing required param: {param}.", "parameter_missing", param)


def _put(root: dict[str, Any], path: list[str], value: str, name: str) -> None:
    holder = root
    for number, part in enumerate(path):
        key = part or str(len(holder))
        if number == len(path) - 1:
            holder[key] = value
            return
        holder = holder.setdefault(key, {})
        if not isinstance(holder, dict):
            raise invalid(f"Invalid parameter name: {name}", "parameter_unknown", name)


def _listed(value: Any) -> Any:  # noqa: ANN401 - text, or what is nested
    """Turn what is named by numbers into lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(one) for name, one in value.items()}
    if inner and all(name.isdecimal() and name.isascii() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
