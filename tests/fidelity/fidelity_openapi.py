"""Judges answers by a PSP's own OpenAPI file: schemathesis makes the calls and checks what the file says of answers.

https://schemathesis.readthedocs.io. PayPal's schemas allow fields that they do not name, so `unnamed` finds those:
a field that is spelt wrongly would pass otherwise.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests
import schemathesis
from fidelity_files import followed
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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
    max_examples=6,
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

        def judge(case: AnyCase) -> None:
            self.prepare(case)
            request = requests.Request(**case.as_transport_kwargs(base_url=self.url)).prepare()
            assume(len(request.url or "") < LONGEST)
            self._judged(case, path)

        def judge_known(case: AnyCase) -> None:
            case.path_parameters.update({name: resource[name] for name in case.path_parameters})
            judge(case)

        calls = st.one_of(*(operation.as_strategy(mode) for mode in MODES))
        for one in (judge, judge_known) if "{" in path else (judge,):
            bounded(given(calls)(one))()

    def _judged(self, case: AnyCase, path: str) -> Any:
        answer = case.call(base_url=self.url, session=self.session, headers=dict(self.headers), allow_redirects=False)
        case.validate_response(answer, checks=CHECKS)
        self.seen.setdefault(f"{case.method} {path}", set()).add(answer.status_code)
        raw = self.api.raw_schema
        responses = raw["paths"][path][case.method.lower()]["responses"]
        described = responses.get(str(answer.status_code)) or responses["default"]
        content = followed(raw, described).get("content", {})
        media_type = answer.headers.get("content-type", [""])[0].partition(";")[0]
        if media_type not in content or "json" not in media_type:
            return answer.text
        schema = content[media_type]["schema"]
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


def _branches(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all that it is made of: whatever one of them names is named."""
    schema = followed(api, schema)
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _branches(api, part)
