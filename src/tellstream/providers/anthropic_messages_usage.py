"""Usage of the ``anthropic-messages`` dialect, normalised to the inclusive rule.

``input_tokens`` leaves out what was read from and written to the cache, so both are added;
``output_tokens`` includes thinking. Source: Anthropic API reference, "Usage".
"""

from typing import Any

from tellstream.core.usage import Usage
from tellstream.providers.base import count, field


def usage_of(raw: dict[str, Any]) -> Usage | None:
    """Normalise one usage object; None if it holds no counts."""
    fresh, completion = count(raw, "input_tokens"), count(raw, "output_tokens")
    if fresh is None and completion is None:
        return None
    fresh, completion = fresh or 0, completion or 0
    read = count(raw, "cache_read_input_tokens")
    written = count(raw, "cache_creation_input_tokens")
    thought = count(field(raw, "output_tokens_details", dict), "thinking_tokens")
    return Usage(
        prompt_tokens=fresh + (read or 0) + (written or 0),
        completion_tokens=completion,
        cache_write_input_tokens=written,
        cache_read_input_tokens=read,
        thought_tokens=None if thought is None else min(thought, completion),
    )
