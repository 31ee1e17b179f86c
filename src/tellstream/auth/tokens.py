"""Access tokens: verified for the resource server, signed for the authorization server.

A token is a JWT (RFC 7519) of the access token profile (RFC 9068), read by rules R3..R13, each
named at its check: gate, issuer, key, signature, then claims. Invariant: whatever the string,
``verify`` returns a principal or raises ``invalid_token``. It fetches nothing; which tokens are
revoked it is told by the hook it was given (rule R14).
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple, TypeAlias

from tellstream.auth import claims as claim
from tellstream.auth import signatures
from tellstream.auth.claims import Claims
from tellstream.auth.issuers import Issuer
from tellstream.auth.keys import ALGORITHM, SigningKeys
from tellstream.auth.strict_json import parse_object
from tellstream.auth.token_cache import TokenCache
from tellstream.core.errors import RequestError
from tellstream.core.principals import Principal

_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_LOOSE_TYPES: Final = _ACCESS_TOKEN_TYPES | {"jwt"}
# R8: what only ID tokens, logout tokens and security events carry.
OTHER_TOKENS_CLAIMS: Final = frozenset({"nonce", "at_hash", "events"})
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 section 3.3

IsRevoked: TypeAlias = Callable[[str, str | None], bool]
"""Whether a token is revoked, by its ``jti`` and its ``sid``, from memory and at once."""


class _Verified(NamedTuple):
    """What a verified token says."""

    principal: Principal
    session: str | None


class TokenVerifier:
    """The resource server's gate.

    Args:
        issuers: the table of trusted issuers.
        is_revoked: asked for each token, also for one that was verified a moment ago.

    Raises:
        ValueError: two rows with one issuer string.
    """

    def __init__(self, issuers: Iterable[Issuer], is_revoked: IsRevoked | None = None) -> None:
        self._issuers: dict[str, Issuer] = {}
        for issuer in issuers:
            if issuer.issuer in self._issuers:
                raise ValueError(f"issuer {issuer.issuer} is configured twice")
            self._issuers[issuer.issuer] = issuer
        self._verified: TokenCache[_Verified] = TokenCache()
        self._is_revoked = is_revoked

    def verify(self, token: str, now: float) -> Principal:
        """Verify an access token.

        Args:
            token: as received; any string.
            now: Unix seconds.

        Returns:
            The principal it speaks for.

        Raises:
            RequestError: 401 ``invalid_token``; ``reason`` is for the log only.
            UnknownKeyError: the same, and its issuer may have newer keys.
            NoKeysError: the issuer's key source has no keys at all.
            ServerError: it is not known what is revoked.
        """
        try:
            fingerprint = _fingerprint(token)
            verified = self._verified.get(fingerprint, now)
            # R10: once it has expired, only its issuer's leeway says how long it still lasts.
            if verified is None or now >= verified.principal.expires_at:
                verified = self._verify(token, signatures.split(token), now)
                self._verified.put(fingerprint, verified, now)
            self._check_not_revoked(verified)
            return verified.principal
        except ValueError as error:
            raise RequestError("invalid_token", reason=str(error)) from error

    def _verify(self, token: str, parts: tuple[str, str, str], now: float) -> _Verified:
        header = parse_object(signatures.decode(parts[0]))
        claims = parse_object(signatures.decode(parts[1]))  # R11, and still unproven
        issuer = self._issuer(claims)
        algorithm = signatures.accepted_algorithm(header, issuer)
        key = signatures.verification_key(header, issuer, algorithm)
        signatures.check_signature(token, key, algorithm)
        _check_type(header, claims, issuer)
        session = claim.text(claims, "sid") if "sid" in claims else None
        return _Verified(principal_of(claims, issuer, now), session)

    def _check_not_revoked(self, verified: _Verified) -> None:
        """R14: by what the token says, never by its text, which has variants."""
        revoked = self._is_revoked
        if revoked is not None and revoked(verified.principal.token_id, verified.session):
            raise ValueError("R14: token is revoked")

    def _issuer(self, claims: Claims) -> Issuer:
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:  # R3, R9: byte-equal; a list of issuers is none of them
            raise ValueError("R3: unknown issuer")
        return issuer


def _fingerprint(token: str) -> bytes:
    if not token.isascii():
        raise ValueError("gate: token is not ASCII")
    return hashlib.sha256(token.encode()).digest()


def sign_token(
    keys: SigningKeys,
    issuer: Issuer,
    *,
    tenants: Collection[int],
    subject: str,
    client: str,
    scopes: Collection[str],
    ttl: int,
    now: float,
    session: str | None = None,
) -> str:
    """Sign an access token of our own (RFC 9068 section 2).

    Args:
        keys: the one whose time it is signs.
        issuer: our own row; gives ``iss``, ``aud`` and the longest lifetime.
        tenants: tenants it may act for.
        subject: ``sub``; the client's id when no user is involved.
        client: ``client_id``.
        scopes: granted scopes.
        ttl: lifetime, seconds, at most ``issuer.max_lifetime``.
        now: Unix seconds.
        session: ``sid``, the grant it belongs to and is revoked with.

    Raises:
        ValueError: the token would live too long or could not be verified.
    """
    if not 0 < ttl <= issuer.max_lifetime:
        raise ValueError(f"a token lives 1..{issuer.max_lifetime} seconds")
    if not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError("a scope has characters RFC 6749 does not allow")
    issued_at = int(now)
    claims: dict[str, object] = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": subject,
        "client_id": client,
        "exp": issued_at + ttl,
        "iat": issued_at,
        "jti": secrets.token_urlsafe(16),
        "scope": " ".join(sorted(scopes)),
        issuer.tenant_claim: sorted(tenants),
    }
    if session is not None:
        claims["sid"] = session
    principal_of(claims, issuer, now)  # what we would not accept, we do not sign
    kid, key = keys.signer(now)
    header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": kid}
    token = signatures.sign(header, json.dumps(claims, separators=(",", ":")), key)
    signatures.split(token)  # the same for its size
    return token


def _check_type(header: Claims, claims: Claims, issuer: Issuer) -> None:
    """R8: no ID token, logout token or client assertion."""
    strict = issuer.strict_type
    allowed = _ACCESS_TOKEN_TYPES if strict else _LOOSE_TYPES
    kind = header.get("typ", "" if strict else "jwt")
    if not isinstance(kind, str) or kind.lower() not in allowed:
        raise ValueError("R8: typ is not that of an access token")
    if not strict and claims.keys() & OTHER_TOKENS_CLAIMS:
        raise ValueError("R8: claims of another kind of token")


def principal_of(claims: Claims, issuer: Issuer, now: float) -> Principal:
    """Check every claim of a proven token and take from it what the server needs (R9..R13).

    Raises:
        ValueError: with the rule that is broken.
    """
    if issuer.audience not in claim.audience(claims):
        raise ValueError("R9: aud does not name this server")
    expires_at = _lifetime(claims, issuer, now)
    if "cnf" in claims:
        raise ValueError("R13: token is bound to a key, which is not supported")
    tenants = claim.tenants(claims, issuer.tenant_claim)
    return Principal(
        # An issuer bound to some tenants cannot act for others, whatever it claims.
        tenants=tenants if issuer.tenants is None else tenants & issuer.tenants,
        subject=issuer.subject(claim.text(claims, "sub")),
        client=claim.text(claims, "client_id" if "client_id" in claims else "azp"),
        scopes=claim.scopes(claims, issuer.scope_claim),
        expires_at=expires_at,
        token_id=claim.text(claims, "jti"),
    )


def _lifetime(claims: Claims, issuer: Issuer, now: float) -> int:
    """R10: check the times, and give ``exp``."""
    issued_at, expires_at = claim.time(claims, "iat"), claim.time(claims, "exp")
    not_before = claim.time(claims, "nbf") if "nbf" in claims else issued_at
    if max(issued_at, not_before) > now + issuer.leeway:
        raise ValueError("R10: token is not valid yet")
    if not 0 < expires_at - issued_at <= issuer.max_lifetime:
        raise ValueError("R10: token lives too long")
    if now >= int(expires_at) + issuer.leeway:
        raise ValueError("R10: token has expired")
    return int(expires_at)
