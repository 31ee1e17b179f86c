"""The Python client: typed events from a Tellstream server, over as many connections as it takes.

``AsyncTellstream`` for asyncio, ``Tellstream`` for plain threads; the same surface, the same
decisions (``session``, ``calls``, ``backoff``), two drivers. Every error is an ``ApiError``.
"""

from tellstream.client.answers import ChatAnswer, Model, StreamState
from tellstream.client.async_client import AsyncStream, AsyncTellstream
from tellstream.client.errors import (
    AnswerError,
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    ServiceUnavailableError,
    StreamFailedError,
    StreamGapError,
    StreamProtocolError,
)
from tellstream.client.policy import ResumePolicy, Timeouts
from tellstream.client.sync_client import Stream, Tellstream
from tellstream.core.errors import ApiError

__all__ = [
    "AnswerError",
    "ApiError",
    "AsyncStream",
    "AsyncTellstream",
    "AuthenticationError",
    "ChatAnswer",
    "ConflictError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "GoneError",
    "InvalidRequestError",
    "Model",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ResumePolicy",
    "ServerError",
    "ServiceUnavailableError",
    "Stream",
    "StreamFailedError",
    "StreamGapError",
    "StreamProtocolError",
    "StreamState",
    "Tellstream",
    "Timeouts",
]
