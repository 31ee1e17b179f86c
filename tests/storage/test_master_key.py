"""The file of the master keys: private, made once, followed when it changes."""

import asyncio
import base64
import os
import stat
from pathlib import Path

import pytest

from tellstream.storage.base import StoreSetupError
from tellstream.storage.keyring import Place, new_key
from tellstream.storage.master_key import MasterKey

PLACE = Place("t", 1, "r", "c")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "master.key"


def written(file: Path, content: bytes, permissions: int = 0o600) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    file.chmod(permissions)


def refused(file: Path) -> str:
    with pytest.raises(StoreSetupError) as caught:
        MasterKey(file.parent).keyring()
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text
    return text


def test_the_first_start_makes_a_file_that_is_only_the_owners(file: Path) -> None:
    umask = os.umask(0)
    try:
        made = MasterKey(file.parent).keyring()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert MasterKey(file.parent).keyring().kids == made.kids
    assert len(made.kids) == 1


async def test_starts_at_the_same_time_make_one_key(file: Path) -> None:
    found = await asyncio.gather(
        *(asyncio.to_thread(MasterKey(file.parent).keyring) for _ in range(20))
    )
    assert len({keyring.kids for keyring in found}) == 1


def test_a_new_key_is_used_by_all_who_have_the_file_open(file: Path) -> None:
    one, two = MasterKey(file.parent), MasterKey(file.parent)
    sealed = one.keyring().encrypt("secret", PLACE)
    before = two.keyring().kids
    added = one.add()
    assert added.kids[1:] == before
    assert two.keyring().kids == added.kids
    assert two.keyring().decrypt(sealed, PLACE) == "secret"
    one.keep_first()
    assert two.keyring().kids == added.kids[:1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_not_read_again_while_it_stays_the_same(file: Path) -> None:
    key = MasterKey(file.parent)
    assert key.keyring() is key.keyring()


def test_too_many_keys_are_refused_and_the_file_stays_as_it_was(file: Path) -> None:
    key = MasterKey(file.parent)
    for _ in range(15):
        key.add()
    before = file.read_bytes()
    with pytest.raises(StoreSetupError, match="1 to 16"):
        key.add()
    assert file.read_bytes() == before


def test_remarks_and_empty_lines_are_allowed(file: Path) -> None:
    written(file, b"# mine\n\n" + base64.b64encode(new_key()) + b"  \r\n#\n")
    assert len(MasterKey(file.parent).keyring().kids) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "1 to 16 keys"),
        (b"# nothing\n", "1 to 16 keys"),
        (b"canary\n", "a line is no key"),
        (b"Y2FuYXJ5\n", "a key is not 32 bytes"),
        (b"\xff\xfe\n", "a line is no key"),
        (base64.b64encode(b"c" * 32) * 2 + b"\n", "a line is no key"),
        ((base64.b64encode(b"c" * 32) + b"\n") * 2, "a key twice"),
    ],
)
def test_a_damaged_file_is_refused_and_neither_repaired_nor_quoted(
    file: Path, content: bytes, reason: str
) -> None:
    written(file, content)
    told = refused(file)
    assert reason in told
    assert "canary" not in told
    assert file.read_bytes() == content


def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    MasterKey(file.parent).keyring()
    file.chmod(0o640)
    assert "chmod 600" in refused(file)


def test_a_file_that_others_may_read_is_refused_also_later(file: Path) -> None:
    key = MasterKey(file.parent)
    key.keyring()
    file.chmod(0o604)
    with pytest.raises(StoreSetupError, match="chmod 600"):
        key.keyring()


def test_a_pipe_or_a_folder_in_its_place_is_refused(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file, 0o600)
    assert "regular file" in refused(file)
    file.unlink()
    file.mkdir(0o700)
    refused(file)


def test_a_file_that_vanishes_is_not_replaced_by_another_key(file: Path) -> None:
    key = MasterKey(file.parent)
    key.keyring()
    file.unlink()
    with pytest.raises(StoreSetupError):
        key.keyring()
    assert not file.exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "master.key")
