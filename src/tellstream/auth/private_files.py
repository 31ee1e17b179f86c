"""Small secret files in the data directory: read, replaced and locked without races.

Invariant: a reader sees a whole file or none, a file is never readable by anyone else, and a file
that is damaged or too open is reported, never repaired. What the bytes mean is not known here.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# 16 MiB, far above any key or client file: a wrong path must not fill the memory.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024


class PrivateFileError(Exception):
    """A private file cannot be used; the message is one line and names the file."""


def read_private(path: Path) -> bytes | None:
    """Read a file that only its owner may access.

    Returns:
        The content, or None when there is no such file.

    Raises:
        PrivateFileError: unreadable, not a regular file, too large, or open to other users.
    """
    try:
        # Non-blocking, so that a pipe in the file's place cannot hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        _check_private(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def replace_private(path: Path, content: bytes) -> None:
    """Write ``content`` under ``path`` in one step, mode 0600; the caller holds ``locked(path)``.

    Raises:
        PrivateFileError: when it cannot be written; the former file is then untouched.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)  # left by a crash; nobody else writes under the lock
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise PrivateFileError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to ``path`` against all processes of this machine.

    Creates the directory (mode 0700) when it is missing. Waits for the present holder, which keeps
    the lock for one read and one write.

    Raises:
        PrivateFileError: when the lock file cannot be created.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file of its own: the real one is replaced while the lock is held.
        lock = path.with_name(path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PrivateFileError(f"{path}: cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PrivateFileError(f"{path}: is not a regular file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PrivateFileError(f"{path}: mode {mode:04o} lets other users in; chmod 600 it")
    if status.st_size > MAX_FILE_BYTES:
        raise PrivateFileError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
