"""The contract of the limits of a tenant. Every check-and-take is atomic over all workers."""

from typing import Protocol

import msgspec

from tellstream.core.errors import RequestError


class RateDecision(msgspec.Struct, frozen=True):
    """Whether a request may pass.

    Attributes:
        headers: the ``X-RateLimit-*`` fields of the response, also of a refusal.
        refusal: ``rate_limit_exceeded``, or None if the request may pass.
    """

    headers: dict[str, str]
    refusal: RequestError | None = None


class Limits(Protocol):
    """Requests per minute, concurrent streams and tokens per day."""

    def take_request(self, tenant: int, per_minute: int) -> RateDecision:
        """Count one request."""

    def check_tokens(self, tenant: int, per_day: int | None) -> None:
        """Check that the tenant has tokens left today (UTC).

        Raises:
            RequestError: ``quota_exceeded``.
        """

    def settle_tokens(self, tenant: int, tokens: int) -> None:
        """Count the tokens of a finished stream."""

    def take_stream(self, tenant: int, at_most: int | None) -> None:
        """Take one of the tenant's concurrent streams; give it back with ``release_stream``.

        Raises:
            RequestError: ``concurrency_limit_exceeded``.
        """

    def release_stream(self, tenant: int) -> None:
        """Give a stream back."""
