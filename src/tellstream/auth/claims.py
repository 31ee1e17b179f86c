"""Typed access to the claims of a parsed token: each function takes one claim or refuses it.

A claim of the wrong type is a ``ValueError`` whose text names the rule and never the value, so it
can be logged. Which claims a token needs is decided in ``tokens.py``.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from tellstream.auth.tenants import MAX_TENANT

Claims: TypeAlias = Mapping[str, object]

# OpenID Connect Core section 2 allows 255 characters for "sub"; client and token ids need no more.
MAX_TEXT_CHARS: Final = 255
# Beyond it a float cannot count seconds; also keeps infinities and huge integers out of arithmetic.
_MAX_TIME: Final = 2**53


def text(claims: Claims, name: str) -> str:
    """Take a required, non-empty string without control characters or lone surrogates."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT_CHARS:
        raise ValueError(f"R9: {name} is missing or not a short string")
    if not value.isprintable():  # a database or a log would choke on it
        raise ValueError(f"R9: {name} has unprintable characters")
    return value


def time(claims: Claims, name: str) -> float:
    """Take a required NumericDate (RFC 7519 section 2), Unix seconds."""
    value = claims.get(name)
    # R10: bool is an int in Python; NaN and infinities fail the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
        raise ValueError(f"R10: {name} is missing or not a time")
    return value


def audience(claims: Claims) -> list[str]:
    """Take the required ``aud``: a string, or a list of strings (RFC 7519 section 4.1.3)."""
    value = claims.get("aud")
    return [value] if isinstance(value, str) else _strings(value, "R9: aud")


def scopes(claims: Claims, name: str) -> frozenset[str]:
    """Take the optional scope claim: ``scope`` is split on single spaces, ``scp`` is a list."""
    value = claims.get(name)
    if value is None:
        return frozenset()
    if name == "scp":
        return frozenset(_strings(value, "R12: scp"))
    if not isinstance(value, str):
        raise ValueError("R12: scope is not a string")  # noqa: TRY004 - one kind of error
    # R12: no split() without argument, which would also cut at tabs and Unicode spaces.
    return frozenset(value.split(" ")) - {""}


def tenants(claims: Claims, name: str) -> frozenset[int]:
    """Take the optional list of tenant numbers, 1..2^63-1; absent means none."""
    value = claims.get(name, [])
    if not isinstance(value, list):
        raise ValueError("tenant claim is not a list")  # noqa: TRY004 - one kind of error
    for tenant in value:
        if type(tenant) is not int or not 0 < tenant <= MAX_TENANT:  # nor True, which is an int
            raise ValueError("tenant claim holds something else than tenant numbers")
    return frozenset(value)


def _strings(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{what} is not made of strings")
    return value
