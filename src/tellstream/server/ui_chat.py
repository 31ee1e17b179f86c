"""Chats of Vercel's AI SDK: ask, resume after a reload, stop.

A client that comes back knows only the chat's id. Which stream is the chat's newest is a bookmark,
so every worker knows it; it is written before the first byte of an answer is.
"""

from typing import Final

import msgspec
import structlog

from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx
from tellstream.protocols import ui_message_request
from tellstream.protocols.table import UI
from tellstream.protocols.transcoder import Transcoder
from tellstream.protocols.ui_message import UiEncoder
from tellstream.server.asgi import NO_STORE
from tellstream.server.bookmarks import digest
from tellstream.server.call import Call
from tellstream.server.following import follow_started
from tellstream.server.services import Services
from tellstream.server.sse_response import SSE_HEADERS, follow
from tellstream.server.starting import pace, read_question, start
from tellstream.storage.base import StoreUnavailableError

log = structlog.get_logger("tellstream.http")

MARGIN_SECONDS: Final = 60.0
"""For which a chat's stream is known beyond the longest life of one: its end takes a moment."""


class Newest(msgspec.Struct, frozen=True):
    """The newest stream of a chat.

    Attributes:
        stream_id: of the stream.
        message_id: of the message that its answer continues, or None.
    """

    stream_id: str
    message_id: str | None = None


async def chat(services: Services, call: Call) -> None:
    """Start a stream, remember it as the chat's newest, and follow it."""
    question = await read_question(services, call)
    asked = ui_message_request.parse(question.body, question.limits)
    attachment = await start(services, call, question, asked.chat)
    newest = Newest(attachment.key.stream_id, asked.message_id)
    try:
        await _remember(services, call.ctx, asked.chat_id, newest)
    except BaseException:
        attachment.close()
        raise
    encoder = UiEncoder(newest.stream_id, message_id=newest.message_id)
    await follow_started(UI, services, call, attachment, encoder)


async def resume(services: Services, call: Call) -> None:
    """Replay the running stream of a chat from its start, then follow it; 204 if none runs."""
    newest = await _running(services, call)
    if newest is None:
        await call.head(204, NO_STORE)
        await call.send({"type": "http.response.body", "body": b""})
        return
    attachment = await services.streams.resume(call.ctx, newest.stream_id, 0)
    call.response_headers["X-Stream-Id"] = newest.stream_id
    encoder = UiEncoder(newest.stream_id, message_id=newest.message_id)
    try:
        await follow(
            attachment,
            call,
            pace(services)._replace(commit=0.0),
            fold_first=True,
            encode=Transcoder(encoder, UI.terminal),
            headers=SSE_HEADERS | dict(UI.headers),
        )
    finally:
        attachment.close()


async def stop(services: Services, call: Call) -> None:
    """Cancel the running stream of a chat; 204 if none runs."""
    newest = await _running(services, call)
    if newest is None:
        await call.head(204, NO_STORE)
        await call.send({"type": "http.response.body", "body": b""})
        return
    await call.json({"data": await services.streams.cancel(call.ctx, newest.stream_id)}, status=202)


async def _remember(services: Services, ctx: Ctx, chat_id: str, newest: Newest) -> None:
    seconds = services.settings.timeouts.total + MARGIN_SECONDS
    value = msgspec.json.encode(newest).decode()
    try:
        await services.bookmarks.put(ctx.tenant, _name(ctx, chat_id), value, seconds)
    except StoreUnavailableError as error:
        # The answer is more important than being able to come back to it by the chat's id.
        log.warning("ui.chat_not_remembered", stream=newest.stream_id, reason=error.reason)


async def _running(services: Services, call: Call) -> Newest | None:
    """Find the stream of the chat in the path, if it still runs."""
    ctx = call.ctx
    value = await services.bookmarks.find(ctx.tenant, _name(ctx, call.path_values["id"]))
    if value is None:
        return None
    newest = msgspec.json.decode(value, type=Newest)
    try:
        state = await services.streams.find(ctx, newest.stream_id)
    except RequestError:
        return None
    return newest if state.state == "running" else None


def _name(ctx: Ctx, chat_id: str) -> str:
    """A chat belongs to a subject: another's chat with the same id is another chat."""
    return digest("ui-chat", ctx.subject, chat_id)
