"""Who asks: a client's address, as far as it is known and as far as it tells one client from another."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

import structlog

IPV6_PREFIX: Final = 64
"""What one line is given at least: whoever has one address of it has them all."""

_log = structlog.get_logger("qirsh.api.clients")


class Clients:
    """Tells clients apart behind these proxies.

    The server has put the address that a trusted proxy forwarded in the place of the proxy's own, so a proxy's own
    address here is one that forwarded none.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """`trusted_proxies`: addresses or networks."""
        self._proxies = [ip_network(proxy) for proxy in trusted_proxies]
        self._told = False

    def address_of(self, host: str) -> str | None:
        """What to count a client under; None where a proxy does not say who asks: counted, all would be one."""
        try:
            address = ip_address(host)
        except ValueError:
            return host  # what the proxy calls it
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in proxy for proxy in self._proxies):
            if not self._told:
                _log.warning("clients_unknown", proxy=str(address), mend="let it send X-Forwarded-For")
            self._told = True
            return None
        if isinstance(address, IPv6Address):
            return str(ip_network((int(address), IPV6_PREFIX), strict=False))
        return str(address)
