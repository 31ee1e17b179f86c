"""OAuth clients: registered, and deleted with everything that was issued to them."""

from collections.abc import Collection
from typing import NamedTuple

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.administration.problems import invalid
from tellstream.auth import grants
from tellstream.auth.client_store import StoredClients
from tellstream.auth.clients import GRANT_TYPES, OAuthClient, new_client
from tellstream.auth.positions import Position
from tellstream.core.errors import RequestError


class NewClient(NamedTuple):
    """A client that was registered.

    Attributes:
        client: as it is stored.
        secret: cannot be had again; None: it is public.
    """

    client: OAuthClient
    secret: str | None


class Clients:
    """Acts on clients. An administrator of a tenant has those that act for this tenant alone.

    Args:
        desk: where they are done.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(
        self, actor: Actor, after: Position | None, limit: int
    ) -> tuple[list[OAuthClient], Position | None]:
        """List clients, oldest first.

        Args:
            actor: who asks.
            after: where to go on.
            limit: at most so many.

        Returns:
            Clients, and where to go on; None if that was all.

        Raises:
            ServerError: the store cannot be used.
        """
        found = await self._desk.read(
            actor, lambda act: StoredClients(act).page(actor.ctx, after, limit + 1)
        )
        last = found[limit - 1] if len(found) > limit else None
        more = None if last is None else Position(last.created_at, last.client_id)
        return found[:limit], more

    async def get(self, actor: Actor, client_id: str) -> OAuthClient:
        """Show a client.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """
        return await self._desk.read(actor, lambda act: _managed(act, client_id))

    async def create(
        self,
        actor: Actor,
        name: str,
        redirect_uris: Collection[str],
        scopes: Collection[str],
        tenants: Collection[int],
        *,
        public: bool = False,
        grant_types: Collection[str] = GRANT_TYPES,
        pkce_required: bool = True,
    ) -> NewClient:
        """Register a client.

        Raises:
            RequestError: ``forbidden``, tenants that the actor does not manage;
                ``validation_error``.
            ServerError: the store cannot be used.
        """
        actor.require_tenants(tenants)
        try:
            made = NewClient(
                *new_client(
                    name,
                    redirect_uris,
                    scopes,
                    tenants,
                    public=public,
                    grant_types=grant_types,
                    pkce_required=pkce_required,
                    now=self._desk.clock(),
                )
            )
        except ValueError as error:
            raise invalid("client", str(error)) from error

        def work(act: Act) -> None:
            StoredClients(act).insert(made.client)
            act.record("client.created", made.client.client_id, _whose(made.client), name=name)

        await self._desk.act(actor, work)
        return made

    async def delete(self, actor: Actor, client_id: str) -> None:
        """Delete a client; its tokens, and what people granted it, end with it.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """

        def work(act: Act) -> None:
            client = _managed(act, client_id)
            StoredClients(act).delete(client_id)
            ended = grants.end_grants_to(act, client_id)
            whose = _whose(client)
            act.record("client.deleted", client_id, whose, name=client.name, grants=ended)

        await self._desk.act(actor, work)


def _managed(act: Act, client_id: str) -> OAuthClient:
    found = StoredClients(act).managed(act.actor.ctx, client_id)
    if found is None:
        raise RequestError("not_found")
    return found


def _whose(client: OAuthClient) -> int | None:
    return next(iter(client.tenants)) if len(client.tenants) == 1 else None
