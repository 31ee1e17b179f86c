"""The contract of a dialect: a request in, a provider's HTTP request out; bytes in, parts out.

Dialects are sans-IO: no socket, no clock, no sleep, no retry. ``http.py`` does those, once.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.parts import Part
from tellstream.providers.hosts import Host

Sink: TypeAlias = Callable[[bytes], bool]
"""Takes what arrived, without waiting; True: it wants what follows as well."""
_T = TypeVar("_T")

_MAX_COUNT: Final = 2**53
"""Tokens; what every store, and every reader of JSON, holds exactly."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where one configured provider is reached.

    Attributes:
        provider: the configured name.
        base_url: without trailing slash.
        api_key: the secret, or None.
        host: what is known of this host.
    """

    provider: str
    base_url: str
    api_key: str | None
    host: Host

    def headers(self, accept: str) -> dict[str, str]:
        """Build the request headers, credentials included."""
        credentials = self.host.auth_headers(self.api_key) if self.api_key else {}
        return {
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            **dict(self.host.extra_headers),
            **credentials,
        }

    def __repr__(self) -> str:
        """Name the endpoint without its secret."""
        return f"Endpoint({self.provider!r}, {self.base_url!r})"


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A ready HTTP POST; ``headers`` hold the credentials."""

    url: str
    headers: dict[str, str]
    body: bytes


class Decoder(Protocol):
    """Decodes one response body.

    Attributes:
        malformed: lines that were skipped because they could not be decoded.
    """

    malformed: int

    def feed(self, chunk: bytes) -> list[Part]:
        """Decode the next bytes; any split of the same bytes gives the same parts.

        Never raises: bytes that exceed a size cap or make no sense become a ``Failed`` part.
        """

    def eof(self) -> list[Part]:
        """Say what was held back, now that nothing more will come."""


class Dialect(Protocol):
    """One provider wire."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build the provider's request for ``chat``."""

    def decoder(self, endpoint: Endpoint) -> Decoder:
        """Make a decoder for one successful response."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means; ``headers`` have lower-case names."""


class Body(Protocol):
    """The body of one successful response, read as it arrives.

    Attributes:
        broken: why the connection was lost before the end of the body, or None.
    """

    broken: str | None

    def content_seen(self) -> None:
        """Content arrived: from now on silence counts, not the first token timer."""

    def finish_seen(self) -> None:
        """A finish reason arrived: little more will follow, so wait less for it."""

    async def read(self) -> bytes:
        """Read whatever arrived; empty at the end of the body, also if the connection broke.

        Raises:
            ProviderError: a timer expired, or the body is too large.
        """

    async def flow(self, sink: Sink) -> None:
        """Give ``sink`` what arrives, in the call in which it arrives, as long as it wants more.

        Raises:
            ProviderError: as ``read``; what ``sink`` raises.
        """

    def hold(self) -> None:
        """Give the sink nothing more until ``release``; no silence counts meanwhile."""

    def release(self) -> None:
        """Give the sink what arrived meanwhile, and go on."""

    def stop(self) -> None:
        """Let ``flow`` return."""

    async def linger(self) -> None:
        """Read on to the end of the body for a moment, so that the connection can be reused."""


class Caller(Protocol):
    """What opens upstream connections (``http.py``)."""

    def call(
        self, dialect: Dialect, request: UpstreamRequest, total_at: float
    ) -> AbstractAsyncContextManager[Body]:
        """Send ``request``; the body of a successful response is open within the context.

        Args:
            dialect: says what a failed response means.
            request: what to send.
            total_at: loop time at which the stream must be over.

        Raises:
            ProviderError: no usable response.
        """


def field(value: Any, name: str, kind: type[_T]) -> _T | None:
    """Read ``value[name]`` if ``value`` is an object and the member a ``kind``; else None.

    Provider JSON is untrusted: whatever has another type than documented counts as absent.
    """
    if isinstance(value, dict):
        member = value.get(name)
        if isinstance(member, kind) and not (kind is int and isinstance(member, bool)):
            return member
    return None


def items(value: Any, name: str) -> list[Any]:
    """Read a list member; empty if it is absent or not a list."""
    return field(value, name, list) or []


def count(value: Any, name: str) -> int | None:
    """Read a token count: a whole number from 0 to 2^53; None if it is anything else."""
    number = value.get(name) if isinstance(value, dict) else None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _MAX_COUNT:
        return number
    return None
