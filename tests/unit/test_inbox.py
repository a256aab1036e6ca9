"""What is kept of a delivery: enough to verify it once more, and nothing that is secret."""

import json

import pytest

from qirsh.gateways.base import Delivery
from qirsh.store.inbox import Heard

HEADERS = {
    "content-type": "application/json",
    "x-signature": "s",
    "textpay-key-id": "1",
    "authorization": "Bearer key",
    "cookie": "c",
}


@pytest.mark.parametrize(("named", "more"), [("x-signature", {"x-signature"}), ("authorization", set()), (None, set())])
def test_the_header_that_a_gateway_names_is_kept(named: str | None, more: set[str]) -> None:
    """A PSP may sign in a header that does not begin with its name; without it no replay is believed."""
    delivery = Delivery(b"{}", HEADERS, {}, signature_header=named)

    _, headers, _ = Heard("textpay", "event-1", delivery).kept()

    assert set(json.loads(headers)) == {"content-type", "textpay-key-id", *more}
