"""Where it is said whether cancelling a call ends what its host charges (``Host.on_cancel``)."""

from collections.abc import Mapping
from typing import Final

OPENROUTER_LIST: Final = "https://openrouter.ai/docs/api-reference/streaming"
"""OpenRouter's documentation, section "Stream Cancellation", read 2026-11-22: it calls all of these
providers, and says for which of them closing the connection ends processing and billing, and for
which the whole answer is processed and billed. The providers themselves do not say."""

SOURCES: Final[Mapping[str, str]] = {
    "anthropic": OPENROUTER_LIST,
    "azure": OPENROUTER_LIST,
    "deepseek": OPENROUTER_LIST,
    "fireworks": OPENROUTER_LIST,
    "gemini": OPENROUTER_LIST,
    "groq": OPENROUTER_LIST,
    "mistral": OPENROUTER_LIST,
    "openai": OPENROUTER_LIST,
    "perplexity": OPENROUTER_LIST,
    "together": OPENROUTER_LIST,
    "xai": OPENROUTER_LIST,
}
"""Where the row's ``cancel_stops_billing`` comes from; a host without a known answer has none."""
