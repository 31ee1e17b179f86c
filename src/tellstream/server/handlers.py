"""What each route does between authentication and the domain: a few lines each."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from tellstream.auth.metadata import authorization_server_metadata, protected_resource_metadata
from tellstream.auth.token_endpoint import MAX_BODY_BYTES, TokenContext, answer_token_request
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.frames import decode_frame
from tellstream.core.transcript import Transcript, fold
from tellstream.protocols import native
from tellstream.server.asgi import NO_STORE
from tellstream.server.body import check_json, read_body
from tellstream.server.call import Call
from tellstream.server.openapi import openapi_document
from tellstream.server.position import position
from tellstream.server.services import Services
from tellstream.server.sse_response import collect, follow
from tellstream.streams.stream import Stream

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
    stream = await _start(services, call)
    reader = await services.streams.attach(stream)
    try:
        await follow(
            reader,
            call,
            commit=services.settings.streams.commit_seconds,
            heartbeat=services.settings.streams.heartbeat_seconds,
            failure=lambda: stream.early_failure,
        )
    finally:
        services.streams.detach(stream, reader)


async def stream_events(services: Services, call: Call) -> None:
    """Replay a stream from a position, then follow it; 204 if nothing will come any more."""
    after = position(call.headers, call.scope["query_string"])
    stream, reader = await services.streams.resume(call.ctx, call.path_values["id"], after)
    call.response_headers["X-Stream-Id"] = call.path_values["id"]
    try:
        if reader.ended:
            await call.head(204, NO_STORE)  # tells an EventSource to stay away
            await call.send({"type": "http.response.body", "body": b""})
            return
        await follow(
            reader,
            call,
            commit=services.settings.streams.commit_seconds,
            heartbeat=services.settings.streams.heartbeat_seconds,
        )
    finally:
        if stream is None:
            reader.close()
        else:
            services.streams.detach(stream, reader)


async def chat(services: Services, call: Call) -> None:
    """Start a stream, wait for its end, answer with the fold."""
    stream = await _start(services, call)
    reader = await services.streams.attach(stream)
    try:
        frames = await collect(reader, call)
    finally:
        services.streams.detach(stream, reader)
    if stream.ending is not None and stream.ending.error is not None:
        raise stream.ending.error
    transcript = fold([decode_frame(frame)[1] for frame in frames])
    await call.json({"data": _answer(stream, transcript)})


async def stream_state(services: Services, call: Call) -> None:
    """Tell the state of a stream."""
    await call.json({"data": services.streams.find(call.ctx, call.path_values["id"])})


async def stream_cancel(services: Services, call: Call) -> None:
    """Cancel a stream; once it has ended this changes nothing."""
    services.streams.cancel_by_id(call.ctx, call.path_values["id"])
    state = services.streams.find(call.ctx, call.path_values["id"])
    await call.json({"data": state}, status=202)


async def models(services: Services, call: Call) -> None:
    """List the models of the tenant, its default first."""
    tenant = services.tenants[call.ctx.tenant]
    default = tenant.default_model
    await call.json({"data": [{"id": m, "default": m == default} for m in tenant.models]})


async def oauth_token(services: Services, call: Call) -> None:
    """Answer the token endpoint."""
    context = _embedded(services)
    body = await read_body(call.receive, MAX_BODY_BYTES)
    query: bytes = call.scope["query_string"]
    answer = answer_token_request(context, call.headers, query, body, services.clock())
    await call.json(answer.body, answer.headers, answer.status)


async def oauth_jwks(services: Services, call: Call) -> None:
    """Publish the verification keys."""
    await call.json(_embedded(services).keys.jwks(), CACHEABLE)


async def authorization_server(services: Services, call: Call) -> None:
    """Publish RFC 8414 metadata."""
    _embedded(services)
    await call.json(authorization_server_metadata(services.public_url), CACHEABLE)


async def protected_resource(services: Services, call: Call) -> None:
    """Publish RFC 9728 metadata."""
    await call.json(protected_resource_metadata(services.public_url), CACHEABLE)


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


async def _start(services: Services, call: Call) -> Stream:
    """Admit a chat request and start its stream (the check order of the HTTP surface)."""
    ctx = call.ctx
    tenant = services.tenants[ctx.tenant]
    limits = tenant.settings.limits
    rate = services.limits.take_request(ctx.tenant, limits.requests_per_minute)
    call.response_headers |= rate.headers
    if rate.refusal is not None:
        raise rate.refusal
    check_json(call.headers)
    chat_request = native.parse(
        await read_body(call.receive),
        prompt_chars=limits.prompt_chars,
        history_messages=limits.history_messages,
        system=tenant.settings.system,
    )
    targets = tenant.models.get(chat_request.model or tenant.default_model)
    if targets is None:
        raise RequestError("validation_error", details=(("model", "is not one of your models"),))
    services.limits.check_tokens(ctx.tenant, limits.tokens_per_day)
    stream = await services.streams.start(ctx, chat_request, targets, limits.concurrent_streams)
    call.response_headers["X-Stream-Id"] = stream.id
    return stream


def _answer(stream: Stream, transcript: Transcript) -> Mapping[str, Any]:
    return {
        "stream_id": stream.id,
        "model": transcript.model,
        "provider": transcript.provider,
        "text": transcript.text,
        "thinking": transcript.thinking,
        "tool_calls": transcript.tool_calls,
        "finish_reason": transcript.finish_reason,
        "usage": transcript.usage,
        "citations": transcript.citations,
    }


def _embedded(services: Services) -> TokenContext:
    if services.token_context is None:
        raise RequestError("not_found")
    return services.token_context


def _web(name: str) -> bytes:
    return resources.files("tellstream.server").joinpath("web", name).read_bytes()
