"""The embedded authorization server's signing keys: a private JWK Set in the data directory.

The file is an RFC 7517 JWK Set, and each key has one more member, ``signs_from``, Unix seconds. The
key that signs is the one whose time came last. A rotation adds a key whose time comes when every
verifier must have seen it, and takes out those whose last token has died. So what is in the file
follows from the clock, and all processes that read it agree.

The first key is generated at first start. A damaged, unreadable or too open file stops the start: a
silently regenerated key would void every token and hide an attack.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key

from tellstream.auth.issuers import MAX_TOKEN_LIFETIME_SECONDS
from tellstream.auth.private_files import PrivateFileError, locked, read_private, replace_private
from tellstream.auth.strict_json import parse_object

log = structlog.get_logger("tellstream.auth")

FILE_NAME: Final = "oauth_keys.json"
ALGORITHM: Final = "ES256"
CURVE: Final = "P-256"
PUBLISH_SECONDS: Final = 11 * 60
"""From the publication of a key to its first signature: the ten minutes for which verifiers may
keep the published set, and one for clocks and for processes to read the file."""
RETIRE_SECONDS: Final = MAX_TOKEN_LIFETIME_SECONDS + 5 * 60
"""From a key's last signature to its end: the longest life of a token, and clocks that differ."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the file, to see whether another process has rotated."""
MAX_KEYS: Final = 20
"""In the file; verifiers read them all. Reached only by rotating every few minutes."""


class KeyFileError(Exception):
    """The key file cannot be used; the message is one line and names the file."""


class TimedKey(NamedTuple):
    """A private key, and the Unix second at which it begins to sign."""

    key: ECKey
    signs_from: int = 0


class Rotation(NamedTuple):
    """What a rotation did.

    Attributes:
        kid: of the new key.
        signs_from: Unix seconds; until then the former key signs.
        retired: the keys that were taken out.
    """

    kid: str
    signs_from: int
    retired: tuple[str, ...]


