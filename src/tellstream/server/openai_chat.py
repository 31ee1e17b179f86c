"""What OpenAI's clients ask for: completions, and the list of models."""

from tellstream.core.transcript import fold
from tellstream.protocols import openai_chat, openai_chat_request
from tellstream.protocols.table import OPENAI
from tellstream.server.access import tenant_of
from tellstream.server.call import Call
from tellstream.server.following import follow_started
from tellstream.server.services import Services
from tellstream.server.starting import read_question, start, whole


async def completions(services: Services, call: Call) -> None:
    """Start a stream; answer with its chunks, or wait and answer with the whole."""
    question = await read_question(services, call)
    asked = openai_chat_request.parse(question.body, question.limits)
    attachment = await start(services, call, question, asked.chat)
    stream_id = attachment.key.stream_id
    if asked.stream:
        encoder = openai_chat.ChunkEncoder(stream_id, include_usage=asked.include_usage)
        await follow_started(OPENAI, services, call, attachment, encoder)
        return
    events = await whole(attachment, call)
    await call.json(openai_chat.completion(stream_id, events[0].timestamp, fold(events)))


async def list_models(services: Services, call: Call) -> None:
    """List the models of the tenant, its default first."""
    tenant = tenant_of(services, call.ctx)
    rows = [
        # When a model was made is not known; the field is not optional.
        {"id": name, "object": "model", "created": 0, "owned_by": tenant.settings.name}
        for name in tenant.models
    ]
    await call.json({"object": "list", "data": rows})
