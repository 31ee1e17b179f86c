"""Who is calling: the verified principal, and the context in which one request runs.

A ``Principal`` is what a verified token says; ``Ctx`` is that principal narrowed to one tenant,
and the first argument of everything that touches stored data. A ``Ctx`` can only be had through
``act_for``, so no code path exists without a tenant check. Nothing here reads a token or a header.
"""

from dataclasses import dataclass
from typing import Final

from tellstream.core.errors import RequestError

# Every scope this server knows; tokens may carry others, which grant nothing.
SCOPES: Final = ("chat", "streams:all", "usage", "admin")


class InsufficientScopeError(RequestError):
    """403 ``insufficient_scope``; ``scope`` is the one that would have been needed."""

    def __init__(self, scope: str) -> None:
        super().__init__("insufficient_scope", reason=f"needs scope {scope}")
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Ctx:
    """The caller of one request, acting for one tenant it was found to be allowed to act for."""

    tenant: int
    subject: str
    client: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Return if the token carries exactly ``scope`` (RFC 6750 section 3.1).

        Raises:
            InsufficientScopeError: 403, when it does not.
        """
        if scope not in self.scopes:  # R12: exact membership, never a prefix
            raise InsufficientScopeError(scope)


@dataclass(frozen=True, slots=True)
class Principal:
    """What one verified access token says.

    Attributes:
        tenants: every tenant the token may act for; may be empty.
        subject: the token's ``sub``.
        client: the OAuth client the token was issued to.
        scopes: the scopes of the token.
        expires_at: Unix seconds.
        token_id: the token's ``jti``, the key of a revocation.
    """

    tenants: frozenset[int]
    subject: str
    client: str
    scopes: frozenset[str]
    expires_at: int
    token_id: str

    def act_for(self, tenant: int) -> Ctx:
        """Narrow to ``tenant``, as selected by the request.

        Raises:
            RequestError: 403 ``forbidden``, the same for an existing and an unknown tenant: nothing
                here looks a tenant up.
        """
        if tenant not in self.tenants:
            raise RequestError("forbidden", reason="tenant not in the token")
        return Ctx(tenant, self.subject, self.client, self.scopes)
