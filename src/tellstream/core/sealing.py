"""Ending a stream from nothing but its log: what is left to say when the producer is lost.

The frames in the log are replayed into a composer, which then closes what is open, with ids that
rise above the last one. Nothing that was said is changed.
"""

from tellstream.core import events as ev
from tellstream.core.composer import Composer
from tellstream.core.ids import EventIds


def recovered(
    events: list[ev.Event],
    ids: EventIds,
    provider: str,
    model: str,
    metadata: dict[str, str] | None,
) -> Composer:
    """Build the composer that can end a stream; call its ``close``.

    Args:
        events: everything in the log, in order; may be empty.
        ids: used if the log is empty.
        provider: named in ``stream_start`` if the log is empty; as the other two.
        model: see ``provider``.
        metadata: see ``provider``.

    Raises:
        GrammarError: the events are no beginning of a stream.
    """
    if events:
        ids = EventIds.after(events[-1].id)
    composer = Composer(ids, provider, model, metadata)
    for event in events:
        composer.follow(event)
    return composer
