"""A shop that takes Fawry: speaks to the sandbox over a real socket, signs by itself, and keeps its notifications."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from sandbox_bench import Answer, Bench, until

from qirsh_sandbox.fawry_config import FawryConfig

FAWRY = FawryConfig()
CHARGE = "/ECommerceWeb/Fawry/payments/charge"
WALLET = "/ECommerceWeb/api/payments/charge"
INIT = "/fawrypay-api/api/payments/init"
STATUS = "/ECommerceWeb/Fawry/payments/status/v2"
STATUS_V1 = "/ECommerceWeb/Fawry/payments/status"
REFUND = "/ECommerceWeb/Fawry/payments/refund"
CANCEL = "/ECommerceWeb/api/orders/cancel-unpaid-order"


class FawryShop(Bench):
    """The shop, and the other side of its notifications."""

    def __init__(self, http: aiohttp.ClientSession, folder: Path) -> None:
        super().__init__(http, folder)
        self.notifications: list[dict[str, Any]] = []
        self.own_hook = ""

    async def receive(self, request: web.Request) -> web.Response:
        """Take a notification and answer as told, 200 when told nothing."""
        self.notifications.append(json.loads(await request.read(), parse_float=str))
        return web.Response(status=self.answers.pop(0) if self.answers else HTTPStatus.OK)

    async def charge(self, method: str = "PAYATFAWRY", path: str = CHARGE, **changes: Any) -> Answer:
        """Charge 300 EGP; the signature is over what is sent unless it is among the changes."""
        body = self._body({"paymentMethod": method, "amount": "300.00", "currencyCode": "EGP", **changes})
        wallet = body.get("debitMobileWalletNo", "")
        texts = (FAWRY.merchant_code, body["merchantRefNum"], method, f"{float(body['amount']):.2f}", wallet)
        return await self.call("POST", path, json={"signature": digest(*texts), **body})

    async def page(self, **changes: Any) -> Answer:
        """Open a hosted checkout."""
        body = self._body({"paymentMethod": "CARD", "returnUrl": "https://shop.example/back?x=1", **changes})
        texts = (FAWRY.merchant_code, body["merchantRefNum"], body["returnUrl"], "tshirt", "2", "150.00")
        return await self.call("POST", INIT, json={"signature": digest(*texts), **body})

    async def status(self, reference: str = "draft-1", path: str = STATUS, **changes: str) -> Answer:
        """Ask for an order."""
        query = {"merchantCode": FAWRY.merchant_code, "merchantRefNumber": reference}
        query["signature"] = digest(FAWRY.merchant_code, reference)
        return await self.call("GET", f"{path}?{urlencode({**query, **changes})}")

    async def refund(self, number: str, amount: str, **changes: Any) -> Answer:
        """Give money back."""
        body = {"merchantCode": FAWRY.merchant_code, "referenceNumber": number, "refundAmount": amount, **changes}
        texts = (FAWRY.merchant_code, number, f"{float(amount):.2f}", body.get("reason", ""))
        return await self.call("POST", REFUND, json={"signature": digest(*texts), **body})

    async def end(self, number: str, **changes: Any) -> Answer:
        """End an unpaid order."""
        body = {"merchantAccount": FAWRY.merchant_code, "orderRefNo": number, "lang": "en-gb", **changes}
        return await self.call("POST", CANCEL, json={"signature": digest(number, FAWRY.merchant_code, "en-gb"), **body})

    async def told(self, *statuses: str) -> list[dict[str, Any]]:
        """Wait for as many notifications; they must say this, and each be signed by itself."""
        await until(lambda: len(self.notifications) >= len(statuses))
        assert [each["orderStatus"] for each in self.notifications] == list(statuses)
        assert all(is_authentic(each) for each in self.notifications)
        return self.notifications

    def _body(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {
            "merchantCode": FAWRY.merchant_code,
            "merchantRefNum": "draft-1",
            "customerName": "Sara Hassan",
            "customerMobile": "01012345678",
            "chargeItems": [{"itemId": "tshirt", "description": "T-shirt", "price": "150.00", "quantity": 2}],
            "orderWebHookUrl": self.own_hook,
            **changes,
        }


def digest(*texts: str) -> str:
    """Fawry's signature, written down once more."""
    return hashlib.sha256("".join((*texts, FAWRY.security_key)).encode()).hexdigest()


def is_authentic(notification: dict[str, Any]) -> bool:
    """Whether a notification is signed as Fawry documents it; numbers are texts here."""
    amounts = [f"{float(notification[name]):.2f}" for name in ("paymentAmount", "orderAmount")]
    before = (notification["fawryRefNumber"], notification["merchantRefNumber"], *amounts)
    after = (notification["orderStatus"], notification["paymentMethod"], notification.get("paymentRefrenceNumber", ""))
    return bool(digest(*before, *after) == notification["messageSignature"])


@asynccontextmanager
async def fawry_shop(folder: Path) -> AsyncIterator[FawryShop]:
    """Run a sandbox, a receiver of its notifications at two addresses, and a shop."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        shop = FawryShop(http, folder)
        application = web.Application()
        application.router.add_post("/hooks/fawry", shop.receive)
        application.router.add_post("/own", shop.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here = f"http://127.0.0.1:{runner.addresses[0][1]}"
        shop.config, shop.own_hook = replace(shop.config, webhooks=f"{here}/hooks"), f"{here}/own"
        try:
            await shop.start()
            yield shop
        finally:
            await shop.stop()
            await runner.cleanup()
