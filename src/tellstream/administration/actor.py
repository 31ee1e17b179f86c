"""Who administers: the operator of the installation, or an administrator of one tenant."""

from collections.abc import Collection
from dataclasses import dataclass

from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something.

    Attributes:
        ctx: the caller in the one tenant that may be touched; None: the operator, who may touch
            everything.
        subject: who, for the audit log.
        client: the OAuth client; empty: none.
        request_id: of the HTTP request; empty: none.
    """

    ctx: Ctx | None
    subject: str
    client: str = ""
    request_id: str = ""

    def require_operator(self) -> None:
        """Return if the actor is the operator.

        Raises:
            RequestError: 403 ``forbidden``.
        """
        if self.ctx is not None:
            raise RequestError(
                "forbidden",
                "This is for the operator of the installation.",
                reason=f"tenant {self.ctx.tenant} is not the operator's",
            )

    def require_tenants(self, tenants: Collection[int]) -> None:
        """Return if somebody may be given these tenants by the actor.

        Raises:
            RequestError: 403 ``forbidden``, the same for tenants that exist and those that do not.
        """
        if self.ctx is not None and set(tenants) != {self.ctx.tenant}:
            raise RequestError("forbidden", reason=f"tenant {self.ctx.tenant} gives other tenants")
