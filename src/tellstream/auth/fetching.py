"""What the authentication code asks of the network: one document from one configured address.

The contract only; ``http_fetch.py`` keeps it over HTTP. Whoever calls decides which address, and
takes it from configuration or from a document of the configured issuer, never from a token.
"""

from collections.abc import Mapping
from typing import Protocol


class FetchError(Exception):
    """No document; the text says why in constant words and quotes nothing that was received."""


class Fetch(Protocol):
    """Fetches small documents: bounded in time and size, without following redirects."""

    async def get(self, url: str, max_bytes: int) -> bytes:
        """Fetch the document at ``url``.

        Raises:
            FetchError: no answer in time, any other status than 200, more than ``max_bytes``, or
                an address that must not be connected to.
        """
        ...

    async def post(
        self, url: str, max_bytes: int, form: Mapping[str, str], authorization: str
    ) -> bytes:
        """Send ``form`` to ``url`` with this ``Authorization`` header and fetch the answer.

        Raises:
            FetchError: as for ``get``.
        """
        ...
