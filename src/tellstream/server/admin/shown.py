"""How things are shown to administrators, here and on the command line. No secret is."""

from typing import Any

import msgspec

from tellstream.auth.clients import OAuthClient
from tellstream.auth.users import User
from tellstream.storage.audit import AuditEvent
from tellstream.storage.credentials import Credential


def client(row: OAuthClient) -> dict[str, Any]:
    """Show a client."""
    return {
        "client_id": row.client_id,
        "name": row.name,
        "redirect_uris": list(row.redirect_uris),
        "scope": " ".join(sorted(row.scopes)),
        "tenants": sorted(row.tenants),
        "public": row.public,
        "grant_types": sorted(row.grant_types),
        "pkce_required": row.pkce_required,
        "created_at": row.created_at,
    }


def user(row: User) -> dict[str, Any]:
    """Show a user."""
    return {
        "id": row.id,
        "email": row.email,
        "scope": " ".join(sorted(row.scopes)),
        "tenants": sorted(row.tenants),
        "must_change": row.must_change,
        "created_at": row.created_at,
    }


def credential(row: Credential) -> dict[str, Any]:
    """Show a credential."""
    return {
        "provider": row.provider,
        "label": row.label,
        "last4": row.last4,
        "created_at": row.created_at,
    }


def event(row: AuditEvent) -> dict[str, Any]:
    """Show an event."""
    return msgspec.structs.asdict(row)
