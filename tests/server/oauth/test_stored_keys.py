"""Signing keys that machines share through the store."""

import asyncio
from pathlib import Path

import pytest

from support.authorization import AuthServer
from support.homes import Home
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import (
    MAX_KEYS,
    PUBLISH_SECONDS,
    RETIRE_SECONDS,
    KeyFileError,
    SigningKeys,
)
from tellstream.auth.stored_keys import StoredKeys
from tellstream.auth.tokens import TokenVerifier, sign_token
from tellstream.server.key_sealing import KeySealing
from tellstream.storage.master_key import MasterKey

HERE = "http://127.0.0.1:8000"


def machine(stored: AuthServer, folder: Path) -> StoredKeys:
    """Another machine with the same master key."""
    return StoredKeys(stored.store, KeySealing(MasterKey(folder)), stored.clock)


def published(keys: SigningKeys) -> list[object]:
    return [key["kid"] for key in keys.jwks()["keys"]]


async def test_machines_that_start_together_agree(stored: AuthServer, tmp_path: Path) -> None:
    MasterKey(tmp_path).keyring()
    starting = (
        machine(stored, tmp_path).load_or_create(tmp_path / f"machine{n}") for n in range(6)
    )
    keys = await asyncio.gather(*starting)
    assert len({kid for one in keys for kid in published(one)}) == 1


async def test_a_token_of_one_machine_is_good_on_the_other(
    stored: AuthServer, tmp_path: Path
) -> None:
    one = await machine(stored, tmp_path).load_or_create(tmp_path / "a")
    other = await machine(stored, tmp_path).load_or_create(tmp_path / "b")
    token = sign_token(
        one, embedded_issuer(HERE, one), tenants=[1], subject="s", client="c", scopes=["chat"],
        ttl=600, now=stored.clock(),
    )  # fmt: skip
    assert TokenVerifier([embedded_issuer(HERE, other)]).verify(token, stored.clock())


async def test_the_keys_of_the_file_are_taken_over(stored: AuthServer, tmp_path: Path) -> None:
    before = SigningKeys.load_or_create(tmp_path / "a")
    keys = await machine(stored, tmp_path).load_or_create(tmp_path / "a")
    assert published(keys) == published(before)


async def test_a_rotation_is_followed_and_published_before_it_signs(
    stored: AuthServer, tmp_path: Path
) -> None:
    here, there = machine(stored, tmp_path), machine(stored, tmp_path)
    keys = await here.load_or_create(tmp_path / "a")
    others = await there.load_or_create(tmp_path / "b")
    old, _ = keys.signer(stored.clock())
    rotation = await here.rotate()
    for one, its in ((here, keys), (there, others)):
        await one.refresh()
        assert published(its) == [old, rotation.kid]
        assert its.signer(rotation.signs_from - 1)[0] == old
        assert its.signer(rotation.signs_from)[0] == rotation.kid
    stored.offset += PUBLISH_SECONDS + RETIRE_SECONDS + 1
    assert (await there.rotate()).retired == (old,)
    await here.refresh()
    assert len(published(keys)) == 2


async def test_of_rotations_at_once_none_is_lost(stored: AuthServer, tmp_path: Path) -> None:
    keeper = machine(stored, tmp_path)
    keys = await keeper.load_or_create(tmp_path)
    done = await asyncio.gather(*(keeper.rotate() for _ in range(4)), return_exceptions=True)
    added = [one.kid for one in done if not isinstance(one, BaseException)]
    assert added
    assert all(isinstance(e, KeyFileError) for e in done if isinstance(e, BaseException))
    await keeper.refresh()
    assert set(added) <= set(published(keys))
    assert len(published(keys)) == 1 + len(added)


async def test_the_number_of_keys_is_bounded(auth: AuthServer, tmp_path: Path) -> None:
    keeper = machine(auth, tmp_path)
    for _ in range(MAX_KEYS - 1):
        await keeper.rotate()
    with pytest.raises(KeyFileError, match="rotate later"):
        await keeper.rotate()


async def test_a_key_is_encrypted_and_bound_to_its_row(
    stored: AuthServer, home: Home, tmp_path: Path
) -> None:
    keeper = machine(stored, tmp_path)
    keys = await keeper.load_or_create(tmp_path / "a")
    await keeper.rotate()
    private = keys.signer(stored.clock())[1].as_dict(private=True)["d"]
    rows = home.ask("SELECT kid, sealed FROM signing_keys ORDER BY number")
    assert str(private) not in str(rows)
    assert all(sealed.startswith("v1:") for _, sealed in rows)
    home.ask(f"UPDATE signing_keys SET sealed = '{rows[1][1]}' WHERE kid = '{rows[0][0]}'")
    with pytest.raises(KeyFileError, match="cannot be used"):
        await keeper.refresh()
    assert len(published(keys)) == 1  # what is known goes on


async def test_a18_without_the_master_key_nothing_starts(
    stored: AuthServer, tmp_path: Path
) -> None:
    await machine(stored, tmp_path).load_or_create(tmp_path / "a")
    (tmp_path / "other").mkdir()
    with pytest.raises(KeyFileError, match="signing key"):
        await machine(stored, tmp_path / "other").load_or_create(tmp_path / "b")


async def test_following_can_be_stopped(auth: AuthServer, tmp_path: Path) -> None:
    keeper = machine(auth, tmp_path)
    await keeper.load_or_create(tmp_path)
    keeper.follow()
    await keeper.close()
    await keeper.close()
