"""The keys that sign access tokens: which there are, and a new one."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Desk
from tellstream.auth import keys as key_file
from tellstream.auth.keys import Rotation, SigningKeys
from tellstream.auth.stored_keys import StoredKeys
from tellstream.core.errors import RequestError


class KeyPlace(NamedTuple):
    """Where the keys of an installation are.

    Attributes:
        keys: as this process knows them.
        stored: keeps them in the store; None: they are in the file of ``data_dir``.
        data_dir: of this machine.
    """

    keys: SigningKeys
    stored: StoredKeys | None
    data_dir: Path


class PublishedKey(NamedTuple):
    """A key that verifiers know.

    Attributes:
        kid: its name.
        signs: new tokens are signed with it; else it will sign, or has signed.
    """

    kid: str
    signs: bool


class KeyDesk:
    """Acts on signing keys, all of them the operator's.

    Args:
        desk: where they are recorded.
        place: where the keys are; None: there is no embedded authorization server.
    """

    def __init__(self, desk: Desk, place: KeyPlace | None) -> None:
        self._desk = desk
        self._place = place

    async def list(self, actor: Actor) -> list[PublishedKey]:
        """List the published keys.

        Raises:
            RequestError: ``forbidden``; ``not_found``, there is no authorization server.
            KeyFileError: the keys in the store cannot be read.
            ServerError: the store cannot be used.
        """
        place = self._found(actor)
        if place.stored is not None:
            await place.stored.refresh()
        signing, _ = place.keys.signer(self._desk.clock())
        kids = [str(key["kid"]) for key in place.keys.jwks()["keys"]]
        return [PublishedKey(kid, kid == signing) for kid in kids]

    async def rotate(self, actor: Actor) -> Rotation:
        """Publish a new key, which signs once every verifier knows it.

        Raises:
            RequestError: ``forbidden``; ``not_found``, there is no authorization server.
            KeyFileError: the keys cannot be read or written, or there are too many.
            ServerError: the store cannot be used.
        """
        place = self._found(actor)
        if place.stored is not None:
            done = await place.stored.rotate()
            await place.stored.refresh()
        else:
            done = await asyncio.to_thread(key_file.rotate, place.data_dir, self._desk.clock())
        # Not in the same transaction: a file has none. So a key can be there that nobody recorded,
        # but nothing is recorded that was not done.
        retired = " ".join(done.retired)
        await self._desk.act(
            actor,
            lambda act: act.record(
                "signing_key.rotated", done.kid, signs_from=done.signs_from, retired=retired
            ),
        )
        return done

    def _found(self, actor: Actor) -> KeyPlace:
        actor.require_operator()
        if self._place is None:
            raise RequestError("not_found")
        return self._place
