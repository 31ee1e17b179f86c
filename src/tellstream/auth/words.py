"""Sets as text, the way the store keeps them: words with single spaces, in order."""

from collections.abc import Iterable


def joined(items: Iterable[str | int]) -> str:
    """Write a set of words or numbers."""
    return " ".join(str(item) for item in sorted(items))


def words(text: str) -> frozenset[str]:
    """Read a set of words."""
    return frozenset(text.split(" ")) - {""}


def numbers(text: str) -> frozenset[int]:
    """Read a set of numbers."""
    return frozenset(int(word) for word in words(text))
