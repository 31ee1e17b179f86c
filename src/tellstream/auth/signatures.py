"""The signature of a JWT: gate, algorithm, key, verification and signing (RFC 7515, RFC 8725).

Rules R4..R7 and the gate before them live here; what a token claims is not looked at. Every refusal
is a ``ValueError`` with a constant text, except an unknown key, which the shell can do something
about. The library computes; what may be computed with what is decided here.
"""

import base64
import re
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from tellstream.auth.claims import Claims
from tellstream.auth.issuers import Issuer, key_fits
from tellstream.core.errors import RequestError

MAX_TOKEN_CHARS: Final = 8192  # a real one has 400 to 3,000
MAX_KID_CHARS: Final = 128

_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# R5: no crit, b64, jwk, jku, x5u, x5c, enc, zip, nor anything else that would want to be obeyed.
# The last three occur in real tokens and are ignored.
_HEADER_NAMES: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256", "nonce"})


class UnknownKeyError(RequestError):
    """``invalid_token``: not exactly one usable key for this ``kid`` (R7).

    Apart from the rest so that the shell may refresh a fetched key set, once, and try again.
    """

    def __init__(self, issuer: Issuer) -> None:
        super().__init__("invalid_token", reason="R7: not exactly one usable key")
        self.issuer = issuer


def split(token: str) -> tuple[str, str, str]:
    """Check size and alphabet before any decoding, and give header, payload and signature."""
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError("gate: token is too long")
    match = _SHAPE.fullmatch(token)
    if match is None:
        raise ValueError("gate: not three base64url parts")
    return match[1], match[2], match[3]


def decode(part: str) -> bytes:
    """Decode one base64url part; ``check_signature`` refuses other spellings of the same bytes."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def accepted_algorithm(header: Claims, issuer: Issuer) -> str:
    """Take ``alg`` from a header that asks for nothing else."""
    if not header.keys() <= _HEADER_NAMES:
        raise ValueError("R5: header has a name that is not accepted")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise ValueError("R4: alg is not accepted from this issuer")
    return algorithm


def verification_key(header: Claims, issuer: Issuer, algorithm: str) -> Key:
    """Find the one key of ``issuer`` that the header means.

    Raises:
        UnknownKeyError: there is none, or there is a choice.
    """
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_CHARS:
        raise ValueError("R7: kid is not a short string")
    candidates = issuer.key_source.keys(kid if "kid" in header else None)
    # R4, R6: a key that does not fit or is too weak does not exist.
    usable = [key for key in candidates if key_fits(key, algorithm)]
    if len(usable) != 1:  # R7: without kid there must be no choice
        raise UnknownKeyError(issuer)
    return usable[0]


def check_signature(token: str, key: Key, algorithm: str) -> None:
    """Verify the signature of ``token`` with ``key``, which fits ``algorithm``."""
    try:
        jws.deserialize_compact(token, key, registry=_OneAlgorithm(algorithm))
    except (JoseError, TypeError, OverflowError) as error:
        raise ValueError("R4: signature does not verify") from error


def sign(header: dict[str, str], payload: str, key: Key) -> str:
    """Sign ``payload`` with the header's ``alg``; ``key`` is private and fits it."""
    return jws.serialize_compact(header, payload, key, registry=_OneAlgorithm(header["alg"]))


class _OneAlgorithm(JWSRegistry):
    """The library's registry, narrowed to one algorithm of our own table.

    It does not warn about the name EdDSA: the operator has allowed it, and it is Ed25519 here.
    """

    def __init__(self, algorithm: str) -> None:
        # Not strict about header names: the gate has been stricter, and knows x5t and nonce.
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:  # the library's own type is not public
        if name != self._algorithm:
            raise ValueError("R4: alg is not the accepted one")
        return self.algorithms[name]
