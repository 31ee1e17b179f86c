"""OAuth clients in the store."""

import re
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tellstream.auth.clients import OAuthClient
from tellstream.auth.positions import Position, managed, paged
from tellstream.auth.transactions import Transaction
from tellstream.auth.words import joined, numbers, words
from tellstream.core.principals import Ctx
from tellstream.storage.tables_oauth import CONSENTS, OAUTH_CLIENTS

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,100}")  # what else is sent is no client


class StoredClients:
    """The clients, as one transaction sees them."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, client_id: str) -> OAuthClient | None:
        """Give the client with this id; disabled ones are not found."""
        if not _CLIENT_ID.fullmatch(client_id):
            return None
        column = OAUTH_CLIENTS.c
        found = self._tx.connection.execute(
            sa.select(OAUTH_CLIENTS).where(
                column.client_id == client_id, column.disabled_at.is_(None)
            )
        )
        row = found.mappings().first()
        return None if row is None else _client(row)

    def managed(self, ctx: Ctx | None, client_id: str) -> OAuthClient | None:
        """Give a client that a caller manages; None if there is none."""
        client = self.get(client_id)
        if client is None or (ctx is not None and client.tenants != {ctx.tenant}):
            return None
        return client

    def page(self, ctx: Ctx | None, after: Position | None, limit: int) -> list[OAuthClient]:
        """List the clients that a caller manages, oldest first.

        Args:
            ctx: who asks; None: the server itself, which manages all.
            after: where to go on, or None: from the start.
            limit: at most so many.
        """
        column = OAUTH_CLIENTS.c
        selected = sa.select(OAUTH_CLIENTS).where(
            column.disabled_at.is_(None), managed(column.tenants, ctx)
        )
        rows = self._tx.connection.execute(
            paged(selected, column.created_at, column.client_id, after, limit)
        )
        return [_client(row) for row in rows.mappings()]

    def insert(self, client: OAuthClient) -> bool:
        """Store a client; returns whether its id was new."""
        values = msgspec.structs.asdict(client) | {
            "redirect_uris": " ".join(client.redirect_uris),
            "scopes": joined(client.scopes),
            "tenants": joined(client.tenants),
            "grant_types": joined(client.grant_types),
        }
        statement = self._tx.insert(OAUTH_CLIENTS).values(values)
        return self._tx.write(statement.on_conflict_do_nothing(index_elements=["client_id"])) == 1

    def delete(self, client_id: str) -> None:
        """Delete a client, and what people have agreed to for it."""
        execute = self._tx.connection.execute
        execute(sa.delete(OAUTH_CLIENTS).where(OAUTH_CLIENTS.c.client_id == client_id))
        execute(sa.delete(CONSENTS).where(CONSENTS.c.client_id == client_id))


def _client(row: Any) -> OAuthClient:
    values = {name: value for name, value in row.items() if name != "disabled_at"}
    return OAuthClient(
        **values
        | {
            "redirect_uris": tuple(row["redirect_uris"].split()),
            "scopes": words(row["scopes"]),
            "tenants": numbers(row["tenants"]),
            "grant_types": words(row["grant_types"]),
        }
    )
