"""Which network addresses an outbound connection may go to (server-side request forgery).

Addresses are judged, never their spelling: a name, ``127.1`` or ``0x7f.1`` is first resolved. IPv6
forms that carry an IPv4 address are judged by that one. Resolving is ``http_fetch.py``'s business.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address

_NAT64: Final = ip_network("64:ff9b::/96")  # RFC 6052
_COMPATIBLE: Final = ip_network("::/96")  # RFC 4291 section 2.5.5.1
# Not for us, although ipaddress calls (some of) their addresses global, on some versions of Python.
_REFUSED: Final = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # the platform service of a large cloud, reachable from its machines
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # NAT64 of the local network, RFC 8215
        "fec0::/10",  # site-local
    )
)


def check_url(url: str) -> None:
    """Refuse an address to fetch that is not https, or http on an explicit loopback host.

    Raises:
        ValueError: with a constant text.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # its text would quote the address
        raise ValueError("the address is not a URL") from None
    # What is left of urlsplit's generosity: it drops line ends, and others read "\\" as "/".
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("the address is not a URL")
    if not host or "@" in parts.netloc or parts.fragment:
        raise ValueError("the address has no host, a user or a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback_host(host)):
        raise ValueError("the address is neither https nor http on a loopback address")


def is_loopback_host(host: str) -> bool:
    """Whether ``host``, as written, says that it is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_connect(host: str, address: str) -> bool:
    """Whether to connect to ``address``, one that ``host`` resolved to.

    Args:
        host: as configured.
        address: numeric; a scope (``%eth0``) is allowed.
    """
    real = _unwrapped(ip_address(address))
    return real.is_loopback if is_loopback_host(host) else _is_public(real)


def _unwrapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.is_loopback:  # lies in ::/96
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or address in _COMPATIBLE):
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _REFUSED)
    )