class SigningKeys:
    """The keys of the embedded issuer; a ``KeySource`` for the verifier.

    Args:
        keys: private P-256 keys with their RFC 7638 thumbprint as ``kid``; of several whose time
            came at once, the first one signs.
        path: where they were read, and are read again when the file was replaced; None: nowhere.
        clock: Unix seconds.
    """

    def __init__(
        self,
        keys: Sequence[ECKey | TimedKey],
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._version = None if path is None else _version(path)
        self._keys = _timed(keys)

    @classmethod
    def load_or_create(cls, data_dir: Path, clock: Callable[[], float] = time.time) -> Self:
        """Read the keys of ``data_dir``, or generate the first one. Safe to race.

        Raises:
            KeyFileError: the file is damaged, unreadable, too open, or cannot be created.
        """
        path = data_dir / FILE_NAME
        try:
            # Without the lock first: an existing key must be usable on a read-only directory.
            if read_private(path) is None:
                _create(path)
        except PrivateFileError as error:
            raise KeyFileError(str(error)) from error
        return cls(_read(path), path, clock)

    @classmethod
    def existing(cls, data_dir: Path) -> list[TimedKey]:
        """Read the keys of ``data_dir``; none if there is no file.

        Raises:
            KeyFileError: the file is damaged, unreadable or too open.
        """
        path = data_dir / FILE_NAME
        return _read(path) if path.exists() else []

    def replace(self, keys: Sequence[TimedKey]) -> None:
        """Take other keys from now on, as they were read from elsewhere than a file."""
        self._keys = _timed(keys)

    def signer(self, now: float) -> tuple[str, ECKey]:
        """Give the key that signs at ``now``, Unix seconds, with its ``kid``."""
        self._look()
        kid = _signing(self._keys, now)
        return kid, self._keys[kid].key

    def keys(self, kid: str | None) -> Sequence[Key]:
        """Give the key called ``kid`` (none if unknown), or every key for None."""
        alive = self._alive()
        if kid is None:
            return [timed.key for timed in alive.values()]
        return [alive[kid].key] if kid in alive else []

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Build the public JWK Set (RFC 7517 section 5), without any private member."""
        return {
            "keys": [
                dict(timed.key.as_dict(private=False, kid=kid, use="sig", alg=ALGORITHM))
                for kid, timed in self._alive().items()
            ]
        }

    def _alive(self) -> dict[str, TimedKey]:
        """Give the keys that sign, will sign, or may have signed a token that is still good."""
        self._look()
        now = self._clock()
        dead = _dead(self._keys, now)
        return {kid: timed for kid, timed in self._keys.items() if kid not in dead}

    def _look(self) -> None:
        """Read the file again if it was replaced; if it cannot be read, the known keys go on."""
        now = self._clock()
        if self._path is None or abs(now - self._looked_at) < LOOK_SECONDS:
            return
        self._looked_at = now
        version = _version(self._path)
        if version == self._version:
            return
        try:
            self._keys = _timed(_read(self._path))
            self._version = version
        except KeyFileError as error:
            log.error("auth.keys_unreadable", reason=str(error))  # noqa: TRY400 - one line says it


def new_key(signs_from: int) -> TimedKey:
    """Generate a key."""
    return TimedKey(ECKey.generate_key(CURVE, private=True), signs_from)


def written_key(timed: TimedKey) -> dict[str, Any]:
    """Write a key with its private part, as ``read_key`` takes it."""
    kid = timed.key.thumbprint()
    row: dict[str, Any] = timed.key.as_dict(private=True, kid=kid, use="sig", alg=ALGORITHM)
    return {**row, "signs_from": timed.signs_from}


def dead_keys(keys: Sequence[TimedKey], now: float) -> set[str]:
    """Give the ``kid`` of each key that nobody needs any more at ``now``, Unix seconds."""
    return _dead(_timed(keys), now)


def rotate(data_dir: Path, now: float) -> Rotation:
    """Add a key that will sign, and take out those that nobody needs any more.

    Args:
        data_dir: where the keys are; made if there are none.
        now: Unix seconds.

    Raises:
        KeyFileError: the file cannot be read or written, or holds too many keys that are needed.
    """
    path = data_dir / FILE_NAME
    SigningKeys.load_or_create(data_dir)
    try:
        with locked(path):
            known = _timed(_read(path))
            retired = _dead(known, now)
            added = new_key(int(now) + PUBLISH_SECONDS)
            kept = [timed for kid, timed in known.items() if kid not in retired]
            if len(kept) >= MAX_KEYS:
                raise KeyFileError(f"{path}: holds {MAX_KEYS} keys that are needed; rotate later")
            replace_private(path, _written([*kept, added]))
    except PrivateFileError as error:
        raise KeyFileError(str(error)) from error
    return Rotation(added.key.thumbprint(), added.signs_from, tuple(sorted(retired)))


def _timed(keys: Sequence[ECKey | TimedKey]) -> dict[str, TimedKey]:
    timed = [key if isinstance(key, TimedKey) else TimedKey(key) for key in keys]
    return {row.key.thumbprint(): row for row in timed}


def _signing(keys: Mapping[str, TimedKey], now: float) -> str:
    """Choose the key whose time came last; should no time have come yet, the earliest."""
    begun = [kid for kid, timed in keys.items() if timed.signs_from <= now]
    if begun:
        return max(begun, key=lambda kid: keys[kid].signs_from)  # the first of equals
    return min(keys, key=lambda kid: keys[kid].signs_from)


def _dead(keys: Mapping[str, TimedKey], now: float) -> set[str]:
    """Find the keys that were replaced so long ago that their last token has died."""
    replaced = [t.signs_from for t in keys.values() if t.signs_from + RETIRE_SECONDS <= now]
    latest = max(replaced, default=0)
    return {kid for kid, timed in keys.items() if timed.signs_from < latest}


def _create(path: Path) -> None:
    """Write a file with one new key, unless another process was faster."""
    with locked(path):
        if read_private(path) is None:
            replace_private(path, _written([new_key(0)]))


def _written(keys: Sequence[TimedKey]) -> bytes:
    return json.dumps({"keys": [written_key(timed) for timed in keys]}, indent=1).encode() + b"\n"


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # reading it will say why
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path) -> list[TimedKey]:
    try:
        content = read_private(path)
        if content is None:
            raise KeyFileError(f"{path}: is missing")
        return _parse(content)
    except PrivateFileError as error:
        raise KeyFileError(str(error)) from error
    except (JoseError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: is damaged: {error}") from error


def _parse(content: bytes) -> list[TimedKey]:
    rows = parse_object(content).get("keys")
    if not isinstance(rows, list) or not rows:
        raise ValueError("it holds no keys")
    keys = [read_key(row) for row in rows]
    if len({timed.key.thumbprint() for timed in keys}) != len(keys):
        raise ValueError("it holds a key twice")
    return keys


def read_key(row: object) -> TimedKey:
    """Read a private key.

    Raises:
        JoseError, TypeError, ValueError: it is none of ours.
    """
    if not isinstance(row, Mapping):
        raise TypeError("a key is not an object")
    members: dict[str, Any] = dict(row)
    signs_from = members.pop("signs_from", 0)  # the first key of older versions has none
    if type(signs_from) is not int or signs_from < 0:
        raise ValueError("a signs_from is not a time")
    key = ECKey.import_key(members)  # also checks that the point belongs to the private number
    if key.curve_name != CURVE or not key.is_private:
        raise ValueError(f"a key is not a private {CURVE} key")
    if row.get("kid") != key.thumbprint():
        raise ValueError("a kid is not its key's RFC 7638 thumbprint")
    return TimedKey(key, signs_from)
