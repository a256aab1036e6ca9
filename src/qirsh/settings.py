"""Configuration: qirsh.toml, overridden by the environment. The only place that reads either."""

import os
import re
import tomllib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import urlsplit

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from qirsh.gateways.registry import installed
from qirsh.kept import RetentionSettings
from qirsh.methods import Method
from qirsh.money import EXPONENTS
from qirsh.routing import ANY

SANDBOX_PREFIX: Final = "sandbox_"
"""How every secret of the sandbox begins, so that none can pass for a real one."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")

CONFIG_NAME: Final = "qirsh.toml"


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message names each key and how to mend it."""


class LimitSettings(BaseModel):
    """How much is too much. 0: no limit. Not set: the number beside it, and no limit in `qirsh dev`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drafts_per_minute: int | None = Field(default=None, ge=0, le=10_000)  # 60
    """New drafts from one client address."""
    prompts_per_10_minutes: int | None = Field(default=None, ge=0, le=10_000)  # 5
    """New drafts that prompt or text one phone."""


class Settings(BaseSettings):
    """Every key of the contract that this release serves. Durations in seconds, addresses as origins or URLs.

    `load` adds a section for each gateway that is installed, by its name.
    """

    model_config = SettingsConfigDict(
        env_prefix="QIRSH_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    dev: bool = False
    """Set by `qirsh dev` alone: sandbox secrets, plain http and loopback return addresses are allowed."""
    database_url: SecretStr = SecretStr("")  # URLs carry passwords
    database_pool: int = Field(default=10, ge=2, le=100)
    redis_url: SecretStr = SecretStr("")
    public_url: str = "http://127.0.0.1:8000"
    shop_origins: tuple[str, ...] = ()
    operator_key: SecretStr = SecretStr("")
    fulfilment_url: str = ""
    fulfilment_secrets: tuple[SecretStr, ...] = ()
    fulfilment_allow_private: bool = False
    routes: dict[Method, dict[str, tuple[str, ...]]] = {}
    """Method → currency, or `*` for the others → gateways in order; each replaces the built-in one."""
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    reconcile_daily: bool = True
    """Whether one of the workers asks the PSPs once a day; who runs `qirsh reconcile` by himself may do without."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses and networks of the proxies whose X-Forwarded-For says who asks."""
    sandbox_url: str = ""
    """Where `qirsh dev` runs the sandbox, whose clock is followed. Refused in production."""

    @property
    def gateways(self) -> dict[str, BaseModel]:
        """The credentials of each gateway that is configured, by its name."""
        found = {name: getattr(self, name, None) for name in installed()}
        return {name: credentials for name, credentials in found.items() if credentials is not None}

    @property
    def drafts_per_minute(self) -> int:
        """The limit that is in force; 0: none."""
        return self._limit(self.limits.drafts_per_minute, 60)

    @property
    def prompts_per_10_minutes(self) -> int:
        """The limit that is in force; 0: none."""
        return self._limit(self.limits.prompts_per_10_minutes, 5)

    def _limit(self, written: int | None, usual: int) -> int:
        return written if written is not None else 0 if self.dev else usual

    @field_validator("shop_origins")
    @classmethod
    def _only_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or not parts.netloc
                or "@" in parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(f"{origin!r} is not an origin: write it like https://shop.example")
        return origins

    @field_validator("fulfilment_secrets")
    @classmethod
    def _only_keys(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            prefix, _, key = secret.get_secret_value().partition("_")
            try:
                usable = prefix == "whsec" and b64decode(f"{key}==", validate=False) and _BASE64.fullmatch(key)
            except ValueError:
                usable = False
            if not usable:
                raise ValueError("each must be whsec_ and a key in base64, as `openssl rand -base64 24` makes one")
        return secrets

    @field_validator("trusted_proxies")
    @classmethod
    def _only_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                network = ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no address or network: write it like 10.0.0.5 or 10.0.0.0/24") from None
            if not network.prefixlen:
                raise ValueError(f"{proxy!r} is everybody: any client could then choose its own address")
        return proxies

    @field_validator("routes")
    @classmethod
    def _only_routes(cls, routes: dict[Method, dict[str, tuple[str, ...]]]) -> dict[Method, dict[str, tuple[str, ...]]]:
        if wrong := [
            f"{method}.{currency} {complaint}"
            for method, by_currency in routes.items()
            for currency, gateways in by_currency.items()
            for complaint in _wrong_in_route(currency, gateways)
        ]:
            raise ValueError("; ".join(wrong))
        return routes

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        if self.fulfilment_url and not self.fulfilment_secrets:
            raise ValueError("fulfilment_url is set and fulfilment_secrets is not: a shop could not tell who announces")
        if not self.dev:
            if not self.fulfilment_allow_private and _is_private(urlsplit(self.fulfilment_url).hostname or ""):
                raise ValueError("fulfilment_url is a private address: set fulfilment_allow_private if that is meant")
            if self.sandbox_url:
                raise ValueError("sandbox_url is for `qirsh dev` only: remove it")
            for name, secret in _secrets(self):
                if secret.startswith(SANDBOX_PREFIX):
                    raise ValueError(f"{name} is a sandbox secret: put the real one in its place")
        return self


def load(
    file: Path | None = None,
    *,
    defaults: Mapping[str, object] = MappingProxyType({}),
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """Read the configuration: `overrides`, then the environment, then the file, then `defaults`.

    The file is the one that QIRSH_CONFIG names, else `file` where it exists.

    Raises:
        ConfigurationError: a key is unknown, missing or wrong; the message says which.
    """
    if taken := sorted(installed().keys() & Settings.model_fields.keys()):
        raise ConfigurationError(f"A gateway cannot be called {taken[0]}, which is a key of ours: remove its package.")
    named = os.environ.get("QIRSH_CONFIG")
    known = {f"QIRSH_{name.upper()}" for name in (*Settings.model_fields, *installed(), "config")}
    unknown = {
        name for name in os.environ if name.startswith("QIRSH_") and name.upper().partition("__")[0] not in known
    }
    if unknown:
        raise ConfigurationError(f"No such key in the configuration: {', '.join(sorted(unknown))}.")
    path = Path(named) if named else file
    if named and not Path(named).is_file():
        raise ConfigurationError(f"QIRSH_CONFIG names {named}, which is not a file.")

    class Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  a signature of pydantic-settings
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                TomlConfigSettingsSource(settings_cls, path),
                InitSettingsSource(settings_cls, dict(defaults)),
            )

    sections: dict[str, Any] = {name: (kind.credentials | None, None) for name, kind in installed().items()}
    whole: type[Any] = create_model("Settings", __base__=Sources, **sections)
    try:
        return cast("Settings", whole(**overrides))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, one['loc'])) or 'configuration'}: {_complaint(one)}" for one in error.errors()]
        raise ConfigurationError("The configuration cannot be used:\n" + "\n".join(lines)) from None
    except SettingsError as error:
        # Its message names the key and not the value, which may be a secret; what caused it quotes the value.
        raise ConfigurationError(f"The configuration cannot be used: {error}. Write lists as JSON.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}.") from None


