"""Request bodies of the ``ollama`` dialect.

Ollama has no tool choice: ``none`` sends no tools and a named one sends only that, which comes to
the same; ``required`` cannot be asked for. Only gpt-oss knows levels of thinking; other models take
on or off, and older servers refuse a level.

Source: docs.ollama.com, API reference (chat) and thinking.
"""

from typing import Any, Final

from tellstream.core.chat import NAMED_TOOL, ChatRequest, Tool, Turn
from tellstream.providers.hosts import Host

_LEVELS: Final = "gpt-oss"
"""What the names of models with levels of thinking contain."""
_LOWEST: Final = frozenset({"none", "minimal"})
"""Efforts below the lowest level; those models cannot stop thinking."""


def url_of(base_url: str) -> str:
    """Return the address of ``/api/chat``, also for the base URL of the server's other wires."""
    for path in ("/v1", "/api"):
        base_url = base_url.removesuffix(path)
    return f"{base_url}/api/chat"


def build_body(host: Host, model: str, chat: ChatRequest) -> dict[str, Any]:
    """Build the JSON body; parameters that this model of this host rejects are left out."""
    dropped = host.dropped_parameters(model)
    body: dict[str, Any] = {"model": model, "messages": _messages(chat), "stream": True}
    tools = [_tool(tool) for tool in _offered(chat)]
    if tools:
        body["tools"] = tools
    if chat.reasoning_effort is not None and "reasoning_effort" not in dropped:
        body["think"] = _think(model, chat.reasoning_effort)
    named = {
        "max_output_tokens": ("num_predict", chat.max_output_tokens),
        "temperature": ("temperature", chat.temperature),
    }
    options = {
        option: value
        for name, (option, value) in named.items()
        if value is not None and name not in dropped
    }
    if options:
        body["options"] = options
    if chat.response_format is not None and "response_format" not in dropped:
        schema = chat.response_format.schema
        body["format"] = "json" if schema is None else schema
    return body


def _messages(chat: ChatRequest) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": chat.system}] if chat.system else []
    names = {call.tool_id: call.tool_name for turn in chat.history for call in turn.tool_calls}
    return [
        *system,
        *(_message(turn, names) for turn in chat.turns),
    ]


def _message(turn: Turn, names: dict[str, str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.role == "tool":
        message["tool_call_id"] = turn.tool_id
        if turn.tool_id in names:
            message["tool_name"] = names[turn.tool_id]  # what templates show
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.tool_id, "function": {"name": call.tool_name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
    return message


def _offered(chat: ChatRequest) -> tuple[Tool, ...]:
    choice = chat.tool_choice or "auto"
    if choice == "none":
        return ()
    if choice.startswith(NAMED_TOOL):
        return tuple(tool for tool in chat.tools if tool.name == choice.removeprefix(NAMED_TOOL))
    return chat.tools


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _think(model: str, effort: str) -> bool | str:
    if _LEVELS in model:
        return "low" if effort in _LOWEST else effort
    return effort != "none"
