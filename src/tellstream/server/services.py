"""What handlers work with; put together in ``app.py``."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tellstream.auth.token_endpoint import TokenContext
from tellstream.auth.tokens import TokenVerifier
from tellstream.catalog import Catalog
from tellstream.limits.base import Limits
from tellstream.settings import Settings
from tellstream.streams.service import StreamService
from tellstream.streams.target import Target


@dataclass(slots=True)
class Services:
    """The parts of a running server.

    Attributes:
        public_url: issuer, resource and base of all metadata.
        targets: for each model of the catalog, what can answer, in order.
        token_context: the embedded authorization server, or None if it is off.
        resource_metadata_url: named in challenges.
        clock: Unix seconds.
    """

    settings: Settings
    catalog: Catalog
    targets: dict[str, tuple[Target, ...]]
    streams: StreamService
    limits: Limits
    verifier: TokenVerifier
    token_context: TokenContext | None
    public_url: str
    resource_metadata_url: str
    clock: Callable[[], float] = field(default=time.time)
