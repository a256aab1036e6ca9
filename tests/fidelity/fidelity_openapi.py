"""Judges answers by a PSP's own OpenAPI file: schemathesis makes the calls and checks what the file says of answers.

https://schemathesis.readthedocs.io. PayPal's schemas allow fields that they do not name, so `unnamed` finds those:
a field that is spelt wrongly would pass otherwise.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

DATA: Final = Path(__file__).resolve().parent / "data"

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
AnyCase = schemathesis.Case[Any]
MODES: Final = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
LONGEST: Final = 8000
"""Characters of an address. More than that a web server refuses, before any PSP has read it."""

bounded: Final = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=8,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
"""The same few examples everywhere: these tests ask whether answers fit, not for every crash there may be."""


@dataclass
class Judge:
    """One OpenAPI file, judging one sandbox. `seen` are the statuses that were answered, by operation."""

    api: schemathesis.BaseSchema
    url: str
    headers: Mapping[str, str]
    session: requests.Session
    prepare: Callable[[AnyCase], None] = lambda _case: None
    seen: dict[str, set[int]] = field(default_factory=dict)

    def ask(self, method: str, path: str, **parts: Any) -> Any:
        """Make one call of the file's, judge its answer, and return what it says."""
        case = self.api[path][method].Case(**parts)
        self.prepare(case)
        return self._judged(case, path)

    def ask_anything(self, method: str, path: str, resource: Mapping[str, str]) -> None:
        """Make calls of the generator's choice, well-formed and malformed, of this resource and of others.

        The resource has a name for each parameter that may stand in a path.
        """
        operation = self.api[path][method]

        @bounded
        @given(case=st.one_of(*(operation.as_strategy(mode) for mode in MODES)), known=st.booleans())
        def each(case: AnyCase, *, known: bool) -> None:
            if known:
                case.path_parameters.update({name: resource[name] for name in case.path_parameters})
            self.prepare(case)
            request = requests.Request(**case.as_transport_kwargs(base_url=self.url)).prepare()
            assume(len(request.url or "") < LONGEST)
            self._judged(case, path)

        each()

    def _judged(self, case: AnyCase, path: str) -> Any:
        answer = case.call(base_url=self.url, session=self.session, headers=dict(self.headers), allow_redirects=False)
        case.validate_response(answer, checks=CHECKS)
        self.seen.setdefault(f"{case.method} {path}", set()).add(answer.status_code)
        raw = self.api.raw_schema
        responses = raw["paths"][path][case.method.lower()]["responses"]
        described = responses.get(str(answer.status_code)) or responses["default"]
        schema = _found(raw, described)["content"]["application/json"]["schema"]
        strange = sorted(set(unnamed(raw, schema, answer.json())))
        assert not strange, (
            f"{case.method} {path} answered {answer.status_code} with fields that nothing names: {strange}"
        )
        return answer.json()


@contextmanager
def judging(
    api: schemathesis.BaseSchema,
    url: str,
    headers: Mapping[str, str],
    prepare: Callable[[AnyCase], None] = lambda _case: None,
) -> Iterator[Judge]:
    """A judge whose connections are closed in the end; `prepare` may change a call before it is made."""
    with requests.Session() as session:
        yield Judge(api, url, headers, session, prepare)


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


def unnamed(api: Mapping[str, Any], schema: Mapping[str, Any], value: Any, pointer: str = "") -> Iterator[str]:
    """The fields of a value that its schema does not name, as pointers in which every index is a star."""
    if isinstance(value, list):
        inner = [one["items"] for one in _branches(api, schema) if "items" in one]
        for item in value:
            yield from unnamed(api, {"anyOf": inner}, item, f"{pointer}/*")
    elif isinstance(value, dict):
        branches = list(_branches(api, schema))
        objects = [one for one in branches if "properties" in one]
        if not objects or any("additionalProperties" in one and one["additionalProperties"] for one in branches):
            return
        for name, held in value.items():
            found = [one["properties"][name] for one in objects if name in one["properties"]]
            if found:
                yield from unnamed(api, {"anyOf": found}, held, f"{pointer}/{name}")
            else:
                yield f"{pointer}/{name}"


def _reached(value: Any, steps: list[str]) -> Iterator[Any]:
    """Every value that a pointer with stars leads to."""
    if not steps:
        yield value
        return
    step, *rest = steps
    step = step.replace("~1", "/").replace("~0", "~")
    keys = (
        list(value) if isinstance(value, dict) else list(map(str, range(len(value)))) if isinstance(value, list) else []
    )
    for key in keys:
        if step in {"*", key}:
            yield from _reached(value[int(key)] if isinstance(value, list) else value[key], rest)


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


def _branches(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all that it is made of: whatever one of them names is named."""
    schema = _found(api, schema)
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _branches(api, part)


def _found(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what its reference leads to."""
    while "$ref" in schema:
        target: Any = api
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        schema = target
    return schema
