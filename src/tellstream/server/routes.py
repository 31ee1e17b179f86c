"""The table of routes: the router, the authentication, the OpenAPI document and the tests read it.

Authentication is on for every route that is not in ``PUBLIC``; that is a list of its own so that
no change elsewhere can lose it.
"""

from typing import Final

from tellstream.protocols.table import NATIVE, OPENAI
from tellstream.server import authorize, handlers
from tellstream.server.admin.routes import ADMIN_ROUTES
from tellstream.server.compatible_routes import COMPATIBLE_ROUTES
from tellstream.server.route import Route
from tellstream.server.static_files import PAGE_PATHS, PAGE_ROUTES
from tellstream.server.usage import usage

ROUTES: Final = (
    Route(
        "POST",
        "/v1/chat/stream",
        handlers.chat_stream,
        "Start a stream; the answer is server-sent events",
        "chat",
        ("/v1/flexy-chat/stream", "/api/v1/chat/stream", "/api/v1/flexy-chat/stream"),
        counts=True,
    ),
    Route(
        "POST",
        "/v1/chat",
        handlers.chat,
        "Ask and wait for the whole answer",
        "chat",
        counts=True,
    ),
    Route("GET", "/v1/streams/{id}", handlers.stream_state, "The state of a stream", "chat"),
    Route(
        "GET",
        "/v1/streams/{id}/events",
        handlers.stream_events,
        "Replay a stream after Last-Event-ID or ?after=, then follow it",
        "chat",
        ticket=True,
    ),
    *COMPATIBLE_ROUTES,
    Route(
        "POST",
        "/v1/streams/{id}/cancel",
        handlers.stream_cancel,
        "Cancel a stream; its readers get the end with the usage so far",
        "chat",
    ),
    Route(
        "GET",
        "/v1/usage",
        usage,
        "Tokens and cost by day, model, client, subject or stream",
        "usage",
    ),
    *ADMIN_ROUTES,
    Route(
        "GET",
        "/v1/models",
        handlers.models,
        "The models this tenant may use",
        "chat",
        protocols=(NATIVE, OPENAI),
    ),
    Route("GET", "/oauth/authorize", authorize.authorize, "Log in and consent (for browsers)"),
    Route("POST", "/oauth/authorize", authorize.submit, "The forms of these pages"),
    Route("GET", "/oauth/style.css", authorize.style, "Their style"),
    Route("POST", "/oauth/token", authorize.token, "Get an access token"),
    Route("POST", "/oauth/revoke", authorize.revoke, "Revoke a token (RFC 7009)"),
    Route("POST", "/oauth/logout", authorize.log_out, "End the login of this browser"),
    Route("GET", "/oauth/jwks", handlers.oauth_jwks, "The keys that sign access tokens"),
    Route(
        "GET",
        "/.well-known/oauth-authorization-server",
        handlers.authorization_server,
        "Authorization server metadata (RFC 8414)",
    ),
    Route(
        "GET",
        "/.well-known/oauth-protected-resource",
        handlers.protected_resource,
        "Protected resource metadata (RFC 9728)",
    ),
    Route("GET", "/healthz", handlers.healthz, "Liveness: the process answers"),
    Route("GET", "/readyz", handlers.readyz, "Readiness: new streams are taken"),
    Route("GET", "/openapi.json", handlers.openapi, "This document"),
    Route("GET", "/docs", handlers.docs_page, "Interactive reference"),
    Route("GET", "/docs/docs.js", handlers.docs_script, "Its script"),
    Route("GET", "/docs/docs.css", handlers.docs_style, "Its style"),
    *PAGE_ROUTES,
)

PUBLIC: Final = frozenset(
    {
        "/oauth/authorize",
        "/oauth/style.css",
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/logout",
        "/oauth/jwks",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/docs.js",
        "/docs/docs.css",
        *PAGE_PATHS,
    }
)
