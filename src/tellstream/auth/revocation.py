"""What ``POST /oauth/revoke`` does to a token (RFC 7009, rule A15)."""

from tellstream.auth.clients import OAuthClient
from tellstream.auth.grants import revoke_grant, revoke_key
from tellstream.auth.issuers import MAX_CLOCK_SKEW_SECONDS
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.refresh_tokens import find_grant
from tellstream.auth.token_grants import TokenContext
from tellstream.auth.tokens import TokenVerifier
from tellstream.auth.transactions import AuthEvent
from tellstream.core.errors import RequestError


def revoke(context: TokenContext, client: OAuthClient, token: str) -> None:
    """Revoke a token of ``client``: a refresh token ends its whole grant, an access token itself.

    An unknown or dead token changes nothing. ``token_type_hint`` is not needed: the two kinds
    cannot be mistaken for each other.

    Raises:
        OAuthError: ``invalid_grant``, the token is another client's.
    """
    tx = context.tx
    grant = find_grant(tx, token)
    if grant is not None:
        _check_owner(client, grant.client_id)
        revoke_grant(tx, grant, AuthEvent("grant.revoked", client.client_id, grant.user_id))
        return
    try:
        principal = TokenVerifier([context.issuer]).verify(token, tx.now)
    except RequestError:
        return  # nothing that would be accepted anywhere
    _check_owner(client, principal.client)
    event = AuthEvent("access_token.revoked", client.client_id, principal.subject)
    expires_at = principal.expires_at + 2 * MAX_CLOCK_SKEW_SECONDS
    revoke_key(tx, f"jti:{principal.token_id}", expires_at)
    tx.events.append(event)


def _check_owner(client: OAuthClient, owner: str) -> None:
    if owner != client.client_id:
        raise OAuthError("invalid_grant", "the token belongs to another client")
