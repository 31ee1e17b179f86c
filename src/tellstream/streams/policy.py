"""How streams behave, as configured, and what is known of those that are over."""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from tellstream.core.principals import Ctx
from tellstream.streams.record import StreamState
from tellstream.streams.retry import RetryPolicy

Past: TypeAlias = Callable[[Ctx, str], Awaitable[StreamState | None]]
"""Tells the state of a stream whose log is gone, if there was one that the caller may know of."""


class StreamPolicy(msgspec.Struct, frozen=True):
    """How streams behave; times in seconds."""

    on_disconnect: Literal["continue", "cancel"] = "continue"
    detach: float = 60.0
    total: float = 600.0
    retry: RetryPolicy = RetryPolicy()
