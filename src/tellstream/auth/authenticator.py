"""From an access token, of any kind and issuer, to the principal it speaks for.

A signed token is verified at once, from memory; only where its issuer's keys do not suffice is the
network awaited, once. Any other text is an opaque token, if an issuer of the selected tenant
answers questions about such; it is shown to that issuer alone.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from tellstream.auth.introspection import Introspector
from tellstream.auth.issuers import NoKeysError, RefreshableKeySource
from tellstream.auth.signatures import MAX_TOKEN_CHARS, UnknownKeyError
from tellstream.auth.tenants import tenant_id
from tellstream.auth.tokens import TokenVerifier
from tellstream.core.errors import RequestError
from tellstream.core.principals import Principal

_DOTS_OF_A_JWT: Final = 2  # RFC 7515 section 3.1


class Authenticator:
    """The resource server's gate for every kind of access token.

    Args:
        verifier: for signed tokens.
        introspectors: for opaque ones; each issuer is bound to tenants.

    Raises:
        ValueError: a tenant with two of them: its tokens would be shown to the wrong one.
    """

    def __init__(self, verifier: TokenVerifier, introspectors: Iterable[Introspector] = ()) -> None:
        self._verifier = verifier
        self._introspectors: dict[int, Introspector] = {}
        for introspector in introspectors:
            for tenant in introspector.issuer.tenants or ():
                if tenant in self._introspectors:
                    raise ValueError(f"two issuers of tenant {tenant} have an introspection_url")
                self._introspectors[tenant] = introspector

    async def principal(
        self, token: str, headers: Sequence[tuple[bytes, bytes]], now: float
    ) -> Principal:
        """Verify an access token; does not suspend when the keys and answers at hand suffice.

        Args:
            token: as received; ASCII.
            headers: raw ASGI headers; ``X-Tenant`` selects who is asked about an opaque token.
            now: Unix seconds.

        Raises:
            RequestError: 401 ``invalid_token``; 400 for an opaque token without a tenant.
            ServerError: 503 ``service_unavailable``: its issuer cannot be reached.
        """
        if self._introspectors and token.count(".") != _DOTS_OF_A_JWT:
            return await self._opaque(token, tenant_id(headers), now)
        try:
            return self._verifier.verify(token, now)
        except (UnknownKeyError, NoKeysError) as error:
            # R3: the issuer is one of ours by now, and where its keys are, no token says.
            source = error.source if isinstance(error, NoKeysError) else error.issuer.key_source
            if not isinstance(source, RefreshableKeySource) or not await source.refresh():
                raise
        return self._verifier.verify(token, now)

    async def _opaque(self, token: str, tenant: int, now: float) -> Principal:
        introspector = self._introspectors.get(tenant)
        if introspector is None:
            raise RequestError("invalid_token", reason="gate: no issuer knows opaque tokens")
        if len(token) > MAX_TOKEN_CHARS or not token.isprintable() or " " in token:
            raise RequestError("invalid_token", reason="gate: not a bearer token")
        return await introspector.principal(token, now)
