"""All encrypted columns: every secret has its key, and gets a new one while others work."""

import asyncio
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from support.homes import Home, all_tables
from tellstream.storage import credentials, encrypted
from tellstream.storage.base import StoreSetupError
from tellstream.storage.encrypted import BATCH, ENCRYPTED
from tellstream.storage.master_key import MasterKey
from tellstream.storage.store import Store

ROWS = 2 * BATCH + 7


@pytest.fixture
def key(tmp_path: Path) -> MasterKey:
    return MasterKey(tmp_path / "keys")


def put(connection: sa.Connection, key: MasterKey, number: int, secret: str | None = None) -> None:
    given = SecretStr(secret or f"secret-{number}")
    tenant, provider = number // 10 + 1, f"p{number % 10}"
    credentials.put(connection, None, key.keyring(), tenant, provider, "", given, now=1)


def fill(connection: sa.Connection, key: MasterKey) -> None:
    for number in range(ROWS):
        put(connection, key, number)


async def secrets(store: Store, key: MasterKey) -> list[str]:
    found = await store.run(None, lambda c: credentials.revealed(c, None, key.keyring()))
    return sorted(one.get_secret_value() for one in found.values() if one is not None)


async def test_rotation_encrypts_everything_anew_and_the_old_key_can_go(
    store: Store, key: MasterKey, home: Home
) -> None:
    await store.run(None, lambda c: fill(c, key))
    before = await secrets(store, key)
    assert len(before) == ROWS
    key.add()
    assert await encrypted.rotate(store, key) == ROWS
    assert await encrypted.rotate(store, key) == 0
    key.keep_first()
    assert await secrets(store, key) == before
    await store.run(None, lambda c: encrypted.check(c, key.keyring()))
    old = home.ask("SELECT DISTINCT substr(ciphertext, 1, 20) FROM provider_credentials")
    assert old == [(f"v1:{key.keyring().kids[0]}:",)]


async def test_secrets_that_are_stored_and_read_during_a_rotation_are_right(
    store: Store, key: MasterKey
) -> None:
    await store.run(None, lambda c: fill(c, key))

    async def use() -> None:
        for number in range(0, ROWS, 20):
            await store.run(None, lambda c, n=number: put(c, key, n, f"new-{n}"))  # type: ignore[misc]
            assert len(await secrets(store, key)) == ROWS

    async def rotate() -> None:
        for _ in range(3):
            key.add()
            await encrypted.rotate(store, key)

    await asyncio.gather(use(), rotate())
    await encrypted.rotate(store, key)
    key.keep_first()
    assert await secrets(store, key) == sorted(
        f"new-{n}" if n % 20 == 0 else f"secret-{n}" for n in range(ROWS)
    )


async def test_a_secret_that_cannot_be_decrypted_stays_and_does_not_stop_the_others(
    store: Store, key: MasterKey, home: Home
) -> None:
    await store.run(None, lambda c: fill(c, key))
    home.ask("UPDATE provider_credentials SET ciphertext = 'damaged' WHERE tenant = 5")
    key.add()
    assert await encrypted.rotate(store, key) == ROWS - 10
    found = home.ask("SELECT count(*) FROM provider_credentials WHERE ciphertext = 'damaged'")
    assert found == [(10,)]


async def test_a_start_with_the_wrong_key_is_refused(
    store: Store, key: MasterKey, tmp_path: Path
) -> None:
    wrong = MasterKey(tmp_path / "elsewhere")
    await store.run(None, lambda c: encrypted.check(c, wrong.keyring()))  # nothing is encrypted
    await store.run(None, lambda c: put(c, key, 1))
    await store.run(None, lambda c: encrypted.check(c, key.keyring()))
    with pytest.raises(StoreSetupError, match=key.keyring().kids[0]):
        await store.run(None, lambda c: encrypted.check(c, wrong.keyring()))
    shutil.copy(tmp_path / "keys/master.key", tmp_path / "elsewhere/master.key")
    await store.run(None, lambda c: encrypted.check(c, wrong.keyring()))


def test_every_column_with_a_ciphertext_is_known_to_the_rotation() -> None:
    found = {
        str(column)
        for table in all_tables().tables.values()
        for column in table.columns
        if column.name in {"ciphertext", "sealed"} or "encrypted" in column.name
    }
    assert found == {str(one.column) for one in ENCRYPTED}
