"""The contract of an output protocol: the events of a stream in, the objects of its own wire out.

Every stream is logged as native frames; a protocol is another way to say the same. All of them are
server-sent events with one JSON object per block, so an encoder gives objects and ``transcoder.py``
frames them. Encoders are sans-IO and deterministic: the same events give the same objects, so a
reader that comes back gets exactly what the first one got.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

from tellstream.core.errors import ChatError
from tellstream.core.events import EVENT_TYPES, Event

Payload: TypeAlias = dict[str, Any]
"""One JSON object on the wire."""


class Encoder(Protocol):
    """Encodes the events of one stream; it must see all of them, from the first."""

    def encode(self, event: Event) -> list[Payload]:
        """Say ``event`` in this protocol: in one object, several, or none at all."""


class Hooks:
    """An encoder that has a method for each event it can say, named ``on_`` and the event's type.

    An event without such a method is not said.
    """

    def __init__(self) -> None:
        names = (f"on_{name}" for name in EVENT_TYPES)
        self._hooks: dict[str, Callable[[Any], list[Payload]]] = {
            name.removeprefix("on_"): getattr(self, name) for name in names if hasattr(self, name)
        }

    def encode(self, event: Event) -> list[Payload]:
        """Say ``event`` in this protocol."""
        hook = self._hooks.get(event.type)
        return [] if hook is None else hook(event)


class OutputProtocol(NamedTuple):
    """One row of the table.

    Attributes:
        name: in ``?protocol=``.
        encoder: makes an encoder for the stream with this id; None: the log's frames are this
            protocol already, and are passed on as they are.
        headers: of the response, besides those of any event stream.
        terminal: what follows the last event, on the wire.
        error: status and body of a refusal; None: the native ones.
        lone_tenant: whether the tenant may be left out where the token has exactly one.
    """

    name: str
    encoder: Callable[[str], Encoder] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    terminal: bytes = b""
    error: Callable[[ChatError], tuple[int, Payload]] | None = None
    lone_tenant: bool = False
