"""Where an act is done: in one transaction, together with its row in the audit log.

The transaction runs as the actor. So a database that keeps tenants apart by itself (see
``row_security`` of the storage) does so here, too.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import sqlalchemy as sa
import structlog

from tellstream.administration.actor import Actor
from tellstream.auth.transactions import Revoked, Transaction
from tellstream.storage import audit
from tellstream.storage.store import Store

T = TypeVar("T")

log = structlog.get_logger("tellstream.admin")


class Act(Transaction):
    """A transaction that knows who acts.

    Args:
        connection: in the transaction.
        now: Unix seconds.
        actor: who acts.
    """

    def __init__(self, connection: sa.Connection, now: float, actor: Actor) -> None:
        super().__init__(connection, now)
        self.actor = actor

    def record(
        self, act: str, thing: str, tenant: int | None = None, **details: str | int | bool | None
    ) -> None:
        """Write to the audit log what was done.

        Args:
            act: ``noun.past_participle``.
            thing: what it was done to.
            tenant: whose; None: of none, or of several.
            details: more, without secrets.
        """
        event = audit.AuditEvent(
            at=int(self.now),
            act=act,
            object=thing,
            outcome="done",
            tenant=tenant,
            subject=self.actor.subject,
            client=self.actor.client,
            request_id=self.actor.request_id,
            details=details,
        )
        audit.append(self.connection, self.actor.ctx, event)
        log.info("admin.act", act=act, object=thing, tenant=tenant, subject=self.actor.subject)


def _nobody_listens(_revoked: Iterable[Revoked]) -> None:
    pass


class Desk:
    """Does acts in the store.

    Args:
        store: where everything is.
        clock: Unix seconds.
        revoked: told at once which access tokens are dead from now on; other processes find out by
            themselves.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        revoked: Callable[[Iterable[Revoked]], None] = _nobody_listens,
    ) -> None:
        self.store = store
        self.clock = clock
        self._revoked = revoked

    async def act(self, actor: Actor, work: Callable[[Act], T]) -> T:
        """Do ``work`` in a transaction.

        Raises:
            StoreUnavailableError: the store cannot be used.
            Exception: what ``work`` raises; then nothing has happened.
        """

        def transact(connection: sa.Connection) -> tuple[T, list[Revoked]]:
            act = Act(connection, self.clock(), actor)
            return work(act), act.revoked

        result, revoked = await self.store.run(actor.ctx, transact)
        self._revoked(revoked)
        return result

    async def read(self, actor: Actor, work: Callable[[Act], T]) -> T:
        """Do ``work``, which only reads.

        Raises:
            StoreUnavailableError: the store cannot be used.
        """
        return await self.store.run(
            actor.ctx, lambda c: work(Act(c, self.clock(), actor)), readonly=True
        )
