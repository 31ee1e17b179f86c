"""What handlers work with; put together in ``app.py``."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tellstream.administration.acts import Administration
from tellstream.auth.authenticator import Authenticator
from tellstream.auth.authorization_server import AuthorizationServer
from tellstream.core.observer import NullObserver, NullTracer, Observer, Tracer
from tellstream.limits.base import Admission
from tellstream.server.bookmarks import Bookmarks
from tellstream.server.client_address import ClientAddress
from tellstream.server.refusals import Refusals
from tellstream.server.tenancy import Tenancy, Tenant
from tellstream.settings import Settings
from tellstream.storage.base import UsageLedger
from tellstream.streams.service import StreamService


@dataclass(slots=True)
class Services:
    """The parts of a running server.

    Attributes:
        tenancy: the tenants, as they are now.
        authorization: the embedded authorization server, or None if it is off.
        administration: the acts of administrators.
        refusals: tells the audit log who was refused.
        client_address: tells where a request comes from.
        public_url: issuer, resource and base of all metadata.
        resource_metadata_url: named in challenges.
        bookmarks: small facts that all workers share.
        clock: Unix seconds.
    """

    settings: Settings
    tenancy: Tenancy
    streams: StreamService
    admission: Admission
    ledger: UsageLedger
    authenticator: Authenticator
    authorization: AuthorizationServer | None
    administration: Administration
    refusals: Refusals
    client_address: ClientAddress
    public_url: str
    resource_metadata_url: str
    bookmarks: Bookmarks
    observer: Observer = field(default_factory=NullObserver)
    tracer: Tracer = field(default_factory=NullTracer)
    clock: Callable[[], float] = field(default=time.time)

    @property
    def tenants(self) -> Mapping[int, Tenant]:
        """The tenants by number."""
        return self.tenancy.tenants

    @property
    def tenant_names(self) -> Mapping[int, str]:
        """What they are called, for people."""
        return self.tenancy.names
