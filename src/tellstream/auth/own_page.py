"""The client that needs no registration: the pages of this server itself, for people.

It is in no table. It exists wherever the embedded authorization server does, may send codes to the
address of the chat page and nowhere else, and acts for whatever tenants there are now: what a
person gets is never more than the person has. An operator cannot edit or delete it by mistake.
"""

from collections.abc import Callable, Collection
from typing import Final

from tellstream.auth.clients import Clients, OAuthClient

PAGE_CLIENT_ID: Final = "tellstream-page"
"""Known to the pages. Registered clients have ids of 32 hexadecimal digits, so none can be it."""
_NAME: Final = "Tellstream"
_SCOPES: Final = frozenset({"chat", "usage"})  # no page needs more
_GRANTS: Final = frozenset({"authorization_code", "refresh_token"})


class OwnPage:
    """The pages of this server as an OAuth client: public, PKCE required.

    Args:
        public_url: where the server is reached; the pages are below it.
        tenants: gives the tenants there are now.
    """

    def __init__(self, public_url: str, tenants: Callable[[], Collection[int]]) -> None:
        self._redirect_uri = f"{public_url}/"
        self._tenants = tenants

    @property
    def client(self) -> OAuthClient:
        """The registration, as it would be."""
        return OAuthClient(
            client_id=PAGE_CLIENT_ID,
            name=_NAME,
            redirect_uris=(self._redirect_uri,),
            scopes=_SCOPES,
            tenants=frozenset(self._tenants()),
            secret_sha256=None,
            grant_types=_GRANTS,
        )

    def beside(self, registered: Clients) -> Clients:
        """Give the registered clients and this one."""
        return _Beside(self, registered)


class _Beside:
    def __init__(self, page: OwnPage, registered: Clients) -> None:
        self._page = page
        self._registered = registered

    def get(self, client_id: str) -> OAuthClient | None:
        """Give the client with this id, if it may be used."""
        if client_id == PAGE_CLIENT_ID:
            return self._page.client
        return self._registered.get(client_id)
