"""Which protocol a client speaks: the route's, or another one that the client is known by."""

from typing import Final

from tellstream.protocols.base import OutputProtocol
from tellstream.protocols.table import OPENAI
from tellstream.server.asgi import RawHeaders
from tellstream.server.route import Route

_OPENAI_AGENTS: Final = (b"OpenAI/", b"AsyncOpenAI/", b"AzureOpenAI/", b"AsyncAzureOpenAI/")


def spoken(route: Route, headers: RawHeaders) -> OutputProtocol:
    """Say which of a route's protocols to use with this client."""
    first, *others = route.protocols
    return OPENAI if OPENAI in others and is_openai_client(headers) else first


def is_openai_client(headers: RawHeaders) -> bool:
    """Whether a request is made by one of OpenAI's own clients.

    They say so in ``User-Agent``; in browsers, which set that themselves, in ``X-Stainless-Lang``.
    """
    return any(
        name == b"x-stainless-lang" or (name == b"user-agent" and value.startswith(_OPENAI_AGENTS))
        for name, value in headers
    )
