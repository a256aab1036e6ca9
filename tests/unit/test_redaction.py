"""No secret is shown: not by a repr, not by an error, not by a refused configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from unit_drafts import draft_in
from unit_support import SOURCE, SURROUNDINGS

from qirsh.draft import State
from qirsh.errors import (
    GatewayError,
    GatewayMisconfigured,
    GatewayOutcomeUnknown,
    GatewayProtocolError,
    GatewayRejected,
    GatewayUnavailable,
    PspAnswer,
)
from qirsh.gateways.base import Delivery
from qirsh.gateways.http import PspClient
from qirsh.gateways.paymob import Credentials, Paymob
from qirsh.gateways.paypal import Credentials as PaypalCredentials
from qirsh.settings import ConfigurationError, Settings, load, write
from qirsh_sandbox import PaymobConfig, SandboxConfig

SECRET = "hush4f9a1c"
"""In every place here that holds a secret: it must never be seen."""

PAYMOB = {
    "api_key": f"api_{SECRET}",
    "secret_key": f"secret_{SECRET}",
    "hmac_secret": f"hmac_{SECRET}",
    "public_key": "egy_pk_shown_to_browsers",
    "card_integration_id": 1,
    "iframe_id": 2,
}
CONFIGURED: dict[str, Any] = {
    "operator_key": f"operator_{SECRET}",
    "fulfilment_url": "https://shop.example/fulfilments",
    "fulfilment_secrets": [f"whsec_{SECRET}", f"whsec_old0{SECRET}"],
    "paymob": PAYMOB,
}
HIDDEN = ("api_key", "secret_key", "hmac_secret", "password", "operator_key", "security_key", "client_secret")


def shown(thing: object) -> str:
    """Every way in which a log line or a debugger could show a thing."""
    return f"{thing} {thing!r} {[thing]} {{'thing': {thing!r}}}"


def settings(**changes: Any) -> Settings:
    """Settings in which every secret is set."""
    return load(overrides={**CONFIGURED, **changes})


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (Credentials, {"api_key": SECRET, "hmac_secret": SECRET, "card_integration_id": 1}),
        (Credentials, {"api_key": SECRET, "hmac_secret": SECRET, "flow": "intention"}),
        (PaypalCredentials, {"client_id": SECRET, "client_secret": SECRET}),
    ],
)
def test_refused_credentials_quote_no_secret(model: type[Any], keys: dict[str, Any]) -> None:
    """Pydantic quotes what it refuses, and a missing key makes that the whole account."""
    with pytest.raises(ValidationError) as refusal:
        model(**keys)
    assert SECRET not in shown(refusal.value)


def test_an_empty_secret_key_is_refused_in_either_flow() -> None:
    """A key that is set and empty is a mistake, and would only show once the flow is changed."""
    with pytest.raises(ValidationError, match="secret_key"):
        Credentials(api_key=SecretStr("a"), hmac_secret=SecretStr("b"), secret_key=SecretStr(""))


def test_settings_show_no_secret() -> None:
    """They are printed by the doctor, by a debugger and by whoever is in a hurry."""
    configured = settings()
    assert SECRET not in shown(configured)
    assert SECRET not in str(configured.model_dump())
    assert SECRET not in configured.model_dump_json()
    assert configured.operator_key.get_secret_value() == f"operator_{SECRET}"


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
def test_settings_show_no_password_of_an_address(name: str) -> None:
    """A database's address has its password inside."""
    assert SECRET not in shown(settings(**{name: f"postgresql://qirsh:{SECRET}@db.example/qirsh"}))


def test_every_field_that_sounds_secret_is_one() -> None:
    """A new credential typed as plain text would be in every repr from then on."""
    for model in (Settings, Credentials):
        for name, field in model.model_fields.items():
            if any(word in name for word in HIDDEN) or name.endswith(("_secret", "_secrets")):
                assert "SecretStr" in str(field.annotation), f"{model.__name__}.{name}"


def test_credentials_and_what_holds_them_show_no_secret() -> None:
    """The gateway and its account live as long as the server, so they are in every traceback's locals."""
    credentials = Credentials.model_validate(PAYMOB)
    gateway = Paymob(credentials, SURROUNDINGS)
    for thing in (credentials, gateway, gateway.profile, PspClient("https://psp.example", psp="Psp", plain_http=False)):
        assert SECRET not in shown(thing)


