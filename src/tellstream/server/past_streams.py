"""What is told of a stream whose log is gone, from its usage row."""

from tellstream.core.principals import Ctx
from tellstream.storage import streams_index
from tellstream.storage.store import Store
from tellstream.streams.record import StreamState


class PastStreams:
    """The streams of all times.

    Args:
        store: where their usage rows are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, ctx: Ctx, stream_id: str) -> StreamState | None:
        """Find a stream that the caller may know of.

        Raises:
            StoreUnavailableError: the store cannot be used.
        """
        entry = await self._store.run(
            ctx, lambda c: streams_index.find(c, ctx, stream_id), readonly=True
        )
        if entry is None:
            return None
        end = entry.settlement
        return StreamState(
            id=entry.stream_id,
            state="finished",  # its log is gone: nothing produces it any more
            model=entry.model if end is None else end.provider_model,
            provider="" if end is None else end.provider,
            created_at=entry.created_at,
            finished_at=None if end is None else end.finished_at,
            finish_reason=None if end is None else end.finish_reason,
            usage=None if end is None else end.usage,
            estimated=end is not None and end.estimated,
            attempts=(),
        )
