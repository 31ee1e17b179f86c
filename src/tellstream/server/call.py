"""One HTTP request on its way through the server: what a handler gets."""

from collections.abc import Mapping
from time import perf_counter

from tellstream.core.principals import Ctx
from tellstream.protocols.table import NATIVE
from tellstream.server.asgi import NO_STORE, RawHeaders, Receive, Scope, Send, encode, raw_headers
from tellstream.server.pipe import PIPE, Pipe


class Call:
    """A request and the means to answer it.

    Attributes:
        scope: the ASGI scope.
        receive: ASGI.
        send: ASGI, for the body; the head goes through ``head``.
        pipe: a way to write parts of the body without waiting, where the server has one.
        request_id: of this request, echoed in the response.
        headers: raw request headers, names in lower case.
        path_values: what stands for the ``{names}`` of the route's path.
        status: of the response, once its head is out; else None.
        route: the path of the route, the same for all its aliases.
        protocol: that the client speaks here.
        response_headers: sent with whatever answer is given.
        sent: bytes of the response's body so far.
        head_at: when the head went out (``time.perf_counter``), or None.
    """

    __slots__ = (
        "_ctx",
        "head_at",
        "headers",
        "path_values",
        "pipe",
        "protocol",
        "receive",
        "request_id",
        "response_headers",
        "route",
        "scope",
        "send",
        "sent",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.headers: RawHeaders = scope["headers"]
        self.response_headers = {"X-Request-Id": request_id, "X-Content-Type-Options": "nosniff"}
        self.path_values: dict[str, str] = {}
        self.route = ""
        self.protocol = NATIVE
        self.status: int | None = None
        self.sent = 0
        self.head_at: float | None = None
        self.pipe: Pipe | None = scope.get("extensions", {}).get(PIPE, {}).get("pipe")
        self._ctx: Ctx | None = None

    @property
    def ctx(self) -> Ctx:
        """The authenticated caller in one tenant; public routes have none."""
        assert self._ctx is not None, "a public route has no caller"
        return self._ctx

    @ctx.setter
    def ctx(self, ctx: Ctx) -> None:
        self._ctx = ctx

    @property
    def known_ctx(self) -> Ctx | None:
        """The caller, as far as it is known."""
        return self._ctx

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the response head."""
        self.status = status
        self.head_at = perf_counter()
        merged = raw_headers({**self.response_headers, **headers})
        await self.send({"type": "http.response.start", "status": status, "headers": merged})

    async def content(
        self, body: bytes, media_type: str, headers: Mapping[str, str] = NO_STORE, status: int = 200
    ) -> None:
        """Answer with a whole body."""
        length = str(len(body))
        await self.head(status, {"Content-Type": media_type, "Content-Length": length, **headers})
        if self.scope["method"] == "HEAD":
            body = b""
        self.sent += len(body)
        await self.send({"type": "http.response.body", "body": body})

    async def json(
        self, payload: object, headers: Mapping[str, str] = NO_STORE, status: int = 200
    ) -> None:
        """Answer with JSON."""
        await self.content(encode(payload), "application/json", headers, status)
