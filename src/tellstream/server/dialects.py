"""The dialects that there are, and what can be offered with them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from tellstream.catalog import Catalog, build_catalog
from tellstream.providers.base import Dialect
from tellstream.providers.simulator import ALIASES
from tellstream.settings import Settings

DIALECTS: Final = {
    "openai-chat": "tellstream.providers.openai_chat:OpenAIChat",
    "anthropic-messages": "tellstream.providers.anthropic_messages:AnthropicMessages",
    "gemini": "tellstream.providers.gemini:Gemini",
    "openai-responses": "tellstream.providers.openai_responses:OpenAIResponses",
    "ollama": "tellstream.providers.ollama:Ollama",
}
"""Where each dialect lives; imported when a provider speaks it."""
ANY_JSON: Final = frozenset(DIALECTS) - {"anthropic-messages"}
"""Dialects that can ask for JSON without a schema of it."""


def build_offer(settings: Settings, environ: Mapping[str, str]) -> Catalog:
    """Compute the models and tenants on offer.

    Raises:
        ConfigError: nothing can be offered, or something configured cannot.
    """
    return build_catalog(settings, environ, dialects=DIALECTS, simulator_models=tuple(ALIASES))


def load_dialect(name: str) -> Dialect:
    """Import and make the dialect called ``name`` (a key of ``DIALECTS``)."""
    module, _, attribute = DIALECTS[name].partition(":")
    made: Callable[[], Dialect] = getattr(import_module(module), attribute)
    return made()
