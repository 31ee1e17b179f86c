"""The sockets that this process has open, and patience with what closes them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

SECONDS = 10


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true that nobody tells."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def only(before: set[str]) -> None:
    """Wait until no socket is open but those that were ``before``."""
    await until(lambda: open_sockets() <= before)


def open_sockets() -> set[str]:
    """Name them as the kernel does."""
    return set(_named())


def _named() -> Iterator[str]:
    for file in Path("/proc/self/fd").iterdir():
        try:
            target = str(file.readlink())
        except FileNotFoundError:  # that of the listing itself
            continue
        if target.startswith("socket:"):
            yield target
