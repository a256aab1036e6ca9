"""Compares answers with documented samples, where a PSP publishes no schema: the same keys, of the same JSON types.

What differs must be listed, with the reason, in `data/<psp>_exceptions.json`, and what is listed must differ.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from fidelity_files import DATA

from judged import SHARED

MORE: Final = "…"
"""A key of this name stands for fields that a sample leaves out."""


def documented(path: str, holding: str) -> Any:
    """The outermost JSON object of a document in which this text stands first."""
    text = (SHARED / path).read_text("utf-8")
    end = text.index(holding)
    start = text.find("{")
    while 0 <= start < end:
        try:
            value, stop = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError:
            stop = start + 1
        if stop > end:
            return value
        start = text.find("{", stop)
    raise AssertionError(f"{path} has no JSON around {holding}")


def excerpt(sample: Any) -> Any:
    """A sample of which the document shows a part only, in every object."""
    if isinstance(sample, dict):
        return {MORE: MORE, **{name: excerpt(one) for name, one in sample.items()}}
    return [excerpt(one) for one in sample] if isinstance(sample, list) else sample


def compare(psp: str, sample_name: str, sample: Any, answer: Any) -> None:
    """Fail unless an answer has the shape of a sample, but for what is listed.

    An exception is a pointer, in which a star is every index, with what differs there; it may end in a star and then
    stands for whatever is below.
    """
    listed = json.loads((DATA / f"{psp}_exceptions.json").read_text("utf-8")).get(sample_name, {})
    found = set(differences(sample, answer))
    excused = {one: [each for each in listed if _covers(each, one)] for one in found}
    strange = sorted(one for one, excuses in excused.items() if not excuses)
    idle = sorted(set(listed) - {each for excuses in excused.values() for each in excuses})
    assert not strange, f"{sample_name}: the answer differs from the sample in {strange}"
    assert not idle, f"{sample_name}: nothing differs in {idle}; take them off the list"


def differences(sample: Any, answer: Any, at: str = "") -> Iterator[str]:
    """What differs, each as a pointer and a word. A null says nothing of a type."""
    if sample is None or answer is None:
        return
    if _kind(sample) != _kind(answer):
        yield f"{at} {_kind(sample)} became {_kind(answer)}"
    elif isinstance(sample, dict):
        for name in sample.keys() - answer.keys() - {MORE}:
            yield f"{at}/{name} missing"
        for name in answer.keys() - sample.keys() if MORE not in sample else ():
            yield f"{at}/{name} extra"
        for name in sample.keys() & answer.keys():
            yield from differences(sample[name], answer[name], f"{at}/{name}")
    elif isinstance(sample, list):
        for one in answer if sample else ():
            yield from differences(sample[0], one, f"{at}/*")


def _covers(listed: str, found: str) -> bool:
    return listed == found or (listed.endswith("*") and found.startswith(listed[:-1]))


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "whole number", float: "decimal", str: "text", dict: "object", list: "list"}
    return names[type(value)]
