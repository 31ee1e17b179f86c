"""Which sources are links: what a page may make clickable."""

from typing import Final, TypeGuard

_SCHEMES: Final = ("https://", "http://")


def is_link(source: str | int) -> TypeGuard[str]:
    """Whether a source that a provider named is the address of a page.

    Anything else (``javascript:``, ``data:``) must not become an address in another program.
    """
    return isinstance(source, str) and source.lower().startswith(_SCHEMES)
