"""What OpenAPI says of initiate, whose body the framework does not read for us."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody

from qirsh.api.requests import InitiatePaymentRequest


def initiate_operation() -> type[Operation]:
    """An Operation whose request body is described by the struct that reads it."""

    @dataclass
    class InitiateOperation(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(
                required=True, content={"application/json": OpenAPIMediaType(schema=_schema())}
            )

    return InitiateOperation


def _schema() -> Any:  # noqa: ANN401  JSON Schema as data; the framework writes out plain data as it is
    (schema,), components = msgspec.json.schema_components((InitiatePaymentRequest,), ref_template="#/$defs/{name}")
    return _inlined(schema, components)


def _inlined(schema: Any, components: dict[str, Any]) -> Any:  # noqa: ANN401  JSON Schema
    """The schema with its references put in place, so that it stands alone inside the document."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
        return {name: _inlined(value, components) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(value, components) for value in schema]
    return schema
