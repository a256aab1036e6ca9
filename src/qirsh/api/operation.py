"""What OpenAPI says of requests whose body and headers the framework does not read for us."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, Operation, Parameter, RequestBody, Schema

KEY_HEADER: Final = Parameter(
    name="Idempotency-Key",
    param_in="header",
    required=True,
    description="16 to 200 visible ASCII characters; the same key is the same request",
    schema=Schema(type="string", min_length=16, max_length=200, pattern="^[!-~]*$"),  # type: ignore[arg-type]
)
"""For a request that has no other place for it."""
KEY_HEADER_OR_FIELD: Final = Parameter(
    name="Idempotency-Key",
    param_in="header",
    description="in place of the field `idempotency_key`, or the same as it",
    schema=KEY_HEADER.schema,
)
KNOWN_HEADER: Final = Parameter(
    name="If-None-Match",
    param_in="header",
    description="the ETag of an answer that is known already",
    schema=Schema(type="string"),  # type: ignore[arg-type]
)


def operation(
    body: type[msgspec.Struct] | None = None, *, optional: bool = False, headers: Sequence[Parameter] = ()
) -> type[Operation]:
    """An Operation whose request body is described by the struct that reads it, and that reads these headers."""

    @dataclass
    class DescribedOperation(Operation):
        def __post_init__(self) -> None:
            if body is not None:
                content = {"application/json": OpenAPIMediaType(schema=_schema(body))}
                self.request_body = RequestBody(required=not optional, content=content)
            if headers:
                self.parameters = [*(self.parameters or ()), *headers]

    return DescribedOperation


def _schema(body: type[msgspec.Struct]) -> Any:  # noqa: ANN401  JSON Schema as data; the framework writes it as it is
    (schema,), components = msgspec.json.schema_components((body,), ref_template="#/$defs/{name}")
    return _inlined(schema, components)


def _inlined(schema: Any, components: dict[str, Any]) -> Any:  # noqa: ANN401  JSON Schema
    """The schema with its references put in place, so that it stands alone inside the document."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
        return {
            name: _portable(value) if name == "pattern" and isinstance(value, str) else _inlined(value, components)
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_inlined(value, components) for value in schema]
    return schema


def _portable(pattern: str) -> str:
    r"""A pattern of Python's as ECMA-262 writes it, which JSON Schema asks for: there `\A` and `\Z` are letters."""
    return re.sub(r"\\Z\Z", "$", re.sub(r"\A\\A", "^", pattern))
