"""The table of issuers whose access tokens are accepted: one row each, data only.

A row says which signatures and claims its issuer may use; ``tokens.py`` applies it. Rows come from
configuration alone: nothing a token names is ever looked up, discovered or fetched (rule R3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

from joserfc.jwk import Key, RSAKey

from tellstream.core.errors import ServerError

MAX_TOKEN_LIFETIME_SECONDS: Final = 3600
CLOCK_SKEW_SECONDS: Final = 30  # R10: between an issuer's machine and ours
MAX_CLOCK_SKEW_SECONDS: Final = 60
# RFC 8725 and NIST SP 800-131A; the library verifies with shorter ones (R6).
MIN_RSA_BITS: Final = 2048


class KeyShape(NamedTuple):
    """What kind of key an algorithm takes: JWK ``kty`` and, where there is a choice, ``crv``."""

    kty: str
    crv: str | None


# R4: every algorithm there is for us. No "none", and nothing symmetric: whoever can verify such a
# token can also forge it. EdDSA is RFC 8037's older name of what RFC 9864 calls Ed25519.
ALGORITHMS: Final = {
    "RS256": KeyShape("RSA", None),
    "PS256": KeyShape("RSA", None),
    "ES256": KeyShape("EC", "P-256"),
    "Ed25519": KeyShape("OKP", "Ed25519"),
    "EdDSA": KeyShape("OKP", "Ed25519"),
}


class KeySource(Protocol):
    """Where an issuer's verification keys come from: our own file, or a fetched JWK Set.

    ``keys`` is called for each token that is not cached, with an attacker's ``kid``: it answers
    from memory at once and does nothing with ``kid`` but compare it.
    """

    def keys(self, kid: str | None) -> Sequence[Key]:
        """Give the key named ``kid`` (nothing if unknown), or all keys for None.

        Raises:
            NoKeysError: while no key set could be had at all.
        """
        ...


@runtime_checkable
class RefreshableKeySource(KeySource, Protocol):
    """A key source that can be asked to look for newer keys."""

    async def refresh(self) -> bool:
        """Look for newer keys, unless that was done a moment ago.

        Returns:
            Whether it is worth asking ``keys`` again.
        """
        ...


class NoKeysError(ServerError):
    """503 ``service_unavailable``: ``source`` has no keys at all, which is not the token's fault.

    Args:
        source: the key source that raises it.
        retry_after: seconds until it may have some.
    """

    def __init__(self, source: KeySource, retry_after: float) -> None:
        super().__init__(
            "service_unavailable", retry_after=retry_after, reason="an issuer's keys are missing"
        )
        self.source = source


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One row: an authorization server, and what its access tokens must look like.

    Attributes:
        issuer: the exact ``iss`` (R3, R9).
        audience: our resource identifier, to be found in ``aud`` (R9).
        key_source: its verification keys.
        algorithms: accepted ``alg`` values, a subset of ``ALGORITHMS`` (R4).
        tenant_claim: the claim that lists tenant numbers.
        tenants: tenants this issuer may speak for; None for all.
        strict_type: whether ``typ`` must be ``at+jwt`` (RFC 9068); if not, absent and ``JWT`` pass
            and tokens that look like ID or logout tokens are refused (R8).
        max_lifetime: largest ``exp - iat``, seconds (R10).
        leeway: how far its clock may be from ours, seconds, at most 60 (R10).
        scope_claim: ``scope`` is a string (RFC 9068), ``scp`` a list of strings (R12).

    Raises:
        ValueError: an algorithm outside the table, or none; a leeway out of bounds.
    """

    issuer: str
    audience: str
    key_source: KeySource
    algorithms: frozenset[str]
    tenant_claim: str = "tenants"
    tenants: frozenset[int] | None = None
    strict_type: bool = True
    max_lifetime: int = MAX_TOKEN_LIFETIME_SECONDS
    leeway: int = CLOCK_SKEW_SECONDS
    scope_claim: Literal["scope", "scp"] = "scope"

    def __post_init__(self) -> None:
        if not self.algorithms or not self.algorithms <= ALGORITHMS.keys():
            raise ValueError(f"algorithms of {self.issuer} must be some of {', '.join(ALGORITHMS)}")
        if not 0 <= self.leeway <= MAX_CLOCK_SKEW_SECONDS:
            raise ValueError(f"leeway of {self.issuer} must be 0..{MAX_CLOCK_SKEW_SECONDS} seconds")

    def subject(self, sub: str) -> str:
        """Name the subject of a token among those of all issuers.

        ``sub`` is unique for one issuer only (RFC 7519 section 4.1.2): two external ones may both
        have an "alice", and they must not read each other's streams. Our own stay as they are.
        """
        return sub if self.tenants is None else f"{self.issuer}#{sub}"


def embedded_issuer(identifier: str, key_source: KeySource) -> Issuer:
    """Make the row of our own authorization server: issuer and resource are one address.

    Args:
        identifier: ``metadata.issuer_identifier`` of the configured address.
        key_source: the ``SigningKeys``.
    """
    return Issuer(
        issuer=identifier,
        audience=identifier,
        key_source=key_source,
        algorithms=frozenset({"ES256"}),
    )


def key_fits(key: Key, algorithm: str) -> bool:
    """Whether ``key`` may verify ``algorithm`` signatures (R4) and is strong enough (R6)."""
    shape = ALGORITHMS[algorithm]
    if key.key_type != shape.kty:
        return False
    if isinstance(key, RSAKey):
        strong = key.public_key.key_size >= MIN_RSA_BITS
    else:
        strong = key.get("crv") == shape.crv
    operations = key.get("key_ops")
    return (
        strong
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, algorithm)
        and (operations is None or "verify" in operations)
    )
