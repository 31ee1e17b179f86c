"""Token counts and finish reasons.

Counts are **inclusive**: ``prompt_tokens`` holds every input token, cached ones too, and
``completion_tokens`` every output token, thinking too. The other three say how many of those; null
means that the provider did not say.
"""

from enum import StrEnum

import msgspec


class FinishReason(StrEnum):
    """Why a stream ended; the names of Prism PHP's FinishReason, and our ``Cancelled``."""

    STOP = "Stop"
    LENGTH = "Length"
    CONTENT_FILTER = "ContentFilter"
    TOOL_CALLS = "ToolCalls"
    ERROR = "Error"
    OTHER = "Other"
    UNKNOWN = "Unknown"
    CANCELLED = "Cancelled"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one stream or one step. Key order is the wire's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_write_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    thought_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Sum two steps; null stays null only if neither step reported the count."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            _add(self.cache_write_input_tokens, other.cache_write_input_tokens),
            _add(self.cache_read_input_tokens, other.cache_read_input_tokens),
            _add(self.thought_tokens, other.thought_tokens),
        )


def _add(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    return left if right is None else left + right
