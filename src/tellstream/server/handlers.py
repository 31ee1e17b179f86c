"""What each route does between authentication and the domain: a few lines each."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from tellstream.auth.authorization_server import AuthorizationServer
from tellstream.auth.metadata import authorization_server_metadata, protected_resource_metadata
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.transcript import Transcript, fold
from tellstream.protocols import native
from tellstream.protocols.table import OPENAI
from tellstream.server.access import tenant_of
from tellstream.server.asgi import NO_STORE
from tellstream.server.call import Call
from tellstream.server.following import follow_in
from tellstream.server.openai_chat import list_models
from tellstream.server.openapi import openapi_document
from tellstream.server.position import position, wanted_protocol, wants_snapshot
from tellstream.server.services import Services
from tellstream.server.sse_response import SSE_HEADERS, follow
from tellstream.server.starting import pace, read_question, start, whole
from tellstream.streams.attachment import Attachment

CACHEABLE: Final = {"Cache-Control": "public, max-age=600", "Access-Control-Allow-Origin": "*"}
"""Discovery documents and keys: for ten minutes, from any page."""
_PAGE: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


async def chat_stream(services: Services, call: Call) -> None:
    """Start a stream and follow it."""
    attachment = await _start(services, call)
    try:
        await follow(attachment, call, pace(services), failure=attachment.early_failure)
    finally:
        attachment.close()


async def stream_events(services: Services, call: Call) -> None:
    """Replay a stream from a position, then follow it; 204 if nothing will come any more."""
    after = position(call.headers, call.scope["query_string"])
    fold_first = wants_snapshot(call.scope["query_string"])
    protocol = wanted_protocol(call.scope["query_string"])
    attachment = await services.streams.resume(call.ctx, call.path_values["id"], after)
    call.response_headers["X-Stream-Id"] = call.path_values["id"]
    try:
        if attachment.reader.ended:
            await call.head(204, NO_STORE)  # tells an EventSource to stay away
            await call.send({"type": "http.response.body", "body": b""})
            return
        if call.scope["method"] == "HEAD":
            await call.head(200, SSE_HEADERS)
            await call.send({"type": "http.response.body", "body": b""})
            return
        at_once = pace(services)._replace(commit=0.0)  # no failure can change the status
        if protocol.encoder is None:
            await follow(attachment, call, at_once, fold_first=fold_first)
        else:
            await follow_in(protocol, services, call, at_once, after, fold_first=fold_first)
    finally:
        attachment.close()


async def chat(services: Services, call: Call) -> None:
    """Start a stream, wait for its end, answer with the fold."""
    attachment = await _start(services, call)
    events = await whole(attachment, call)
    await call.json({"data": _answer(attachment.key.stream_id, fold(events))})


async def stream_state(services: Services, call: Call) -> None:
    """Tell the state of a stream."""
    await call.json({"data": await services.streams.find(call.ctx, call.path_values["id"])})


async def stream_cancel(services: Services, call: Call) -> None:
    """Cancel a stream; once it has ended this changes nothing."""
    state = await services.streams.cancel(call.ctx, call.path_values["id"])
    await call.json({"data": state}, status=202)


async def models(services: Services, call: Call) -> None:
    """List the models of the tenant, its default first."""
    if call.protocol is OPENAI:
        await list_models(services, call)
        return
    tenant = tenant_of(services, call.ctx)
    default = tenant.default_model
    await call.json({"data": [{"id": m, "default": m == default} for m in tenant.models]})


async def oauth_jwks(services: Services, call: Call) -> None:
    """Publish the verification keys."""
    await call.json(_embedded(services).keys.jwks(), CACHEABLE)


async def authorization_server(services: Services, call: Call) -> None:
    """Publish RFC 8414 metadata."""
    _embedded(services)
    await call.json(authorization_server_metadata(services.public_url), CACHEABLE)


async def protected_resource(services: Services, call: Call) -> None:
    """Publish RFC 9728 metadata."""
    own = [] if services.authorization is None else [services.public_url]
    issuers = [*own, *(row.issuer for row in services.settings.auth.issuers)]
    await call.json(protected_resource_metadata(services.public_url, issuers), CACHEABLE)


async def healthz(_services: Services, call: Call) -> None:
    """Say that the process answers."""
    await call.json({"status": "ok"})


async def readyz(services: Services, call: Call) -> None:
    """Say whether new streams are taken."""
    if services.streams.draining:
        raise ServerError("service_unavailable", retry_after=1)
    await call.json({"status": "ready", "streams": services.streams.running})


async def openapi(services: Services, call: Call) -> None:
    """Publish the OpenAPI document."""
    from tellstream.server.routes import PUBLIC, ROUTES  # noqa: PLC0415 - the table names this

    await call.json(openapi_document(ROUTES, PUBLIC, services.public_url), CACHEABLE)


async def docs_page(_services: Services, call: Call) -> None:
    """Show the interactive reference."""
    await call.content(_web("docs.html"), "text/html; charset=utf-8", _PAGE)


async def docs_script(_services: Services, call: Call) -> None:
    """Serve its script."""
    await call.content(_web("docs.js"), "text/javascript; charset=utf-8", _PAGE)


async def docs_style(_services: Services, call: Call) -> None:
    """Serve its style."""
    await call.content(_web("docs.css"), "text/css; charset=utf-8", _PAGE)


async def _start(services: Services, call: Call) -> Attachment:
    """Admit a chat request and start its stream."""
    after = position(call.headers, b"")
    question = await read_question(services, call)
    limits = question.limits
    chat = native.parse(
        question.body,
        prompt_chars=limits.prompt_chars,
        history_messages=limits.history_messages,
        system=limits.system,
    )
    return await start(services, call, question, chat, 0 if question.key is None else after)


def _answer(stream_id: str, transcript: Transcript) -> Mapping[str, Any]:
    return {
        "stream_id": stream_id,
        "model": transcript.model,
        "provider": transcript.provider,
        "text": transcript.text,
        "thinking": transcript.thinking,
        "tool_calls": transcript.tool_calls,
        "finish_reason": transcript.finish_reason,
        "usage": transcript.usage,
        "citations": transcript.citations,
    }


def _embedded(services: Services) -> AuthorizationServer:
    if services.authorization is None:
        raise RequestError("not_found")
    return services.authorization


def _web(name: str) -> bytes:
    return resources.files("tellstream.server").joinpath("web", name).read_bytes()
