"""Reading the audit log."""

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.storage import audit, scope
from tellstream.storage.audit import AuditEvent


class AuditLog:
    """The audit log, for administrators.

    Args:
        desk: where it is read.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(
        self, actor: Actor, tenant: int | None, before: int | None, limit: int
    ) -> tuple[list[AuditEvent], int | None]:
        """Read events, newest first.

        Args:
            actor: who asks.
            tenant: whose; None: of no single tenant, which only the operator sees.
            before: where to go on.
            limit: at most so many.

        Returns:
            Events, and where to go on; None if that was all.

        Raises:
            RequestError: ``not_found``, it is not the actor's tenant.
            ServerError: the store cannot be used.
        """

        def work(act: Act) -> tuple[list[AuditEvent], int | None]:
            scope.require(actor.ctx, tenant)
            return audit.page(act.connection, actor.ctx, tenant, before, limit)

        return await self._desk.read(actor, work)
