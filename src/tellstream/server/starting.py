"""Starting a stream for a request, whatever protocol it was written in.

The check order of the HTTP surface: media type and key, body, what it says, model, admission.
"""

from typing import NamedTuple

from tellstream.core.chat import ChatRequest
from tellstream.core.errors import RequestError
from tellstream.core.events import Event
from tellstream.core.frames import decode_frame
from tellstream.core.private import keep_private
from tellstream.limits.base import Terms
from tellstream.protocols.conversation import Limits
from tellstream.server.access import caller, tenant_of
from tellstream.server.body import check_json, read_body
from tellstream.server.call import Call
from tellstream.server.dialects import ANY_JSON
from tellstream.server.position import idempotency_key
from tellstream.server.services import Services
from tellstream.server.sse_response import Pace, collect
from tellstream.streams.attachment import Attachment, failure
from tellstream.streams.idempotency import idempotency
from tellstream.streams.target import Target


class Question(NamedTuple):
    """A request before it was understood.

    Attributes:
        body: its bytes.
        key: the caller's name for it, or None.
        limits: of the tenant.
    """

    body: bytes
    key: str | None
    limits: Limits


async def read_question(services: Services, call: Call) -> Question:
    """Read the body of a request that starts a stream.

    Raises:
        RequestError: it is not JSON, too large or too slow, or its key is malformed.
        ClientGoneError: the client disconnected.
    """
    settings = tenant_of(services, call.ctx).settings
    check_json(call.headers)
    key = idempotency_key(call.headers)
    is_here = call.pipe is not None and call.pipe.request_is_here
    body = await read_body(call.receive, is_here=is_here)
    limits = settings.limits
    return Question(
        body, key, Limits(limits.prompt_chars, limits.history_messages, settings.system)
    )


async def start(
    services: Services, call: Call, question: Question, chat: ChatRequest, after: int = 0
) -> Attachment:
    """Admit a chat request and start its stream.

    Args:
        services: of the server.
        call: the request.
        question: the same, as it was read.
        chat: what it asks.
        after: the last event that the caller has, of a stream that it started before.

    Raises:
        RequestError: the model is not the tenant's, or a limit is reached.
        ServerError: ``service_unavailable``.
    """
    ctx = call.ctx
    tenant = tenant_of(services, ctx)
    turns = (turn.content for turn in chat.history)
    keep_private((chat.prompt, *turns, chat.system or ""))
    model = chat.model or tenant.default_model
    targets = tenant.models.get(model)
    if targets is None:
        raise RequestError("validation_error", details=(("model", "is not one of your models"),))
    _check_format(chat, targets)
    key = question.key
    attachment = await services.streams.start(
        ctx,
        model,
        chat,
        targets,
        Terms(caller(services, ctx), tenant.prices.get(model)),
        idempotency=None if key is None else idempotency(ctx, call.route, key, question.body),
        after=after,
    )
    call.response_headers["X-Stream-Id"] = attachment.key.stream_id
    return attachment


def pace(services: Services) -> Pace:
    """Say when responses write what nobody asked for."""
    streams = services.settings.streams
    return Pace(streams.commit_seconds, streams.heartbeat_seconds, services.streams.drain_notice)


async def whole(attachment: Attachment, call: Call) -> list[Event]:
    """Wait for the end of a stream that was just started, and leave it.

    Raises:
        ChatError: it failed.
        ClientGoneError: the client left before the end.
    """
    try:
        frames = await collect(attachment.reader, call)
        early = attachment.early_failure(frames)
    finally:
        attachment.close()
    events = [decode_frame(frame)[1] for frame in frames]
    error = early or failure(events)
    if error is not None:
        raise error
    return events


def _check_format(chat: ChatRequest, targets: tuple[Target, ...]) -> None:
    """Refuse JSON without a schema where one of the targets needs a schema."""
    if chat.response_format is None or chat.response_format.schema is not None:
        return
    if any(target.dialect_name not in ANY_JSON for target in targets):
        text = "this model needs a json_schema; json_object cannot be asked of it"
        raise RequestError("validation_error", details=(("response_format", text),))
