"""The sandbox's server: one port for every PSP. It lives in the caller's event loop and leaves the signals alone."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from .clock import Clock
from .config import SandboxConfig
from .control import Control
from .courier import Courier
from .deliveries import Deliveries
from .faults import Faults, disturb
from .index_page import Index
from .psp import Handler, Psp, Refused, Route, World, json_answer
from .registry import installed
from .store import Store

_SHUTDOWN_SECONDS: Final = 1.0  # answers on their way get this long; calls that hang are let go before


class Sandbox:
    """A running sandbox. Made by `start`."""

    def __init__(self, runner: web.AppRunner, faults: Faults, courier: Courier, store: Store) -> None:
        self._runner = runner
        self._faults = faults
        self._courier = courier
        self._store = store

    @property
    def port(self) -> int:
        """The port that is listened on, also when the configuration left the choice to the system."""
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and sending, and close the state file. Webhooks still owed go out after the next start."""
        self._faults.stop()
        await self._runner.cleanup()
        await self._courier.stop()
        self._store.close()


async def start(config: SandboxConfig) -> Sandbox:
    """Open the state file, listen, and go on with the webhooks that an earlier run still owed.

    Raises:
        OSError: the port is taken, or the certificates beside the state file cannot be written.
        sqlite3.OperationalError: the state file is in use by another sandbox, or cannot be written.
    """
    store = Store(config.state_file)
    clock, faults = Clock(store), Faults()
    deliveries = Deliveries(store, clock, faults)
    world = World(store, clock, deliveries, config.state_file.parent, config.webhooks, config.returns)
    try:
        psps = {name: kind.open(config.accounts.get(name, {}), world) for name, kind in installed().items()}
    except BaseException:
        store.close()
        raise
    courier = Courier(deliveries, psps)
    runner = web.AppRunner(
        _application(psps, Control(psps, clock, faults, deliveries), faults),
        handle_signals=False,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    sandbox = Sandbox(runner, faults, courier, store)
    try:
        await runner.setup()
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
        await courier.start()
    except BaseException:
        await sandbox.stop()
        raise
    return sandbox


def _application(psps: Mapping[str, Psp], control: Control, faults: Faults) -> web.Application:
    application = web.Application()
    application.add_routes(control.routes())
    application.add_routes(Index(psps).routes())
    for psp in psps.values():
        for route in psp.routes():
            application.router.add_route(route.method, route.path, _guarded(psp.name, route, faults))
    return application


def _guarded(psp: str, route: Route, faults: Faults) -> Handler:
    """Put the faults and the PSP's refusals around a handler."""

    async def work(request: web.Request, seconds: float) -> web.StreamResponse:
        try:
            with route.claim(request):
                if seconds:
                    await faults.wait(request, seconds)
                return await route.handler(request)
        except Refused as refusal:
            return json_answer(refusal.body, refusal.status, refusal.headers)

    async def handler(request: web.Request) -> web.StreamResponse:
        fault = faults.take(psp, route.operation, request.path) if route.operation else None
        if fault is None:
            return await work(request, 0.0)
        answer = await disturb(faults, fault, request, work)
        if fault.kind == "error_after_accept":
            await route.lost(request, answer.status)
        return answer

    return handler
