"""What the decisions ask of the world; the two drivers answer.

Decisions are generators ("flows"): they yield an effect and get its result back. A driver performs
effects with asyncio or with blocking calls, and decides nothing itself. A driver has one connection
at a time: ``Open`` closes the one before.

    Open      -> Head; raises Broken
    Read      -> the next bytes, or None at the end of the body; raises Broken
    Close     -> None
    Sleep     -> None
    NewToken  -> an access token
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar


class Request(NamedTuple):
    """One HTTP request, without its credentials.

    Attributes:
        method: the HTTP method.
        path: below the server's address, with the query.
        headers: of this request only.
        body: JSON, or None.
        read_seconds: of silence before it counts as lost; None for that of streams.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    read_seconds: float | None = None


class Head(NamedTuple):
    """The beginning of an answer; ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]


class Open(NamedTuple):
    """Send a request and wait for the head of its answer."""

    request: Request
    token: str


class Read(NamedTuple):
    """Wait for the next bytes of the body."""


class Close(NamedTuple):
    """Give the connection back, or close it if its body was not read to the end."""


class Sleep(NamedTuple):
    """Wait."""

    seconds: float


class NewToken(NamedTuple):
    """Get an access token other than ``stale``."""

    stale: str | None


class Broken(Exception):  # noqa: N818 - a message between driver and flow, no error for callers
    """The network failed.

    Attributes:
        sent: whether the server may have seen the request.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


Effect: TypeAlias = Open | Read | Close | Sleep | NewToken
_Result = TypeVar("_Result")
Flow: TypeAlias = Generator[Effect, Any, _Result]
