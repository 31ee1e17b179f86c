"""Where a request comes from, also behind proxies that we were told to believe."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from tellstream.server.call import Call

Network: TypeAlias = IPv4Network | IPv6Network


class ClientAddress:
    """Tells the address of the client of a request.

    ``X-Forwarded-For`` is read from its end, past the proxies that are trusted; what stands before
    the first other address, anybody could have written.

    Args:
        trusted: addresses and networks of proxies, such as ``127.0.0.1`` and ``10.0.0.0/8``.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(text) for text in trusted)

    def __call__(self, call: Call) -> str:
        """Give the address; "" for a connection that has none."""
        peer = call.scope.get("client")
        address = str(peer[0]) if peer else ""
        if not self._is_trusted(address):
            return address
        lines = [v.decode("latin-1") for name, v in call.headers if name == b"x-forwarded-for"]
        for hop in reversed([hop.strip() for line in lines for hop in line.split(",")]):
            if not _is_address(hop):
                return address
            address = hop
            if not self._is_trusted(hop):
                return hop
        return address

    def _is_trusted(self, text: str) -> bool:
        return _is_address(text) and any(ip_address(text) in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
