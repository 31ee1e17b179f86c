"""The grants of the token endpoint: what each asks of a client, and what it answers.

Each is called with an authenticated client and uses that client's registration and nothing else
that the request says about it (rule A7).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from tellstream.auth import pkce
from tellstream.auth.clients import Clients, OAuthClient
from tellstream.auth.codes import Code, note_grant, redeem_code
from tellstream.auth.grants import Grant, create_grant, revoke_grant
from tellstream.auth.issuers import MAX_TOKEN_LIFETIME_SECONDS, Issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.refresh_tokens import (
    find_refresh_token,
    issue_refresh_token,
    use_refresh_token,
)
from tellstream.auth.scopes import asked_scopes
from tellstream.auth.tokens import sign_token
from tellstream.auth.transactions import AuthEvent, Transaction
from tellstream.auth.users import User, user_by_id

Form: TypeAlias = Mapping[str, str]
Members: TypeAlias = dict[str, str | int]

_INVALID: Final = "the grant is invalid, expired, revoked, used, or not this client's"
"""One text for all cases: which it is, is nobody's business."""


@dataclass(frozen=True, slots=True)
class TokenContext:
    """What a grant works with.

    Attributes:
        issuer: the row of the embedded authorization server.
        keys: its signing keys.
        clients: the registered clients.
        lifetime: of the tokens, seconds.
        transaction: in the store; None: without a store there are no grants of people.
    """

    issuer: Issuer
    keys: SigningKeys
    clients: Clients
    lifetime: int = MAX_TOKEN_LIFETIME_SECONDS
    transaction: Transaction | None = None

    @property
    def tx(self) -> Transaction:
        """The transaction.

        Raises:
            OAuthError: there is none.
        """
        if self.transaction is None:
            raise OAuthError("unsupported_grant_type", "supported: client_credentials")
        return self.transaction


GrantType: TypeAlias = Callable[[TokenContext, OAuthClient, Form, float], Members]


def authorization_code(
    context: TokenContext, client: OAuthClient, form: Form, now: float
) -> Members:
    """Redeem a code (RFC 6749 section 4.1.3; rules A1, A2, A4, A5)."""
    _check_allowed(client, "authorization_code")
    tx = context.tx
    text = _required(form, "code")
    redirect_uri = _required(form, "redirect_uri")
    code = redeem_code(tx, text)
    if code is None or code.client_id != client.client_id or code.redirect_uri != redirect_uri:
        raise OAuthError("invalid_grant", _INVALID)
    _check_verifier(code, form.get("code_verifier"))
    if form.get("resource", code.resource) != code.resource:  # A17
        raise OAuthError("invalid_target", "the code is for another resource")
    user = user_by_id(tx, code.user_id)
    scopes, tenants = _still_granted(client, user, code.scopes, code.tenants)
    grant = create_grant(tx, client.client_id, code.user_id, tenants, code.resource)
    note_grant(tx, text, grant)
    tx.events.append(AuthEvent("code.redeemed", client.client_id, code.user_id))
    answer = _answer(context, grant, scopes, tenants, now)
    if "refresh_token" in client.grant_types:
        answer["refresh_token"] = issue_refresh_token(tx, grant, scopes)
    return answer


def refresh_token(context: TokenContext, client: OAuthClient, form: Form, now: float) -> Members:
    """Use a refresh token (RFC 6749 section 6; rules A9, A10)."""
    _check_allowed(client, "refresh_token")
    _check_resource(context, form)
    tx = context.tx
    used = find_refresh_token(tx, _required(form, "refresh_token"), client.client_id)
    if used is None:
        raise OAuthError("invalid_grant", _INVALID)
    user = user_by_id(tx, used.grant.user_id)
    if user is None:
        event = AuthEvent("grant.revoked", client.client_id, used.grant.user_id, "no such user")
        revoke_grant(tx, used.grant, event)
    scopes, tenants = _still_granted(client, user, used.scopes, used.grant.tenants)
    if used.answer is not None:
        again: Members = msgspec.json.decode(used.answer, type=dict[str, str | int])
        return again
    # The token keeps its scopes (RFC 6749 section 6); what it is used for can only be less.
    asked = asked_scopes(scopes, form.get("scope"))
    answer = _answer(context, used.grant, asked, tenants, now)
    successor = issue_refresh_token(tx, used.grant, scopes, used.token)
    answer["refresh_token"] = successor
    if not use_refresh_token(tx, used, successor, msgspec.json.encode(answer)):
        raise OAuthError("invalid_grant", _INVALID)
    return answer


def client_credentials(
    context: TokenContext, client: OAuthClient, form: Form, now: float
) -> Members:
    """Grant a client a token for itself (RFC 6749 section 4.4, rule A16); no refresh token."""
    if client.public:  # A16: anyone can claim to be a public client
        raise OAuthError("unauthorized_client", "public clients have no client_credentials grant")
    _check_allowed(client, "client_credentials")
    _check_resource(context, form)
    scopes = asked_scopes(client.scopes, form.get("scope"))
    token = sign_token(
        context.keys,
        context.issuer,
        tenants=client.tenants,  # A16: from the registration, never from the request
        subject=client.client_id,
        client=client.client_id,
        scopes=scopes,
        ttl=context.lifetime,
        now=now,
        session=client.client_id,  # so that they die with the client
    )
    return _members(context, token, scopes)


GRANTS: Final[Mapping[str, GrantType]] = {
    "authorization_code": authorization_code,
    "client_credentials": client_credentials,
    "refresh_token": refresh_token,
}


def _check_allowed(client: OAuthClient, grant_type: str) -> None:
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", "the client may not use this grant")


def _check_resource(context: TokenContext, form: Form) -> None:
    """A17: tokens are for this API only (RFC 8707)."""
    if form.get("resource", context.issuer.audience) != context.issuer.audience:
        raise OAuthError("invalid_target", "tokens are issued for this server only")


def _check_verifier(code: Code, verifier: str | None) -> None:
    """A1: the one that belongs to the challenge; none if there was none."""
    if code.challenge is None:
        right = verifier is None
    else:
        right = verifier is not None and pkce.proves(verifier, code.challenge)
    if not right:
        raise OAuthError("invalid_grant", _INVALID)


def _still_granted(
    client: OAuthClient, user: User | None, scopes: frozenset[str], tenants: frozenset[int]
) -> tuple[frozenset[str], frozenset[int]]:
    """Give what both the client and the user still have of what was granted."""
    if user is None:
        raise OAuthError("invalid_grant", _INVALID)
    left = scopes & client.scopes & user.scopes, tenants & client.tenants & user.tenants
    if not all(left):
        raise OAuthError("invalid_grant", _INVALID)
    return left


def _answer(
    context: TokenContext,
    grant: Grant,
    scopes: frozenset[str],
    tenants: frozenset[int],
    now: float,
) -> Members:
    token = sign_token(
        context.keys,
        context.issuer,
        tenants=tenants,
        subject=grant.user_id,
        client=grant.client_id,
        scopes=scopes,
        ttl=context.lifetime,
        now=now,
        session=grant.id,
    )
    return _members(context, token, scopes)


def _members(context: TokenContext, token: str, scopes: frozenset[str]) -> Members:
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": context.lifetime,
        "scope": " ".join(sorted(scopes)),
    }


def _required(form: Form, name: str) -> str:
    value = form.get(name)
    if value is None:
        raise OAuthError("invalid_request", f"{name} is missing")
    return value
