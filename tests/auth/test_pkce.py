import base64
import hashlib

import pytest

from tellstream.auth import pkce


def challenge(verifier: str) -> str:
    hashed = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def test_a1_the_example_of_rfc_7636() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce.proves(verifier, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")


@pytest.mark.parametrize("verifier", ["a" * 43, "a" * 128, "A-z0.9_~" * 6])
def test_a1_well_formed_verifiers_prove(verifier: str) -> None:
    assert pkce.proves(verifier, challenge(verifier))
    assert not pkce.proves(verifier, challenge(verifier + "b"))


@pytest.mark.parametrize(
    "verifier",
    ["", "a" * 42, "a" * 129, "a" * 43 + "\n", "a" * 42 + " ", "a" * 42 + "é", "a" * 42 + "+"],
)
def test_a1_malformed_verifiers_prove_nothing_even_if_they_hash_right(verifier: str) -> None:
    assert not pkce.proves(verifier, challenge(verifier))


@pytest.mark.parametrize("text", ["", "a" * 42, "a" * 44, "a" * 43 + "\n", "a" * 42 + "="])
def test_a1_a_challenge_is_a_sha_256_in_base64url(text: str) -> None:
    assert pkce.is_challenge("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    assert not pkce.is_challenge(text)
