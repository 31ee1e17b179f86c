"""The scope parameter of OAuth requests (RFC 6749 section 3.3)."""

import re
from typing import Final

from tellstream.auth.oauth_errors import OAuthError

_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")


def asked_scopes(allowed: frozenset[str], asked: str | None) -> frozenset[str]:
    """Give the scopes asked for, or all that are allowed if none were named.

    Raises:
        OAuthError: ``invalid_scope``, more than is allowed.
    """
    if asked is None:
        return allowed
    if not _SCOPE.fullmatch(asked) or not allowed.issuperset(asked.split(" ")):
        raise OAuthError("invalid_scope", "the client may not have these scopes")
    return frozenset(asked.split(" "))
