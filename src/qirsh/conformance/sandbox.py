"""A simulator for one bench: the sandbox in this process, on a port of its own, with its books in a folder of its own.

Making a PSP's keys takes a moment, so they are made once; every simulator but a stranger's starts from a copy.
"""

import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from qirsh.conformance.wire import HOST
from qirsh_sandbox import SandboxConfig, start
from qirsh_sandbox.registry import installed

STATE_FILE: Final = "sandbox.sqlite3"


class Running(NamedTuple):
    """Where a simulator listens, and the folder of its books."""

    origin: str
    folder: Path


@asynccontextmanager
async def simulator(
    public_url: str, accounts: Mapping[str, Mapping[str, object]], *, fresh: bool
) -> AsyncIterator[Running]:
    """Run one whose webhooks and payers go to `public_url`; a `fresh` one has keys that no other has."""
    with tempfile.TemporaryDirectory(prefix="qirsh-kit-") as made:
        folder = Path(made)
        if not fresh:
            shutil.copytree(await _template(), folder, dirs_exist_ok=True)
        sandbox = await start(
            SandboxConfig(
                state_file=folder / STATE_FILE,
                host=HOST,
                port=0,
                webhooks=f"{public_url}/api/payments/webhook-handler",
                returns=f"{public_url}/api/payments/return",
                accounts=accounts,
            )
        )
        try:
            yield Running(f"http://{HOST}:{sandbox.port}", folder)
        finally:
            await sandbox.stop()


def credentials_of(name: str, origin: str, folder: Path, account: Mapping[str, object]) -> dict[str, Any]:
    """The configuration that makes a gateway use this PSP of a simulator, as the holder of this account.

    Raises:
        AssertionError: the sandbox has no such PSP.
    """
    return {**_kind(name).credentials(origin, folder), **account}


def another_account(name: str) -> dict[str, Any]:
    """An account of which no text and no number is the sandbox's own."""
    return {field: _another(value) for field, value in asdict(_kind(name).account()).items()}


def _kind(name: str) -> Any:  # noqa: ANN401  the sandbox's, of which the kit uses two methods
    kind = installed().get(name)
    if kind is None:
        raise AssertionError(
            f"the sandbox has no PSP called {name}: write its simulator, "
            "and name it by an entry point in the group qirsh.sandbox"
        )
    return kind


def _another(value: object) -> object:
    """Another value of the same kind. Flags stay: they say how an account works, not whose it is."""
    match value:
        case bool() | None:
            return value
        case int():
            return value + 1
        case str():
            return _another_text(value)
        case tuple() | list():
            return [_another(one) for one in value]
        case _:
            return value


def _another_text(text: str) -> str:
    """The text with its last letter or digit changed: neither is a part of the other, and a pattern still fits."""
    found = re.search(r"[0-9A-Za-z](?=[^0-9A-Za-z]*\Z)", text)
    if found is None:
        return f"{text}a"
    old = found[0]
    choices = "12" if old.isdigit() else "AB" if old.isupper() else "ab"
    return text[: found.start()] + (choices[0] if old != choices[0] else choices[1]) + text[found.end() :]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as the process; Python removes it in the end."""
    return tempfile.TemporaryDirectory(prefix="qirsh-kit-keys-")


async def _template() -> Path:
    folder = Path(_folder().name)
    if not (folder / STATE_FILE).exists():
        await (await start(SandboxConfig(state_file=folder / STATE_FILE, host=HOST, port=0))).stop()
    return folder
