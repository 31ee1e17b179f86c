"""Where an issuer publishes its keys, and the document there.

The address is configured, or discovered in the metadata of the configured issuer (OpenID Connect
Discovery, RFC 8414), which must call itself by exactly that name. No token has a say in it.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from tellstream.auth.addresses import check_url, is_loopback_host
from tellstream.auth.fetching import Fetch, FetchError
from tellstream.auth.jwks import MAX_KEY_SET_BYTES
from tellstream.auth.strict_json import parse_object

MAX_METADATA_BYTES: Final = 256 * 1024
"""Of one metadata document; real ones have 1 to 10 KiB."""
REDISCOVER_SECONDS: Final = 24 * 3600.0
"""A discovered address is believed so long; a key set that cannot be had ends it at once."""


class KeySetLocation:
    """Fetches the key set of one issuer.

    Args:
        issuer: its exact identifier.
        jwks_uri: where its keys are; None: discover it.
        fetch: the network.
        clock: seconds, from anywhere, never going back.
    """

    def __init__(
        self, issuer: str, jwks_uri: str | None, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._configured = jwks_uri
        self._fetch = fetch
        self._clock = clock
        self._discovered: tuple[str, float] | None = None

    async def load(self) -> bytes:
        """Fetch the key set.

        Raises:
            FetchError: it cannot be had, or nobody says where it is.
        """
        try:
            return await self._fetch.get(await self._address(), MAX_KEY_SET_BYTES)
        except FetchError:
            self._discovered = None  # it may have moved
            raise

    async def _address(self) -> str:
        if self._configured is not None:
            return self._configured
        now = self._clock()
        if self._discovered is None or now - self._discovered[1] >= REDISCOVER_SECONDS:
            self._discovered = (await self._discover(), now)
        return self._discovered[0]

    async def _discover(self) -> str:
        failure = FetchError("no metadata")
        for url in metadata_urls(self._issuer):
            try:
                return jwks_uri_of(await self._fetch.get(url, MAX_METADATA_BYTES), self._issuer)
            except ValueError as error:
                failure = FetchError(f"metadata: {error}")
            except FetchError as error:
                failure = FetchError(f"metadata: {error}")
        raise failure


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Tell where the metadata of ``issuer`` may be: where OpenID Connect wants it, and RFC 8414."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}",
    )


def jwks_uri_of(metadata: bytes, issuer: str) -> str:
    """Take the address of the key set from the metadata of ``issuer``.

    Raises:
        ValueError: the document is not that issuer's (RFC 8414 section 3.3), or names no address
            that it may name: https, and on this machine only if the issuer is.
    """
    document = parse_object(metadata)
    if document.get("issuer") != issuer:
        raise ValueError("it is another issuer's")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise ValueError("it names no key set")  # noqa: TRY004 - one kind of error
    check_url(uri)
    here, there = urlsplit(issuer).hostname, urlsplit(uri).hostname
    if is_loopback_host(there or "") and not is_loopback_host(here or ""):
        raise ValueError("it names a key set on this machine")
    return uri
