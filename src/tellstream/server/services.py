"""What handlers work with; put together in ``app.py``."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tellstream.auth.token_endpoint import TokenContext
from tellstream.auth.tokens import TokenVerifier
from tellstream.limits.base import Limits
from tellstream.settings import Settings, TenantSettings
from tellstream.storage.base import UsageLedger
from tellstream.streams.service import StreamService
from tellstream.streams.target import Target


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as requests need it, worked out once.

    Attributes:
        settings: its configuration.
        models: what it may use, its default first.
    """

    settings: TenantSettings
    models: dict[str, tuple[Target, ...]]

    @property
    def default_model(self) -> str:
        """The model of requests that name none."""
        return next(iter(self.models))


@dataclass(slots=True)
class Services:
    """The parts of a running server.

    Attributes:
        public_url: issuer, resource and base of all metadata.
        tenants: by number.
        token_context: the embedded authorization server, or None if it is off.
        resource_metadata_url: named in challenges.
        clock: Unix seconds.
    """

    settings: Settings
    tenants: dict[int, Tenant]
    streams: StreamService
    limits: Limits
    ledger: UsageLedger
    verifier: TokenVerifier
    token_context: TokenContext | None
    public_url: str
    resource_metadata_url: str
    clock: Callable[[], float] = field(default=time.time)
