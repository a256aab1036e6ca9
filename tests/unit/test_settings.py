"""The configuration: who wins, what is refused, and that no secret is ever in a message."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import tomli_w
from pydantic import SecretStr

from qirsh.gateways.paymob import Credentials
from qirsh.methods import Method
from qirsh.settings import CONFIG_NAME, ConfigurationError, Settings, load, write

PAYMOB: Final = {"api_key": "live-api-key-1a2b", "hmac_secret": "live-hmac-3c4d"}
SHOP: Final = {"fulfilment_url": "https://shop.example/paid", "fulfilment_secrets": ["whsec_live5e6f"]}
SECRETS: Final = (
    "live-api-key-1a2b",
    "live-hmac-3c4d",
    "whsec_live5e6f",
    "live-operator-7a8b",
    "live-secret-9c0d",
    "live-database-pw",
)
Config = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_surprises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own QIRSH_… variables are not part of a test."""
    for name in [name for name in os.environ if name.startswith("QIRSH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Write a qirsh.toml."""

    def write_it(**keys: Any) -> Path:
        path = tmp_path / CONFIG_NAME
        path.write_text(tomli_w.dumps(keys))
        return path

    return write_it


def test_nothing_configured_is_a_server_without_gateways() -> None:
    """`qirsh serve` on an empty machine starts; a gateway whose credentials are absent is not offered."""
    settings = load()
    assert (settings.gateways, settings.dev, settings.database_url, settings.redis_url) == (
        {},
        False,
        SecretStr(""),
        SecretStr(""),
    )


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers override a file, the file overrides what `qirsh dev` fills in, and what it must have beats all."""
    file = config(public_url="https://file.example", redis_url="redis://file", database_pool=7)
    monkeypatch.setenv("QIRSH_PUBLIC_URL", "https://environment.example")
    monkeypatch.setenv("QIRSH_DATABASE_URL", "postgresql://environment")
    defaults = {
        "public_url": "https://default.example",
        "redis_url": "redis://default",
        "shop_origins": ["https://d.e"],
    }

    settings = load(file, defaults=defaults, overrides={"database_url": "postgresql://override"})

    assert settings.public_url == "https://environment.example"
    assert (settings.redis_url.get_secret_value(), settings.database_pool) == ("redis://file", 7)
    assert settings.shop_origins == ("https://d.e",)
    assert settings.database_url.get_secret_value() == "postgresql://override"


def test_one_nested_key_from_the_environment_joins_the_others_from_the_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QIRSH_PAYMOB__API_KEY replaces that key alone: secrets from a vault, the rest from a file."""
    file = config(paymob={**PAYMOB, "card_integration_id": 11})
    monkeypatch.setenv("QIRSH_PAYMOB__API_KEY", "key-of-the-environment")
    monkeypatch.setenv("QIRSH_PAYMOB__IFRAME_ID", "22")

    paymob = paymob_of(load(file, defaults={"paymob": {"iframe_id": 33, "wallet_integration_id": 44}}))

    assert paymob.api_key.get_secret_value() == "key-of-the-environment"
    assert paymob.hmac_secret.get_secret_value() == PAYMOB["hmac_secret"]
    assert (paymob.card_integration_id, paymob.iframe_id, paymob.wallet_integration_id) == (11, 22, 44)


def test_a_gateway_may_be_configured_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container has no file."""
    monkeypatch.setenv("QIRSH_PAYMOB__API_KEY", "a")
    monkeypatch.setenv("QIRSH_PAYMOB__HMAC_SECRET", "h")
    monkeypatch.setenv("QIRSH_SHOP_ORIGINS", '["https://shop.example"]')
    settings = load()
    assert paymob_of(settings).api_key.get_secret_value() == "a"
    assert settings.shop_origins == ("https://shop.example",)


def test_the_file_that_qirsh_config_names_is_read_instead(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said on purpose; the one in the data directory is only found."""
    found = config(public_url="https://found.example", redis_url="redis://found")
    named = tmp_path / "named.toml"
    named.write_text('public_url = "https://named.example"\n')
    monkeypatch.setenv("QIRSH_CONFIG", str(named))
    settings = load(found)
    assert (settings.public_url, settings.redis_url.get_secret_value()) == ("https://named.example", "")


def test_qirsh_config_naming_a_missing_file_is_refused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in a path would otherwise start a server without gateways."""
    monkeypatch.setenv("QIRSH_CONFIG", str(tmp_path / "mispelt.toml"))
    with pytest.raises(ConfigurationError, match=r"QIRSH_CONFIG.*mispelt\.toml"):
        load(config(public_url="https://found.example"))


def test_a_file_that_was_only_looked_for_may_be_missing(tmp_path: Path) -> None:
    """The data directory is empty before the first start."""
    assert load(tmp_path / CONFIG_NAME).gateways == {}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"operatorkey": "x"}, "operatorkey"),
        ({"paymob": {**PAYMOB, "hmac": "x"}}, "paymob.hmac"),
        ({"paymbo": PAYMOB}, "paymbo"),
        ({"paymob": {"api_key": "live-api-key-1a2b"}}, "paymob.hmac_secret"),
        ({"paymob": {"hmac_secret": "live-hmac-3c4d"}}, "paymob.api_key"),
        ({"paymob": {**PAYMOB, "hmac_secret": ""}}, "paymob.hmac_secret"),
        ({"paymob": {**PAYMOB, "api_key": ""}}, "paymob.api_key"),
        ({"paymob": {**PAYMOB, "card_integration_id": 0}}, "paymob.card_integration_id"),
        ({"paymob": {**PAYMOB, "card_integration_id": "live-secret-9c0d"}}, "paymob.card_integration_id"),
        ({"paymob": {**PAYMOB, "flow": "live-secret-9c0d"}}, "paymob.flow"),
        ({"paymob": {**PAYMOB, "hmac_secret": ["live-secret-9c0d"]}}, "paymob.hmac_secret"),
        ({"paymob": "live-secret-9c0d"}, "paymob"),
        ({"operator_key": ["live-operator-7a8b"]}, "operator_key"),
        ({"fulfilment_secrets": "live-secret-9c0d"}, "fulfilment_secrets"),
        ({"fulfilment_url": "https://shop.example/paid"}, "fulfilment_secrets"),
        ({**SHOP, "fulfilment_secrets": []}, "fulfilment_secrets"),
        ({"operator_key": "sandbox_operator"}, "operator_key"),
        ({**SHOP, "fulfilment_secrets": ["whsec_live5e6f", "sandbox_secret"]}, "fulfilment_secrets"),
        ({"paymob": {**PAYMOB, "api_key": "sandbox_paymob_api_key"}}, "paymob.api_key"),
        ({"paymob": {**PAYMOB, "secret_key": "sandbox_paymob_secret_key"}}, "paymob.secret_key"),
        ({"paymob": {**PAYMOB, "hmac_secret": "sandbox_paymob_hmac_secret"}}, "paymob.hmac_secret"),
        ({"sandbox_url": "http://127.0.0.1:8001"}, "sandbox_url"),
        ({"database_pool": 1}, "database_pool"),
        ({"database_pool": "many"}, "database_pool"),
        ({"limits": {"drafts_per_minute": -1}}, "limits.drafts_per_minute"),
        ({"limits": {"prompts_per_10_minutes": "some"}}, "limits.prompts_per_10_minutes"),
        ({"limits": {"drafts": 60}}, "limits.drafts"),
        ({"retention": {"journal_days": 29}}, "retention.journal_days"),
        ({"retention": {"deliveries_days": 1}}, "retention.deliveries_days"),
        ({"retention": {"payer_days": -1}}, "retention.payer_days"),
        ({"retention": {"years": 10}}, "retention.years"),
        ({"trusted_proxies": ["proxy.example"]}, "trusted_proxies"),
        ({"trusted_proxies": ["*"]}, "trusted_proxies"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "trusted_proxies"),
        ({"trusted_proxies": ["::/0"]}, "trusted_proxies"),
        ({"trusted_proxies": ["10.0.0.5/24"]}, "trusted_proxies"),
        ({"routes": {"crad": {"EGP": ["paymob"]}}}, "routes.crad"),
        ({"routes": {"card": {"egp": ["paymob"]}}}, "card.egp"),
        ({"routes": {"card": {"XXX": ["paymob"]}}}, "card.XXX"),
        ({"routes": {"card": {"": ["paymob"]}}}, "routes"),
        ({"routes": {"card": {"EGP": ["paymbo"]}}}, "card.EGP names paymbo"),
        ({"routes": {"card": {"*": ["paymob", "paymob"]}}}, "card.* names paymob twice"),
        ({"routes": {"card": {"EGP": "paymob"}}}, "routes.card.EGP"),
        ({"routes": {"card": ["paymob"]}}, "routes.card"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused_by_its_name_and_without_any_secret(
    config: Config, keys: dict[str, Any], named: str
) -> None:
    """Half-configured, mistyped or still the sandbox's: it does not start, and the sentence says which key."""
    with pytest.raises(ConfigurationError) as refusal:
        load(config(**{"operator_key": "live-operator-7a8b", "paymob": PAYMOB, **keys}))
    said = str(refusal.value)
    assert named in said
    assert [secret for secret in SECRETS if secret in said] == []
    assert "sandbox_paymob" not in said
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_every_wrong_key_is_named_at_once(config: Config) -> None:
    """Mending one only to hear of the next is how an evening goes."""
    with pytest.raises(ConfigurationError) as refusal:
        load(config(nonsense=1, database_pool=0, paymob={"api_key": "a"}))
    for name in ("nonsense", "database_pool", "paymob.hmac_secret"):
        assert name in str(refusal.value)


@pytest.mark.parametrize(("name", "value"), [("HMAC_SECRET", ""), ("NONSENSE", "x"), ("CARD_INTEGRATION_ID", "card")])
def test_a_wrong_nested_key_in_the_environment_is_refused_too(
    config: Config, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """An empty secret from a vault that forgot it is half a configuration: an empty key would let anyone sign."""
    monkeypatch.setenv(f"QIRSH_PAYMOB__{name}", value)
    with pytest.raises(ConfigurationError, match=f"paymob.{name.lower()}"):
        load(config(paymob=PAYMOB))


def test_a_list_in_the_environment_that_is_none_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The natural way to write one origin; whoever does must hear what is expected, not see a trace."""
    monkeypatch.setenv("QIRSH_SHOP_ORIGINS", "https://shop.example")
    with pytest.raises(ConfigurationError, match="shop_origins"):
        load()


def test_a_secret_list_in_the_environment_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same mistake with secrets, whose value must not reach a log."""
    monkeypatch.setenv("QIRSH_FULFILMENT_SECRETS", "whsec_live5e6f")
    with pytest.raises(ConfigurationError, match="fulfilment_secrets") as refusal:
        load()
    assert "live5e6f" not in str(refusal.value)


def test_a_file_that_is_no_toml_is_refused_by_its_name(tmp_path: Path) -> None:
    """Edited by hand, so it will happen."""
    file = tmp_path / CONFIG_NAME
    file.write_text('operator_key = "live-operator-7a8b\n')
    with pytest.raises(ConfigurationError, match=CONFIG_NAME) as refusal:
        load(file)
    assert "live-operator" not in str(refusal.value)


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://shop.example/",
        "https://shop.example/thanks",
        "https://shop.example?x=1",
        "https://",
        "https://user@shop.example",
        "*",
        "ftp://shop.example",
        "javascript:alert(1)",
        "",
        "null",
    ],
)
def test_what_is_no_origin_is_refused(config: Config, origin: str) -> None:
    """Browsers send exactly scheme and host: anything else would never match, or match too much."""
    with pytest.raises(ConfigurationError, match="shop_origins"):
        load(config(shop_origins=["https://good.example", origin]))


@pytest.mark.parametrize("origin", ["https://shop.example", "http://localhost:3000", "https://xn--4gbrim.example:8443"])
def test_origins_are_kept_as_written(config: Config, origin: str) -> None:
    """They are compared with what the browser says, byte by byte."""
    assert load(config(shop_origins=[origin])).shop_origins == (origin,)


def test_routes_may_name_a_gateway_that_has_no_credentials_yet(config: Config) -> None:
    """It is installed, so the name is no slip; it is not offered until its section is there."""
    settings = load(config(routes={"card": {"EGP": ["paypal", "paymob"], "*": []}, "kiosk": {"EGP": []}}))
    assert settings.routes == {
        Method.CARD: {"EGP": ("paypal", "paymob"), "*": ()},
        Method.KIOSK: {"EGP": ()},
    }


def test_a_route_from_the_environment_joins_the_others_from_the_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every nested key does; its value is JSON, since the environment folds the case of names."""
    file = config(routes={"card": {"EGP": ["paymob"], "*": ["paypal"]}, "kiosk": {"EGP": []}})
    monkeypatch.setenv("QIRSH_ROUTES__CARD", '{"EGP": ["paypal", "paymob"]}')
    assert load(file).routes == {
        Method.CARD: {"EGP": ("paypal", "paymob"), "*": ("paypal",)},
        Method.KIOSK: {"EGP": ()},
    }


def test_every_wrong_route_is_named_at_once(config: Config) -> None:
    """A table is mended in one go."""
    with pytest.raises(ConfigurationError) as refusal:
        load(config(routes={"card": {"egp": ["paymbo"]}, "kiosk": {"EGP": ["fwary"]}}))
    for name in ("card.egp is for no", "card.egp names paymbo", "kiosk.EGP names fwary"):
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("keys", "in_force"),
    [
        ({}, (60, 5)),
        ({"dev": True}, (0, 0)),
        ({"limits": {"drafts_per_minute": 0}}, (0, 5)),
        ({"limits": {"prompts_per_10_minutes": 0}}, (60, 0)),
        ({"dev": True, "limits": {"drafts_per_minute": 7}}, (7, 0)),
    ],
)
def test_limits_are_on_unless_it_is_dev_or_they_are_switched_off(
    config: Config, keys: dict[str, Any], in_force: tuple[int, int]
) -> None:
    """A developer must not run into them, an operator need not know of them, and who writes a number means it."""
    settings = load(config(**keys))
    assert (settings.drafts_per_minute, settings.prompts_per_10_minutes) == in_force


def test_what_is_kept_for_how_long_has_a_default_and_zero_is_for_ever(config: Config) -> None:
    """A shop that writes nothing keeps its books for a year and its payers for a month."""
    usual = load(config()).retention
    assert (usual.journal_days, usual.deliveries_days, usual.payer_days) == (400, 90, 30)
    changed = load(config(retention={"journal_days": 0, "deliveries_days": 30})).retention
    assert (changed.journal_days, changed.deliveries_days, changed.payer_days) == (0, 30, 30)


def test_the_sandboxs_secrets_are_fine_in_dev(config: Config) -> None:
    """`qirsh dev` lives by them."""
    sandbox = {"api_key": "sandbox_a", "hmac_secret": "sandbox_h"}
    settings = load(config(dev=True, sandbox_url="http://127.0.0.1:8001", paymob=sandbox))
    assert paymob_of(settings).api_key.get_secret_value() == "sandbox_a"


def test_no_secret_is_in_what_a_log_or_a_trace_would_print(config: Config) -> None:
    """Settings pass through many hands, and any may be printed when something fails."""
    database = "postgresql://qirsh:live-database-pw@db.example/qirsh"
    paymob = {**PAYMOB, "secret_key": "live-secret-9c0d"}
    settings = load(config(operator_key="live-operator-7a8b", **SHOP, database_url=database, paymob=paymob))
    for printed in (repr(settings), str(settings), repr(settings.gateways), repr(settings.model_dump())):
        assert [secret for secret in SECRETS if secret in printed] == []


def test_settings_cannot_be_changed(config: Config) -> None:
    """What was checked at the start is what is used."""
    settings = load(config(paymob=PAYMOB))
    with pytest.raises(ValueError, match="frozen"):
        settings.dev = True


def test_what_is_written_is_read_back_the_same(config: Config, tmp_path: Path) -> None:
    """`qirsh dev` writes the file that every other command reads."""
    settings = load(
        config(
            operator_key="live-operator-7a8b",
            shop_origins=["https://a.example", "https://b.example"],
            database_pool=5,
            limits={"drafts_per_minute": 30},
            trusted_proxies=["10.0.0.0/24", "2001:db8::1"],
            routes={"card": {"EGP": ["paypal"], "*": []}},
            **SHOP,
            paymob={**PAYMOB, "card_integration_id": 1, "iframe_id": 2, "base_url": "https://psp.example"},
        )
    )
    file = tmp_path / "written.toml"

    write(settings, file)
    again = load(file)

    assert again.model_dump() == settings.model_dump()
    assert secrets_of(again) == secrets_of(settings)


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_the_written_file_is_its_owners_alone(config: Config, tmp_path: Path, mode: int | None) -> None:
    """Also when an editor left it open to everybody, or the umask would."""
    file = tmp_path / "written.toml"
    if mode is not None:
        file.touch()
        file.chmod(mode)
    before = os.umask(0)
    try:
        write(load(config(operator_key="live-operator-7a8b")), file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "live-operator-7a8b" in file.read_text()


def paymob_of(settings: Settings) -> Credentials:
    """Paymob's section."""
    credentials = settings.gateways["paymob"]
    assert isinstance(credentials, Credentials)
    return credentials


def secrets_of(settings: Settings) -> list[str]:
    """The secrets in clear, which equality of dumps compares as well, but not visibly."""
    paymob = paymob_of(settings)
    secrets = [
        settings.operator_key,
        *settings.fulfilment_secrets,
        paymob.api_key,
        paymob.hmac_secret,
    ]
    return [secret.get_secret_value() for secret in secrets]


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.5", "192.168.1.1", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_a_private_fulfilment_address_is_refused_unless_it_is_meant(config: Config, host: str) -> None:
    """An announcement posted to a cloud's metadata service is a hole; one to the shop beside us may be wanted."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    keys = {"fulfilment_url": f"http://{host}/fulfilments", "fulfilment_secrets": [secret]}
    with pytest.raises(ConfigurationError, match="fulfilment_allow_private"):
        load(config(**keys))
    assert load(config(**keys, fulfilment_allow_private=True)).fulfilment_allow_private