def test_the_sandbox_shows_no_secret_either() -> None:
    """In `qirsh dev` it may hold the developer's real ones."""
    paymob = PaymobConfig(api_key=SECRET, secret_key=SECRET, hmac_secret=SECRET)
    assert SECRET not in shown(paymob)
    assert SECRET not in shown(
        SandboxConfig(state_file=Path("sandbox.sqlite3"), accounts={"paymob": {"api_key": SECRET}})
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"paymob": {**PAYMOB, "card_integration_id": "none"}},
        {"paymob": {**PAYMOB, "card_integration_id": -1}},
        {"paymob": {**PAYMOB, "hmac_secret": ""}},
        {"paymob": {**PAYMOB, "api_key": [SECRET]}},
        {"paymob": {**PAYMOB, "unknown": SECRET}},
        {"paymob": {name: value for name, value in PAYMOB.items() if name != "hmac_secret"}},
        {"paymob": SECRET},
        {"fulfilment_secrets": SECRET},
        {"fulfilment_secrets": [1, SECRET]},
        {"operator_key": [SECRET]},
        {"database_pool": "many"},
        {"unknown": SECRET},
        {"shop_origins": ["shop.example"]},
        {"sandbox_url": "http://127.0.0.1:8001"},
        {"paymob": {**PAYMOB, "api_key": f"sandbox_{SECRET}"}},
        {"operator_key": f"sandbox_{SECRET}"},
    ],
    ids=lambda wrong: str(wrong).replace(SECRET, "…")[:60],
)
def test_a_refused_configuration_names_the_key_and_not_its_value(wrong: dict[str, Any]) -> None:
    """The message goes to a terminal, a ticket, a chat; pydantic's own would quote the input."""
    with pytest.raises(ConfigurationError) as refused:
        settings(**wrong)
    assert SECRET not in shown(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    (name,) = wrong
    assert name in str(refused.value)


def test_the_written_configuration_is_its_owners_alone(tmp_path: Path) -> None:
    """There the secrets stand in clear, for the other commands to read; nobody else on the machine may."""
    file = tmp_path / "qirsh.toml"
    file.write_text("old")
    file.chmod(0o644)
    write(settings(), file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load(file).model_dump() == settings().model_dump()


@pytest.mark.parametrize(
    "error",
    [GatewayUnavailable, GatewayRejected, GatewayOutcomeUnknown, GatewayProtocolError, GatewayMisconfigured],
)
def test_a_gateway_error_does_not_show_the_psps_answer(error: type[GatewayError]) -> None:
    """Its body holds the payer's name, address and card."""
    raised = error("Paymob refused the request.")
    raised.answer = PspAnswer(400, {"billing_data": {"first_name": SECRET}})
    assert SECRET not in shown(raised)
    assert SECRET not in shown(raised.answer)
    assert SECRET not in str(raised.args)


def test_a_delivery_does_not_show_its_signature() -> None:
    """A valid signature in a log is one that anybody can send again."""
    assert SECRET not in shown(Delivery(b"{}", {"paypal-transmission-sig": SECRET}, {"hmac": SECRET}))


def test_a_draft_holds_no_secret_of_ours() -> None:
    """Drafts are logged, journalled and shown to operators; what they say of payers is theirs to see."""
    fields = set(draft_in(State.COMPLETED).__struct_fields__)
    assert not {field for field in fields if any(word in field for word in (*HIDDEN, "secret", "token", "signature"))}


def test_no_log_line_takes_a_body_a_secret_or_a_traceback_of_ours() -> None:
    """What is logged is named here once: one place prints a traceback, for bugs, and none prints what was sent."""
    suspicious = (
        "body=",
        "secret=",
        "key=",
        "hmac=",
        "signature=",
        "answer=",
        "headers=",
        "request=",
        "payer=",
        "query=",
    )
    for file, line in _log_lines():
        assert not any(f" {word}" in line or f"({word}" in line for word in suspicious), f"{file}: {line}"
        assert "exc_info" not in line or file == "problems.py", f"{file}: {line}"


def _log_lines() -> Iterator[tuple[str, str]]:
    for file in sorted((SOURCE / "qirsh").rglob("*.py")):
        for line in file.read_text("utf-8").splitlines():
            if "_log." in line or "log(" in line:
                yield file.name, line.strip()
