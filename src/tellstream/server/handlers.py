"""What each route does between authentication and the domain: a few lines each."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from tellstream.auth.authorization_server import AuthorizationServer
from tellstream.auth.metadata import authorization_server_metadata, protected_resource_metadata
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.frames import decode_frame
from tellstream.core.private import keep_private
from tellstream.core.transcript import Transcript, fold
from tellstream.limits.base import Terms
from tellstream.protocols import native
from tellstream.server.access import caller, tenant_of
from tellstream.server.asgi import NO_STORE
from tellstream.server.body import check_json, read_body
from tellstream.server.call import Call
from tellstream.server.openapi import openapi_document
from tellstream.server.position import idempotency_key, position, wants_snapshot
from tellstream.server.services import Services
from tellstream.server.sse_response import SSE_HEADERS, Pace, collect, follow
from tellstream.streams.attachment import Attachment, failure
from tellstream.streams.idempotency import idempotency

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
        await follow(attachment, call, _pace(services), failure=attachment.early_failure)
    finally:
        attachment.close()


async def stream_events(services: Services, call: Call) -> None:
    """Replay a stream from a position, then follow it; 204 if nothing will come any more."""
    after = position(call.headers, call.scope["query_string"])
    fold_first = wants_snapshot(call.scope["query_string"])
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
        await follow(attachment, call, _pace(services), fold_first=fold_first)
    finally:
        attachment.close()


async def chat(services: Services, call: Call) -> None:
    """Start a stream, wait for its end, answer with the fold."""
    attachment = await _start(services, call)
    try:
        frames = await collect(attachment.reader, call)
        early = attachment.early_failure(frames)
    finally:
        attachment.close()
    events = [decode_frame(frame)[1] for frame in frames]
    error = early or failure(events)
    if error is not None:
        raise error
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
    """Admit a chat request and start its stream (the check order of the HTTP surface)."""
    ctx = call.ctx
    tenant = tenant_of(services, ctx)
    limits = tenant.settings.limits
    check_json(call.headers)
    key = idempotency_key(call.headers)
    after = position(call.headers, b"")
    body = await read_body(call.receive)
    chat_request = native.parse(
        body,
        prompt_chars=limits.prompt_chars,
        history_messages=limits.history_messages,
        system=tenant.settings.system,
    )
    turns = (turn.content for turn in chat_request.history)
    keep_private((chat_request.prompt, *turns, chat_request.system or ""))
    model = chat_request.model or tenant.default_model
    targets = tenant.models.get(model)
    if targets is None:
        raise RequestError("validation_error", details=(("model", "is not one of your models"),))
    attachment = await services.streams.start(
        ctx,
        model,
        chat_request,
        targets,
        Terms(caller(services, ctx), tenant.prices.get(model)),
        idempotency=None if key is None else idempotency(ctx, call.route, key, body),
        after=0 if key is None else after,
    )
    call.response_headers["X-Stream-Id"] = attachment.key.stream_id
    return attachment


def _pace(services: Services) -> Pace:
    streams = services.settings.streams
    return Pace(streams.commit_seconds, streams.heartbeat_seconds, services.streams.drain_notice)


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
