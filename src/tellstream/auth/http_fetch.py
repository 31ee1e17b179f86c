"""``Fetch`` over HTTP/1.1: the only file of this room that opens a connection.

A name is resolved once, every address it has is judged, and the connection goes to a judged address
under the original name (``Host``, TLS), so an answer that changes between the check and the
connection gains nothing. No redirects, no proxies or credentials from the environment, no
compression, no connection that is used twice: the pool knows addresses, not names.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import httpx2

from tellstream.auth.addresses import check_url, may_connect
from tellstream.auth.fetching import FetchError

TOTAL_SECONDS: Final = 5.0
"""For one document: name, connection, TLS and body."""
MAX_CONNECTIONS: Final = 32
"""At once, to all issuers; further ones wait within their total."""
MAX_ADDRESSES: Final = 4
"""Of one name that are tried, one after the other, if they cannot be connected to."""

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Look up the numeric addresses of ``host``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HttpFetch:
    """Fetches documents. Close it at the end.

    Args:
        tls: whom to trust; the system's authorities by default.
        resolve: how to look up a name.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._client = httpx2.AsyncClient(
            verify=tls or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # the total covers everything
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, url: str, max_bytes: int) -> bytes:
        """Fetch the document at ``url``; see ``Fetch``."""
        return await self._fetch("GET", url, max_bytes, {}, None)

    async def post(
        self, url: str, max_bytes: int, form: Mapping[str, str], authorization: str
    ) -> bytes:
        """Send ``form`` to ``url`` and fetch the answer; see ``Fetch``."""
        return await self._fetch("POST", url, max_bytes, {"Authorization": authorization}, form)

    async def _fetch(
        self,
        method: str,
        url: str,
        max_bytes: int,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
    ) -> bytes:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                check_url(url)
                target = httpx2.URL(url)
                host = target.raw_host.decode("ascii")  # not .host, which decodes xn-- labels
                for address in await self._addresses(host, target):
                    request = self._client.build_request(
                        method,
                        target.copy_with(host=address),
                        headers={
                            "Host": target.netloc.decode("ascii"),
                            "Accept": "application/json",
                            "Accept-Encoding": "identity",
                            **headers,
                        },
                        data=form,
                        extensions={"sni_hostname": host},
                    )
                    try:
                        return await self._exchange(request, max_bytes)
                    except httpx2.ConnectError:
                        continue  # nothing was sent: another address may do
                raise FetchError("no connection")
        except TimeoutError as error:
            raise FetchError("no answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            raise FetchError("the connection failed") from error
        except ValueError as error:
            raise FetchError(str(error)) from error

    async def _addresses(self, host: str, target: httpx2.URL) -> list[str]:
        """Resolve a host, once, and judge every address it has."""
        port = target.port or {"http": 80, "https": 443}[target.scheme]
        try:
            found = await self._resolve(host, port)
        except UnicodeError as error:  # a label that is no host name
            raise FetchError("the name cannot be resolved") from error
        if not all(may_connect(host, address) for address in found):
            raise FetchError("the name leads to an address that is not public")
        return list(dict.fromkeys(found))[:MAX_ADDRESSES]

    async def _exchange(self, request: httpx2.Request, max_bytes: int) -> bytes:
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != httpx2.codes.OK:  # redirects, too
                raise FetchError(f"status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchError("the body is encoded")
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > max_bytes:
                    raise FetchError("the document is too large")
            return body
        finally:
            await response.aclose()
