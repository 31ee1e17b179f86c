"""What both drivers share of HTTP: the client's options, and its errors as ours."""

import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx2

from tellstream.client.effects import Broken, Request
from tellstream.client.policy import (
    KEEP_IDLE_SECONDS,
    KEPT_CONNECTIONS,
    MAX_CONNECTIONS,
    Timeouts,
)

_UNSENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
)
"""Failures before the first byte of the request."""


def options(
    url: str, tenant: int, timeouts: Timeouts, verify: ssl.SSLContext | bool
) -> dict[str, Any]:
    """Build the arguments of an HTTP client.

    Raises:
        ValueError: ``url`` is not an HTTP address.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"{url!r} is not an address: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    return {
        "base_url": parsed,
        "headers": {
            "X-Tenant": str(tenant),
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # compressed frames would wait for each other
            "User-Agent": "tellstream-python",
        },
        "limits": httpx2.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEEP_IDLE_SECONDS,
        ),
        "timeout": httpx2.Timeout(
            connect=timeouts.connect,
            read=timeouts.read,
            write=timeouts.write,
            pool=timeouts.connect,
        ),
        "trust_env": False,
        # Certificates take a while to load; without TLS (redirects are not followed) none is used.
        "verify": verify if parsed.scheme == "https" else False,
    }


def arguments(request: Request, token: str, timeouts: Timeouts) -> dict[str, Any]:
    """Build the arguments of one request."""
    timeout = httpx2.Timeout(
        connect=timeouts.connect,
        read=request.read_seconds or timeouts.read,
        write=timeouts.write,
        pool=timeouts.connect,
    )
    headers: Mapping[str, str] = {**request.headers, "Authorization": f"Bearer {token}"}
    return {
        "method": request.method,
        "url": request.path,
        "headers": headers,
        "content": request.body,
        "timeout": timeout,
    }


@contextmanager
def failures() -> Generator[None]:
    """Turn what the HTTP library raises into ``Broken``."""
    try:
        yield
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Broken(reason, sent=not isinstance(error, _UNSENT)) from error
