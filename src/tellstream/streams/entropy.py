"""Random bits for identifiers, fetched from the system by the block.

A system call for each identifier also gives the interpreter away to other threads, which costs
several times what the bits do.
"""

import os
from typing import Final

BLOCK_BYTES: Final = 4096
"""Fetched at once: the identifiers of a hundred streams."""


class Entropy:
    """The system's random bits (``os.urandom``), each given out once. For one thread.

    A forked process begins with a block of its own.
    """

    __slots__ = ("_at", "_block")

    def __init__(self) -> None:
        self._block = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._drop)

    def bits(self, size: int) -> int:
        """Give ``size`` bits, a multiple of 8, as an unsigned number."""
        count = size // 8
        if self._at + count > len(self._block):
            self._block = os.urandom(BLOCK_BYTES)
            self._at = 0
        start = self._at
        self._at += count
        return int.from_bytes(self._block[start : self._at])

    def _drop(self) -> None:
        self._block = b""


ENTROPY: Final = Entropy()
"""Of this process's event loop."""
