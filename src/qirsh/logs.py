"""What a process says of itself: lines on stderr."""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec
import structlog

_JSON: Final = msgspec.json.Encoder(enc_hook=repr)


def configure_logging(*, pretty: bool = False) -> None:
    """One JSON object a line on stderr; lines for people where a person watches."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    # asyncpg prints traces of lost connections; we say it ourselves, in one line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if pretty else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if pretty else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if pretty
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _json_line(_logger: object, _level: str, event: MutableMapping[str, Any]) -> bytes:
    """One line. What msgspec does not take, such as half a surrogate pair in a path, must not fail who logs it."""
    try:
        return _JSON.encode(event)
    except UnicodeError:
        return json.dumps(event, default=repr).encode()
