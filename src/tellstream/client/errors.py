"""What the client raises: every error is an ``ApiError`` (status, code, message).

ApiError
+-- ConnectionFailedError      no answer came at all, and no stream is known
+-- ConnectionLostError        a known stream could not be reached again in time
+-- StreamProtocolError        the answer is not what a Tellstream server sends
|   +-- StreamGapError         events are missing
+-- StreamFailedError          the stream itself ended with an error (``raise_for_error``)
+-- AnswerError                an HTTP error answer
    +-- InvalidRequestError    400, 422 and every other 4xx
    +-- AuthenticationError    401
    +-- PermissionDeniedError  403
    +-- NotFoundError          404
    +-- ConflictError          409
    +-- GoneError              410
    +-- RateLimitError         429
    +-- ServerError            5xx
        +-- ServiceUnavailableError  503
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellstream.core.errors import ApiError


class ConnectionFailedError(ApiError):
    """No answer came, within the budget for the first one. The same call may be made again.

    Attributes:
        idempotency_key: what the request carried, or None. A stream may have started: the same
            request with the same key finds it instead of starting another one.
    """

    def __init__(self, reason: str, idempotency_key: str | None = None) -> None:
        super().__init__(0, "connection_failed", reason)
        self.idempotency_key = idempotency_key


class ConnectionLostError(ApiError):
    """The connection to a stream was lost and could not be restored within the budget.

    The stream itself may go on at the server: ``client.resume(stream_id, after=position)`` goes on
    exactly behind what was handed out.

    Attributes:
        stream_id: which stream.
        position: sequence number of the last event that was handed out; 0 for none.
    """

    def __init__(self, stream_id: str, position: int, reason: str) -> None:
        where = f"stream {stream_id or '(unnamed)'} after event {position}"
        super().__init__(0, "connection_lost", f"{where}: {reason}")
        self.stream_id = stream_id
        self.position = position


class StreamProtocolError(ApiError):
    """The answer breaks the protocol; trying again would not help."""

    def __init__(self, reason: str, *, status: int = 200) -> None:
        super().__init__(status, "unexpected_answer", reason)


class StreamGapError(StreamProtocolError):
    """Events are missing: the server went on with a later one than the next.

    Attributes:
        stream_id: which stream.
        position: sequence number of the last event that was handed out.
        received: sequence number that came instead of ``position + 1``.
    """

    def __init__(self, stream_id: str, position: int, received: int) -> None:
        super().__init__(f"stream {stream_id}: event {received} came after event {position}")
        self.stream_id = stream_id
        self.position = position
        self.received = received


class StreamFailedError(ApiError):
    """The stream ended with an ``error`` event.

    Attributes:
        stream_id: which stream.
        code: the event's ``error_type``, one of the server's error codes.
    """

    def __init__(self, stream_id: str, code: str, message: str) -> None:
        super().__init__(200, code, message)
        self.stream_id = stream_id


class AnswerError(ApiError):
    """The server answered with an HTTP error.

    Attributes:
        details: ``(field, message)`` pairs: what is wrong with which field of the request.
        retry_after: seconds after which the server says a new try makes sense, or None.
        request_id: the server's name for the request, for its operator; may be empty.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(status, code, message)
        self.details = details
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        wrong = "".join(f" {field}: {text}." for field, text in self.details)
        return f"{super().__str__()}{wrong}"


class InvalidRequestError(AnswerError):
    """The request is malformed or its values are not valid; see ``details``."""


class AuthenticationError(AnswerError):
    """The access token is missing, expired or not valid."""


class PermissionDeniedError(AnswerError):
    """The token may not do this, or not for this tenant."""


class NotFoundError(AnswerError):
    """There is no such stream, or it is somebody else's."""


class ConflictError(AnswerError):
    """The request conflicts with the state of the stream, such as a position beyond its end."""


class GoneError(AnswerError):
    """The stream's events are no longer stored."""


class RateLimitError(AnswerError):
    """A limit or a quota is used up; see ``retry_after``."""


class ServerError(AnswerError):
    """The server, or the provider behind it, failed."""


class ServiceUnavailableError(ServerError):
    """The server or the provider cannot take requests now; see ``retry_after``."""


_BY_STATUS: Final[Mapping[int, type[AnswerError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: RateLimitError,
    503: ServiceUnavailableError,
}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After`` in seconds; None if it is absent or a date."""
    value = headers.get("retry-after", "").strip()
    # Dates are left alone: clocks differ, and no server of ours sends one.
    return float(value[:9]) if value.isascii() and value.isdigit() else None


def from_answer(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Build the error for an HTTP answer that is not a success.

    Args:
        status: the HTTP status.
        headers: with lower-case names.
        body: what came, JSON or not.
    """
    code, message, details = _words(status, body)
    error_class = _BY_STATUS.get(status)
    if error_class is None and not 400 <= status <= 599:  # noqa: PLR2004 - HTTP's error classes
        return StreamProtocolError(f"HTTP {status} where a success was expected", status=status)
    if error_class is None:
        error_class = ServerError if status >= 500 else InvalidRequestError  # noqa: PLR2004 - same
    return error_class(
        status,
        code,
        message,
        details=details,
        retry_after=retry_after(headers),
        request_id=headers.get("x-request-id", ""),
    )


class _ErrorBody(msgspec.Struct):
    error: str
    message: str
    details: list[dict[str, Any]] = []


def _words(status: int, body: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Read the server's words; a proxy in between may have answered in others."""
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "unexpected_answer", f"HTTP {status}", ()
    pairs = [(str(row.get("field", "")), str(row.get("message", ""))) for row in said.details]
    return said.error, said.message, tuple(pairs)
