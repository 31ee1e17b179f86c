"""Where an authorization response may go: rule A2; and how it is written: rule A6.

A redirect is compared as text, never parsed: two URL parsers can disagree, two strings cannot.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote, urlencode

MAX_URI_CHARS: Final = 2000
"""Far above any real one; what is longer some browsers cut."""

# https to a plain host name, or http to this machine (RFC 8252 section 7.3). No fragment, user,
# wildcard or backslash can match.
_REGISTRABLE: Final = re.compile(
    r"(?:https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|http://(?:127\.0\.0\.1|\[::1\]))"
    r"(?::[0-9]{1,5})?/[A-Za-z0-9._~!$&'()+,;=:@%/?-]*"
)
_LOOPBACK: Final = re.compile(
    r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([1-9][0-9]{0,4}))?(/[^\s\\#]*)"
)
_MAX_PORT: Final = 65535


def registrable(uri: str) -> bool:
    """Whether ``uri`` may be registered as a redirect URI."""
    return len(uri) <= MAX_URI_CHARS and _REGISTRABLE.fullmatch(uri) is not None


def is_registered(uri: str, registered: Collection[str]) -> bool:
    """Whether ``uri`` is one of ``registered``; on a loopback address the port may differ."""
    if uri in registered:
        return True
    asked = _without_port(uri)
    return asked is not None and asked in map(_without_port, registered)


def is_loopback(uri: str) -> bool:
    """Whether any program on the user's machine could be listening there."""
    return _LOOPBACK.fullmatch(uri) is not None


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """Append ``parameters`` to a redirect URI, which may have a query of its own (A6)."""
    # quote, not quote_plus: some clients decode "+" as itself.
    encoded = urlencode(parameters, quote_via=quote, safe="")
    return f"{uri}{'&' if '?' in uri else '?'}{encoded}"


def _without_port(uri: str) -> tuple[str, str] | None:
    match = _LOOPBACK.fullmatch(uri)
    if match is None or int(match[2] or 0) > _MAX_PORT:
        return None
    return match[1], match[3]
