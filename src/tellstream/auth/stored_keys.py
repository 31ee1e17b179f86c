"""The signing keys in the store, for machines that share one.

The same keys and times as in the file of ``keys``, one row each, encrypted. Every worker has a copy
in memory and looks for changes every few seconds, far more often than a new key is published before
it signs. So at each moment all of them know what any of them signs with.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import sqlalchemy as sa
import structlog
from joserfc.errors import JoseError

from tellstream.auth.keys import (
    MAX_KEYS,
    PUBLISH_SECONDS,
    KeyFileError,
    Rotation,
    SigningKeys,
    TimedKey,
    dead_keys,
    new_key,
    read_key,
    written_key,
)
from tellstream.auth.strict_json import parse_object
from tellstream.auth.transactions import Store, Transaction
from tellstream.core.errors import ServerError
from tellstream.storage.tables_oauth import SIGNING_KEYS

LOOK_SECONDS: Final = 10.0
"""Between two looks at the store; a new key waits eleven minutes for its first signature."""

T = TypeVar("T")

log = structlog.get_logger("tellstream.auth")


class Sealing(Protocol):
    """Encryption at rest, bound to the row of the key."""

    def seal(self, kid: str, text: str) -> str:
        """Encrypt the key called ``kid``."""
        ...

    def unseal(self, kid: str, sealed: str) -> str:
        """Decrypt it.

        Raises:
            ValueError: it cannot be decrypted with the master key at hand.
        """
        ...


class StoredKeys:
    """Keeps the ``SigningKeys`` of this process like those in the store.

    Args:
        store: where the keys are.
        sealing: how they are encrypted there.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, sealing: Sealing, clock: Callable[[], float]) -> None:
        self._store = store
        self._sealing = sealing
        self._clock = clock
        self._known: SigningKeys | None = None
        self._task: asyncio.Task[None] | None = None

    async def load_or_create(self, data_dir: Path) -> SigningKeys:
        """Read the keys; if there are none, begin with those of the file, or with a new one.

        Args:
            data_dir: of this machine; tokens signed with the keys of its file stay good.

        Raises:
            KeyFileError: the file is damaged, unreadable or too open; a key in the store cannot be
                decrypted.
            ServerError: the store cannot be used.
        """
        first = SigningKeys.existing(data_dir) or [new_key(0)]
        keys = await self._run(lambda tx: self._read(tx) or self._begin(tx, first))
        self._known = SigningKeys(keys, clock=self._clock)
        return self._known

    def follow(self) -> None:
        """Begin to look for changes."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Stop that. May be called again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def refresh(self) -> None:
        """Look now.

        Raises:
            KeyFileError: a key cannot be decrypted.
            ServerError: the store cannot be read.
        """
        keys = await self._run(self._read)
        if self._known is not None and keys:
            self._known.replace(keys)

    async def rotate(self) -> Rotation:
        """Add a key that will sign, and take out those that nobody needs any more.

        Raises:
            KeyFileError: a key cannot be decrypted; there are too many that are needed; somebody
                else rotates at this moment.
            ServerError: the store cannot be used.
        """
        return await self._run(self._rotate)

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.run(
            None, lambda connection: work(Transaction(connection, self._clock()))
        )

    def _read(self, tx: Transaction) -> list[TimedKey]:
        rows = tx.connection.execute(sa.select(SIGNING_KEYS).order_by(SIGNING_KEYS.c.number))
        return [self._unsealed(row.kid, row.sealed) for row in rows]

    def _unsealed(self, kid: str, sealed: str) -> TimedKey:
        try:
            return read_key(parse_object(self._sealing.unseal(kid, sealed).encode()))
        except (JoseError, TypeError, ValueError) as error:
            raise KeyFileError(f"signing key {kid} in the store cannot be used: {error}") from error

    def _begin(self, tx: Transaction, first: list[TimedKey]) -> list[TimedKey]:
        for number, timed in enumerate(first, 1):
            self._insert(tx, number, timed)
        return self._read(tx)  # those of whoever was first

    def _insert(self, tx: Transaction, number: int, timed: TimedKey) -> bool:
        kid = timed.key.thumbprint()
        sealed = self._sealing.seal(kid, json.dumps(written_key(timed)))
        values = {"number": number, "kid": kid, "sealed": sealed, "signs_from": timed.signs_from}
        statement = tx.insert(SIGNING_KEYS).values(values)
        return tx.write(statement.on_conflict_do_nothing(index_elements=["number"])) == 1

    def _rotate(self, tx: Transaction) -> Rotation:
        column = SIGNING_KEYS.c
        known = self._read(tx) or self._begin(tx, [new_key(0)])
        retired = dead_keys(known, tx.now)
        if len(known) - len(retired) >= MAX_KEYS:
            raise KeyFileError(f"the store holds {MAX_KEYS} keys that are needed; rotate later")
        last: int = tx.connection.execute(sa.select(sa.func.max(column.number))).scalar_one()
        added = new_key(int(tx.now) + PUBLISH_SECONDS)
        if not self._insert(tx, last + 1, added):
            raise KeyFileError("the keys are being rotated by somebody else at this moment")
        tx.connection.execute(sa.delete(SIGNING_KEYS).where(column.kid.in_(retired)))
        return Rotation(added.key.thumbprint(), added.signs_from, tuple(sorted(retired)))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.refresh()
            except (KeyFileError, ServerError) as error:
                log.warning("auth.keys_unreadable", reason=str(error))
