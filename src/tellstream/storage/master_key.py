"""The file with the keys that encrypt secrets at rest: ``master.key`` in the data directory.

One key per line in base64, newest first; lines that begin with ``#`` are remarks. The file is made
at the first start, is only its owner's, and is looked at again before each use, so that all
processes of a machine work with a new key as soon as it is there. A damaged or too open file is
refused, never repaired: what was encrypted with a lost key is lost.

Machines that share a store need the same file.
"""

import base64
import binascii
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tellstream.storage.base import StoreSetupError
from tellstream.storage.keyring import Keyring, new_key

FILE_NAME: Final = "master.key"
MAX_BYTES: Final = 64 * 1024
"""Of the file, many times what a full keyring takes: a wrong file must not fill the memory."""
_REMARK: Final = (
    "# Encrypts the secrets in tellstream's store. The first key encrypts, all of them decrypt.\n"
    "# Keep a copy elsewhere: without these keys, the secrets are lost.\n"
)


class MasterKey:
    """The keyring of a data directory, as it is in the file now.

    Args:
        data_dir: the directory; made if it is missing.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._read: tuple[tuple[int, ...], Keyring] | None = None

    def keyring(self) -> Keyring:
        """Give the keys; the first call makes the file if there is none. May block for a moment.

        Raises:
            StoreSetupError: the file cannot be used.
        """
        with self._explained():
            if self._read is None and not self._path.exists():
                with self._locked():
                    if not self._path.exists():  # another process may have been faster
                        self._write([new_key()])
            version = _version(self._path.stat())
            if self._read is None or self._read[0] != version:
                version, keys = self._load()
                self._read = version, Keyring(keys)
            return self._read[1]

    def add(self) -> Keyring:
        """Put a new key first; what is encrypted from now on is so with that one.

        Raises:
            StoreSetupError: the file cannot be used, or holds as many keys as it may.
        """
        return self._change(lambda keys: [new_key(), *keys])

    def keep_first(self) -> Keyring:
        """Take away all keys but the first, when nothing is encrypted with them any more.

        Raises:
            StoreSetupError: the file cannot be used.
        """
        return self._change(lambda keys: keys[:1])

    def _change(self, change: Callable[[list[bytes]], list[bytes]]) -> Keyring:
        self.keyring()
        with self._explained(), self._locked():
            _, keys = self._load()
            changed = change(keys)
            Keyring(changed)
            self._write(changed)
        return self.keyring()

    def _load(self) -> tuple[tuple[int, ...], list[bytes]]:
        # Non-blocking, so that a pipe in the file's place cannot hang the start.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StoreSetupError("is not a regular file")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise StoreSetupError(f"mode {mode:04o} lets other users in; chmod 600 it")
            content = file.read(MAX_BYTES)
        lines = [line.strip() for line in content.split(b"\n")]
        keys = [
            base64.b64decode(line, validate=True)
            for line in lines
            if line and not line.startswith(b"#")
        ]
        return _version(status), keys

    def _write(self, keys: Sequence[bytes]) -> None:
        """Replace the file in one step; the caller holds the lock."""
        temporary = self._path.with_name(FILE_NAME + ".new")
        temporary.unlink(missing_ok=True)  # left by a crash; nobody else writes under the lock
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(_REMARK.encode())
            file.writelines(base64.b64encode(key) + b"\n" for key in keys)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name survives a power cut: else secrets may outlive the key
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one to write, until another process has read and written once."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file of its own: the real one is replaced while the lock is held.
        lock = self._path.with_name(FILE_NAME + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Name the file in every error."""
        try:
            yield
        except StoreSetupError as error:
            raise StoreSetupError(f"{self._path}: {error}") from error
        except OSError as error:
            raise StoreSetupError(f"{self._path}: cannot be used: {error.strerror}") from error
        except binascii.Error:  # not chained: its text may tell of the content
            raise StoreSetupError(f"{self._path}: is damaged: a line is no key") from None
        except ValueError as error:
            raise StoreSetupError(f"{self._path}: is damaged: {error}") from error


def _version(status: os.stat_result) -> tuple[int, ...]:
    """Tell one content of the file from another: it is replaced, never written to."""
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode
