"""The external issuers of a configuration, put together: rows, key sets, introspection.

Nothing is fetched before ``run``. What a row may say is checked where configuration is read.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Literal, Protocol

from pydantic import SecretStr

from tellstream.auth.fetching import Fetch
from tellstream.auth.introspection import Introspector
from tellstream.auth.issuers import Issuer
from tellstream.auth.jwks_cache import JwksCache
from tellstream.auth.key_set_location import KeySetLocation


class IssuerOptions(Protocol):
    """One ``[[auth.issuers]]`` table; each key is explained in the configuration reference."""

    @property
    def issuer(self) -> str: ...  # noqa: D102 - as the class says, for all of them
    @property
    def audience(self) -> str: ...  # noqa: D102
    @property
    def algorithms(self) -> Collection[str]: ...  # noqa: D102
    @property
    def tenant_claim(self) -> str: ...  # noqa: D102
    @property
    def tenants(self) -> Collection[int]: ...  # noqa: D102
    @property
    def jwks_uri(self) -> str | None: ...  # noqa: D102
    @property
    def typ_required(self) -> bool: ...  # noqa: D102
    @property
    def scope_claim(self) -> Literal["scope", "scp"]: ...  # noqa: D102
    @property
    def leeway_seconds(self) -> int: ...  # noqa: D102
    @property
    def max_lifetime(self) -> int: ...  # noqa: D102
    @property
    def introspection_url(self) -> str | None: ...  # noqa: D102
    @property
    def introspection_client_id(self) -> str | None: ...  # noqa: D102
    @property
    def introspection_client_secret(self) -> SecretStr | None: ...  # noqa: D102


class ExternalIssuers:
    """Every external issuer. Run ``run`` while they are used, then ``close`` them.

    Args:
        options: the rows.
        fetch: the network; closed by whoever made it, after this.
        clock: seconds, from anywhere, never going back.

    Attributes:
        issuers: rows for the ``TokenVerifier``.
        introspectors: for the ``Authenticator``.

    Raises:
        ValueError: a row contradicts itself.
    """

    def __init__(
        self, options: Iterable[IssuerOptions], fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        self._caches: list[JwksCache] = []
        self.issuers: list[Issuer] = []
        self.introspectors: list[Introspector] = []
        for row in options:
            location = KeySetLocation(row.issuer, row.jwks_uri, fetch, clock)
            # An issuer of opaque tokens may well have no keys: ask when a signed token comes.
            eager = row.introspection_url is None
            cache = JwksCache(row.issuer, location.load, clock, eager=eager)
            issuer = _issuer(row, cache)
            self._caches.append(cache)
            self.issuers.append(issuer)
            if row.introspection_url is not None:
                self.introspectors.append(_introspector(row, row.introspection_url, issuer, fetch))

    async def run(self) -> None:
        """Keep all key sets fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for cache in self._caches:
                group.create_task(cache.run())

    async def close(self) -> None:
        """Stop what is being fetched."""
        for cache in self._caches:
            await cache.close()
        for introspector in self.introspectors:
            await introspector.close()


def _issuer(row: IssuerOptions, cache: JwksCache) -> Issuer:
    return Issuer(
        issuer=row.issuer,
        audience=row.audience,
        key_source=cache,
        algorithms=frozenset(row.algorithms),
        tenant_claim=row.tenant_claim,
        tenants=frozenset(row.tenants),
        strict_type=row.typ_required,
        max_lifetime=row.max_lifetime,
        leeway=row.leeway_seconds,
        scope_claim=row.scope_claim,
    )


def _introspector(row: IssuerOptions, endpoint: str, issuer: Issuer, fetch: Fetch) -> Introspector:
    secret = row.introspection_client_secret
    if row.introspection_client_id is None or secret is None:
        raise ValueError(f"introspection_url of {row.issuer} needs a client id and a secret")
    client = row.introspection_client_id
    return Introspector(issuer, endpoint, client, secret.get_secret_value(), fetch)
