"""The ASGI application: one pass from a raw request to a handler, errors to responses.

Plain ASGI, no middleware chain: nothing wraps ``send``, so a delta costs no framework call. The
order of checks is fixed: route and method, declared size, authentication, tenant and scope; the
rest is the handler's.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Final

import structlog

from tellstream.core.errors import ChatError, RequestError, ServerError
from tellstream.server import access
from tellstream.server.asgi import Receive, Scope, Send
from tellstream.server.body import ClientGoneError, check_declared_size
from tellstream.server.call import Call
from tellstream.server.errors import error_body, error_headers
from tellstream.server.refusals import is_noted
from tellstream.server.route import Route
from tellstream.server.routes import PUBLIC, ROUTES
from tellstream.server.services import Services
from tellstream.server.speaking import spoken
from tellstream.streams.entropy import ENTROPY

log = structlog.get_logger("tellstream.http")

# Identifiers of clients that are safe to log and to echo.
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RouteTable:
    """Finds the route of a request: exact paths at once, paths with ``{name}`` by segments."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in routes:
            for path in (route.path, *route.aliases):
                if "{" in path:
                    methods = self._patterns.setdefault(tuple(path.split("/")), {})
                else:
                    methods = self._exact.setdefault(path, {})
                methods[route.method] = route
                if route.method == "GET":
                    methods["HEAD"] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Find the route and the values of its parameters.

        Raises:
            RequestError: ``not_found`` or ``method_not_allowed``.
        """
        values: dict[str, str] = {}
        methods = self._exact.get(path)
        if methods is None:
            methods, values = self._match(tuple(path.split("/")))
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowedError(", ".join(sorted(methods)))
        return route, values

    def _match(self, segments: tuple[str, ...]) -> tuple[dict[str, Route], dict[str, str]]:
        for pattern, methods in self._patterns.items():
            if len(pattern) == len(segments) and all(
                expected == given or (expected.startswith("{") and given)
                for expected, given in zip(pattern, segments, strict=True)
            ):
                pairs = zip(pattern, segments, strict=True)
                return methods, {name[1:-1]: v for name, v in pairs if name.startswith("{")}
        raise RequestError("not_found")


class MethodNotAllowedError(RequestError):
    """405, with the methods that are allowed."""

    def __init__(self, allow: str) -> None:
        super().__init__("method_not_allowed")
        self.allow = allow


_TABLE: Final = RouteTable(ROUTES)


class Application:
    """The server as an ASGI callable.

    Args:
        start: opens everything, called once at start-up in the server's loop.
        stop: closes everything.

    Attributes:
        failure: why it could not start.
    """

    def __init__(
        self, start: Callable[[], Awaitable[Services]], stop: Callable[[], Awaitable[None]]
    ) -> None:
        self._start = start
        self._stop = stop
        self._services: Services | None = None
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def drain(self, seconds: float) -> None:
        """Refuse new streams and let the running ones finish for so long, then end them."""
        if self._services is not None:
            await self._services.streams.drain(seconds)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._services
        assert services is not None, "the lifespan protocol has not run"
        call = Call(scope, receive, send, _request_id(scope))
        started = perf_counter()
        with services.tracer.request(scope["method"], call.headers) as span:
            try:
                await self._answer(services, call)
            finally:
                span.answered(call.route, call.status or 0)
                seconds = perf_counter() - started
                services.observer.http_answered(
                    scope["method"], call.route, call.status or 0, seconds, call.sent
                )
                if call.head_at is not None and call.route.endswith(("/stream", "/events")):
                    services.observer.waited("head", call.head_at - started)

    async def _answer(self, services: Services, call: Call) -> None:
        scope = call.scope
        route: Route | None = None
        try:
            route, call.path_values = _TABLE.find(scope["method"], scope["path"])
            call.route = route.path
            call.protocol = spoken(route, call.headers)
            check_declared_size(call.headers)
            if route.path not in PUBLIC:
                await access.admit(services, call, route)
            await route.handler(services, call)
        except ClientGoneError:
            log.info("http.client_gone", request=call.request_id, path=scope["path"])
        except ChatError as error:
            if route is not None and is_noted(error.status, route.scope):
                services.refusals.note(
                    error.code,
                    route.method,
                    route.path,
                    call.known_ctx,
                    call.request_id,
                    services.client_address(call),
                )
            await self._refuse(services, call, error)
        except Exception as error:
            log.exception("http.bug", request=call.request_id, path=scope["path"])
            await self._refuse(services, call, ServerError("server_error", reason=repr(error)))

    async def _refuse(self, services: Services, call: Call, error: ChatError) -> None:
        log.log(
            _LEVELS[error.level],
            "http.refused",
            request=call.request_id,
            path=call.scope["path"],
            code=error.code,
            reason=error.reason,
        )
        if call.status is not None:
            raise error  # the head is out: the server must cut the connection
        headers = error_headers(error, services.resource_metadata_url)
        if isinstance(error, MethodNotAllowedError):
            headers["Allow"] = error.allow
        shape = call.protocol.error
        status, body = (error.status, error_body(error)) if shape is None else shape(error)
        await call.json(body, headers, status)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._services = await self._start()
        except Exception as error:  # noqa: BLE001 - reported to the server, which stops with it
            self.failure = error
            await self._stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})


_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return f"req_{ENTROPY.bits(96):024x}"
