"""The sandbox's server: one port for every PSP. It lives in the caller's event loop and leaves the signals alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from .clock import Clock
from .config import SandboxConfig
from .control import Control
from .courier import Courier
from .deliveries import Deliveries
from .faults import Faults, disturb
from .paymob import Paymob
from .paypal import Paypal
from .paypal_certs import TRUST_FILE, Certificates, open_certificates
from .psp import Handler, Psp, Refused, Route, World, json_answer
from .store import Store

_SHUTDOWN_SECONDS: Final = 1.0  # answers on their way get this long; calls that hang are let go before


class Sandbox:
    """A running sandbox. Made by `start`.

    `paypal_trust_file` is what a receiver of its PayPal webhooks trusts: the root and the intermediate of their signer.
    """

    def __init__(
        self, runner: web.AppRunner, faults: Faults, courier: Courier, store: Store, *, paypal_trust_file: Path
    ) -> None:
        self.paypal_trust_file = paypal_trust_file
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
    try:
        certificates = open_certificates(config.state_file.parent)
    except BaseException:
        store.close()
        raise
    psps = _psps(config, World(store, clock, deliveries), certificates)
    courier = Courier(deliveries, psps)
    runner = web.AppRunner(
        _application(psps, Control(psps, clock, faults, deliveries), faults),
        handle_signals=False,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    trust_file = config.state_file.parent / TRUST_FILE
    sandbox = Sandbox(runner, faults, courier, store, paypal_trust_file=trust_file)
    try:
        await runner.setup()
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
        await courier.start()
    except BaseException:
        await sandbox.stop()
        raise
    return sandbox


def _psps(config: SandboxConfig, world: World, certificates: Certificates) -> dict[str, Psp]:
    """Return every fake PSP by its name. A new one is a line here."""
    psps: tuple[Psp, ...] = (
        Paymob(config.paymob, world, webhooks=config.webhooks, returns=config.returns),
        Paypal(config.paypal, world, certificates, webhooks=config.webhooks),
    )
    return {psp.name: psp for psp in psps}


def _application(psps: Mapping[str, Psp], control: Control, faults: Faults) -> web.Application:
    application = web.Application()
    application.add_routes(control.routes())
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
        return await work(request, 0.0) if fault is None else await disturb(faults, fault, request, work)

    return handler
