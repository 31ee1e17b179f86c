"""The table of endpoints, and with it the routes below ``/v1/admin``."""

from typing import Final

from tellstream.server.admin import bodies
from tellstream.server.admin import endpoints as do
from tellstream.server.admin.endpoint import NO_CONTENT, Endpoint

_PAGE: Final = ("cursor", "limit")
_TENANT: Final = ("tenant",)

ENDPOINTS: Final = (
    Endpoint("GET", "/tenants", do.list_tenants, "The stored tenants", query=_PAGE),
    Endpoint(
        "POST",
        "/tenants",
        do.create_tenant,
        "Store a tenant",
        201,
        bodies.TenantBody,
        operator=True,
    ),
    Endpoint("GET", "/tenants/{id}", do.get_tenant, "A stored tenant"),
    Endpoint(
        "PATCH",
        "/tenants/{id}",
        do.update_tenant,
        "Change a tenant; its limits only as the operator",
        body=bodies.TenantPatch,
    ),
    Endpoint("POST", "/tenants/{id}/suspend", do.suspend_tenant, "Suspend a tenant", operator=True),
    Endpoint("POST", "/tenants/{id}/resume", do.resume_tenant, "Let a tenant go on", operator=True),
    Endpoint("GET", "/clients", do.list_clients, "The OAuth clients", query=_PAGE),
    Endpoint(
        "POST",
        "/clients",
        do.create_client,
        "Register an OAuth client; the answer shows its secret, once",
        201,
        bodies.ClientBody,
    ),
    Endpoint("GET", "/clients/{id}", do.get_client, "An OAuth client"),
    Endpoint(
        "DELETE",
        "/clients/{id}",
        do.delete_client,
        "Delete an OAuth client with its grants and tokens",
        NO_CONTENT,
    ),
    Endpoint("GET", "/users", do.list_users, "The users", query=_PAGE),
    Endpoint("POST", "/users", do.create_user, "Create a user", 201, bodies.UserBody),
    Endpoint("GET", "/users/{id}", do.get_user, "A user"),
    Endpoint(
        "PUT",
        "/users/{id}/password",
        do.set_password,
        "Give a user another password; sessions and grants end",
        NO_CONTENT,
        bodies.PasswordBody,
    ),
    Endpoint(
        "DELETE",
        "/users/{id}",
        do.delete_user,
        "Delete a user with sessions and grants",
        NO_CONTENT,
    ),
    Endpoint(
        "GET",
        "/credentials",
        do.list_credentials,
        "The tenant's own keys for providers, without the keys",
        query=_TENANT,
    ),
    Endpoint(
        "GET",
        "/credentials/{provider}",
        do.get_credential,
        "What may be shown of one of them",
        query=_TENANT,
    ),
    Endpoint(
        "PUT",
        "/credentials/{provider}",
        do.put_credential,
        "Store the tenant's own key for a provider",
        body=bodies.CredentialBody,
        query=_TENANT,
    ),
    Endpoint(
        "DELETE",
        "/credentials/{provider}",
        do.delete_credential,
        "Delete it; the configured key counts again",
        NO_CONTENT,
        query=_TENANT,
    ),
    Endpoint(
        "GET", "/audit", do.list_events, "The audit log, newest first", query=(*_TENANT, *_PAGE)
    ),
    Endpoint("GET", "/keys", do.list_keys, "The keys that sign access tokens", operator=True),
    Endpoint(
        "POST",
        "/keys/rotate",
        do.rotate_keys,
        "Publish a new signing key, which signs some minutes later",
        operator=True,
    ),
    Endpoint(
        "POST",
        "/secrets/rotate",
        do.rotate_secrets,
        "Encrypt all secrets anew with a new master key",
        body=bodies.SecretsBody,
        operator=True,
    ),
)

ADMIN_ROUTES: Final = tuple(endpoint.route for endpoint in ENDPOINTS)
