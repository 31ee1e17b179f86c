"""One place that can answer a model name: a provider's endpoint, its dialect, its model."""

import msgspec

from tellstream.providers.base import Dialect, Endpoint


class Target(msgspec.Struct, frozen=True):
    """What is tried for a stream; a model has one or several, tried in order.

    Attributes:
        endpoint: where it is reached.
        dialect: how to speak to it.
        dialect_name: what that is called.
        model: the provider's name of the model.
        usable: False: the tenant has a key of its own for it that cannot be read, and no other one
            may be used in its place.
    """

    endpoint: Endpoint
    dialect: Dialect
    dialect_name: str
    model: str
    usable: bool = True
