"""Reads the OpenAPI files of PSPs: corrected where they are known to be otherwise, and along their references."""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parent / "data"


def corrected(api: Mapping[str, Any], name: str) -> Any:
    """A PSP's file with what is known to be otherwise: `data/<name>.json` lists it, each with the reason.

    `at` is a pointer, in which a star is every key or index and a last `-` the end of a list. `becomes` is put there;
    null takes out what is there.
    """
    mended = copy.deepcopy(dict(api))
    for deviation in json.loads((DATA / f"{name}.json").read_text("utf-8")):
        *steps, last = deviation["at"].removeprefix("/").split("/")
        done = [_put(holder, last, deviation["becomes"]) for holder in _reached(mended, steps)]
        assert any(done), f"{deviation['at']} is not in the file: {deviation['reason']}"
    return mended


def followed(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what its reference leads to."""
    while "$ref" in schema:
        target: Any = api
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        schema = target
    return schema


def _reached(value: Any, steps: list[str]) -> Iterator[Any]:
    """Every value that a pointer with stars leads to."""
    if not steps:
        yield value
        return
    step, *rest = steps
    step = step.replace("~1", "/").replace("~0", "~")
    held: dict[str, Any] = {}
    if isinstance(value, dict):
        held = value
    elif isinstance(value, list):
        held = {str(index): one for index, one in enumerate(value)}
    for key, one in held.items():
        if step in {"*", key}:
            yield from _reached(one, rest)


def _put(holder: Any, name: str, becomes: Any) -> bool:
    """Change one place; whether it was there."""
    match holder:
        case list() if name == "-":
            holder.append(becomes)
        case dict() if becomes is not None:
            holder[name] = becomes
        case dict() if name in holder:
            del holder[name]
        case _:
            return False
    return True
