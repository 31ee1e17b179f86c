"""A new master key, for everything that is encrypted in the store.

Three steps: a new key is added to the file, everything is encrypted anew with it, the former keys
are taken out of the file. On one machine they are done at once. Machines that share a store need
the same file in between, so there they are done one by one.
"""

import asyncio
from typing import Literal, NamedTuple, TypeAlias

import sqlalchemy as sa

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.storage import changes, encrypted
from tellstream.storage.keyring import prefix
from tellstream.storage.master_key import MasterKey

Step: TypeAlias = Literal["all", "add", "encrypt", "drop"]


class Rotated(NamedTuple):
    """What was done.

    Attributes:
        added: there is a new key.
        encrypted: how many secrets were encrypted anew.
        needed: how many still need a former key, or cannot be decrypted at all.
        dropped: the former keys were taken out; never while one of them is needed.
    """

    added: bool
    encrypted: int
    needed: int
    dropped: bool


class MasterKeyDesk:
    """Acts on the master key, all of them the operator's.

    Args:
        desk: where the secrets are.
        master_key: the file.
    """

    def __init__(self, desk: Desk, master_key: MasterKey) -> None:
        self._desk = desk
        self._master_key = master_key

    async def rotate(self, actor: Actor, step: Step = "all") -> Rotated:
        """Rotate the master key; may be called again after a failure.

        Args:
            actor: must be the operator.
            step: which one of them, or all.

        Raises:
            RequestError: ``forbidden``.
            StoreSetupError: the file cannot be used, or holds too many keys.
            StoreUnavailableError: the store cannot be used.
        """
        actor.require_operator()
        added = step in {"all", "add"}
        if added:
            await asyncio.to_thread(self._master_key.add)
            await self._desk.act(actor, lambda act: act.record("master_key.added", self._first()))
        anew = 0
        if step in {"all", "encrypt"}:
            anew = await encrypted.rotate(self._desk.store, self._master_key)
            await self._desk.act(
                actor, lambda act: act.record("secrets.encrypted", self._first(), rows=anew)
            )

        def finish(act: Act) -> tuple[int, bool]:
            needed = self._needed(act.connection)
            if step not in {"all", "drop"} or needed:
                return needed, False
            # Who writes a secret counts the changes up before it reads the file. So each of them
            # has either been seen above, or waits, and then reads the file that is written now.
            self._master_key.keep_first()
            act.record("master_key.pruned", self._first())
            return 0, True

        needed, dropped = await self._desk.act(actor, finish)
        return Rotated(added, anew, needed, dropped)

    def _needed(self, connection: sa.Connection) -> int:
        """Count the secrets that are not encrypted with the first key, and let none be added."""
        changes.bump(connection)
        begins = prefix(self._first())
        count = sa.func.count
        return sum(
            connection.scalar(
                sa.select(count()).where(~sealed.column.startswith(begins, autoescape=True))
            )
            or 0
            for sealed in encrypted.ENCRYPTED
        )

    def _first(self) -> str:
        return self._master_key.keyring().kids[0]
