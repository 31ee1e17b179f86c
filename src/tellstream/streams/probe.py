"""One small real call of a target, to see whether and how it answers (``tellstream doctor``)."""

import asyncio
from typing import Final

import msgspec

from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer
from tellstream.core.errors import ProviderError
from tellstream.core.events import NON_CONTENT
from tellstream.core.ids import EventIds
from tellstream.providers.base import Caller
from tellstream.streams.target import Target

QUESTION: Final = ChatRequest(
    "Count from one to twenty in words, separated by spaces.", max_output_tokens=200
)
MIN_DELTAS: Final = 8
"""Fewer may well arrive together by chance."""


class Finding(msgspec.Struct, frozen=True):
    """What a call showed.

    Attributes:
        provider: the configured provider.
        model: its name of the model.
        error: why it failed, or None.
        first_token_ms: from sending the request to the first content.
        deltas: content events.
        reads: reads of the connection that brought content.
        spread_ms: from the first content to the last.
    """

    provider: str
    model: str
    error: ProviderError | None = None
    first_token_ms: int = 0
    deltas: int = 0
    reads: int = 0
    spread_ms: int = 0

    @property
    def buffered(self) -> bool:
        """Whether the answer arrived in one piece: something on the way holds it back."""
        return self.error is None and self.deltas >= MIN_DELTAS and self.reads == 1


async def probe(caller: Caller, target: Target, total: float) -> Finding:
    """Call ``target`` once; never raises for what the provider does.

    Args:
        caller: the upstream client.
        target: what to call.
        total: seconds that the call may take.
    """
    time = asyncio.get_running_loop().time
    composer = Composer(EventIds(0), target.endpoint.provider, target.model)
    decoder = target.dialect.decoder(target.endpoint)
    request = target.dialect.request(target.endpoint, target.model, QUESTION)
    began = time()
    arrivals: list[tuple[float, int]] = []
    try:
        async with caller.call(target.dialect, request, began + total) as body:
            while not composer.over:
                chunk = await body.read()
                events = composer.feed(decoder.feed(chunk) if chunk else decoder.eof(), 0.0)
                content = sum(event.type not in NON_CONTENT for event in events)
                if content:
                    body.content_seen()
                    arrivals.append((time(), content))
                if not chunk:
                    break
        error = composer.ending().error
    except ProviderError as caught:
        error = caught
    failure = error if isinstance(error, ProviderError) else None
    if not arrivals:
        return Finding(target.endpoint.provider, target.model, failure)
    first, last = arrivals[0][0], arrivals[-1][0]
    return Finding(
        target.endpoint.provider,
        target.model,
        failure,
        first_token_ms=round((first - began) * 1000),
        deltas=sum(count for _, count in arrivals),
        reads=len(arrivals),
        spread_ms=round((last - first) * 1000),
    )
