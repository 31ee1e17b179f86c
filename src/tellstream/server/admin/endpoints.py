"""What each endpoint does: a few lines each."""

from typing import Any

from tellstream.administration.tenants import Tenant
from tellstream.auth.positions import Position
from tellstream.server.admin import shown
from tellstream.server.admin.asked import (
    NO_TENANT,
    Asked,
    Page,
    number_cursor,
    row_cursor,
    tenants,
    written_cursor,
)


async def list_tenants(asked: Asked) -> Page:
    """List tenants."""
    after = number_cursor(asked.query.get("cursor")) or 0
    found, more = await asked.acts.tenants.list(asked.actor, after, asked.limit)
    return Page(found, None if more is None else written_cursor(more))


async def create_tenant(asked: Asked) -> Tenant:
    """Store a tenant."""
    values = {name: value for name, value in asked.body.given.items() if name != "id"}
    return await asked.acts.tenants.create(asked.actor, asked.body.id, values)


async def get_tenant(asked: Asked) -> Tenant:
    """Show a tenant."""
    return await asked.acts.tenants.get(asked.actor, asked.tenant)


async def update_tenant(asked: Asked) -> Tenant:
    """Change a tenant."""
    return await asked.acts.tenants.update(asked.actor, asked.tenant, asked.body.given)


async def suspend_tenant(asked: Asked) -> Tenant:
    """Suspend a tenant."""
    return await asked.acts.tenants.suspend(asked.actor, asked.tenant)


async def resume_tenant(asked: Asked) -> Tenant:
    """Let a tenant go on."""
    return await asked.acts.tenants.resume(asked.actor, asked.tenant)


async def list_clients(asked: Asked) -> Page:
    """List clients."""
    found, more = await asked.acts.clients.list(asked.actor, _after(asked), asked.limit)
    return Page([shown.client(row) for row in found], _cursor(more))


async def create_client(asked: Asked) -> dict[str, Any]:
    """Register a client; shows its secret, once."""
    body = asked.body
    made = await asked.acts.clients.create(
        asked.actor,
        body.name,
        body.redirect_uris,
        frozenset(body.scope.split()),
        tenants(body.tenants, asked.own),
        public=body.public,
        grant_types=body.grant_types,
        pkce_required=body.pkce_required,
    )
    secret = {} if made.secret is None else {"client_secret": made.secret}
    return shown.client(made.client) | secret


async def get_client(asked: Asked) -> dict[str, Any]:
    """Show a client."""
    return shown.client(await asked.acts.clients.get(asked.actor, asked.path["id"]))


async def delete_client(asked: Asked) -> None:
    """Delete a client."""
    await asked.acts.clients.delete(asked.actor, asked.path["id"])


async def list_users(asked: Asked) -> Page:
    """List users."""
    found, more = await asked.acts.users.list(asked.actor, _after(asked), asked.limit)
    return Page([shown.user(row) for row in found], _cursor(more))


async def create_user(asked: Asked) -> dict[str, Any]:
    """Create a user."""
    body = asked.body
    user = await asked.acts.users.create(
        asked.actor,
        body.email,
        body.password,
        tenants(body.tenants, asked.own),
        frozenset(body.scope.split()),
        must_change=body.must_change,
    )
    return shown.user(user)


async def get_user(asked: Asked) -> dict[str, Any]:
    """Show a user."""
    return shown.user(await asked.acts.users.get(asked.actor, asked.path["id"]))


async def set_password(asked: Asked) -> None:
    """Give a user another password."""
    body = asked.body
    await asked.acts.users.set_password(
        asked.actor, asked.path["id"], body.password, must_change=body.must_change
    )


async def delete_user(asked: Asked) -> None:
    """Delete a user."""
    await asked.acts.users.delete(asked.actor, asked.path["id"])


async def list_credentials(asked: Asked) -> Page:
    """List the credentials of a tenant, at most one for each provider."""
    found = await asked.acts.credentials.list(asked.actor, asked.whose)
    return Page([shown.credential(row) for row in found])


async def get_credential(asked: Asked) -> dict[str, Any]:
    """Show a credential."""
    provider = asked.path["provider"]
    return shown.credential(await asked.acts.credentials.get(asked.actor, asked.whose, provider))


async def put_credential(asked: Asked) -> dict[str, Any]:
    """Store a credential."""
    provider, body = asked.path["provider"], asked.body
    put = asked.acts.credentials.put
    return shown.credential(await put(asked.actor, asked.whose, provider, body.label, body.key))


async def delete_credential(asked: Asked) -> None:
    """Delete a credential."""
    await asked.acts.credentials.delete(asked.actor, asked.whose, asked.path["provider"])


async def list_events(asked: Asked) -> Page:
    """Read the audit log."""
    tenant = None if asked.query.get("tenant") == NO_TENANT else asked.whose
    before = number_cursor(asked.query.get("cursor"))
    found, more = await asked.acts.audit.page(asked.actor, tenant, before, asked.limit)
    return Page([shown.event(row) for row in found], None if more is None else written_cursor(more))


async def list_keys(asked: Asked) -> Page:
    """List the signing keys, which are few."""
    return Page([key._asdict() for key in await asked.acts.keys.list(asked.actor)])


async def rotate_keys(asked: Asked) -> dict[str, Any]:
    """Publish a new signing key."""
    return (await asked.acts.keys.rotate(asked.actor))._asdict()


async def rotate_secrets(asked: Asked) -> dict[str, Any]:
    """Rotate the master key."""
    return (await asked.acts.master_key.rotate(asked.actor, asked.body.step))._asdict()


def _after(asked: Asked) -> Position | None:
    found = row_cursor(asked.query.get("cursor"))
    return None if found is None else Position(*found)


def _cursor(more: Position | None) -> str | None:
    return None if more is None else written_cursor(*more)
