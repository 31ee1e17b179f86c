"""Usage of the ``gemini`` dialect, normalised to the inclusive rule.

``promptTokenCount`` includes cached tokens; the results of tools that ran at the provider and the
thoughts are counted outside of the prompt and of the candidates, so both are added. Where the
provider's own total says otherwise, the arithmetic decides. Source: Gemini API reference,
``UsageMetadata``.
"""

from typing import Any

from tellstream.core.usage import Usage
from tellstream.providers.base import count


def usage_of(raw: dict[str, Any]) -> Usage | None:
    """Normalise one usage object; None if it holds no counts."""
    prompt, completion = count(raw, "promptTokenCount"), count(raw, "candidatesTokenCount")
    thought = count(raw, "thoughtsTokenCount")
    if prompt is None and completion is None and thought is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    total, visible = count(raw, "totalTokenCount"), prompt + completion
    tool, hidden = count(raw, "toolUsePromptTokenCount") or 0, thought or 0
    if total == visible:
        tool = hidden = 0  # they stand inside
    elif total == visible + hidden:
        tool = 0
    elif total == visible + tool:
        hidden = 0
    prompt += tool
    completion += hidden
    cached = count(raw, "cachedContentTokenCount")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_input_tokens=None if cached is None else min(cached, prompt),
        thought_tokens=None if thought is None else min(thought, completion),
    )
