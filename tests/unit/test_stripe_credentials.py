"""Stripe's section of the configuration: read from file and environment, whole, and never a sandbox's in production."""

from typing import Any

import pytest

from qirsh.settings import ConfigurationError, load
from qirsh_sandbox import StripeConfig

KEYS: dict[str, Any] = {"secret_key": "sk_live_1", "webhook_secrets": ["whsec_1"]}


def test_the_environment_takes_a_list_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one while a secret is rolled."""
    monkeypatch.setenv("QIRSH_STRIPE__SECRET_KEY", "sk_live_1")
    monkeypatch.setenv("QIRSH_STRIPE__WEBHOOK_SECRETS", '["whsec_new", "whsec_old"]')
    found = load().gateways["stripe"].model_dump()
    assert [secret.get_secret_value() for secret in found["webhook_secrets"]] == ["whsec_new", "whsec_old"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"webhook_secrets": []}, "stripe.webhook_secrets"),
        ({"webhook_secrets": None}, "stripe.webhook_secrets"),
        ({"secret_key": None}, "stripe.secret_key"),
        ({"webhook_secret": "whsec_1"}, "stripe.webhook_secret"),
        ({"secret_key": StripeConfig().secret_key}, "stripe.secret_key is a sandbox secret"),
        ({"webhook_secrets": list(StripeConfig().webhook_secrets)}, "stripe.webhook_secrets is a sandbox secret"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changes: dict[str, Any], named: str) -> None:
    """A server that starts half configured would take money and believe nobody."""
    keys = {name: value for name, value in {**KEYS, **changes}.items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        load(overrides={"stripe": keys})
    assert named in str(caught.value)
    assert "sk_live_1" not in str(caught.value)


def test_in_development_the_sandboxs_keys_are_taken_and_are_of_test_mode() -> None:
    """`qirsh dev` fills them in, and both sides must tell the same mode from the same key."""
    ours = {"secret_key": StripeConfig().secret_key, "webhook_secrets": list(StripeConfig().webhook_secrets)}
    credentials: Any = load(overrides={"dev": True, "stripe": ours}).gateways["stripe"]
    assert credentials.livemode is StripeConfig().livemode is False
    live: Any = load(overrides={"stripe": KEYS}).gateways["stripe"]
    assert live.livemode is StripeConfig(secret_key="sk_live_1").livemode is True
