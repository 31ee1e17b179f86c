"""Which wires there are, where they are spoken, and what each of them has no way to say."""

from collections.abc import Iterator
from typing import Final

from tellstream.providers.simulator.script import Script, ScriptError
from tellstream.providers.simulator.wire import Wire
from tellstream.providers.simulator.wire_anthropic_messages import AnthropicMessagesWire
from tellstream.providers.simulator.wire_gemini import GeminiWire
from tellstream.providers.simulator.wire_ollama import OllamaWire
from tellstream.providers.simulator.wire_openai_chat import OpenAIChatWire
from tellstream.providers.simulator.wire_openai_responses import OpenAIResponsesWire

DEFAULT_WIRE: Final = OpenAIChatWire()

# The end of the path decides, so that any base URL works.
WIRES: Final[dict[str, Wire]] = {
    "/chat/completions": DEFAULT_WIRE,
    "/responses": OpenAIResponsesWire(),
    "/messages": AnthropicMessagesWire(),
    ":streamGenerateContent": GeminiWire(),
    ":generateContent": GeminiWire(),
    "/api/chat": OllamaWire(),
}

_ONE_FRAME: Final = "on this wire the finish is the terminal marker: nothing is between them"

# (wire, key, value): why a script with it is refused there.
IMPOSSIBLE: Final[dict[tuple[str, str, str], str]] = {
    ("openai-responses", "fault", "errorafter"): _ONE_FRAME,
    ("openai-responses", "fault", "afterfinish"): _ONE_FRAME,
    ("openai-responses", "finish", "none"): "this wire cannot end without a reason, but for done=0",
    ("gemini", "fault", "afterdone"): "this wire has no terminal marker",
    ("ollama", "fault", "errorafter"): _ONE_FRAME,
    ("ollama", "fault", "afterfinish"): _ONE_FRAME,
    ("ollama", "finish", "content_filter"): "this wire has no such reason",
    ("ollama", "refusal", "1"): "this wire has no refusals",
    ("ollama", "cached", "1"): "this wire has no caches",
}


def check(wire: Wire, script: Script) -> None:
    """Refuse a script that this wire has no way to say.

    Raises:
        ScriptError: with the key and the reason.
    """
    for key, value in _options(script):
        reason = IMPOSSIBLE.get((wire.name, key, value))
        if reason is not None:
            raise ScriptError(key, f"{value} cannot be said in {wire.name}: {reason}")


def _options(script: Script) -> Iterator[tuple[str, str]]:
    if script.fault is not None:
        yield "fault", script.fault.value
    if script.done or script.finish != "none":  # done=0 leaves both out wherever they are one
        yield "finish", script.finish
    if script.refusal:
        yield "refusal", "1"
    if script.cached:
        yield "cached", "1"
