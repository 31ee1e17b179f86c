"""Rotation of our own keys: published before used, kept while needed."""

from pathlib import Path

import pytest

from tellstream.auth.issuers import MAX_TOKEN_LIFETIME_SECONDS, embedded_issuer
from tellstream.auth.keys import (
    LOOK_SECONDS,
    MAX_KEYS,
    PUBLISH_SECONDS,
    RETIRE_SECONDS,
    KeyFileError,
    SigningKeys,
    rotate,
)
from tellstream.auth.tokens import TokenVerifier, sign_token

NOW = 1_800_000_000
HERE = "http://127.0.0.1:8000"


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def published(keys: SigningKeys) -> list[object]:
    return [key["kid"] for key in keys.jwks()["keys"]]


def test_a_new_key_is_published_before_it_signs(tmp_path: Path, clock: Clock) -> None:
    keys = SigningKeys.load_or_create(tmp_path, clock)
    old, _ = keys.signer(NOW)
    rotation = rotate(tmp_path, NOW)
    clock.now += LOOK_SECONDS
    assert published(keys) == [old, rotation.kid]
    assert rotation.signs_from - NOW >= 600  # for which verifiers may keep the set
    assert keys.signer(rotation.signs_from - 1)[0] == old
    assert keys.signer(rotation.signs_from)[0] == rotation.kid
    assert rotation.retired == ()


def test_the_old_key_stays_until_its_last_token_died(tmp_path: Path, clock: Clock) -> None:
    keys = SigningKeys.load_or_create(tmp_path, clock)
    old, _ = keys.signer(NOW)
    rotation = rotate(tmp_path, NOW)
    clock.now = rotation.signs_from - 1.0
    issuer = embedded_issuer(HERE, keys)
    token = sign_token(
        keys, issuer, tenants=[1], subject="s", client="c", scopes=["chat"], ttl=3600, now=clock.now
    )
    clock.now += MAX_TOKEN_LIFETIME_SECONDS - 1
    assert TokenVerifier([issuer]).verify(token, clock.now).subject == "s"
    clock.now = rotation.signs_from + RETIRE_SECONDS - 1.0
    assert published(keys) == [old, rotation.kid]
    clock.now += 1
    assert published(keys) == [rotation.kid]
    assert keys.keys(old) == []
    assert keys.keys(None) == keys.keys(rotation.kid)
    assert rotate(tmp_path, clock.now).retired == (old,)
    assert len(published(SigningKeys.load_or_create(tmp_path, clock))) == 2


def test_two_rotations_in_a_row_take_their_turns(tmp_path: Path, clock: Clock) -> None:
    SigningKeys.load_or_create(tmp_path)
    first, second = rotate(tmp_path, NOW), rotate(tmp_path, NOW + 60)
    keys = SigningKeys.load_or_create(tmp_path, clock)
    assert keys.signer(first.signs_from)[0] == first.kid
    assert keys.signer(second.signs_from - 1)[0] == first.kid
    assert keys.signer(second.signs_from)[0] == second.kid


def test_processes_that_run_follow_without_a_restart(tmp_path: Path, clock: Clock) -> None:
    running = [SigningKeys.load_or_create(tmp_path, clock) for _ in range(2)]
    rotation = rotate(tmp_path, NOW)
    clock.now = NOW + PUBLISH_SECONDS
    assert {keys.signer(clock.now)[0] for keys in running} == {rotation.kid}


def test_a_file_that_was_damaged_meanwhile_leaves_the_known_keys(
    tmp_path: Path, clock: Clock
) -> None:
    keys = SigningKeys.load_or_create(tmp_path, clock)
    known = published(keys)
    (tmp_path / "oauth_keys.json").write_text("{")
    clock.now += 10
    assert published(keys) == known
    with pytest.raises(KeyFileError, match="damaged"):
        rotate(tmp_path, NOW)


def test_a_first_rotation_also_makes_the_first_key(tmp_path: Path, clock: Clock) -> None:
    rotation = rotate(tmp_path / "new", NOW)
    keys = SigningKeys.load_or_create(tmp_path / "new", clock)
    assert keys.signer(NOW)[0] != rotation.kid
    assert len(published(keys)) == 2


def test_the_number_of_keys_is_bounded(tmp_path: Path) -> None:
    for _ in range(MAX_KEYS - 1):
        rotate(tmp_path, NOW)
    with pytest.raises(KeyFileError, match="rotate later"):
        rotate(tmp_path, NOW)
    assert rotate(tmp_path, NOW + PUBLISH_SECONDS + RETIRE_SECONDS).retired
