import os
from pathlib import Path

import pytest

from tellstream.auth.private_files import (
    MAX_FILE_BYTES,
    PrivateFileError,
    locked,
    read_private,
    replace_private,
)


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_private(tmp_path / "f") is None


def test_written_for_the_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "f"
    before = os.umask(0)
    try:
        with locked(path):
            replace_private(path, b"one")
            replace_private(path, b"two")
    finally:
        os.umask(before)
    assert read_private(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(file.name for file in path.parent.iterdir()) == ["f", "f.lock"]
    assert (path.parent / "f.lock").stat().st_mode & 0o777 == 0o600


def test_the_rest_of_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "f.new").write_bytes(b"half")
    replace_private(tmp_path / "f", b"whole")
    assert read_private(tmp_path / "f") == b"whole"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(PrivateFileError, match=rf"f: mode {mode:04o} lets other users in"):
        read_private(path)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("dir", "pipe", "pipe/x"):
        with pytest.raises(PrivateFileError, match=name):
            read_private(tmp_path / name)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch(mode=0o600)
    os.truncate(path, MAX_FILE_BYTES + 1)
    with pytest.raises(PrivateFileError, match="larger"):
        read_private(path)


def test_failures_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "f"
    with pytest.raises(PrivateFileError, match=r"file/f: cannot be locked"), locked(path):
        pass
    with pytest.raises(PrivateFileError, match=r"file/f: cannot be written"):
        replace_private(path, b"")
