"""Following a stream in another protocol than that of its log."""

from tellstream.protocols.base import Encoder, OutputProtocol
from tellstream.protocols.transcoder import Transcoder
from tellstream.server.call import Call
from tellstream.server.services import Services
from tellstream.server.sse_response import SSE_HEADERS, Pace, follow
from tellstream.server.starting import pace
from tellstream.streams.attachment import Attachment


async def follow_started(
    protocol: OutputProtocol,
    services: Services,
    call: Call,
    attachment: Attachment,
    encoder: Encoder,
) -> None:
    """Follow a stream that this request has started, and leave it.

    Raises:
        ChatError: it failed before any content.
    """
    try:
        await follow(
            attachment,
            call,
            pace(services),
            failure=attachment.early_failure,
            encode=Transcoder(encoder, protocol.terminal),
            headers=SSE_HEADERS | dict(protocol.headers),
        )
    finally:
        attachment.close()


async def follow_in(
    protocol: OutputProtocol,
    services: Services,
    call: Call,
    when: Pace,
    after: int,
    *,
    fold_first: bool,
) -> None:
    """Follow the stream in the path in ``protocol``, after an event of it.

    An encoder must see a stream from its first event, so what the reader has is read again, and not
    said. Folded deltas could reach across that event: a reader who has some gets none.

    Raises:
        RequestError: the stream is not there, or not any more.
    """
    assert protocol.encoder is not None, "the native protocol needs no encoder"
    stream_id = call.path_values["id"]
    attachment = await services.streams.resume(call.ctx, stream_id, 0)
    try:
        await follow(
            attachment,
            call,
            when,
            fold_first=fold_first and not after,
            encode=Transcoder(protocol.encoder(stream_id), protocol.terminal, after),
            headers=SSE_HEADERS | dict(protocol.headers),
        )
    finally:
        attachment.close()
