"""The command line: `qirsh dev`, and the production parts one at a time.

Each command imports what it does, so that none waits for what another needs: all of it takes a second to load.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from qirsh.garbage import begin
from qirsh.kept import LEAST_DAYS

if TYPE_CHECKING:
    from qirsh.dev import Addresses
    from qirsh.doctor import Finding
    from qirsh.journal import Discrepancy, Gap
    from qirsh.reconciliation import Difference
    from qirsh.retention import Pruned
    from qirsh.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Qirsh: a payment server."
)
journal = typer.Typer(no_args_is_help=True, help="What was folded into payments.")
app.add_typer(journal, name="journal")

T = TypeVar("T")

DataDir = Annotated[Path, typer.Option(help="Where `qirsh dev` keeps its database and its configuration.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
AnyPort = Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free")]

DATA_DIR: Final = Path(".qirsh")

_TIMES: Final = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z")

_COLOURS: Final = {"fine": "green", "note": "yellow", "wrong": "bold red"}

_out = Console(highlight=False)
_say = partial(_out.print, soft_wrap=True)  # addresses are not to be broken where output is piped
_err = Console(stderr=True, highlight=False)


@app.command()
def dev(port: Port = 8000, sandbox_port: Port = 8001, data_dir: DataDir = DATA_DIR) -> None:
    """Everything on this machine: database, sandbox PSPs, API, worker and a demo shop."""
    from qirsh import dev as whole
    from qirsh.logs import configure_logging
    from qirsh.process import run

    configure_logging(pretty=True)

    def ready(addresses: "Addresses") -> None:
        _say(f"[bold]Qirsh is ready.[/bold] Pay for something: [link]{addresses.shop}[/link]")
        _say(f"  API            {addresses.api}/api/payments/…   (OpenAPI: {addresses.api}/openapi.json)")
        _say(f"  Sandbox PSPs   {addresses.sandbox}")
        _say(f"  Configuration  {addresses.config}")
        _say("Ctrl-C stops all of it; the next start finds today's data.")

    with _explained():
        run(whole.dev(port, sandbox_port, data_dir.resolve(), ready))


@app.command()
def serve(host: str = "127.0.0.1", port: AnyPort = 8000, data_dir: DataDir = DATA_DIR) -> None:
    """The HTTP API."""
    from qirsh import server
    from qirsh.logs import configure_logging
    from qirsh.process import run

    configure_logging()
    with _explained():
        settings = _load(data_dir)
        run(
            server.serve(
                settings,
                data_dir.resolve(),
                host,
                port,
                lambda bound: _say(f"ready on {host}:{bound}"),
            )
        )


@app.command()
def worker(
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Show metrics to this machine there; 0: the system chooses.")
    ] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Durable work: look-ups, late deliveries, fulfilments. Any number may run."""
    from qirsh.logs import configure_logging
    from qirsh.process import run
    from qirsh.working import work

    configure_logging()

    def ready(bound: int | None) -> None:
        _say("ready" if bound is None else f"ready, metrics on http://127.0.0.1:{bound}/metrics")

    with _explained():
        run(work(_load(data_dir), data_dir.resolve(), metrics_port, ready))


@app.command()
def migrate(data_dir: DataDir = DATA_DIR) -> None:
    """Bring the database's schema up to this release."""
    from qirsh.database import database
    from qirsh.store.migrate import migrate as apply_migrations

    async def main() -> None:
        async with database(_load(data_dir), data_dir.resolve()) as url:
            applied = await apply_migrations(url)
        _say("\n".join(f"applied {name}" for name in applied) or "nothing to do")

    with _explained():
        asyncio.run(main())


@app.command()
def doctor(data_dir: DataDir = DATA_DIR) -> None:
    """What is wrong with this installation, and how to mend it. Exits with 1 when something is."""
    from rich.table import Table

    from qirsh.doctor import Verdict, examine
    from qirsh.logs import configure_logging

    configure_logging(pretty=True)

    async def main() -> "list[Finding]":
        return [finding async for finding in examine(data_dir.resolve())]

    findings = asyncio.run(main())
    table = Table("part", "verdict", "found", "how to mend it")
    for finding in findings:
        verdict = f"[{_COLOURS[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(escape(finding.part), verdict, escape(finding.found), escape(finding.mend))
    _out.print(table)
    if any(finding.verdict is Verdict.WRONG for finding in findings):
        raise typer.Exit(1)


