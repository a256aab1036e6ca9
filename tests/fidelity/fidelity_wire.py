"""Records what our server sends to PSPs, on the wire, and judges it by the PSPs' own OpenAPI files."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import jsonschema
from fidelity_files import followed

FORM: Final = "application/x-www-form-urlencoded"
_HOP_BY_HOP: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "content-encoding"})
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


class Sent(NamedTuple):
    """One request as it was sent. The headers' names are in small letters."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Recorder:
    """A proxy in front of the sandbox."""

    url: str = ""
    target: str = ""
    sent: list[Sent] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[Recorder]:
    """A proxy that keeps every request; set `target` before the first one comes."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            parts = urlsplit(self.path)
            recorder.sent.append(Sent(self.command, parts.path, parts.query, headers, body))
            passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
            address = recorder.target + self.path
            answer = httpx.request(self.command, address, headers=passed, content=body, timeout=30)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in _HOP_BY_HOP:
                    self.send_header(name, value)
            # The payer's link must lead where the API is, so the sandbox's own address is put in ours.
            content = answer.content.replace(recorder.target.encode(), recorder.url.encode())
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815  the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def judge_request(api: Mapping[str, Any], sent: Sent) -> tuple[str, Any]:
    """The operation that a request is, and its body; a failure unless the file has it and takes all of the request."""
    operation, described = _operation(api, sent)
    parameters = [followed(api, one) for one in described.get("parameters", ())]
    known = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
    query = {"type": "object", "properties": known, "additionalProperties": False}
    _validate(api, operation, query, coerced(api, query, decoded(sent.query)))
    for one in parameters:
        if one["in"] == "header" and one["name"].lower() in sent.headers:
            _validate(api, operation, one["schema"], sent.headers[one["name"].lower()])

    content = described.get("requestBody", {}).get("content", {})
    media = sent.headers.get("content-type", "").partition(";")[0]
    if not sent.body:
        return operation, None
    assert media in content, f"{operation} takes {list(content)}, not {media}"
    schema = content[media]["schema"]
    body = coerced(api, schema, decoded(sent.body.decode())) if media == FORM else json.loads(sent.body)
    _validate(api, operation, schema, body)
    return operation, body


def decoded(text: str) -> Any:
    """The parameters of a form or a query as nested values: `a[0][b]=c` is a list of one object."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else ():
        first, *rest = [name.partition("[")[0], *_PART.findall(name)]
        holder, key = root, first
        for step in rest:
            holder, key = holder.setdefault(key, {}), step
        assert key not in holder, f"{name} is sent twice"
        holder[key] = value
    return _with_lists(root)


def coerced(api: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> Any:
    """A value of texts with the types that its schema asks for, where the text is such a value as it would be sent."""
    schema = followed(api, schema)
    if "anyOf" in schema:
        tried = [coerced(api, one, value) for one in schema["anyOf"]]
        fits = [one for one, part in zip(tried, schema["anyOf"], strict=True) if _validator(api, part).is_valid(one)]
        return fits[0] if fits else value
    match value:
        case dict():
            named, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
            others = others if isinstance(others, dict) else {}
            return {name: coerced(api, named.get(name, others), one) for name, one in value.items()}
        case list():
            return [coerced(api, schema.get("items", {}), one) for one in value]
        case str() if schema.get("type") == "integer" and re.fullmatch(r"-?(0|[1-9][0-9]*)", value):
            return int(value)
        case "true" | "false" if schema.get("type") == "boolean":
            return value == "true"
    return value


def _operation(api: Mapping[str, Any], sent: Sent) -> tuple[str, Mapping[str, Any]]:
    for path in sorted(api["paths"], key=lambda one: one.count("{")):
        pattern = re.sub(r"\\{[^/]*\\}", "[^/]+", re.escape(path))
        if re.fullmatch(pattern, sent.path) and sent.method.lower() in api["paths"][path]:
            return f"{sent.method} {path}", api["paths"][path][sent.method.lower()]
    raise AssertionError(f"the file has no {sent.method} {sent.path}")


def _validate(api: Mapping[str, Any], operation: str, schema: Mapping[str, Any], value: Any) -> None:
    wrong = [f"{error.json_path} {error.message}" for error in _validator(api, schema).iter_errors(value)]
    assert not wrong, f"{operation}: {wrong}"


def _validator(api: Mapping[str, Any], schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": api["components"]})


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    held = {name: _with_lists(one) for name, one in value.items()}
    return list(held.values()) if held and list(held) == [str(index) for index in range(len(held))] else held
