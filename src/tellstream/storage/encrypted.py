"""The encrypted columns of the store: which there are, and what is done with all of them."""

from functools import partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
import structlog

from tellstream.storage.base import StoreSetupError
from tellstream.storage.keyring import KID_CHARS, Keyring, Place, SealError, prefix
from tellstream.storage.master_key import FILE_NAME, MasterKey
from tellstream.storage.store import Store
from tellstream.storage.tables_oauth import SIGNING_KEYS
from tellstream.storage.tables_store import PROVIDER_CREDENTIALS

log = structlog.get_logger("tellstream.secrets")

BATCH: Final = 100
"""Rows that are encrypted anew in one transaction: some milliseconds, so that others can write."""


class Encrypted(NamedTuple):
    """A column with texts of a keyring.

    Attributes:
        column: the column.
        row: what a row is found by within its tenant, a column with text.
        tenant: whose row it is; None: the rows are the server's own.
    """

    column: "sa.Column[str]"
    row: "sa.Column[str]"
    tenant: "sa.Column[int] | None" = None

    def place(self, tenant: int | None, row: str) -> Place:
        """Say where a text of this column is."""
        return Place(self.column.table.name, tenant, row, self.column.name)

    def places(self) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]:
        """Select what ``place`` takes."""
        tenant: sa.ColumnElement[Any] = sa.null() if self.tenant is None else self.tenant
        return tenant, self.row


CREDENTIAL: Final = Encrypted(
    PROVIDER_CREDENTIALS.c.ciphertext,
    PROVIDER_CREDENTIALS.c.provider,
    PROVIDER_CREDENTIALS.c.tenant,
)
SIGNING_KEY: Final = Encrypted(SIGNING_KEYS.c.sealed, SIGNING_KEYS.c.kid)
ENCRYPTED: Final = (CREDENTIAL, SIGNING_KEY)
"""All of them: a column that is missing here is missed by a rotation."""


def check(connection: sa.Connection, keyring: Keyring) -> None:
    """See that every secret in the store has its key; for the start of a server.

    Raises:
        StoreSetupError: a key is missing.
    """
    for encrypted in ENCRYPTED:
        kid = sa.func.substr(encrypted.column, len(prefix("")), KID_CHARS)
        for found in connection.execute(sa.select(kid).distinct()).scalars():
            if found not in keyring.kids:
                raise StoreSetupError(
                    f"{FILE_NAME} does not hold the key {found}, with which secrets in "
                    f"{encrypted.column.table.name} are encrypted: put the right file in its place"
                )


async def rotate(store: Store, master_key: MasterKey) -> int:
    """Encrypt anew, with the first key, what is encrypted with another; in batches.

    Others may read and write meanwhile. What cannot be decrypted is logged and left as it is.

    Returns:
        How many secrets were encrypted anew.

    Raises:
        StoreUnavailableError: the store cannot be used; call it again to go on.
    """
    done = 0
    for encrypted in ENCRYPTED:
        after: tuple[Any, ...] | None = None
        while True:
            work = partial(_rotate, encrypted=encrypted, master_key=master_key, after=after)
            rotated, after = await store.run(None, work)
            done += rotated
            if after is None:
                break
    return done


def _rotate(
    connection: sa.Connection,
    encrypted: Encrypted,
    master_key: MasterKey,
    after: tuple[Any, ...] | None,
) -> tuple[int, tuple[Any, ...] | None]:
    """Encrypt a batch anew; returns how many, and the last row, or None if there are no more."""
    keyring = master_key.keyring()
    order = [c for c in (encrypted.tenant, encrypted.row) if c is not None]
    selected = sa.select(*encrypted.places(), encrypted.column).where(
        ~encrypted.column.startswith(prefix(keyring.kids[0]), autoescape=True)
    )
    if after is not None:
        selected = selected.where(sa.tuple_(*order) > sa.tuple_(*after))
    rows = connection.execute(selected.order_by(*order).limit(BATCH)).all()
    done = 0
    for tenant, row, text in rows:
        done += _rotate_row(connection, encrypted, keyring, tenant, row, text)
    if len(rows) < BATCH:
        return done, None
    last: tuple[Any, ...] = tuple(rows[-1])[:2]  # what places() selects
    return done, last[-len(order) :]


def _rotate_row(
    connection: sa.Connection,
    encrypted: Encrypted,
    keyring: Keyring,
    tenant: int | None,
    row: str,
    text: str,
) -> int:
    """Encrypt one row anew, unless another secret took its place; returns how many were."""
    place = encrypted.place(tenant, row)
    try:
        sealed = keyring.encrypt(keyring.decrypt(text, place), place)
    except SealError as error:
        log.error("secret.unreadable", **place._asdict(), reason=str(error))  # noqa: TRY400
        return 0
    same = [encrypted.row == row, encrypted.column == text]
    if encrypted.tenant is not None:
        same.append(encrypted.tenant == tenant)
    changed = sa.update(encrypted.column.table).where(*same).values({encrypted.column: sealed})
    return connection.execute(changed).rowcount
