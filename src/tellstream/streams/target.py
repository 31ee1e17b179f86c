"""One place that can answer a model name: a provider's endpoint, its dialect, its model."""

import msgspec

from tellstream.providers.base import Dialect, Endpoint


class Target(msgspec.Struct, frozen=True):
    """What is tried for a stream; a model has one or several, tried in order."""

    endpoint: Endpoint
    dialect: Dialect
    dialect_name: str
    model: str
