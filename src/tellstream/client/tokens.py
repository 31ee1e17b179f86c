"""Access tokens: one that is given, or a function that gets new ones."""

import re
from typing import Final

_VISIBLE: Final = re.compile(r"[!-~]{1,16384}")
"""What fits in a header: visible ASCII, and more bytes than any server takes."""


class Tokens:
    """The token in use.

    Attributes:
        current: None before the first one was got.
        renewable: whether there is a function to get another.
    """

    def __init__(self, current: str | None) -> None:
        self.renewable = current is None
        self.current = None if current is None else usable(current)


def usable(token: object) -> str:
    """Check that ``token`` can be sent; it is never repeated in an error.

    Raises:
        TypeError: it is not a string.
        ValueError: it holds what no header can hold.
    """
    if not isinstance(token, str):
        raise TypeError(f"an access token must be a string, not {type(token).__name__}")
    if not _VISIBLE.fullmatch(token):
        raise ValueError("the access token is empty or holds white space or other odd characters")
    return token
