"""Looking after streams whose producer is gone: claim them, and end them."""

import asyncio
from typing import Final

import structlog

from tellstream.core.composer import Ending
from tellstream.core.errors import ChatError, ServerError
from tellstream.eventlog.base import (
    EventLog,
    FencedError,
    LogUnavailableError,
    LogWriter,
    StreamKey,
)
from tellstream.streams.seal import Sealer

log = structlog.get_logger("tellstream.stream")

LOOK_SECONDS: Final = 0.5
"""Between two looks for orphans: a reader sees the end soon after the lease ran out."""


class Janitor:
    """Seals orphans, for as long as it runs.

    Args:
        event_log: where the streams are.
        sealer: ends them.
    """

    def __init__(self, event_log: EventLog, sealer: Sealer) -> None:
        self._log = event_log
        self._sealer = sealer
        self._claimed: dict[StreamKey, LogWriter] = {}  # ours now, and not ended yet

    async def run(self) -> None:
        """Look and seal until cancelled."""
        while True:
            try:
                await self.look()
            except LogUnavailableError as error:
                log.warning("stream.orphans_unknown", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Seal what is an orphan now.

        Raises:
            LogUnavailableError: the log does not answer; what was claimed stays so.
        """
        while orphans := [key for key in await self._log.orphans() if key not in self._claimed]:
            for key in orphans:
                writer = await self._log.claim(key)
                if writer is not None:
                    self._claimed[key] = writer
            await self._seal_claimed()
        await self._seal_claimed()

    async def _seal_claimed(self) -> None:
        for key, writer in list(self._claimed.items()):
            try:
                await self._sealer.seal(writer, Ending.failed(ServerError("worker_lost")))
            except LogUnavailableError:
                raise
            except FencedError:
                pass  # another took it over from us, and ends it
            except ChatError:
                log.exception("stream.unsealable", stream=key.stream_id)
            del self._claimed[key]
