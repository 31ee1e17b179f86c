"""Usage of the ``openai-chat`` dialect, normalised to the inclusive rule.

``prompt_tokens`` normally includes cached tokens and ``completion_tokens`` reasoning tokens. xAI
counts reasoning outside, and cached tokens sometimes outside too. Where the provider's own
``total_tokens`` says which it is, the arithmetic decides; else the host's row does.
"""

from typing import Any

from tellstream.core.usage import Usage
from tellstream.providers.base import count, field


def usage_of(raw: dict[str, Any], *, completion_excludes_reasoning: bool) -> Usage | None:
    """Normalise one usage object; None if it holds no counts.

    Args:
        raw: the provider's object.
        completion_excludes_reasoning: what the host's row says, used when the total does not.
    """
    prompt, completion = count(raw, "prompt_tokens"), count(raw, "completion_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    prompt_details = field(raw, "prompt_tokens_details", dict)
    cached = _first(
        count(prompt_details, "cached_tokens"),
        count(raw, "prompt_cache_hit_tokens"),  # DeepSeek
        count(raw, "num_cached_tokens"),  # Mistral
    )
    written = count(prompt_details, "cache_write_tokens")
    thought = count(field(raw, "completion_tokens_details", dict), "reasoning_tokens")
    if thought and _excluded(
        count(raw, "total_tokens"), prompt + completion, thought, completion_excludes_reasoning
    ):
        completion += thought
    if cached is not None and cached > prompt:
        prompt += cached  # they cannot be inside
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_write_input_tokens=_at_most(written, prompt),
        cache_read_input_tokens=_at_most(cached, prompt),
        thought_tokens=_at_most(thought, completion),
    )


def _excluded(total: int | None, visible: int, thought: int, row: bool) -> bool:
    """Whether reasoning stands outside the completion count."""
    if total == visible + thought:
        return True
    return False if total == visible else row


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _at_most(value: int | None, limit: int) -> int | None:
    return None if value is None else min(value, limit)
