"""`qirsh dev`: PostgreSQL, the sandbox PSPs, the API, the worker and a demo shop on one machine, in one process."""

import secrets
import sqlite3
import tomllib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qirsh.api.app import create_app
from qirsh.app import running
from qirsh.catalog import Product
from qirsh.database import database
from qirsh.demo.shop import demo_shop
from qirsh.process import for_ever
from qirsh.server import cached, limiting, listening
from qirsh.settings import CONFIG_NAME, Settings, load, plain, write
from qirsh.store.migrate import migrate
from qirsh.working import working
from qirsh_sandbox import SandboxConfig
from qirsh_sandbox import credentials as sandbox_credentials
from qirsh_sandbox import start as start_sandbox

HOST: Final = "127.0.0.1"

PRODUCTS: Final = (
    Product("tshirt", {"en": "T-shirt", "ar": "تي شيرت"}, {"EGP": 30000, "USD": 1000}, purchasable=True),
    Product("mug", {"en": "Coffee mug", "ar": "كوب قهوة"}, {"EGP": 15050, "USD": 500}, purchasable=True),
    Product("ebook", {"en": "E-book", "ar": "كتاب إلكتروني"}, {"EGP": 9999, "USD": 399}, purchasable=True),
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is, once it is ready."""

    shop: str
    api: str
    sandbox: str
    config: Path


async def dev(port: int, sandbox_port: int, data_dir: Path, ready: Callable[[Addresses], None]) -> None:
    """Run it all until a signal; what is in the data dir is found again by the next start."""
    data_dir.mkdir(parents=True, exist_ok=True)
    config = data_dir / CONFIG_NAME
    settings = _settings(port, sandbox_port, config)
    async with database(settings, data_dir) as url, cached(settings) as cache, limiting(settings) as limits:
        await migrate(url)
        try:
            sandbox = await start_sandbox(_sandbox(settings, sandbox_port, data_dir))
        except sqlite3.OperationalError:
            # SQLite's words would not tell: its file is locked as long as its owner lives.
            raise OSError(f"Another `qirsh dev` uses {data_dir}: stop it, or name another with --data-dir.") from None
        try:
            write(settings, config)
            shop = demo_shop([secret.get_secret_value() for secret in settings.fulfilment_secrets])
            app = create_app(settings, lambda: running(settings, url), cache, limits, shop)
            async with listening(app, HOST, port, settings.trusted_proxies), working(app.state.services):
                for product in PRODUCTS:
                    await app.state.services.store.products.put(product, replace=False)
                ready(Addresses(f"{settings.public_url}/", settings.public_url, settings.sandbox_url, config))
                await for_ever()
        finally:
            await sandbox.stop()


def _settings(port: int, sandbox_port: int, config: Path) -> Settings:
    """What the developer set, and the sandbox's values for every PSP key that is not set."""
    sandbox_url = f"http://{HOST}:{sandbox_port}"
    public_url = f"http://{HOST}:{port}"
    yesterday = _read(config)
    defaults = {
        "public_url": public_url,
        "shop_origins": [public_url, f"http://localhost:{port}"],
        "operator_key": yesterday.get("operator_key") or secrets.token_urlsafe(24),
        "fulfilment_url": f"{public_url}/demo/fulfilments",
        "fulfilment_secrets": yesterday.get("fulfilment_secrets")
        or ["whsec_" + b64encode(secrets.token_bytes(24)).decode()],
        **sandbox_credentials(sandbox_url, config.parent),
    }
    # The file in the data dir is this function's own output; reading it back would keep yesterday's ports.
    return load(defaults=defaults, overrides={"dev": True, "sandbox_url": sandbox_url})


def _sandbox(settings: Settings, port: int, data_dir: Path) -> SandboxConfig:
    """The sandbox speaks with the credentials that are in force, and calls where the API listens."""
    return SandboxConfig(
        host=HOST,
        port=port,
        state_file=data_dir / "sandbox.sqlite3",
        webhooks=f"{settings.public_url}/api/payments/webhook-handler",
        returns=f"{settings.public_url}/api/payments/return",
        accounts={name: plain(credentials.model_dump()) for name, credentials in settings.gateways.items()},
    )


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return {}
