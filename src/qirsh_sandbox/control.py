"""The control plane, `/__sandbox/*`: what tests and curious people steer, and the ledger they judge by."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from .clock import Clock, utc_iso
from .deliveries import Deliveries
from .faults import Fault, Faults
from .psp import CannotActError, PayerCommand, Psp, UnknownReferenceError, folded, json_answer


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float


class _Sent(msgspec.Struct, forbid_unknown_fields=True):
    """A webhook in a test's own words; the PSP signs whatever it is given."""

    psp: str
    body: str
    merchant_reference: str | None = None


class Control:
    """The handlers of the control plane."""

    def __init__(self, psps: Mapping[str, Psp], clock: Clock, faults: Faults, deliveries: Deliveries) -> None:
        self._psps = psps
        self._clock = clock
        self._faults = faults
        self._deliveries = deliveries

    def routes(self) -> list[web.RouteDef]:
        """Return the control plane's paths."""
        return [
            web.get("/__sandbox/ledger", self._ledger),
            web.post("/__sandbox/payer", self._payer),
            web.get("/__sandbox/faults", self._armed),
            web.post("/__sandbox/faults", self._arm),
            web.delete("/__sandbox/faults", self._disarm),
            web.get("/__sandbox/clock", self._time),
            web.post("/__sandbox/clock", self._advance),
            web.get("/__sandbox/deliveries", self._report),
            web.post("/__sandbox/deliveries", self._send),
            web.post("/__sandbox/deliveries/{n:[0-9]{1,15}}/resend", self._resend),
        ]

    async def _ledger(self, request: web.Request) -> web.Response:
        wanted = request.query.get("merchant_reference")
        rows = [row for psp in self._psps.values() for row in psp.ledger()]
        if wanted:
            rows = [row for row in rows if row.merchant_reference == folded(wanted)]
        return json_answer(rows)

    async def _payer(self, request: web.Request) -> web.Response:
        try:
            command = msgspec.json.decode(await request.read(), type=PayerCommand)
        except msgspec.DecodeError as error:
            return _refuse(400, str(error))
        for name, psp in self._psps.items():
            if command.psp not in {None, name}:
                continue
            try:
                psp.act(command)
            except UnknownReferenceError:
                continue
            except CannotActError as error:
                return _refuse(409, str(error))
            return json_answer({"psp": name, "merchant_reference": command.merchant_reference, "act": command.act})
        return _refuse(404, f"no PSP knows the merchant reference {command.merchant_reference!r}")

    async def _armed(self, _request: web.Request) -> web.Response:
        return json_answer(self._faults.armed())

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
            if fault.psp not in self._psps:
                return _refuse(400, f"psp must be one of {', '.join(self._psps)}")
            self._faults.arm(fault)
        except (msgspec.DecodeError, ValueError) as error:
            return _refuse(400, str(error))
        return json_answer(self._faults.armed())

    async def _disarm(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return json_answer([])

    async def _time(self, _request: web.Request) -> web.Response:
        return json_answer({"offset_seconds": self._clock.offset_seconds, "now": utc_iso(self._clock.now())})

    async def _advance(self, request: web.Request) -> web.Response:
        try:
            self._clock.advance(msgspec.json.decode(await request.read(), type=_Advance).advance_seconds)
        except (msgspec.DecodeError, ValueError) as error:
            return _refuse(400, str(error))
        self._deliveries.look_again()
        return await self._time(request)

    async def _report(self, request: web.Request) -> web.Response:
        wanted = request.query.get("merchant_reference")
        return json_answer(self._deliveries.report(folded(wanted) if wanted else None))

    async def _send(self, request: web.Request) -> web.Response:
        try:
            sent = msgspec.json.decode(await request.read(), type=_Sent)
        except msgspec.DecodeError as error:
            return _refuse(400, str(error))
        psp = self._psps.get(sent.psp)
        if psp is None:
            return _refuse(400, f"psp must be one of {', '.join(self._psps)}")
        try:
            self._deliveries.schedule(psp, sent.merchant_reference, sent.body.encode())
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):
            return _refuse(400, f"{sent.psp} cannot sign this body: it lacks what its signature is made of")
        return json_answer({"psp": sent.psp}, 201)

    async def _resend(self, request: web.Request) -> web.Response:
        fresh = self._deliveries.resend(int(request.match_info["n"]))
        return _refuse(404, "there is no such delivery") if fresh is None else json_answer({"n": fresh})


def _refuse(status: int, detail: str) -> web.Response:
    body: dict[str, Any] = {"detail": detail}
    return json_answer(body, status)