def _complaint(error: ErrorDetails) -> str:
    """What is wrong with one key. A section that nobody knows is mostly that of a gateway that is not installed."""
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"no such key, and no gateway of this name is installed: there are {', '.join(installed())}"
    return error["msg"]


def write(settings: Settings, file: Path) -> None:
    """Write every key that is set, secrets in clear, so only its owner may read the file."""
    keys = plain(settings.model_dump(exclude_none=True))
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.chmod(0o600)
    new.write_text(
        "# Written by `qirsh dev` at each start; the other commands read it with --data-dir.\n" + tomli_w.dumps(keys)
    )
    new.replace(file)  # at once, so that a kill in between loses no key that yesterday's shop trusts


def plain(value: Any) -> Any:  # noqa: ANN401  nested plain data in, the same with secrets opened out
    """Open the secrets in dumped settings. For files and processes of the same owner only."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def _wrong_in_route(currency: str, gateways: tuple[str, ...]) -> Iterator[str]:
    """What cannot be meant in one route. A gateway without credentials is not wrong there: it is passed over."""
    if currency != ANY and currency not in EXPONENTS:
        # The environment folds the case of its names, so a currency is written in the value there.
        yield f"""is for no ISO 4217 currency: write EGP, or {ANY} (or QIRSH_ROUTES__CARD='{{"EGP": …}}')"""
    for name in sorted(set(gateways)):
        if name not in installed():
            yield f"names {name}, which is not installed: there are {', '.join(installed())}"
        if gateways.count(name) > 1:
            yield f"names {name} twice"


def _is_private(host: str) -> bool:
    """Whether a host is written as an address that only its own network reaches."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False  # a name; where it leads is looked at with each announcement


def _secrets(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every secret in the settings by its dotted name."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                yield prefix + name, one.get_secret_value()
            elif isinstance(one, BaseModel):
                yield from _secrets(one, f"{prefix}{name}.")
