"""What the configuration offers, as far as administration needs to know."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is besides the store.

    Attributes:
        models: the names of the models.
        providers: those of the providers.
        tenants: that exist without the store.
        in_file: those of them that the configuration names; they win over stored ones.
    """

    models: Collection[str]
    providers: Collection[str]
    tenants: Collection[int]
    in_file: Collection[int]