@app.command()
def reconcile(
    since: Annotated[
        datetime | None, typer.Option(formats=list(_TIMES), help="Ask about what was paid since then as well. UTC.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing: say what would be folded in.")] = False,  # noqa: FBT002  typer's way
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Ask the PSPs about every payment that is not settled, due or not. Exits with 1 while something differs."""
    from qirsh.app import connected
    from qirsh.logs import configure_logging

    configure_logging(pretty=True)

    async def main() -> "list[Difference]":
        async with connected(_load(data_dir), data_dir.resolve()) as services:
            reconciler = services.payments.reconciler
            paid_since = since and (since if since.tzinfo else since.replace(tzinfo=UTC))
            draft_ids = await reconciler.unsettled(paid_since)
            told = reconciler.differences(draft_ids, dry_run=dry_run)
            return [*await reconciler.without_draft(), *await _gathered(told, "asking", len(draft_ids))]

    with _explained():
        differences = asyncio.run(main())
    _print_table(("draft", "gateway", "field", "ours → theirs", "what was done"), [_told(one) for one in differences])
    if any(one.stays for one in differences):
        raise typer.Exit(1)


@journal.command()
def verify(data_dir: DataDir = DATA_DIR) -> None:
    """Rebuild each payment from its journal, and compare. Exits with 1 where one is not what its journal says."""
    from qirsh.app import connected
    from qirsh.journal import Discrepancy
    from qirsh.journal import verify as verify_journal
    from qirsh.logs import configure_logging

    configure_logging(pretty=True)

    async def main() -> "list[Discrepancy | Gap]":
        async with connected(_load(data_dir), data_dir.resolve()) as services:
            total = await services.store.listings.count_drafts()
            return await _gathered(verify_journal(services.store), "rebuilding", total)

    with _explained():
        found = asyncio.run(main())
    differing = [one for one in found if isinstance(one, Discrepancy)]
    lines = [(str(draft_id), column, f"{row} → {made}") for draft_id, column, row, made in differing]
    _print_table(("draft", "column", "row → journal"), lines)
    if gaps := len(found) - len(differing):
        _say(f"payments whose journal was pruned, which nothing can verify any more: {gaps}")
    if differing:
        raise typer.Exit(1)


@app.command()
def prune(
    older_than: Annotated[
        int | None,
        typer.Option(min=LEAST_DAYS, help="Days of journal and deliveries to keep, instead of those configured."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing: say what would be dropped.")] = False,  # noqa: FBT002  typer's way
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Drop the months of journal and deliveries that are older than is kept. Exits with 1 when one could not be."""
    from qirsh.app import connected
    from qirsh.logs import configure_logging
    from qirsh.retention import Done
    from qirsh.retention import prune as take_away

    configure_logging(pretty=True)

    async def main() -> "list[Pruned]":
        settings = _load(data_dir)
        days = {} if older_than is None else {"journal_days": older_than, "deliveries_days": older_than}
        kept = settings.retention.model_copy(update=days)
        async with connected(settings, data_dir.resolve()) as services:
            return [one async for one in take_away(services.store, kept, dry_run=dry_run)]

    with _explained():
        pruned = asyncio.run(main())
    _print_table(("what", "is", "why"), pruned, nothing="nothing is old enough")
    if any(one.done is Done.BUSY for one in pruned):
        raise typer.Exit(1)


@app.command()
def sandbox(
    webhooks: Annotated[str, typer.Option(help="Where webhooks go: …/api/payments/webhook-handler")] = "",
    returns: Annotated[str, typer.Option(help="Where browsers go back to: …/api/payments/return")] = "",
    host: str = "127.0.0.1",
    port: AnyPort = 8001,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """The fake PSPs alone."""
    from qirsh.process import for_ever, run
    from qirsh_sandbox import SandboxConfig
    from qirsh_sandbox import start as start_sandbox

    async def main() -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        config = SandboxConfig(
            host=host, port=port, state_file=data_dir / "sandbox.sqlite3", webhooks=webhooks, returns=returns
        )
        running = await start_sandbox(config)
        _say(f"sandbox ready on http://{host}:{running.port}")
        try:
            await for_ever()
        finally:
            await running.stop()

    with _explained():
        run(main())


def main() -> None:
    """The `qirsh` command."""
    begin()
    app()


async def _gathered(batches: AsyncIterator[list[T]], doing: str, total: int) -> list[T]:
    """What each of so many payments brings, with a bar that says how far it is."""
    from rich.progress import Progress

    gathered: list[T] = []
    with Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        async for batch in batches:
            gathered += batch
            progress.advance(task)
    return gathered


def _told(one: "Difference") -> tuple[str, ...]:
    return str(one.draft_id or "–"), one.gateway, one.field, f"{one.ours} → {one.theirs}", one.done


def _print_table(columns: Sequence[str], rows: Sequence[tuple[str, ...]], nothing: str = "nothing differs") -> None:
    """A table of what was found, or a line that says that nothing was."""
    from rich.table import Table

    if not rows:
        _say(nothing)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(escape, row))
    _out.print(table)


def _load(data_dir: Path) -> "Settings":
    from qirsh.settings import CONFIG_NAME, load

    return load(data_dir / CONFIG_NAME)


@contextmanager
def _explained() -> Iterator[None]:
    """What the person at the terminal can mend is said in a sentence, not in a trace."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        _err.print(f"[bold red]{type(error).__name__}[/bold red]: {escape(str(error))}")
        raise typer.Exit(1) from None


def _mendable() -> tuple[type[Exception], ...]:
    from qirsh.errors import GatewayMisconfigured
    from qirsh.settings import ConfigurationError
    from qirsh.store.cluster import EmbeddedPostgresError
    from qirsh.store.migrate import MigrationError

    return (ConfigurationError, EmbeddedPostgresError, GatewayMisconfigured, MigrationError, OSError)
