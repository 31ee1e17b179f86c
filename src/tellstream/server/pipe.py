"""The body of a response, written to without waiting."""

from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

PIPE: Final = "tellstream.pipe"
"""Its name in ``scope["extensions"]``."""


class Pipe:
    """The body of one response, written without waiting as long as the client keeps up.

    An extension of ASGI (``PIPE`` in ``scope["extensions"]``): what is written here goes between
    what is sent, in order. Whoever writes from the call that appends to a log needs no task of its
    own to wake up.

    Args:
        cycle: uvicorn's, of the request.
    """

    __slots__ = ("_cycle", "_gone")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._gone: Callable[[], None] | None = None

    @property
    def request_is_here(self) -> bool:
        """Whether the body of the request has arrived, so that receiving it does not wait."""
        return not self._cycle.more_body

    def when_gone(self, act: Callable[[], None] | None) -> None:
        """Have ``act`` called once the client has left, at once if it has; None: no more."""
        self._gone = act
        if act is not None and self._cycle.disconnected:
            act()

    def lost(self) -> None:
        """Say that the connection was lost; for the protocol."""
        if self._gone is not None:
            self._gone()

    @property
    def ready(self) -> bool:
        """Whether the body was begun, in chunks, and the client keeps up."""
        cycle = self._cycle
        return (
            cycle.response_started
            and cycle.chunked_encoding is True
            and not cycle.response_complete
            and not cycle.disconnected
            and not cycle.flow.write_paused
            and cycle.scope["method"] != "HEAD"
        )

    def write(self, data: bytes) -> None:
        """Write a piece of the body (not empty), while ``ready``."""
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
